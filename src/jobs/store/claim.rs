//! Claims, leases and their recovery. A lease counts in `CLOCK_MONOTONIC` of one boot, so neither a suspend nor a step
//! of the wall clock ends it.

use std::time::Duration;

use assistant_api::{
    JobId,
    jobs::{Job, JobStatus},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{
    row::{self, job_columns},
    spend,
    status::{self, Changed},
    steps::lost,
};
use crate::{
    error::{ErrorKind, Result},
    jobs::{Claimed, Lease, Overrides},
    store::types::{RowExt as _, micros, timestamp},
};

/// When a lease ends.
#[derive(Clone, Debug)]
pub struct Term {
    /// The boot that `until` belongs to.
    pub boot: String,
    pub until: Duration,
}

impl Term {
    fn until_micros(&self) -> i64 {
        monotonic_micros(self.until)
    }
}

/// A monotonic time as it is stored.
pub(super) fn monotonic_micros(at: Duration) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
}

/// Takes at most `max` jobs that are due, by priority, then age; none while everything is stopped. Jobs in `busy`, whose
/// former run has not ended yet, are passed over, and one whose row cannot be read goes to review instead of stopping
/// all others.
pub fn claim(conn: &Connection, now: Timestamp, term: &Term, busy: &[JobId], max: usize) -> Result<Vec<Claimed>> {
    let busy: Vec<i64> = busy.iter().map(|id| id.0).collect();
    let busy = serde_json::to_string(&busy)?;
    if max > 0 {
        conn.prepare_cached(NOW_DUE)?.execute([micros(now)])?;
    }
    let mut take = conn.prepare_cached(CLAIM)?;
    let mut claimed = Vec::new();
    while claimed.len() < max {
        let token = fastrand::i64(1..);
        let found = take
            .query_row((micros(now), token, &term.boot, term.until_micros(), &busy), |row| {
                Ok((JobId(row.col("id")?), readable(row)))
            })
            .optional()?;
        let Some((id, found)) = found else { break };
        let (job, epoch, overrides) = match found {
            Ok(found) => found,
            Err(err) => {
                tracing::error!(job_id = id.0, error = %err, "a job cannot be read; it goes to review");
                set_aside(conn, now, &Lease { job_id: id, token }, JobStatus::Queued)?;
                continue;
            }
        };
        let change = Changed { from: JobStatus::Queued, to: JobStatus::Running, reason: "" };
        status::changed(conn, now, job.id, &change, None)?;
        claimed.push(Claimed { lease: Lease { job_id: job.id, token }, epoch, overrides, job });
    }
    Ok(claimed)
}

/// The job, its epoch, and what was set for the run that begins.
fn readable(row: &Row<'_>) -> Result<(Job, i64, Overrides)> {
    let job = row::from_row(row)?;
    let overrides = Overrides::of(&job.metadata)?;
    Ok((job, row.col("epoch")?, overrides))
}

/// Ends the claim of a job whose row cannot be read. What could not be read is kept in `metadata.unreadable`, so that
/// the job can be shown.
fn set_aside(conn: &Connection, now: Timestamp, lease: &Lease, from: JobStatus) -> Result<()> {
    let reason = "what is stored of this job could not be read; metadata.unreadable has what was there";
    conn.prepare_cached(
        "UPDATE jobs SET status = 'needs_review', needs = 'review', last_error = ?3, attempts = attempts - 1, \
         metadata = CASE WHEN json_valid(metadata) AND json_type(metadata) = 'object' \
         THEN json_set(json_remove(metadata, '$.admin_review_override', '$.limits'), '$.unreadable', json_patch('{}', \
         json_object('admin_review_override', metadata -> '$.admin_review_override', 'limits', metadata -> '$.limits'))) \
         ELSE json_object('unreadable', metadata) END, \
         lease = NULL, lease_boot = NULL, lease_until = NULL, locked_at = NULL, locked_by = NULL, updated_at = ?4 \
         WHERE id = ?1 AND lease = ?2 AND status = 'running'",
    )?
    .execute((lease.job_id.0, lease.token, reason, micros(now)))?;
    let change = Changed { from, to: JobStatus::NeedsReview, reason };
    let needs = row::get(conn, lease.job_id).ok().and_then(|job| job.needs);
    status::changed(conn, now, lease.job_id, &change, needs.as_ref())
}

/// Jobs for later whose time has come.
pub(super) const NOW_DUE: &str =
    "UPDATE jobs INDEXED BY jobs_later SET later = 0 WHERE status = 'queued' AND later = 1 AND run_at <= ?1";
pub(super) const CLAIM: &str = concat!(
    "UPDATE jobs SET status = 'running', attempts = attempts + 1, lease = ?2, lease_boot = ?3, lease_until = ?4, \
     claimed_step = step_seq, locked_at = ?1, locked_by = 'worker', updated_at = ?1 \
     WHERE id = (SELECT id FROM jobs INDEXED BY jobs_claim WHERE status = 'queued' AND later = 0 AND run_at <= ?1 \
     AND id NOT IN (SELECT value FROM json_each(?5)) ORDER BY priority DESC, created_at, id LIMIT 1) \
     AND NOT EXISTS (SELECT 1 FROM runtime_state WHERE key = 'stopped') RETURNING ",
    job_columns!()
);

/// Says `conflict` unless the lease is held.
pub fn held(conn: &Connection, lease: &Lease) -> Result<()> {
    conn.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1 AND lease = ?2 AND status = 'running'")?
        .query_row((lease.job_id.0, lease.token), |_| Ok(()))
        .optional()?
        .ok_or_else(|| lost(lease.job_id))
}

