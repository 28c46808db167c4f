//! SQL of the cursor.

use assistant_api::{EventId, JobId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::{error::Result, store::types::micros};

/// The last event that is dealt with; `None` while nobody is to be told.
pub(super) fn cursor(conn: &Connection) -> Result<Option<EventId>> {
    let value: Option<String> = conn
        .prepare_cached("SELECT value FROM runtime_state WHERE key = 'notify.cursor'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(value.and_then(|id| id.parse().ok()))
}

/// Moves the cursor forward, never back.
pub(super) fn advance(conn: &Connection, now: Timestamp, to: EventId) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO runtime_state (key, value, updated_at) VALUES ('notify.cursor', ?1, ?2) \
         ON CONFLICT DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at \
         WHERE CAST(value AS INTEGER) < CAST(excluded.value AS INTEGER)",
    )?
    .execute((to.to_string(), micros(now)))?;
    Ok(())
}

/// Nobody is to be told any more.
pub(super) fn forget(conn: &Connection) -> Result<()> {
    conn.prepare_cached("DELETE FROM runtime_state WHERE key = 'notify.cursor'")?.execute([])?;
    Ok(())
}

/// What a job is about; `None` when it is gone.
pub(super) fn subject(conn: &Connection, job: JobId) -> Result<Option<String>> {
    let subject = conn
        .prepare_cached(
            "SELECT coalesce(emails.subject, jobs.task_summary) FROM jobs \
             LEFT JOIN emails ON emails.id = jobs.trigger_email_id WHERE jobs.id = ?1",
        )?
        .query_row([job.0], |row| row.get(0))
        .optional()?;
    Ok(subject)
}
