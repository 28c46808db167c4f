//! SQL of what came.

use assistant_api::{EffectId, JobId, mail::Decision};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::Value;

use crate::{
    error::Result,
    mail::{Place, intake::Taken},
    policy::Origin,
    store::types::{RowExt as _, micros, to_json},
};

/// A message that is decided about.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) id: i64,
    pub(super) decision: Decision,
    pub(super) job_id: Option<JobId>,
    pub(super) archive: bool,
    pub(super) verified: bool,
    pub(super) verification: Value,
}

const KNOWN: &str = "id, decision, job_id, archive <> 'none' AS archived, verified, verification";

fn known(row: &Row<'_>) -> rusqlite::Result<Known> {
    let decision: String = row.col("decision")?;
    Ok(Known {
        id: row.col("id")?,
        decision: decision.parse().unwrap_or(Decision::Stored),
        job_id: row.col::<Option<i64>>("job_id")?.map(JobId),
        archive: row.col("archived")?,
        verified: row.col("verified")?,
        verification: row.json("verification")?,
    })
}

/// The decision about the message of this place, if there is one.
pub(super) fn at(conn: &Connection, place: &Place) -> Result<Option<Known>> {
    let found = conn
        .prepare_cached(&format!(
            "SELECT {KNOWN} FROM mail_received WHERE mailbox = ?1 AND uid_validity = ?2 AND uid = ?3"
        ))?
        .query_row((&place.mailbox, place.uid_validity, place.uid), known)
        .optional()?;
    Ok(found)
}

/// The first message of the folder with the same bytes.
pub(super) fn same_content(conn: &Connection, mailbox: &str, hash: &[u8; 32]) -> Result<Option<Known>> {
    let found = conn
        .prepare_cached(&format!(
            "SELECT {KNOWN} FROM mail_received WHERE content_hash = ?1 AND mailbox = ?2 \
             AND decision NOT IN ('set_aside', 'duplicate') ORDER BY id LIMIT 1"
        ))?
        .query_row((hash, mailbox), known)
        .optional()?;
    Ok(found)
}

