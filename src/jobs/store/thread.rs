//! The thread that a job belongs to.

use assistant_api::{EmailId, JobId, jobs::Email};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::steps::lost;
use crate::{
    error::Result,
    jobs::Lease,
    store::types::{RowExt as _, micros},
};

fn from_row(row: &Row<'_>) -> rusqlite::Result<Email> {
    Ok(Email {
        id: EmailId(row.col("id")?),
        message_id: row.col("message_id")?,
        in_reply_to: row.col("in_reply_to")?,
        references_header: row.json("references_header")?,
        thread_id: row.col("thread_id")?,
        from_address: row.col("from_address")?,
        to_addresses: row.json("to_addresses")?,
        cc_addresses: row.json("cc_addresses")?,
        subject: row.col("subject")?,
        body_text: row.col("body_text")?,
        body_html: row.col("body_html")?,
        attachments: row.json("attachments")?,
        received_at: row.time("received_at")?,
        downloaded_at: row.time("downloaded_at")?,
        folder: row.col("folder")?,
        is_actionable: row.col("is_actionable")?,
        created_at: row.time("created_at")?,
    })
}

/// The newest `limit` items of a thread, oldest first.
pub fn thread(conn: &Connection, thread_id: &str, limit: i64) -> Result<Vec<Email>> {
    until(conn, thread_id, None, limit)
}

/// The newest `limit` items of a thread that came before `end`, oldest first.
pub(in crate::jobs) fn until(
    conn: &Connection,
    thread_id: &str,
    end: Option<Timestamp>,
    limit: i64,
) -> Result<Vec<Email>> {
    let mut found: Vec<_> = conn
        .prepare_cached(
            "SELECT * FROM emails WHERE thread_id = ?1 AND received_at <= ?2 \
             ORDER BY received_at DESC, id DESC LIMIT ?3",
        )?
        .query_map((thread_id, end.map_or(i64::MAX, micros), limit), from_row)?
        .collect::<rusqlite::Result<_>>()?;
    found.reverse();
    Ok(found)
}

/// The newest `limit` mails of a job and those before it in its thread that went out to people, oldest first.
pub(in crate::jobs) fn sent(conn: &Connection, thread_id: &str, job_id: JobId, limit: i64) -> Result<Vec<Email>> {
    let mut found: Vec<_> = conn
        .prepare_cached(
            "SELECT outbox.id, message_id, in_reply_to, '[]' AS references_header, ?1 AS thread_id, from_address, \
             to_addresses, cc_addresses, subject, body_text, NULL AS body_html, attachments, sent_at AS received_at, \
             sent_at AS downloaded_at, 'Sent' AS folder, 0 AS is_actionable, created_at FROM outbox \
             WHERE job_id IN (SELECT id FROM jobs WHERE jobs.thread_id = ?1 AND id <= ?2) AND sent_at IS NOT NULL \
             AND kind NOT IN ('notice', 'test') ORDER BY sent_at DESC, outbox.id DESC LIMIT ?3",
        )?
        .query_map((thread_id, job_id.0, limit), from_row)?
        .collect::<rusqlite::Result<_>>()?;
    found.reverse();
    Ok(found)
}

/// One item.
pub fn email(conn: &Connection, id: EmailId) -> Result<Option<Email>> {
    let found = conn.prepare_cached("SELECT * FROM emails WHERE id = ?1")?.query_row([id.0], from_row).optional()?;
    Ok(found)
}

/// The open job of a thread; there is one at most.
pub fn open_job(conn: &Connection, thread_id: &str) -> Result<Option<JobId>> {
    let found = conn
        .prepare_cached(
            "SELECT id FROM jobs WHERE thread_id = ?1 AND status IN ('queued', 'running', 'waiting', 'needs_review')",
        )?
        .query_row([thread_id], |row| row.get(0).map(JobId))
        .optional()?;
    Ok(found)
}

/// Says that what was new has been read, and whether there was anything. Belongs in the write that reads the thread and
/// stores the step that carries it: whatever comes later sets the flag again.
///
/// # Errors
/// `conflict` when the lease is no longer held.
pub fn clear_new_context(conn: &Connection, lease: &Lease) -> Result<bool> {
    let had: bool = conn
        .prepare_cached("SELECT has_new_context FROM jobs WHERE id = ?1 AND lease = ?2 AND status = 'running'")?
        .query_row((lease.job_id.0, lease.token), |row| row.get(0))
        .optional()?
        .ok_or_else(|| lost(lease.job_id))?;
    if had {
        conn.prepare_cached("UPDATE jobs SET has_new_context = 0 WHERE id = ?1")?.execute([lease.job_id.0])?;
    }
    Ok(had)
}

/// Tells an open job that its thread has grown.
pub fn set_new_context(conn: &Connection, job_id: JobId) -> Result<()> {
    conn.prepare_cached(
        "UPDATE jobs SET has_new_context = 1 \
         WHERE id = ?1 AND status IN ('queued', 'running', 'waiting', 'needs_review')",
    )?
    .execute([job_id.0])?;
    Ok(())
}
