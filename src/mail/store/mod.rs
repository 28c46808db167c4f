//! Mail as people look at it.

pub mod codes;
pub(super) mod sight;

use assistant_api::{
    EffectId, EmailId, JobId,
    effects::EffectState,
    jobs::Email,
    mail::{Artifact, Decision, EmailDetail, EmailHead, Outgoing, OutgoingDetail, Received, ReceivedDetail},
    notify::Notice,
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, types::Type};

use crate::{
    error::{Error, Result},
    jobs,
    store::types::{RowExt as _, micros},
};

/// Rows that one page looks at when it looks for words.
const LOOKED_AT: i64 = 2000;

/// Which messages a list holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub decision: Option<Decision>,
    pub state: Option<EffectState>,
    pub job_id: Option<JobId>,
    /// All of them, in lower case, in subject and addresses.
    pub words: Vec<String>,
    /// Only ids below this one.
    pub before: Option<i64>,
    pub limit: usize,
}

/// One page, and where the next begins.
pub(super) type Page<T> = (Vec<T>, Option<i64>);

/// What came, newest first.
pub(super) fn received(conn: &Connection, filter: &Filter) -> Result<Page<Received>> {
    // The index of the decision, or the table itself, or the few of a job.
    let sql = match (filter.decision, filter.job_id) {
        (_, Some(_)) => {
            "SELECT * FROM mail_received WHERE id < ?1 AND (?2 IS NULL OR decision = ?2) AND job_id = ?3 \
             ORDER BY id DESC LIMIT ?4"
        }
        (Some(_), None) => {
            "SELECT * FROM mail_received WHERE id < ?1 AND decision = ?2 AND ?3 IS NULL ORDER BY id DESC LIMIT ?4"
        }
        (None, None) => {
            "SELECT * FROM mail_received WHERE id < ?1 AND ?2 IS NULL AND ?3 IS NULL ORDER BY id DESC LIMIT ?4"
        }
    };
    let decision = filter.decision.map(Decision::as_str);
    page(conn, filter, sql, decision, from_received, |one| {
        (one.id, [one.from_address.clone(), one.subject.clone()].into_iter().flatten().collect())
    })
}

/// What goes out, newest first.
pub(super) fn outbox(conn: &Connection, filter: &Filter) -> Result<Page<Outgoing>> {
    // `CROSS JOIN` keeps the order: outbox first, or the few effects of one state.
    let sql = match (filter.state, filter.job_id) {
        (_, Some(_)) => {
            "SELECT outbox.*, effects.state FROM outbox CROSS JOIN effects ON effects.id = effect_id \
             WHERE outbox.id < ?1 AND (?2 IS NULL OR state = ?2) AND outbox.job_id = ?3 \
             ORDER BY outbox.id DESC LIMIT ?4"
        }
        _ => {
            "SELECT outbox.*, effects.state FROM outbox CROSS JOIN effects ON effects.id = effect_id \
             WHERE outbox.id < ?1 AND (?2 IS NULL OR state = ?2) AND ?3 IS NULL ORDER BY outbox.id DESC LIMIT ?4"
        }
    };
    let state = filter.state.map(EffectState::as_str);
    page(conn, filter, sql, state, from_outbox, |one| {
        (one.id, one.to_addresses.iter().chain(&one.cc_addresses).chain([&one.subject]).cloned().collect())
    })
}

fn page<T>(
    conn: &Connection,
    filter: &Filter,
    sql: &str,
    of: Option<&str>,
    from_row: fn(&Row<'_>) -> rusqlite::Result<T>,
    seen: impl Fn(&T) -> (i64, Vec<String>),
) -> Result<Page<T>> {
    let wanted = if filter.words.is_empty() { i64::try_from(filter.limit + 1).unwrap_or(i64::MAX) } else { LOOKED_AT };
    let mut statement = conn.prepare_cached(sql)?;
    let values = (filter.before.unwrap_or(i64::MAX), of, filter.job_id.map(|id| id.0), wanted);
    let mut rows = statement.query(values)?;
    let (mut found, mut last, mut looked_at) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        looked_at += 1;
        let one = from_row(row)?;
        let (id, texts) = seen(&one);
        let text = texts.join("\n").to_lowercase();
        if !filter.words.iter().all(|word| text.contains(word.as_str())) {
            last = Some(id);
            continue;
        }
        if found.len() == filter.limit {
            return Ok((found, last));
        }
        last = Some(id);
        found.push(one);
    }
    let more = !filter.words.is_empty() && looked_at == LOOKED_AT;
    Ok((found, last.filter(|_| more)))
}

