//! SQL of the outbox. Where a mail stands is what its effect says; every change of both is one transaction.

use std::collections::BTreeSet;

use assistant_api::{EffectId, JobId, effects::EffectState, jobs::JobStatus};
use jiff::Timestamp;
use lettre::Address;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Value, json};

use super::{Purpose, Queued, smtp::Refused};
use crate::{
    error::{Error, Result},
    jobs, ledger,
    mail::compose::Letter,
    store::types::{RowExt as _, micros, timestamp, to_json},
};

/// A mail that is to be handed over, or was when the daemon ended.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub id: i64,
    pub effect_id: EffectId,
    pub message_id: String,
    pub from: Address,
    /// To and Cc.
    pub recipients: Vec<Address>,
    pub raw_name: Option<String>,
    pub attempts: u32,
    pub created_at: Timestamp,
    /// When it was last handed over, or was about to be.
    pub dispatched_at: Option<Timestamp>,
}

/// A copy that is to be made.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub id: i64,
    pub message_id: String,
    pub raw_name: Option<String>,
    pub sent_at: Timestamp,
    /// Whether it was tried before.
    pub tried: bool,
}

/// Whether a mail may be handed over now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// The ledger says that it is under way.
    Open,
    /// Everything is stopped.
    Stopped,
    /// Its job was cancelled, or somebody has settled it.
    Closed,
}

/// Where a mail stands.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::mail) struct Stands {
    pub id: i64,
    pub effect_id: EffectId,
    pub state: EffectState,
    pub message_id: String,
    pub in_reply_to: Option<String>,
    pub attachments: Vec<Value>,
    pub disclosure_added: bool,
    pub answer: Option<String>,
    pub sent_copy: String,
    /// Recipients that the server did not take, with what it said.
    pub refused: Vec<Value>,
    pub next_attempt_at: Option<Timestamp>,
}

#[expect(clippy::too_many_arguments, reason = "the parts of one row")]
pub(super) fn insert(
    conn: &Connection,
    now: Timestamp,
    effect_id: EffectId,
    purpose: &Purpose,
    letter: &Letter,
    raw_name: &str,
    copy: bool,
    counted: bool,
) -> Result<i64> {
    let addresses = |all: &[Address]| to_json(&all.iter().map(ToString::to_string).collect::<Vec<_>>());
    conn.prepare_cached(
        "INSERT INTO outbox (effect_id, job_id, kind, once, message_id, in_reply_to, thread_id, from_address, \
         to_addresses, cc_addresses, subject, body_text, attachments, disclosure_added, raw_name, counted, \
         next_attempt_at, sent_copy, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?17)",
    )?
    .execute(params![
        effect_id.0,
        purpose.job_id.map(|id| id.0),
        purpose.kind.as_str(),
        purpose.once,
        letter.message_id,
        letter.in_reply_to,
        purpose.thread_id,
        letter.from.email.to_string(),
        addresses(&letter.to)?,
        addresses(&letter.cc)?,
        letter.subject,
        letter.text,
        to_json(&letter.attachments)?,
        letter.disclosed,
        raw_name,
        counted,
        micros(now),
        // Whether a copy is wanted; it becomes due when the mail is sent.
        if copy { "due" } else { "none" },
    ])?;
    Ok(conn.last_insert_rowid())
}

/// What was told once.
pub(super) fn by_once(conn: &Connection, once: &str) -> Result<Option<Queued>> {
    let found = conn
        .prepare_cached("SELECT id, effect_id FROM outbox WHERE once = ?1")?
        .query_row([once], |row| Ok(Queued { id: row.get(0)?, effect_id: EffectId(row.get(1)?) }))
        .optional()?;
    Ok(found)
}

/// Mails that count against the limits: all but those that certainly did not go out.
pub(super) fn counted_since(conn: &Connection, since: Timestamp) -> Result<i64> {
    let count = conn
        .prepare_cached(
            "SELECT count(*) FROM outbox JOIN effects ON effects.id = outbox.effect_id \
             WHERE outbox.counted = 1 AND outbox.created_at > ?1 AND effects.state <> 'failed'",
        )?
        .query_row([micros(since)], |row| row.get(0))?;
    Ok(count)
}