/// Messages that claim the same id.
pub(super) fn same_id(conn: &Connection, message_id: &str) -> Result<Vec<Known>> {
    let found = conn
        .prepare_cached(&format!(
            "SELECT {KNOWN} FROM mail_received WHERE message_id = ?1 AND decision NOT IN ('set_aside', 'duplicate') \
             ORDER BY id LIMIT 50"
        ))?
        .query_map([message_id], known)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

/// Mails to jobs since a time, of one thread or of all.
pub(super) fn acted_since(conn: &Connection, since: Timestamp, thread: Option<&str>) -> Result<i64> {
    let count = match thread {
        None => conn.prepare_cached(ACTED)?.query_row([micros(since)], |row| row.get(0))?,
        Some(thread) => conn.prepare_cached(ACTED_IN_THREAD)?.query_row((micros(since), thread), |row| row.get(0))?,
    };
    Ok(count)
}

const ACTED: &str = "SELECT count(*) FROM mail_received WHERE decided_at >= ?1 \
                     AND decision IN ('job', 'joined', 'answered')";
pub(super) const ACTED_IN_THREAD: &str = "SELECT count(*) FROM emails CROSS JOIN mail_received ON email_id = emails.id \
     WHERE thread_id = ?2 AND decided_at >= ?1 AND decision IN ('job', 'joined', 'answered')";

/// The id of a mail that was sent, by its message id.
pub(super) fn sent(conn: &Connection, message_id: &str) -> Result<Option<i64>> {
    let found = conn
        .prepare_cached("SELECT id FROM outbox WHERE message_id = ?1")?
        .query_row([message_id], |row| row.get(0))
        .optional()?;
    Ok(found)
}

pub(super) const THREAD_OF_SENT: &str = "SELECT coalesce(outbox.thread_id, jobs.thread_id) FROM outbox \
     LEFT JOIN jobs ON jobs.id = outbox.job_id WHERE outbox.message_id = ?1";
pub(super) const THREAD_OF_ITEM: &str = "SELECT thread_id FROM emails WHERE message_id = ?1";

/// The thread that one of these ids belongs to, the first that does.
pub(super) fn thread(conn: &Connection, ids: &[&String]) -> Result<Option<String>> {
    for id in ids {
        let sent: Option<Option<String>> =
            conn.prepare_cached(THREAD_OF_SENT)?.query_row([id], |row| row.get(0)).optional()?;
        if let Some(thread) = sent.flatten() {
            return Ok(Some(thread));
        }
        let item = conn.prepare_cached(THREAD_OF_ITEM)?.query_row([id], |row| row.get(0)).optional()?;
        if item.is_some() {
            return Ok(item);
        }
    }
    Ok(None)
}

pub(super) const RECENT: &str = "SELECT id, subject, email_id FROM mail_received INDEXED BY mail_received_age \
     WHERE decided_at >= ?1 AND from_address = ?2 AND decision IN ('job', 'joined', 'answered') \
     ORDER BY decided_at DESC LIMIT 200";

/// The thread of the newest mail of this sender whose subject is the same but for what replies put before it.
pub(super) fn thread_by_subject(
    conn: &Connection,
    since: Timestamp,
    from: &str,
    subject: &str,
) -> Result<Option<String>> {
    let wanted = bare_subject(subject);
    if wanted.is_empty() {
        return Ok(None);
    }
    let found: Vec<(Option<String>, Option<i64>)> = conn
        .prepare_cached(RECENT)?
        .query_map((micros(since), from), |row| Ok((row.col("subject")?, row.col("email_id")?)))?
        .collect::<rusqlite::Result<_>>()?;
    let same = found.into_iter().find(|(subject, _)| bare_subject(subject.as_deref().unwrap_or_default()) == wanted);
    let Some(email) = same.and_then(|(_, email)| email) else { return Ok(None) };
    let thread = conn
        .prepare_cached("SELECT thread_id FROM emails WHERE id = ?1")?
        .query_row([email], |row| row.get(0))
        .optional()?;
    Ok(thread)
}

/// In lower case, without `Re:` and its like.
fn bare_subject(subject: &str) -> String {
    let mut text = subject.trim().to_lowercase();
    while let Some((before, after)) = text.split_once(':') {
        if !matches!(before.trim(), "re" | "fw" | "fwd" | "aw" | "wg" | "sv" | "tr" | "antw") {
            break;
        }
        text = after.trim().to_owned();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether an address wrote, or was written to, in what was acted on of a thread.
pub(super) fn takes_part(conn: &Connection, thread: &str, job: Option<JobId>, address: &str) -> Result<bool> {
    let in_items: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM emails WHERE thread_id = ?1 AND is_actionable = 1 AND (lower(from_address) = ?2 \
             OR EXISTS (SELECT 1 FROM json_each(to_addresses) WHERE lower(value) = ?2) \
             OR EXISTS (SELECT 1 FROM json_each(cc_addresses) WHERE lower(value) = ?2)))",
        )?
        .query_row((thread, address), |row| row.get(0))?;
    if in_items {
        return Ok(true);
    }
    let Some(job) = job else { return Ok(false) };
    let written_to = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM outbox WHERE job_id = ?1 \
             AND (EXISTS (SELECT 1 FROM json_each(to_addresses) WHERE lower(value) = ?2) \
             OR EXISTS (SELECT 1 FROM json_each(cc_addresses) WHERE lower(value) = ?2)))",
        )?
        .query_row((job.0, address), |row| row.get(0))?;
    Ok(written_to)
}

/// An item of a thread.
pub(super) struct NewEmail<'a> {
    pub(super) message_id: &'a str,
    pub(super) thread_id: &'a str,
    pub(super) in_reply_to: Option<&'a str>,
    pub(super) references: &'a [String],
    pub(super) from: &'a str,
    pub(super) to: Vec<&'a str>,
    pub(super) cc: Vec<&'a str>,
    pub(super) subject: &'a str,
    pub(super) text: &'a str,
    pub(super) html: Option<&'a str>,
    pub(super) attachments: &'a [Value],
    pub(super) origin: &'a str,
    pub(super) received_at: Timestamp,
    pub(super) folder: &'a str,
    pub(super) actionable: bool,
}