/// Mails that wait for an attempt or for a person, messages that could not be read or are still to be moved.
pub(super) fn counts(conn: &Connection) -> Result<[i64; 4]> {
    let count = |sql: &str| conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
    Ok([
        count("SELECT count(*) FROM outbox WHERE next_attempt_at IS NOT NULL")?,
        // In the words of the index of open effects.
        count(
            "SELECT count(*) FROM effects JOIN outbox ON outbox.effect_id = effects.id \
             WHERE effects.state IN ('prepared', 'dispatched', 'unknown') AND effects.state = 'unknown'",
        )?,
        count("SELECT count(*) FROM mail_received WHERE decision = 'set_aside'")?,
        count("SELECT count(*) FROM mail_received WHERE archive = 'due'")?,
    ])
}

/// One message with what is kept of it.
pub(super) fn one_received(conn: &Connection, id: i64) -> Result<ReceivedDetail> {
    let (received, headers) = conn
        .prepare_cached("SELECT * FROM mail_received WHERE id = ?1")?
        .query_row([id], |row| Ok((from_received(row)?, row.json("headers")?)))
        .optional()?
        .ok_or_else(|| Error::not_found("received mail", id))?;
    let email = received.email_id.map(|id| jobs::email(conn, id)).transpose()?.flatten();
    let artifacts = email.as_ref().map(|email| artifacts(conn, email.id)).transpose()?.unwrap_or_default();
    Ok(ReceivedDetail { received, headers, email, artifacts })
}

/// One mail that goes out.
pub(super) fn one_outgoing(conn: &Connection, id: i64) -> Result<OutgoingDetail> {
    conn.prepare_cached(
        "SELECT outbox.*, effects.state FROM outbox JOIN effects ON effects.id = effect_id WHERE outbox.id = ?1",
    )?
    .query_row([id], |row| {
        Ok(OutgoingDetail {
            outgoing: from_outbox(row)?,
            body_text: row.col("body_text")?,
            attachments: row.json("attachments")?,
            disclosure_added: row.col("disclosure_added")?,
        })
    })
    .optional()?
    .ok_or_else(|| Error::not_found("mail in the outbox", id))
}

