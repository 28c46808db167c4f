//! New jobs: the thread's first item and the job, together.

use assistant_api::{
    JobId,
    jobs::{Job, Metadata},
};
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::row;
use crate::{
    error::Result,
    events,
    policy::Origin,
    store::types::{micros, to_json},
};

/// A job to be made, with its values already checked.
#[derive(Clone, Debug)]
pub struct Creation {
    pub subject: String,
    pub body: String,
    /// A label; gives no rights.
    pub from_address: String,
    pub to_address: String,
    pub origin: Origin,
    pub priority: i64,
    pub max_attempts: i64,
    pub run_at: Timestamp,
    /// Held in `waiting` until it is released.
    pub hold: bool,
    pub attachments: Vec<Value>,
    pub metadata: Metadata,
    pub parent_job_id: Option<JobId>,
    /// Domain of the message id that is made for it.
    pub domain: String,
    /// Who asked, for the record.
    pub created_by: String,
}

/// Writes the thread item, the job, the record of who asked, and the event.
pub fn insert(conn: &Connection, now: Timestamp, new: &Creation) -> Result<Job> {
    let (email_id, thread_id) = insert_email(conn, now, new)?;
    insert_job(conn, now, new, email_id, &thread_id)
}

/// As [`insert`], for an item that is in its thread already.
pub fn insert_job(conn: &Connection, now: Timestamp, new: &Creation, email_id: i64, thread_id: &str) -> Result<Job> {
    let mut metadata = new.metadata.clone();
    if let Some(parent) = new.parent_job_id {
        metadata.insert("parent_job_id".into(), parent.0.into());
    }
    let status = if new.hold { "waiting" } else { "queued" };
    let job = conn
        .prepare_cached(concat!(
            "INSERT INTO jobs (thread_id, trigger_email_id, parent_job_id, status, priority, max_attempts, run_at, \
             task_summary, metadata, needs, last_error, created_at, updated_at, later) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?7 > ?12) RETURNING ",
            row::job_columns!()
        ))?
        .query_row(
            rusqlite::params![
                thread_id,
                email_id,
                new.parent_job_id.map(|id| id.0),
                status,
                new.priority,
                new.max_attempts,
                micros(new.run_at),
                new.subject,
                to_json(&metadata)?,
                new.hold.then_some("release"),
                new.hold.then_some("held until its attachments are in place"),
                micros(now),
            ],
            row::from_row,
        )?;
    record(conn, now, "job_created", job.id, &json!({ "job_id": job.id, "by": new.created_by }))?;
    events::emit(conn, now, "job.created", Some(job.id), &json!({ "status": job.status, "subject": new.subject }))?;
    Ok(job)
}

/// The item with a message id of its own, which is also the thread's: `<manual-{µs}@{domain}>`.
fn insert_email(conn: &Connection, now: Timestamp, new: &Creation) -> Result<(i64, String)> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO emails (message_id, thread_id, from_address, to_addresses, subject, body_text, attachments, \
         origin, received_at, downloaded_at, is_actionable, created_at) \
         VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, 1, ?8) ON CONFLICT (message_id) DO NOTHING",
    )?;
    let to = to_json(&[&new.to_address])?;
    let attachments = to_json(&new.attachments)?;
    let mut stamp = micros(now);
    loop {
        let message_id = format!("<manual-{stamp}@{}>", new.domain);
        let origin = new.origin.as_str();
        let values = (&message_id, &new.from_address, &to, &new.subject, &new.body, &attachments, origin, micros(now));
        if insert.execute(values)? == 1 {
            return Ok((conn.last_insert_rowid(), message_id));
        }
        // Two requests of the same microsecond.
        stamp += fastrand::i64(1..1_000_000);
    }
}

/// Writes down what a person or a program did by hand.
pub fn record(conn: &Connection, now: Timestamp, event: &str, job_id: JobId, payload: &Value) -> Result<()> {
    conn.prepare_cached("INSERT INTO manual_events (event_type, job_id, payload, created_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((event, job_id.0, payload.to_string(), micros(now)))?;
    Ok(())
}
