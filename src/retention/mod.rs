//! What is kept only for a time, and the pass that ends it.
//!
//! A pass runs when the daemon starts, every night, and when something wakes it (a reload, kept files over their
//! bound). It works in small transactions, so that nobody waits for the writer behind it, and goes on with the rest
//! when one part fails.

mod api;
pub mod config;
mod loops;
mod storage;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _, civil, tz::TimeZone};
use rusqlite::Connection;

pub use self::storage::{Measured, storage};
use crate::{
    cx::Cx,
    error::Result,
    events,
    http::idempotency,
    mail::{artifacts, outbox},
    subsystems::Subsystem,
    workspace,
};

/// This subsystem.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "retention", routes: api::routes, tools: &[], loops: loops::LOOPS };

/// Rows that one transaction removes.
const BATCH: u32 = 500;
/// Jobs whose steps one transaction removes.
const JOBS: u32 = 20;
/// When the night's pass runs, in the configured zone.
const NIGHT: civil::Time = civil::time(3, 0, 0, 0);

/// How much of each was removed, by the name of what it was.
pub type Removed = Vec<(&'static str, u64)>;

/// Removes everything whose time is over, and says whether all of it worked.
pub async fn pass(cx: &Cx) -> (Removed, bool) {
    let config = cx.config.load_full();
    let now = cx.clock.now();
    let before = |age: Duration| now.checked_sub(age).unwrap_or(Timestamp::MIN);
    let keep = &config.retention;
    let (logs, steps) = (before(keep.task_log_days.0), before(keep.step_days.0));
    let (seen, by_hand) = (before(keep.event_days.0), before(keep.manual_event_days.0));

    let mut removed = Removed::new();
    let mut fine = true;
    let mut note = |what: &'static str, outcome: Result<u64>| match outcome {
        Ok(0) => {}
        Ok(count) => removed.push((what, count)),
        Err(err) => {
            fine = false;
            tracing::warn!(what, error = err.chain(), "cannot remove what is no longer kept");
        }
    };
    note("task_logs", rows(cx, move |tx| store::purge_logs(tx, logs, BATCH)).await);
    note("steps", purge_steps(cx, steps).await);
    note("events", rows(cx, move |tx| events::purge(tx, seen, BATCH)).await);
    note("manual_events", rows(cx, move |tx| store::purge_manual_events(tx, by_hand, BATCH)).await);
    let horizon = idempotency::horizon(now);
    note("idempotency", rows(cx, move |tx| idempotency::purge(tx, horizon, BATCH)).await);
    let sent = before(keep.sent_mail_days.0);
    note("sent_mail", rows(cx, move |tx| outbox::purge(tx, sent, BATCH)).await);
    note("sent_messages", outbox::sweep(cx).await);
    let unused = before(keep.unused_mail_days.0);
    note("unused_mail", rows(cx, move |tx| artifacts::purge(tx, unused, BATCH)).await);
    note("messages", artifacts::tidy(cx).await);
    match workspace::retention(cx).await {
        Ok(files) => {
            note("trash", Ok(files.trash));
            note("kept_files", Ok(files.kept_files));
            note("tool_results", Ok(files.tool_results));
            note("temporaries", Ok(files.temporaries));
        }
        Err(err) => note("workspace", Err(err)),
    }
    (removed, fine)
}

/// Removes batch after batch until one is not full.
async fn rows<F>(cx: &Cx, purge: F) -> Result<u64>
where
    F: Fn(&Connection) -> Result<usize> + Clone + Send + 'static,
{
    let mut removed = 0;
    loop {
        let count = cx.store.write(purge.clone()).await?;
        removed += count as u64;
        if count < BATCH as usize {
            return Ok(removed);
        }
    }
}

/// Removes the steps of jobs that ended before `before`, some jobs at a time and of each at most a batch at a time.
async fn purge_steps(cx: &Cx, before: Timestamp) -> Result<u64> {
    let mut removed = 0;
    loop {
        let jobs = cx.store.read(move |conn| store::jobs_with_old_steps(conn, before, JOBS)).await?;
        if jobs.is_empty() {
            return Ok(removed);
        }
        for job in jobs {
            removed += rows(cx, move |tx| store::purge_steps(tx, job, before, BATCH)).await?;
        }
    }
}

/// When the next pass is due: `interval` from now, moved back into the night if it is a day or more.
fn next_pass(now: Timestamp, interval: Duration, zone: &str) -> Timestamp {
    let at = now.checked_add(interval).unwrap_or(Timestamp::MAX);
    if interval < Duration::from_hours(24) {
        return at;
    }
    let local = at.to_zoned(TimeZone::get(zone).unwrap_or(TimeZone::UTC));
    let date = if local.time() < NIGHT { local.date().saturating_sub(1.day()) } else { local.date() };
    match date.to_datetime(NIGHT).to_zoned(local.time_zone().clone()) {
        Ok(night) if night.timestamp() > now => night.timestamp(),
        _ => at,
    }
}