macro_rules! due_columns {
    () => {
        "outbox.id, outbox.effect_id, outbox.message_id, outbox.from_address, outbox.to_addresses, \
         outbox.cc_addresses, outbox.raw_name, outbox.attempts, outbox.created_at, \
         effects.dispatched_at"
    };
}

fn due_row(row: &Row<'_>) -> rusqlite::Result<Result<Due>> {
    let from: String = row.col("from_address")?;
    let mut to: Vec<String> = row.json("to_addresses")?;
    to.extend(row.json::<Vec<String>>("cc_addresses")?);
    let address = |text: &String| text.parse::<Address>().map_err(|err| Error::internal(format!("{text}: {err}")));
    let addresses = || Ok((address(&from)?, to.iter().map(address).collect::<Result<_>>()?));
    let (from, recipients) = match addresses() {
        Ok(found) => found,
        Err(err) => return Ok(Err(err)),
    };
    Ok(Ok(Due {
        id: row.col("id")?,
        effect_id: EffectId(row.col("effect_id")?),
        message_id: row.col("message_id")?,
        from,
        recipients,
        raw_name: row.col("raw_name")?,
        attempts: row.col("attempts")?,
        created_at: row.time("created_at")?,
        dispatched_at: row.opt_time("dispatched_at")?,
    }))
}

/// What is to be handed over, the longest due first.
pub(super) fn due(conn: &Connection, now: Timestamp, limit: u32) -> Result<Vec<Due>> {
    conn.prepare_cached(concat!(
        "SELECT ",
        due_columns!(),
        " FROM outbox JOIN effects ON effects.id = outbox.effect_id \
         WHERE outbox.next_attempt_at <= ?1 AND effects.state = 'prepared' \
         ORDER BY outbox.next_attempt_at, outbox.id LIMIT ?2"
    ))?
    .query_map((micros(now), limit), due_row)?
    .map(|row| row?)
    .collect()
}

/// What was under way when the daemon ended.
pub(super) fn under_way(conn: &Connection) -> Result<Vec<Due>> {
    conn.prepare_cached(concat!(
        "SELECT ",
        due_columns!(),
        " FROM effects INDEXED BY effects_open JOIN outbox ON outbox.effect_id = effects.id \
         WHERE effects.state IN ('prepared', 'dispatched', 'unknown') AND effects.state = 'dispatched' ORDER BY outbox.id"
    ))?
    .query_map([], due_row)?
    .map(|row| row?)
    .collect()
}

/// When the next mail is due.
pub(super) fn next_due(conn: &Connection) -> Result<Option<Timestamp>> {
    let at: Option<i64> = conn
        .prepare_cached("SELECT min(next_attempt_at) FROM outbox WHERE next_attempt_at IS NOT NULL")?
        .query_row([], |row| row.get(0))?;
    Ok(at.map(timestamp).transpose()?)
}

