//! What becomes of a job when its run ends: one compare-and-set on the lease.

use std::time::Duration;

use assistant_api::{
    JobId,
    jobs::{JobStatus, Metadata},
};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;

use super::{
    approvals, row, spend,
    status::{self, Changed},
};
use crate::{
    error::Result,
    jobs::{Lease, NeedsWhat, Outcome, outcome::REVIEW, redact},
    store::types::{RowExt as _, micros, to_json},
};

/// Runs that may follow each other because something new had come in while the one before ended.
const MAX_RESTARTS: i64 = 20;
/// The longest pause that a provider is granted.
const LONGEST_AFTER: Duration = Duration::from_hours(24);

/// How long a job pauses after an error.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// After the first attempt; doubles with each further one.
    pub base: Duration,
    pub max: Duration,
    /// 0 to 1, drawn anew for each error, so that jobs that failed together do not come back together.
    pub jitter: f64,
}

impl Backoff {
    /// The pause after attempt number `attempt`, at least what the provider asked for.
    pub(super) fn pause(&self, attempt: i64, after: Option<Duration>) -> Duration {
        let jitter = self.jitter.clamp(0.0, 1.0);
        if let Some(after) = after {
            return after.min(LONGEST_AFTER).mul_f64(1.0 + jitter / 10.0);
        }
        let doublings = u32::try_from(attempt.clamp(1, 31) - 1).unwrap_or(0);
        let full = self.base.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(0.5 + jitter / 2.0)
    }
}

/// What the row becomes.
struct Next {
    status: JobStatus,
    needs: Option<NeedsWhat>,
    error: Option<String>,
    /// Why, for the log.
    reason: String,
    pause: Duration,
    /// Whether the attempt counts.
    counted: bool,
    /// Whether the conversation starts over.
    new_epoch: bool,
    summary: Option<String>,
    response: Option<String>,
}

impl Next {
    fn to(status: JobStatus, reason: impl Into<String>) -> Self {
        Self {
            status,
            needs: None,
            error: None,
            reason: reason.into(),
            pause: Duration::ZERO,
            counted: true,
            new_epoch: false,
            summary: None,
            response: None,
        }
    }

    fn failing(status: JobStatus, error: String) -> Self {
        Self { reason: error.clone(), error: Some(error), ..Self::to(status, "") }
    }

    fn review(needs: NeedsWhat, error: String) -> Self {
        Self { needs: Some(needs), ..Self::failing(JobStatus::NeedsReview, error) }
    }
}

/// Applies the outcome of a run and returns the job's new status; `None` when the lease is no longer held, and then
/// nothing is written.
///
/// A run that ends while something new is unread (an instruction, or `has_new_context`) does not end the job: its answer
/// is kept in `metadata.final_response`, and the job goes back to the queue with a new epoch, whose first prompt tells
/// the earlier answer and effects together with what is new.
pub fn apply(
    conn: &Connection,
    now: Timestamp,
    lease: &Lease,
    outcome: &Outcome,
    backoff: &Backoff,
) -> Result<Option<JobStatus>> {
    let found = conn
        .prepare_cached(
            "SELECT attempts, max_attempts, metadata, has_new_context OR EXISTS (SELECT 1 FROM supervisor_instructions \
             WHERE job_id = ?1 AND consumed_at IS NULL) AS unread \
             FROM jobs WHERE id = ?1 AND lease = ?2 AND status = 'running'",
        )?
        .query_row((lease.job_id.0, lease.token), |row| {
            Ok((
                row.col::<i64>("attempts")?,
                row.col::<i64>("max_attempts")?,
                row.json("metadata")?,
                row.col("unread")?,
            ))
        })
        .optional()?;
    let Some((attempts, max_attempts, metadata, unread)) = found else {
        settle_spending(conn, lease)?;
        return Ok(None);
    };
    let next = match outcome {
        Outcome::Lost => return Ok(None),
        Outcome::Completed { summary, response } => Next {
            summary: Some(summary.clone()),
            response: Some(response.clone()),
            ..ended(JobStatus::Completed, None, attempts - max_attempts, unread)
        },
        Outcome::Failed { reason } => ended(JobStatus::Failed, Some(reason), attempts - max_attempts, unread),
        Outcome::NeedsReview { needs, reason } => Next::review(*needs, reason.clone()),
        Outcome::Waiting { reason } => Next::failing(JobStatus::Waiting, reason.clone()),
        Outcome::Retry { error, permanent: false, after } if attempts < max_attempts => {
            Next { pause: backoff.pause(attempts, *after), ..Next::failing(JobStatus::Queued, error.clone()) }
        }
        Outcome::Retry { error, .. } => Next::review(NeedsWhat::Review, error.clone()),
        Outcome::Released => Next { counted: false, ..Next::to(JobStatus::Queued, "the daemon stops") },
    };
    let next = Next { error: next.error.as_deref().map(redact::reason), reason: redact::reason(&next.reason), ..next };
    write(conn, now, lease, &next, metadata)?;
    Ok(Some(next.status))
}

