//! Forgetting a job: everything that was kept for it and for what it started, in one transaction.

use std::collections::BTreeSet;

use assistant_api::{
    JobId,
    jobs::{Erased, Metadata},
};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, ToSql};

use super::{change::family, row, spend};
use crate::{error::Result, store::types::micros};

/// Rows per table, zero counts left out.
#[derive(Default)]
struct Counts(Metadata);

impl Counts {
    fn add(&mut self, table: &str, rows: usize) {
        if rows > 0 {
            let before = self.0.get(table).and_then(serde_json::Value::as_u64).unwrap_or(0);
            self.0.insert(table.into(), (before + rows as u64).into());
        }
    }
}

/// Erases the job and every job that it started, in any state, with their logs, steps, instructions, approvals,
/// effects, events and records, and the stored answers that show it; then the items of threads that no other job belongs
/// to. Files stay.
pub(in crate::jobs) fn erase(conn: &Connection, root: JobId) -> Result<Erased> {
    row::get(conn, root)?;
    let jobs = family(conn, root)?;
    let mut counts = Counts::default();
    let mut threads = BTreeSet::new();
    let mut texts = BTreeSet::new();
    for id in &jobs {
        let job = row::get(conn, *id)?;
        threads.insert(job.thread_id);
        counts.add("idempotency", forget_answer(conn, *id, job.created_at)?);
        texts.extend(texts_of(conn, *id)?);
        spend::release_orphans(conn, Some(*id))?;
    }
    // Children first, so that the counts name every table and no cascade hides one.
    for (table, sql) in [
        ("task_logs", "DELETE FROM task_logs WHERE job_id = ?1"),
        ("steps", "DELETE FROM steps WHERE job_id = ?1"),
        ("supervisor_instructions", "DELETE FROM supervisor_instructions WHERE job_id = ?1"),
        ("approvals", "DELETE FROM approvals WHERE job_id = ?1"),
        ("effects", "DELETE FROM effects WHERE job_id = ?1"),
        ("events", "DELETE FROM events WHERE job_id = ?1"),
        ("manual_events", "DELETE FROM manual_events WHERE job_id = ?1"),
        ("jobs", "DELETE FROM jobs WHERE id = ?1"),
    ] {
        for id in &jobs {
            counts.add(table, execute(conn, sql, &[&id.0])?);
        }
    }
    for hash in texts {
        let sql = "DELETE FROM texts WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM steps WHERE text_hash = ?1)";
        counts.add("texts", execute(conn, sql, &[&hash])?);
    }
    let mut shared_thread_ids = Vec::new();
    for thread in &threads {
        if lives(conn, thread)? {
            shared_thread_ids.push(thread.clone());
        } else {
            execute(conn, FORGET_MAIL, &[thread])?;
            counts.add("emails", execute(conn, "DELETE FROM emails WHERE thread_id = ?1", &[thread])?);
        }
    }
    let thread_ids = threads.into_iter().collect();
    Ok(Erased { root_job_id: root, job_ids: jobs, thread_ids, shared_thread_ids, deleted: counts.0 })
}

/// The answer that is kept for a repetition of the request that made the job shows its title. The key stays taken, so
/// that a repetition makes no second job: it hears that what it asked for is gone (410).
fn forget_answer(conn: &Connection, id: JobId, created_at: Timestamp) -> Result<usize> {
    let minutes = |minutes| SignedDuration::from_mins(minutes);
    let from = created_at.checked_sub(minutes(10)).unwrap_or(Timestamp::MIN);
    let to = created_at.checked_add(minutes(10)).unwrap_or(Timestamp::MAX);
    execute(conn, ANSWERS, &[&id.0, &micros(from), &micros(to)])
}

pub(super) const ANSWERS: &str = "UPDATE idempotency SET status = 410, content_type = NULL, body = NULL \
     WHERE created_at BETWEEN ?2 AND ?3 AND body IS NOT NULL AND json_valid(CAST(body AS TEXT)) \
     AND json_extract(CAST(body AS TEXT), '$.job.id') = ?1";

/// That the mail came is kept, so that it is decided about once; not who wrote it and about what. Its file goes with the
/// next pass over those that no item needs.
const FORGET_MAIL: &str = "UPDATE mail_received SET subject = NULL, from_address = NULL, headers = '[]', \
     verification = '{}', reason = 'what was made of it was erased' \
     WHERE email_id IN (SELECT id FROM emails WHERE thread_id = ?1)";

fn execute(conn: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<usize> {
    Ok(conn.prepare_cached(sql)?.execute(values)?)
}

fn texts_of(conn: &Connection, id: JobId) -> Result<Vec<Vec<u8>>> {
    let found = conn
        .prepare_cached("SELECT DISTINCT text_hash FROM steps WHERE job_id = ?1 AND text_hash IS NOT NULL")?
        .query_map([id.0], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

/// Whether a job that is still there belongs to the thread.
fn lives(conn: &Connection, thread: &str) -> Result<bool> {
    let found = conn
        .prepare_cached("SELECT 1 FROM jobs WHERE thread_id = ?1 LIMIT 1")?
        .query_row([thread], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}
