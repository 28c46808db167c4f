//! SQL of the messages.

use assistant_api::JobId;
use rusqlite::{Connection, OptionalExtension as _};

use crate::error::Result;

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