/// Moves the end of a lease.
///
/// # Errors
/// `conflict` when it is no longer held.
pub fn renew(conn: &Connection, lease: &Lease, term: &Term) -> Result<()> {
    let changed = conn
        .prepare_cached(
            "UPDATE jobs SET lease_boot = ?3, lease_until = ?4 WHERE id = ?1 AND lease = ?2 AND status = 'running'",
        )?
        .execute((lease.job_id.0, lease.token, &term.boot, term.until_micros()))?;
    if changed == 1 { Ok(()) } else { Err(lost(lease.job_id)) }
}

/// As [`renew`], for a lease that may be gone.
pub fn keep(conn: &Connection, lease: &Lease, term: &Term) -> Result<()> {
    match renew(conn, lease, term) {
        Err(err) if err.kind() == ErrorKind::Conflict => Ok(()),
        result => result,
    }
}

/// At the start of the daemon: whoever held a job is gone, because the lock on the state directory is ours. Every
/// running job goes back to the queue, its attempt not counted; one that ended `max_orphaned` times in a row together
/// with the daemon, and got nowhere, goes to review.
pub fn recover(conn: &Connection, now: Timestamp, max_orphaned: i64) -> Result<Vec<JobId>> {
    spend::release_orphans(conn, None)?;
    let reason = "the daemon ended again and again while this job ran; it may be what brings it down";
    let found: Vec<(JobId, JobStatus)> = conn
        .prepare_cached(
            "UPDATE jobs SET orphaned = CASE WHEN step_seq > claimed_step THEN 0 ELSE orphaned + 1 END, \
             status = CASE WHEN step_seq <= claimed_step AND orphaned + 1 >= ?2 THEN 'needs_review' ELSE 'queued' END, \
             needs = CASE WHEN step_seq <= claimed_step AND orphaned + 1 >= ?2 THEN 'review' END, \
             last_error = CASE WHEN step_seq <= claimed_step AND orphaned + 1 >= ?2 THEN ?3 ELSE last_error END, \
             metadata = CASE WHEN step_seq <= claimed_step AND orphaned + 1 >= ?2 \
             THEN json_remove(metadata, '$.admin_review_override') ELSE metadata END, \
             attempts = max(attempts - 1, 0), run_at = min(run_at, ?1), lease = NULL, lease_boot = NULL, \
             lease_until = NULL, locked_at = NULL, locked_by = NULL, updated_at = ?1 \
             WHERE status = 'running' RETURNING id, status",
        )?
        .query_map((micros(now), max_orphaned, reason), |row| Ok((JobId(row.col("id")?), row::status(row)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, to) in &found {
        let reason = if *to == JobStatus::Queued { "the daemon ended while it ran; it goes on" } else { reason };
        // One that cannot be read shows itself when it is claimed.
        let needs = row::get(conn, *id).ok().and_then(|job| job.needs);
        status::changed(conn, now, *id, &Changed { from: JobStatus::Running, to: *to, reason }, needs.as_ref())?;
    }
    Ok(found.into_iter().map(|(id, _)| id).collect())
}

/// Takes back leases that have run out: their workers hang. The attempt counts.
pub fn expire(conn: &Connection, now: Timestamp, monotonic: Duration, boot: &str) -> Result<Vec<Lease>> {
    let expired: Vec<Lease> = conn
        .prepare_cached(EXPIRED)?
        .query_map((boot, monotonic_micros(monotonic)), |row| {
            Ok(Lease { job_id: JobId(row.get(0)?), token: row.get(1)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    for lease in &expired {
        match super::finish::expired(conn, now, lease) {
            Err(err) if err.kind() == ErrorKind::Internal => {
                tracing::error!(
                    job_id = lease.job_id.0,
                    error = err.chain(),
                    "a job cannot be read; it goes to review"
                );
                set_aside(conn, now, lease, JobStatus::Running)?;
            }
            result => result?,
        }
    }
    Ok(expired)
}

/// Leases of this boot that have run out, and all of another one.
pub(super) const EXPIRED: &str = "SELECT id, lease FROM jobs INDEXED BY jobs_lease \
     WHERE status = 'running' AND (lease_until <= ?2 OR lease_boot <> ?1)";
pub(super) const NEXT_RUN: &str = "SELECT min(run_at) FROM jobs INDEXED BY jobs_due \
     WHERE status = 'queued' AND run_at > ?1 AND NOT EXISTS (SELECT 1 FROM runtime_state WHERE key = 'stopped')";
pub(in crate::jobs) const NEXT_LEASE: &str =
    "SELECT min(lease_until) FROM jobs INDEXED BY jobs_lease WHERE status = 'running'";

/// When something becomes due by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The next `run_at` of a queued job; `None` while everything is stopped.
    pub run_at: Option<Timestamp>,
    /// The next end of a lease.
    pub lease_until: Option<Duration>,
}

/// What the runner sleeps for.
pub fn next_due(conn: &Connection, now: Timestamp) -> Result<Due> {
    // What is due already is being claimed or waits for a worker: only the future counts.
    let run_at: Option<i64> = conn.prepare_cached(NEXT_RUN)?.query_row([micros(now)], |row| row.get(0))?;
    let lease_until: Option<i64> = conn.prepare_cached(NEXT_LEASE)?.query_row([], |row| row.get(0))?;
    Ok(Due {
        run_at: run_at.map(timestamp).transpose()?,
        lease_until: lease_until.and_then(|micros| u64::try_from(micros).ok()).map(Duration::from_micros),
    })
}