/// Writes it; its message id must be new.
pub(super) fn insert_email(tx: &Connection, now: Timestamp, new: &NewEmail<'_>) -> Result<i64> {
    tx.prepare_cached(
        "INSERT INTO emails (message_id, thread_id, in_reply_to, references_header, from_address, to_addresses, \
         cc_addresses, subject, body_text, body_html, attachments, origin, received_at, downloaded_at, folder, \
         is_actionable, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?14)",
    )?
    .execute(rusqlite::params![
        new.message_id,
        new.thread_id,
        new.in_reply_to,
        to_json(&new.references)?,
        new.from,
        to_json(&new.to)?,
        to_json(&new.cc)?,
        new.subject,
        new.text,
        new.html,
        to_json(&new.attachments)?,
        new.origin,
        micros(new.received_at),
        micros(now),
        new.folder,
        new.actionable,
    ])?;
    Ok(tx.last_insert_rowid())
}

/// Whether an item has this message id.
pub(super) fn has_item(conn: &Connection, message_id: &str) -> Result<bool> {
    let has = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM emails WHERE message_id = ?1)")?
        .query_row([message_id], |row| row.get(0))?;
    Ok(has)
}

/// What is written down of a message.
pub(super) struct NewReceived<'a> {
    pub(super) place: &'a Place,
    pub(super) email_id: Option<i64>,
    pub(super) message_id: Option<&'a str>,
    pub(super) content_hash: &'a [u8; 32],
    pub(super) size_bytes: u64,
    pub(super) headers: &'a [(String, String)],
    pub(super) from: Option<&'a str>,
    pub(super) subject: &'a str,
    pub(super) verification: &'a Value,
    pub(super) verified: bool,
    pub(super) decision: Decision,
    pub(super) reason: &'a str,
    pub(super) job_id: Option<JobId>,
    pub(super) raw_name: Option<&'a str>,
    pub(super) archive: bool,
    pub(super) received_at: Timestamp,
}

pub(super) fn insert_received(tx: &Connection, now: Timestamp, new: &NewReceived<'_>) -> Result<i64> {
    tx.prepare_cached(
        "INSERT INTO mail_received (mailbox, uid_validity, uid, email_id, message_id, content_hash, size_bytes, headers, \
         from_address, subject, verification, verified, decision, reason, job_id, raw_name, archive, received_at, \
         decided_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
    )?
    .execute(rusqlite::params![
        new.place.mailbox,
        new.place.uid_validity,
        new.place.uid,
        new.email_id,
        new.message_id,
        new.content_hash,
        i64::try_from(new.size_bytes).unwrap_or(i64::MAX),
        to_json(&new.headers)?,
        new.from,
        new.subject,
        new.verification.to_string(),
        new.verified,
        new.decision.as_str(),
        new.reason,
        new.job_id.map(|id| id.0),
        new.raw_name,
        if new.archive { "due" } else { "none" },
        micros(new.received_at),
        micros(now),
    ])?;
    Ok(tx.last_insert_rowid())
}

/// A message that could not be fetched or read, with its file and its hash if there are any.
pub(super) fn insert_set_aside(
    tx: &Connection,
    now: Timestamp,
    place: &Place,
    received_at: Timestamp,
    size_bytes: u64,
    why: &str,
    kept: Option<(&str, &[u8; 32])>,
) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO mail_received (mailbox, uid_validity, uid, size_bytes, decision, reason, raw_name, content_hash, \
         received_at, decided_at) VALUES (?1, ?2, ?3, ?4, 'set_aside', ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
    )?
    .execute(rusqlite::params![
        place.mailbox,
        place.uid_validity,
        place.uid,
        i64::try_from(size_bytes).unwrap_or(i64::MAX),
        why,
        kept.map(|(name, _)| name),
        kept.map(|(_, hash)| hash),
        micros(received_at),
        micros(now),
    ])?;
    Ok(())
}