/// Items of threads, newest first.
pub(super) fn emails(conn: &Connection, before: Option<i64>, limit: usize) -> Result<Page<EmailHead>> {
    let mut found: Vec<EmailHead> = conn
        .prepare_cached(
            "SELECT id, message_id, thread_id, from_address, subject, received_at, is_actionable FROM emails \
             WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
        )?
        .query_map((before.unwrap_or(i64::MAX), i64::try_from(limit + 1).unwrap_or(i64::MAX)), |row| {
            Ok(EmailHead {
                id: EmailId(row.col("id")?),
                message_id: row.col("message_id")?,
                thread_id: row.col("thread_id")?,
                from_address: row.col("from_address")?,
                subject: row.col("subject")?,
                received_at: row.time("received_at")?,
                is_actionable: row.col("is_actionable")?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more).map(|email| email.id.0);
    Ok((found, last))
}

/// One item with what was made of its attachments.
pub(super) fn email(conn: &Connection, id: EmailId) -> Result<EmailDetail> {
    let email: Email = jobs::email(conn, id)?.ok_or_else(|| Error::not_found("mail", id))?;
    Ok(EmailDetail { email, artifacts: artifacts(conn, id)? })
}

/// What was made of the attachments of an item. Where the attachments themselves lie is not in it.
pub(super) fn artifacts(conn: &Connection, id: EmailId) -> Result<Vec<Artifact>> {
    let found = conn
        .prepare_cached("SELECT * FROM artifacts WHERE email_id = ?1 ORDER BY id")?
        .query_map([id.0], |row| {
            Ok(Artifact {
                artifact_id: row.col("id")?,
                email_id: EmailId(row.col("email_id")?),
                source: row.col("source_type")?,
                label: row.col("source_label")?,
                original_filename: row.col("original_filename")?,
                content_type: row.col("content_type")?,
                source_uri: row.col("source_uri")?,
                size_bytes: row.col("raw_size_bytes")?,
                scan_status: row.col("scan_status")?,
                scan_result: row.col("scan_result")?,
                conversion_status: row.col("conversion_status")?,
                markdown_path: row.col("markdown_path")?,
                markdown_size_bytes: row.col("markdown_size_bytes")?,
                error: row.col("error")?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

fn from_received(row: &Row<'_>) -> rusqlite::Result<Received> {
    Ok(Received {
        id: row.col("id")?,
        email_id: row.col::<Option<i64>>("email_id")?.map(EmailId),
        mailbox: row.col("mailbox")?,
        message_id: row.col("message_id")?,
        from_address: row.col("from_address")?,
        subject: row.col("subject")?,
        size_bytes: row.col("size_bytes")?,
        verified: row.col("verified")?,
        verification: row.json("verification")?,
        decision: parsed(row, "decision")?,
        reason: row.col("reason")?,
        decided_by: row.col("decided_by")?,
        job_id: row.col::<Option<i64>>("job_id")?.map(JobId),
        archive: row.col("archive")?,
        archive_error: row.col("archive_error")?,
        received_at: row.time("received_at")?,
        decided_at: row.time("decided_at")?,
    })
}

/// What the daemon itself told somebody last, of the newest mails.
pub fn told(conn: &Connection, limit: u32) -> Result<Vec<Notice>> {
    let rows = conn
        .prepare_cached(
            "SELECT outbox.*, effects.state FROM (SELECT * FROM outbox ORDER BY id DESC LIMIT ?1) AS outbox \
             CROSS JOIN effects ON effects.id = effect_id \
             WHERE outbox.kind NOT IN ('agent', 'test') ORDER BY outbox.id DESC LIMIT ?2",
        )?
        .query_map((LOOKED_AT, limit), from_outbox)?
        .map(|mail| {
            mail.map(|mail| Notice {
                effect_id: mail.effect_id,
                at: mail.created_at,
                way: "mail".to_owned(),
                to: mail.to_addresses.join(", "),
                kind: mail.kind,
                job_id: mail.job_id,
                subject: mail.subject,
                state: mail.state,
                answer: mail.bounce.or(mail.answer),
            })
        })
        .collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

fn from_outbox(row: &Row<'_>) -> rusqlite::Result<Outgoing> {
    Ok(Outgoing {
        id: row.col("id")?,
        effect_id: EffectId(row.col("effect_id")?),
        job_id: row.col::<Option<i64>>("job_id")?.map(JobId),
        kind: row.col("kind")?,
        message_id: row.col("message_id")?,
        in_reply_to: row.col("in_reply_to")?,
        from_address: row.col("from_address")?,
        to_addresses: row.json("to_addresses")?,
        cc_addresses: row.json("cc_addresses")?,
        subject: row.col("subject")?,
        state: parsed(row, "state")?,
        attempts: row.col("attempts")?,
        next_attempt_at: row.opt_time("next_attempt_at")?,
        answer: row.col("answer")?,
        sent_copy: row.col("sent_copy")?,
        sent_copy_error: row.col("sent_copy_error")?,
        bounce: row.col("bounce")?,
        created_at: row.time("created_at")?,
        sent_at: row.opt_time("sent_at")?,
    })
}

fn parsed<T: std::str::FromStr<Err = String>>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.col(column)?;
    text.parse().map_err(|err: String| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, err.into()))
}

/// What was decided about the message of this id.
pub(super) fn decision_about(conn: &Connection, message_id: &str) -> Result<Option<String>> {
    let found = conn
        .prepare_cached("SELECT decision FROM mail_received WHERE message_id = ?1")?
        .query_row([message_id], |row| row.get(0))
        .optional()?;
    Ok(found)
}

const TOKEN: &str = "mail.oauth_refresh";

/// The refresh token that a server gave in the place of another one, as it was kept.
pub(super) fn kept_token(conn: &Connection) -> Result<Option<String>> {
    let found = conn
        .prepare_cached("SELECT value FROM runtime_state WHERE key = ?1")?
        .query_row([TOKEN], |row| row.get(0))
        .optional()?;
    Ok(found)
}

/// Keeps such a token.
pub(super) fn keep_token(conn: &Connection, now: Timestamp, value: &str) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO runtime_state (key, value, updated_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
    )?
    .execute((TOKEN, value, micros(now)))?;
    Ok(())
}
