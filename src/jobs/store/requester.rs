//! Who asked for a job by mail, as far as the mail system proved it.

use assistant_api::JobId;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::instructions::{self, InstructionKind};
use crate::{error::Result, policy::Origin, store::types::RowExt as _};

/// The one that may be told what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// Verified.
    pub address: String,
    /// Of the newest mail of theirs in the thread, with its angle brackets.
    pub message_id: String,
    /// What that mail refers to, the oldest first.
    pub references: Vec<String>,
    pub subject: String,
    /// When that mail came.
    pub last_at: Timestamp,
}

/// Whose mail made the job; `None` for one that was made in another way, or whose sender nothing proves.
pub fn requester(conn: &Connection, job: JobId) -> Result<Option<Requester>> {
    let found: Option<(String, String)> = conn
        .prepare_cached(
            "SELECT mail_received.from_address, jobs.thread_id FROM jobs \
             JOIN mail_received ON mail_received.email_id = jobs.trigger_email_id \
             WHERE jobs.id = ?1 AND mail_received.verified = 1 AND mail_received.from_address IS NOT NULL LIMIT 1",
        )?
        .query_row([job.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((address, thread_id)) = found else { return Ok(None) };
    let found = conn
        .prepare_cached(
            "SELECT emails.message_id, emails.references_header, emails.subject, emails.received_at FROM emails \
             JOIN mail_received ON mail_received.email_id = emails.id \
             WHERE emails.thread_id = ?1 AND mail_received.verified = 1 \
             AND lower(mail_received.from_address) = lower(?2) ORDER BY emails.received_at DESC, emails.id DESC LIMIT 1",
        )?
        .query_row((&thread_id, &address), |row| {
            Ok(Requester {
                address: address.clone(),
                message_id: row.col("message_id")?,
                references: row.json("references_header")?,
                subject: row.col("subject")?,
                last_at: row.time("received_at")?,
            })
        })
        .optional()?;
    Ok(found)
}

/// Whether a job has not ended; `false` for one that is gone.
pub fn is_open(conn: &Connection, job: JobId) -> Result<bool> {
    let status = conn
        .prepare_cached("SELECT status FROM jobs WHERE id = ?1")?
        .query_row([job.0], super::row::status)
        .optional()?;
    Ok(status.is_some_and(assistant_api::jobs::JobStatus::is_open))
}

/// Tells an open job what the program itself found out; `false`: it has ended, and is not started over for that.
pub fn tell(conn: &Connection, now: Timestamp, job: JobId, text: &str, by: &str) -> Result<bool> {
    let open = is_open(conn, job)?;
    if open {
        instructions::insert(conn, now, job, InstructionKind::Instruction, text, by, Origin::Host)?;
    }
    Ok(open)
}

/// The thread of a job, or `not_found`.
pub fn thread_of(conn: &Connection, job: JobId) -> Result<String> {
    conn.prepare_cached("SELECT thread_id FROM jobs WHERE id = ?1")?
        .query_row([job.0], |row| row.get(0))
        .optional()?
        .ok_or_else(|| crate::error::Error::not_found("job", job))
}
