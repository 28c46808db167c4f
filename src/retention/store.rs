//! SQL of the pass. Only what belongs to ended jobs goes; an open job keeps everything.

use assistant_api::JobId;
use jiff::Timestamp;
use rusqlite::Connection;

use crate::{error::Result, store::types::micros};

/// Log rows of ended jobs.
pub(super) fn purge_logs(conn: &Connection, before: Timestamp, limit: u32) -> Result<usize> {
    // CROSS JOIN keeps the order of the tables: rows by age, their job by its id (sqlite.org/optoverview.html).
    let removed = conn
        .prepare_cached(
            "DELETE FROM task_logs WHERE id IN (\
             SELECT task_logs.id FROM task_logs CROSS JOIN jobs ON jobs.id = task_logs.job_id \
             WHERE task_logs.created_at < ?1 AND jobs.status IN ('completed', 'failed', 'cancelled') \
             ORDER BY task_logs.created_at LIMIT ?2)",
        )?
        .execute((micros(before), limit))?;
    Ok(removed)
}

/// Jobs that ended before `before` and still have steps. Walks from job to job in `steps`, which holds only those of a
/// retention time, and not through all jobs that ever were.
pub(super) fn jobs_with_old_steps(conn: &Connection, before: Timestamp, limit: u32) -> Result<Vec<JobId>> {
    let found = conn
        .prepare_cached(
            "WITH RECURSIVE held (job_id) AS (\
             SELECT min(job_id) FROM steps \
             UNION ALL SELECT (SELECT min(job_id) FROM steps WHERE job_id > held.job_id) FROM held \
             WHERE held.job_id IS NOT NULL) \
             SELECT jobs.id FROM held CROSS JOIN jobs ON jobs.id = held.job_id \
             WHERE jobs.status IN ('completed', 'failed', 'cancelled') \
             AND coalesce(jobs.completed_at, jobs.updated_at) < ?1 LIMIT ?2",
        )?
        .query_map((micros(before), limit), |row| row.get(0).map(JobId))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

/// The oldest steps of one job, if it is still ended, and the texts that nobody else uses.
pub(super) fn purge_steps(conn: &Connection, job: JobId, before: Timestamp, limit: u32) -> Result<usize> {
    let ended = conn
        .prepare_cached(
            "SELECT 1 FROM jobs WHERE id = ?1 AND status IN ('completed', 'failed', 'cancelled') \
             AND coalesce(completed_at, updated_at) < ?2",
        )?
        .exists((job.0, micros(before)))?;
    if !ended {
        return Ok(0);
    }
    let texts: Vec<Vec<u8>> = conn
        .prepare_cached(
            "SELECT DISTINCT text_hash FROM (SELECT text_hash FROM steps WHERE job_id = ?1 ORDER BY seq LIMIT ?2) \
             WHERE text_hash IS NOT NULL",
        )?
        .query_map((job.0, limit), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let removed = conn
        .prepare_cached(
            "DELETE FROM steps WHERE job_id = ?1 AND seq IN \
             (SELECT seq FROM steps WHERE job_id = ?1 ORDER BY seq LIMIT ?2)",
        )?
        .execute((job.0, limit))?;
    for hash in texts {
        conn.prepare_cached(
            "DELETE FROM texts WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM steps WHERE text_hash = ?1)",
        )?
        .execute([hash])?;
    }
    Ok(removed)
}

/// Records of what was done by hand.
pub(super) fn purge_manual_events(conn: &Connection, before: Timestamp, limit: u32) -> Result<usize> {
    let removed = conn
        .prepare_cached(
            "DELETE FROM manual_events WHERE id IN \
             (SELECT id FROM manual_events WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)",
        )?
        .execute((micros(before), limit))?;
    Ok(removed)
}