/// How a run ended, for the journal: the status that its outcome led to, or why it led nowhere.
pub fn ended_as(conn: &Connection, id: JobId, applied: Option<JobStatus>) -> Result<&'static str> {
    if let Some(status) = applied {
        return Ok(status.as_str());
    }
    let now =
        conn.prepare_cached("SELECT status FROM jobs WHERE id = ?1")?.query_row([id.0], row::status).optional()?;
    Ok(match now {
        Some(JobStatus::Cancelled) => JobStatus::Cancelled.as_str(),
        Some(_) => "lost",
        None => "erased",
    })
}

/// What the calls of a lost run had reserved counts as spent, unless another run has the job.
fn settle_spending(conn: &Connection, lease: &Lease) -> Result<()> {
    let running = conn
        .prepare_cached("SELECT 1 FROM jobs WHERE id = ?1 AND status = 'running'")?
        .query_row([lease.job_id.0], |_| Ok(()))
        .optional()?
        .is_some();
    if !running {
        spend::release_orphans(conn, Some(lease.job_id))?;
    }
    Ok(())
}

/// The end of a run, unless something is unread.
fn ended(status: JobStatus, error: Option<&String>, over: i64, unread: bool) -> Next {
    let next = Next { error: error.cloned(), ..Next::to(status, error.cloned().unwrap_or_default()) };
    match (unread, over < MAX_RESTARTS) {
        (false, _) => next,
        (true, true) => Next {
            status: JobStatus::Queued,
            reason: "something new came in while the run ended; it starts over with it".into(),
            new_epoch: true,
            ..next
        },
        (true, false) => Next::review(NeedsWhat::Review, "run after run ended without reading what is new".into()),
    }
}

fn write(conn: &Connection, now: Timestamp, lease: &Lease, next: &Next, metadata: Metadata) -> Result<()> {
    let id = lease.job_id;
    let terminal = !next.status.is_open();
    let run_goes_on = next.status == JobStatus::Queued && !next.new_epoch;
    let changed = with_result(metadata, now, next.response.as_deref(), run_goes_on);
    let pause = SignedDuration::try_from(next.pause).unwrap_or(SignedDuration::MAX);
    let run_at = now.checked_add(pause).unwrap_or(Timestamp::MAX);
    conn.prepare_cached(
        "UPDATE jobs SET status = ?3, needs = ?4, last_error = ?5, run_at = CASE ?3 WHEN 'queued' THEN ?6 ELSE run_at \
         END, later = (?3 = 'queued' AND ?6 > ?12), attempts = max(attempts - ?7, 0), epoch = epoch + ?8, task_summary = coalesce(?9, task_summary), \
         metadata = coalesce(?10, metadata), completed_at = ?11, updated_at = ?12, orphaned = 0, lease = NULL, \
         lease_boot = NULL, lease_until = NULL, locked_at = NULL, locked_by = NULL \
         WHERE id = ?1 AND lease = ?2 AND status = 'running'",
    )?
    .execute(rusqlite::params![
        id.0,
        lease.token,
        next.status.as_str(),
        next.needs.map(NeedsWhat::as_str),
        next.error,
        micros(run_at),
        i64::from(!next.counted),
        i64::from(next.new_epoch),
        next.summary,
        changed.as_ref().map(to_json).transpose()?,
        terminal.then_some(micros(now)),
        micros(now),
    ])?;
    spend::release_orphans(conn, Some(id))?;
    if terminal || next.new_epoch {
        approvals::void(conn, id)?;
    }
    let needs = if next.needs.is_some() { row::get(conn, id)?.needs } else { None };
    let change = Changed { from: JobStatus::Running, to: next.status, reason: &next.reason };
    status::changed(conn, now, id, &change, needs.as_ref())
}

/// The metadata after a run, if it changed: the answer is added, a review override ends with the run it was for.
fn with_result(mut metadata: Metadata, now: Timestamp, response: Option<&str>, run_goes_on: bool) -> Option<Metadata> {
    let mut changed = !run_goes_on && metadata.shift_remove(REVIEW).is_some();
    if let Some(response) = response {
        metadata.insert("final_response".into(), response.into());
        metadata.insert("final_response_at".into(), Value::String(now.to_string()));
        changed = true;
    }
    changed.then_some(metadata)
}

/// Takes a lease back from a worker that hangs; the attempt counts.
pub(super) fn expired(conn: &Connection, now: Timestamp, lease: &Lease) -> Result<()> {
    let error = "the worker did not renew its lease in time".to_owned();
    let backoff = Backoff { base: Duration::ZERO, max: Duration::ZERO, jitter: 0.0 };
    apply(conn, now, lease, &Outcome::Retry { error, after: None, permanent: false }, &backoff).map(drop)
}