/// `prepared -> dispatched`, unless everything is stopped or the job was cancelled.
pub(super) fn begin(conn: &Connection, now: Timestamp, due: &Due) -> Result<Gate> {
    if jobs::stopped(conn)?.is_some() {
        return Ok(Gate::Stopped);
    }
    let found: Option<(String, String, Option<String>)> = conn
        .prepare_cached(
            "SELECT effects.state, outbox.kind, jobs.status FROM outbox \
             JOIN effects ON effects.id = outbox.effect_id LEFT JOIN jobs ON jobs.id = outbox.job_id \
             WHERE outbox.id = ?1",
        )?
        .query_row([due.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((state, kind, status)) = found else { return Ok(Gate::Closed) };
    if state != EffectState::Prepared.as_str() {
        return Ok(Gate::Closed);
    }
    if kind == "agent" && status.as_deref() == Some(JobStatus::Cancelled.as_str()) {
        failed(conn, now, due, "the job was cancelled before the mail went out")?;
        return Ok(Gate::Closed);
    }
    ledger::dispatch(conn, now, due.effect_id)?;
    conn.prepare_cached("UPDATE outbox SET attempts = attempts + 1 WHERE id = ?1")?.execute([due.id])?;
    Ok(Gate::Open)
}

/// The server has taken it.
pub(super) fn confirmed(conn: &Connection, now: Timestamp, due: &Due, answer: &str, refused: &[Refused]) -> Result<()> {
    let detail = json!({ "answer": answer, "refused": refused });
    ledger::settle(conn, now, due.effect_id, EffectState::Confirmed, Some(&detail))?;
    conn.prepare_cached("UPDATE outbox SET next_attempt_at = NULL, answer = ?2, sent_at = ?3 WHERE id = ?1")?
        .execute((due.id, answer, micros(now)))?;
    Ok(())
}

/// It was certainly not taken, and is tried again at `next`.
pub(super) fn later(conn: &Connection, due: &Due, answer: &str, next: Timestamp, dispatched: bool) -> Result<()> {
    if dispatched {
        ledger::postpone(conn, due.effect_id)?;
    }
    conn.prepare_cached("UPDATE outbox SET next_attempt_at = ?2, answer = ?3, attempts = attempts + ?4 WHERE id = ?1")?
        .execute((due.id, micros(next), answer, i64::from(!dispatched)))?;
    Ok(())
}

/// It was certainly not taken, and is not tried again.
pub(super) fn failed(conn: &Connection, now: Timestamp, due: &Due, answer: &str) -> Result<()> {
    ledger::settle(conn, now, due.effect_id, EffectState::Failed, Some(&json!({ "reason": answer })))?;
    conn.prepare_cached("UPDATE outbox SET next_attempt_at = NULL, answer = ?2, sent_copy = 'none' WHERE id = ?1")?
        .execute((due.id, answer))?;
    Ok(())
}

/// Nobody can tell whether it was taken: a person has to look.
pub(super) fn unknown(conn: &Connection, now: Timestamp, due: &Due, why: &str) -> Result<()> {
    ledger::settle(conn, now, due.effect_id, EffectState::Unknown, Some(&json!({ "reason": why })))?;
    conn.prepare_cached("UPDATE outbox SET next_attempt_at = NULL, answer = ?2, sent_copy = 'none' WHERE id = ?1")?
        .execute((due.id, why))?;
    Ok(())
}

/// Has a mail sent again of which nobody knows whether it arrived; the same message with the same id, so that its receiver
/// can tell.
pub(crate) fn send_again(conn: &Connection, now: Timestamp, id: i64, by: &str) -> Result<()> {
    let (effect_id, raw_name) = conn
        .prepare_cached("SELECT effect_id, raw_name FROM outbox WHERE id = ?1")?
        .query_row([id], |row| Ok((row.col("effect_id").map(EffectId)?, row.col::<Option<String>>("raw_name")?)))
        .optional()?
        .ok_or_else(|| Error::not_found("mail in the outbox", id))?;
    if raw_name.is_none() {
        return Err(Error::conflict("the message itself is not kept any more"));
    }
    ledger::repeat(conn, now, effect_id, by)?;
    conn.prepare_cached("UPDATE outbox SET next_attempt_at = ?2 WHERE id = ?1")?.execute((id, micros(now)))?;
    Ok(())
}

/// Where the mail of an effect stands.
pub(in crate::mail) fn stands(conn: &Connection, effect_id: EffectId) -> Result<Option<Stands>> {
    let found = conn
        .prepare_cached(
            "SELECT outbox.*, effects.state, json_extract(effects.detail, '$.refused') AS refused FROM outbox \
             JOIN effects ON effects.id = outbox.effect_id WHERE outbox.effect_id = ?1",
        )?
        .query_row([effect_id.0], |row| {
            let state: String = row.col("state")?;
            Ok(Stands {
                id: row.col("id")?,
                effect_id,
                state: state.parse().unwrap_or(EffectState::Unknown),
                message_id: row.col("message_id")?,
                in_reply_to: row.col("in_reply_to")?,
                attachments: row.json("attachments")?,
                disclosure_added: row.col("disclosure_added")?,
                answer: row.col("answer")?,
                sent_copy: row.col("sent_copy")?,
                refused: row.opt_json("refused")?.unwrap_or_default(),
                next_attempt_at: row.opt_time("next_attempt_at")?,
            })
        })
        .optional()?;
    Ok(found)
}

/// Copies that are to be made of what was sent, the oldest first.
pub(super) fn copies(conn: &Connection, limit: u32) -> Result<Vec<Copy>> {
    let found = conn
        .prepare_cached(
            "SELECT id, message_id, raw_name, sent_at, sent_copy_error FROM outbox \
             WHERE sent_copy = 'due' AND sent_at IS NOT NULL ORDER BY sent_copy_error IS NOT NULL, id LIMIT ?1",
        )?
        .query_map([limit], |row| {
            Ok(Copy {
                id: row.col("id")?,
                message_id: row.col("message_id")?,
                raw_name: row.col("raw_name")?,
                sent_at: row.time("sent_at")?,
                tried: row.col::<Option<String>>("sent_copy_error")?.is_some(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

/// A copy is about to be made: should the daemon end now, it is looked for first.
pub(super) fn copying(conn: &Connection, id: i64) -> Result<()> {
    conn.prepare_cached("UPDATE outbox SET sent_copy_error = 'not finished' WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// A copy lies in its folder.
pub(super) fn copied(conn: &Connection, id: i64) -> Result<()> {
    conn.prepare_cached("UPDATE outbox SET sent_copy = 'done', sent_copy_error = NULL WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// A copy could not be made; `over`: it is not tried again.
pub(super) fn not_copied(conn: &Connection, id: i64, why: &str, over: bool) -> Result<()> {
    conn.prepare_cached(
        "UPDATE outbox SET sent_copy = CASE WHEN ?3 THEN 'failed' ELSE sent_copy END, sent_copy_error = ?2 WHERE id = ?1",
    )?
    .execute((id, why, over))?;
    Ok(())
}

/// Removes mails that are settled since before `before`; how many. Their files go with the next sweep.
///
/// # Errors
/// What the database says.
pub fn purge(conn: &Connection, before: Timestamp, limit: u32) -> Result<usize> {
    let removed = conn
        .prepare_cached(
            "DELETE FROM outbox WHERE id IN (\
             SELECT outbox.id FROM outbox CROSS JOIN effects ON effects.id = outbox.effect_id \
             WHERE outbox.created_at < ?1 AND outbox.sent_copy <> 'due' AND effects.state IN ('confirmed', 'failed') \
             ORDER BY outbox.created_at LIMIT ?2)",
        )?
        .execute((micros(before), limit))?;
    Ok(removed)
}

/// The files that mails of the outbox have.
pub(super) fn raw_names(conn: &Connection) -> Result<BTreeSet<String>> {
    let found = conn
        .prepare_cached("SELECT raw_name FROM outbox WHERE raw_name IS NOT NULL")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

/// The texts that a job itself has written to an address since then, but for those that did not go out.
pub(super) fn written_to(conn: &Connection, job: JobId, address: &str, since: Timestamp) -> Result<Vec<String>> {
    let bodies = conn
        .prepare_cached(
            "SELECT body_text FROM outbox JOIN effects ON effects.id = outbox.effect_id, \
             json_each(outbox.to_addresses) AS recipient \
             WHERE outbox.job_id = ?1 AND outbox.kind = 'agent' AND lower(recipient.value) = lower(?2) \
             AND outbox.created_at >= ?3 AND effects.state <> 'failed'",
        )?
        .query_map((job.0, address, micros(since)), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(bodies)
}