/// What has come back of a mail that was sent, and the job that sent it.
pub(super) fn bounces(conn: &Connection, outbox_id: i64) -> Result<(Option<String>, Option<JobId>)> {
    let found = conn
        .prepare_cached("SELECT bounce, job_id FROM outbox WHERE id = ?1")?
        .query_row([outbox_id], |row| Ok((row.col("bounce")?, row.col::<Option<i64>>("job_id")?.map(JobId))))?;
    Ok(found)
}

/// Writes down what has come back of it.
pub(super) fn bounced(tx: &Connection, outbox_id: i64, text: &str) -> Result<()> {
    tx.prepare_cached("UPDATE outbox SET bounce = ?2 WHERE id = ?1")?.execute((outbox_id, text))?;
    Ok(())
}

/// What was decided about a message, its item, from whom it says that it is, and whether that is proved.
pub(super) type Decided = (String, Option<i64>, Option<String>, bool);

/// What was decided about one.
pub(super) fn decided(conn: &Connection, id: i64) -> Result<Option<Decided>> {
    let found = conn
        .prepare_cached("SELECT decision, email_id, from_address, verified FROM mail_received WHERE id = ?1")?
        .query_row([id], |row| {
            Ok((row.col("decision")?, row.col("email_id")?, row.col("from_address")?, row.col("verified")?))
        })
        .optional()?;
    Ok(found)
}

/// Writes down what a person decided in the place of that.
pub(super) fn decide_again(conn: &Connection, id: i64, taken: &Taken, reason: &str, by: &str) -> Result<()> {
    let archive = if taken.archive { "due" } else { "none" };
    conn.prepare_cached(
        "UPDATE mail_received SET decision = ?2, reason = ?3, decided_by = ?4, job_id = ?5, \
         archive = CASE archive WHEN 'none' THEN ?6 ELSE archive END WHERE id = ?1",
    )?
    .execute((id, taken.decision.as_str(), reason, by, taken.job_id.map(|id| id.0), archive))?;
    Ok(())
}

/// The ids that an item answers to, the nearest first.
pub(super) fn answers_to(conn: &Connection, email_id: i64) -> Result<Vec<String>> {
    let (in_reply_to, references): (Option<String>, Vec<String>) = conn
        .prepare_cached("SELECT in_reply_to, references_header FROM emails WHERE id = ?1")?
        .query_row([email_id], |row| Ok((row.col("in_reply_to")?, row.json("references_header")?)))?;
    Ok(in_reply_to.into_iter().chain(references.into_iter().rev()).collect())
}

/// Makes an item one that is acted on, in this thread or its own.
pub(super) fn vouch(conn: &Connection, email_id: i64, origin: Origin, thread: Option<&str>) -> Result<()> {
    conn.prepare_cached(
        "UPDATE emails SET origin = ?2, is_actionable = 1, thread_id = coalesce(?3, thread_id) WHERE id = ?1",
    )?
    .execute((email_id, origin.as_str(), thread))?;
    Ok(())
}

/// Thread, subject and origin of an item.
pub(super) fn item(conn: &Connection, email_id: i64) -> Result<(String, String, String)> {
    let found = conn
        .prepare_cached("SELECT thread_id, subject, origin FROM emails WHERE id = ?1")?
        .query_row([email_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(found)
}

/// Effect, subject and recipients of a mail in the outbox.
pub(super) fn outgoing(conn: &Connection, id: i64) -> Result<(EffectId, String, Vec<String>)> {
    let found = conn
        .prepare_cached("SELECT effect_id, subject, to_addresses, cc_addresses FROM outbox WHERE id = ?1")?
        .query_row([id], |row| {
            let mut known: Vec<String> = row.json("to_addresses")?;
            known.append(&mut row.json("cc_addresses")?);
            Ok((EffectId(row.col("effect_id")?), row.col("subject")?, known))
        })?;
    Ok(found)
}
