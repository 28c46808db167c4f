//! SQL of the event stream.

pub(super) mod cursor;

use assistant_api::{EventId, JobId};
use jiff::Timestamp;
use rusqlite::{Connection, Row};

use crate::{
    error::Result,
    store::types::{RowExt as _, micros},
};

/// One entry; `data` is JSON text as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub id: EventId,
    pub kind: String,
    pub job_id: Option<JobId>,
    pub data: String,
    pub at: Timestamp,
}

impl Stored {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: EventId(row.col("id")?),
            kind: row.col("kind")?,
            job_id: row.col::<Option<i64>>("job_id")?.map(JobId),
            data: row.col("data")?,
            at: row.time("created_at")?,
        })
    }
}

pub(super) fn insert(
    conn: &Connection,
    now: Timestamp,
    kind: &str,
    job_id: Option<JobId>,
    data: &str,
) -> Result<EventId> {
    conn.prepare_cached("INSERT INTO events (kind, job_id, data, created_at) VALUES (?1, ?2, ?3, ?4)")?.execute((
        kind,
        job_id.map(|id| id.0),
        data,
        micros(now),
    ))?;
    Ok(EventId(conn.last_insert_rowid()))
}

pub(super) fn amend(conn: &Connection, now: Timestamp, kind: &str, job_id: JobId, data: &str) -> Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE events SET data = ?4 WHERE id = (SELECT max(id) FROM events) AND kind = ?2 AND job_id = ?3 \
             AND created_at = ?1",
        )?
        .execute((micros(now), kind, job_id.0, data))?;
    Ok(changed == 1)
}

/// At most `limit` entries after `last`, oldest first; of one job, if one is named.
pub fn after(conn: &Connection, last: EventId, job_id: Option<JobId>, limit: u32) -> Result<Vec<Stored>> {
    let rows = match job_id {
        None => conn
            .prepare_cached("SELECT id, kind, job_id, data, created_at FROM events WHERE id > ?1 ORDER BY id LIMIT ?2")?
            .query_map((last.0, limit), Stored::from_row)?
            .collect::<rusqlite::Result<_>>(),
        Some(job) => conn
            .prepare_cached(
                "SELECT id, kind, job_id, data, created_at FROM events \
                 WHERE job_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            )?
            .query_map((job.0, last.0, limit), Stored::from_row)?
            .collect(),
    };
    Ok(rows?)
}

/// Ids of the oldest entry that is kept and of the newest that was ever written: `(newest + 1, newest)` when none is
/// kept, `(1, 0)` before the first.
pub fn bounds(conn: &Connection) -> Result<(EventId, EventId)> {
    let newest: i64 = conn
        .prepare_cached("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)")?
        .query_row([], |row| row.get(0))?;
    let oldest: Option<i64> = conn.prepare_cached("SELECT min(id) FROM events")?.query_row([], |row| row.get(0))?;
    Ok((EventId(oldest.unwrap_or(newest + 1)), EventId(newest)))
}

/// Removes those of the oldest `limit` entries that are older than `before`, and returns how many; ids are never used
/// again. Entries are in the order of time, so no index over it is needed.
pub fn purge(conn: &Connection, before: Timestamp, limit: u32) -> Result<usize> {
    let removed = conn
        .prepare_cached(
            "DELETE FROM events WHERE id IN \
             (SELECT id FROM (SELECT id, created_at FROM events ORDER BY id LIMIT ?2) WHERE created_at < ?1)",
        )?
        .execute((micros(before), limit))?;
    Ok(removed)
}
