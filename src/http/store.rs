//! SQL of answers that are kept for repeated requests.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::{error::Result, store::types::micros};

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: Bytes,
}

/// What is known of a key when a request comes with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// Nothing; it is on record as started now.
    Fresh,
    Answered(Answer),
    /// Started, and never answered.
    Unknown,
    /// Used for another request.
    Other,
}

/// Looks a key up and records it as started if it is new, or older than `horizon`.
pub(super) fn begin(
    conn: &Connection,
    now: Timestamp,
    horizon: Timestamp,
    caller: &str,
    key: &str,
    hash: &[u8; 32],
) -> Result<Begin> {
    conn.prepare_cached("DELETE FROM idempotency WHERE caller = ?1 AND key = ?2 AND created_at < ?3")?.execute((
        caller,
        key,
        micros(horizon),
    ))?;
    let known = conn
        .prepare_cached(
            "SELECT request_hash, status, content_type, body FROM idempotency WHERE caller = ?1 AND key = ?2",
        )?
        .query_row((caller, key), |row| {
            let other = row.get::<_, [u8; 32]>(0)? != *hash;
            let status: Option<u16> = row.get(1)?;
            Ok(match status {
                _ if other => Begin::Other,
                None => Begin::Unknown,
                Some(status) => Begin::Answered(Answer {
                    status,
                    content_type: row.get(2)?,
                    body: row.get::<_, Option<Vec<u8>>>(3)?.unwrap_or_default().into(),
                }),
            })
        })
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    conn.prepare_cached("INSERT INTO idempotency (caller, key, request_hash, created_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((caller, key, hash, micros(now)))?;
    Ok(Begin::Fresh)
}

/// Keeps the answer.
pub(super) fn answer(conn: &Connection, caller: &str, key: &str, answer: &Answer) -> Result<()> {
    conn.prepare_cached(
        "UPDATE idempotency SET status = ?3, content_type = ?4, body = ?5 WHERE caller = ?1 AND key = ?2",
    )?
    .execute((caller, key, answer.status, &answer.content_type, &answer.body[..]))?;
    Ok(())
}

/// Frees a key whose request did nothing.
pub(super) fn forget(conn: &Connection, caller: &str, key: &str) -> Result<()> {
    conn.prepare_cached("DELETE FROM idempotency WHERE caller = ?1 AND key = ?2")?.execute((caller, key))?;
    Ok(())
}

/// Removes at most `limit` keys older than `before` (see [`super::idempotency::horizon`]) and returns how many.
pub fn purge(conn: &Connection, before: Timestamp, limit: u32) -> Result<usize> {
    let removed = conn
        .prepare_cached(
            "DELETE FROM idempotency WHERE (caller, key) IN \
             (SELECT caller, key FROM idempotency WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)",
        )?
        .execute((micros(before), limit))?;
    Ok(removed)
}
