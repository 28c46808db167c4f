//! What people do with jobs: one transaction each, then whoever has to know is told.

use assistant_api::{
    ApprovalId, JobId,
    jobs::{Decision, Erased, JobStatus, ReviewOverride},
};

use super::store::{approvals::ApprovalState, change, erase as store_erase, pause};
use crate::{
    cx::Cx,
    error::{Error, Result},
    policy::Origin,
};

const MAX_TEXT: usize = 10_000;

/// Ends an open job and everything that it started; a run that is under way ends within a moment.
///
/// # Errors
/// `not_found`; `conflict` when it has ended already.
pub async fn cancel(cx: &Cx, id: JobId, by: &str) -> Result<()> {
    let (now, by) = (cx.clock.now(), by.to_owned());
    let cancelled = cx.store.write(move |tx| change::cancel(tx, now, id, &by)).await?;
    cx.wake.running.cancel(&cancelled);
    cx.wake.announce();
    Ok(())
}

/// Queues a job again that has ended or waits: one that has ended starts over, one that waits goes on.
///
/// # Errors
/// `not_found`; `conflict` when it is queued or running, or another job of its thread is open.
pub async fn requeue(cx: &Cx, id: JobId, by: &str) -> Result<()> {
    let (now, by) = (cx.clock.now(), by.to_owned());
    cx.store.write(move |tx| change::requeue(tx, now, id, &by)).await?;
    queued(cx);
    Ok(())
}

/// Tells a job something; returns whether that started it over.
///
/// # Errors
/// `not_found`, `validation`; `conflict` when it has ended and another job of its thread is open.
pub async fn instruct(cx: &Cx, id: JobId, instruction: &str, by: &str) -> Result<bool> {
    let text = text("instruction", instruction)?;
    let (now, by) = (cx.clock.now(), by.to_owned());
    let requeued = cx.store.write(move |tx| change::instruct(tx, now, id, &text, &by, Origin::Owner)).await?;
    queued(cx);
    Ok(requeued)
}

/// Answers the question that a job waits with, and queues it.
///
/// # Errors
/// `not_found`, `validation`; `conflict` when it asks nothing.
pub async fn answer(cx: &Cx, id: JobId, answer: &str, by: &str) -> Result<()> {
    let text = text("answer", answer)?;
    let (now, by) = (cx.clock.now(), by.to_owned());
    cx.store.write(move |tx| change::answer(tx, now, id, &text, &by, Origin::Owner)).await?;
    queued(cx);
    Ok(())
}

/// Lets one exact call pass, once.
///
/// # Errors
/// `not_found`; `conflict` when nothing is asked, or it is decided already.
pub async fn approve(cx: &Cx, id: JobId, decision: Decision, by: &str) -> Result<()> {
    decide(cx, id, decision, ApprovalState::Approved, by).await
}

/// Refuses one exact call; the model is told, with the reason.
///
/// # Errors
/// As [`approve`].
pub async fn deny(cx: &Cx, id: JobId, decision: Decision, by: &str) -> Result<()> {
    decide(cx, id, decision, ApprovalState::Denied, by).await
}

async fn decide(cx: &Cx, id: JobId, decision: Decision, state: ApprovalState, by: &str) -> Result<()> {
    let reason = decision.reason.as_deref().map(|reason| text("reason", reason)).transpose()?;
    let approval: Option<ApprovalId> = decision.approval_id;
    let (now, by) = (cx.clock.now(), by.to_owned());
    cx.store.write(move |tx| change::decide(tx, now, id, approval, state, reason.as_deref(), &by)).await?;
    queued(cx);
    Ok(())
}

/// Refuses limits of a run that make no sense.
pub(super) fn within_bounds(iterations: Option<i64>, tokens: Option<i64>, dollars: Option<f64>) -> Result<()> {
    let bounded = |field: &'static str, value: Option<i64>, max: i64| match value {
        Some(value) if !(1..=max).contains(&value) => {
            Err(Error::validation(format!("{field} is {value}; it goes from 1 to {max}")).field(field))
        }
        _ => Ok(()),
    };
    bounded("max_iterations_per_task", iterations, 10_000)?;
    bounded("max_tokens_per_task", tokens, 100_000_000)?;
    match dollars {
        Some(value) if !(0.0..=1_000_000.0).contains(&value) => {
            let text = format!("max_job_cost_usd is {value}; it goes from 0 (no limit) to 1000000");
            Err(Error::validation(text).field("max_job_cost_usd"))
        }
        _ => Ok(()),
    }
}

/// Sets limits for the next run of a job in review, and queues it unless `requeue` is false.
///
/// # Errors
/// `not_found`, `validation`; `conflict` when it is not in review.
pub async fn review(cx: &Cx, id: JobId, new: ReviewOverride, by: &str) -> Result<JobStatus> {
    within_bounds(new.max_iterations_per_task, new.max_tokens_per_task, new.max_job_cost_usd)?;
    if let Some(instruction) = &new.instruction
        && instruction.chars().count() > MAX_TEXT
    {
        return Err(too_long("instruction", instruction.chars().count()));
    }
    let (now, by) = (cx.clock.now(), by.to_owned());
    let status = cx.store.write(move |tx| change::review(tx, now, id, &new, &by, Origin::Owner)).await?;
    queued(cx);
    Ok(status)
}

/// Forgets a job and everything that it started, in any state.
///
/// # Errors
/// `not_found`.
pub async fn erase(cx: &Cx, id: JobId) -> Result<Erased> {
    let erased = cx.store.write(move |tx| store_erase::erase(tx, id)).await?;
    cx.wake.running.cancel(&erased.job_ids);
    cx.wake.announce();
    // Which removes the files that the rows have named.
    cx.wake.retention.notify_one();
    tracing::info!(job_id = id.0, jobs = erased.job_ids.len(), "jobs were erased");
    Ok(erased)
}

/// Stops everything until [`resume`], over restarts too: running jobs go back to the queue at once, nothing is claimed.
/// Returns whether anything changed.
///
/// # Errors
/// When the database cannot be written.
pub async fn stop_all(cx: &Cx, by: &str) -> Result<bool> {
    let (now, who) = (cx.clock.now(), by.to_owned());
    let changed = cx.store.write(move |tx| pause::stop(tx, now, &who)).await?;
    cx.wake.running.cancel_all();
    cx.wake.announce();
    tracing::warn!(by, "everything was stopped");
    Ok(changed)
}

/// Lets everything go on. Returns whether it was stopped.
///
/// # Errors
/// When the database cannot be written.
pub async fn resume(cx: &Cx, by: &str) -> Result<bool> {
    let (now, who) = (cx.clock.now(), by.to_owned());
    let was = cx.store.write(move |tx| pause::go_on(tx, now, &who)).await?;
    queued(cx);
    cx.wake.outbox.notify_one();
    tracing::info!(by, "everything may go on");
    Ok(was)
}

fn queued(cx: &Cx) {
    cx.wake.announce();
    cx.wake.jobs.notify_one();
}

/// A text of 1 to 10,000 characters.
fn text(field: &'static str, text: &str) -> Result<String> {
    let length = text.trim().chars().count();
    if length == 0 {
        return Err(Error::validation(format!("{field} is empty")).field(field));
    }
    if length > MAX_TEXT {
        return Err(too_long(field, length));
    }
    Ok(text.trim().to_owned())
}

fn too_long(field: &'static str, length: usize) -> Error {
    Error::validation(format!("{field} has {length} characters; at most {MAX_TEXT}")).field(field)
}
