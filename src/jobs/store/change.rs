//! Changes that people make to a job; each is compare-and-set on the status it was allowed for.

use assistant_api::{
    ApprovalId, JobId,
    jobs::{Job, JobStatus, Metadata, ReviewOverride},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Value, json};

use super::{
    approvals::{self, ApprovalState},
    create,
    instructions::{self, InstructionKind},
    log::{self, NewLog},
    row,
    status::{self, Changed},
    thread,
};
use crate::{
    error::{Error, Result},
    jobs::{NeedsWhat, outcome::REVIEW},
    policy::Origin,
    store::types::{micros, to_json},
};

/// The state does not allow it; the hint names what would.
fn refused(job: &Job, what: &str) -> Error {
    let id = job.id;
    let error = Error::conflict(format!("job {id} is {}: {what}", job.status));
    match job.needs.as_ref().map(|needs| needs.command.clone()) {
        Some(command) => error.hint(command),
        None if job.status.is_open() => error,
        None => error.hint(format!("assistantctl job requeue {id}")),
    }
}

/// Puts a job at the end of its rest: attempts start anew, what it waited for is given. A finished job begins a new
/// epoch, if no other job of its thread is open.
fn to_queue(conn: &Connection, now: Timestamp, job: &Job, reason: &str) -> Result<()> {
    let finished = !job.status.is_open();
    if finished {
        let other: Option<i64> = conn
            .prepare_cached(
                "SELECT id FROM jobs WHERE thread_id = ?1 \
                 AND status IN ('queued', 'running', 'waiting', 'needs_review') AND id <> ?2",
            )?
            .query_row((&job.thread_id, job.id.0), |row| row.get(0))
            .optional()?;
        if let Some(other) = other {
            return Err(Error::conflict(format!("job {other} of the same thread is open; there can only be one"))
                .hint(format!("assistantctl job instruct {other} \"...\"")));
        }
    }
    let changed = conn
        .prepare_cached(
            "UPDATE jobs SET status = 'queued', attempts = 0, orphaned = 0, run_at = ?3, needs = NULL, \
             last_error = NULL, completed_at = NULL, epoch = epoch + ?4, updated_at = ?3 \
             WHERE id = ?1 AND status = ?2",
        )?
        .execute((job.id.0, job.status.as_str(), micros(now), i64::from(finished)))?;
    if changed != 1 {
        return Err(refused(job, "it changed meanwhile"));
    }
    status::changed(conn, now, job.id, &Changed { from: job.status, to: JobStatus::Queued, reason }, None)
}

/// Any job that is not queued and does not run goes back to the queue.
pub(in crate::jobs) fn requeue(conn: &Connection, now: Timestamp, id: JobId, by: &str) -> Result<()> {
    let job = row::get(conn, id)?;
    if matches!(job.status, JobStatus::Queued | JobStatus::Running) {
        return Err(refused(&job, "only a job that has ended or waits can be queued again"));
    }
    unanswered(conn, now, &job, by)?;
    to_queue(conn, now, &job, "queued again")?;
    create::record(conn, now, "job_requeued", id, &json!({ "job_id": id, "by": by }))
}

const UNANSWERED: &str = "Nobody answered your question: a person let the job go on without an answer. Go on as well as \
     you can with what you know, say in the end what you assumed, and do not take this for an answer.";

/// A job that goes on although nobody answered its question: the question stays in the log, and the model is told.
fn unanswered(conn: &Connection, now: Timestamp, job: &Job, by: &str) -> Result<()> {
    let Some(needs) = job.needs.as_ref().filter(|needs| needs.what == NeedsWhat::Answer.as_str()) else {
        return Ok(());
    };
    instructions::insert(conn, now, job.id, InstructionKind::Instruction, UNANSWERED, by, Origin::Host)?;
    let input = json!({ "kind": "unanswered", "by": by, "note": "it goes on without an answer",
        "question": needs.text });
    let note = NewLog { event_type: "supervisor_note", input_data: Some(input), ..NewLog::default() };
    log::append(conn, now, job.id, &note).map(drop)
}

/// Jobs that this one started, directly.
pub(super) fn children(conn: &Connection, id: JobId) -> Result<Vec<JobId>> {
    let found = conn
        .prepare_cached(
            "SELECT id FROM jobs WHERE parent_job_id = ?1 \
             UNION SELECT id FROM jobs WHERE json_extract(metadata, '$.parent_job_id') = ?1",
        )?
        .query_map([id.0], |row| row.get(0).map(JobId))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

/// The job and everything it started, directly or not.
pub(super) fn family(conn: &Connection, root: JobId) -> Result<Vec<JobId>> {
    let mut family = vec![root];
    let mut next = 0;
    while let Some(id) = family.get(next).copied() {
        for child in children(conn, id)? {
            if !family.contains(&child) {
                family.push(child);
            }
        }
        next += 1;
    }
    Ok(family)
}

/// Ends an open job and every open job that it started; returns them all.
pub fn cancel(conn: &Connection, now: Timestamp, id: JobId, by: &str) -> Result<Vec<JobId>> {
    let job = row::get(conn, id)?;
    if !job.status.is_open() {
        return Err(Error::conflict(format!("job {id} is {} already", job.status)));
    }
    let mut cancelled = Vec::new();
    for member in family(conn, id)? {
        let job = row::get(conn, member)?;
        if !job.status.is_open() {
            continue;
        }
        conn.prepare_cached(
            "UPDATE jobs SET status = 'cancelled', completed_at = ?3, updated_at = ?3, needs = NULL, lease = NULL, \
             lease_boot = NULL, lease_until = NULL, locked_at = NULL, locked_by = NULL, \
             metadata = json_remove(metadata, '$.admin_review_override') WHERE id = ?1 AND status = ?2",
        )?
        .execute((member.0, job.status.as_str(), micros(now)))?;
        approvals::void(conn, member)?;
        let reason = if member == id { "cancelled" } else { "the job that started it was cancelled" };
        status::changed(conn, now, member, &Changed { from: job.status, to: JobStatus::Cancelled, reason }, None)?;
        cancelled.push(member);
    }
    create::record(conn, now, "job_cancelled", id, &json!({ "job_id": id, "by": by }))?;
    Ok(cancelled)
}

/// Tells a job something. An open one sees it at its next step; one that has ended starts over with it (`true`).
pub fn instruct(conn: &Connection, now: Timestamp, id: JobId, text: &str, by: &str, origin: Origin) -> Result<bool> {
    let job = row::get(conn, id)?;
    tell(conn, now, id, InstructionKind::Instruction, text, by, origin)?;
    if job.status.is_open() {
        thread::set_new_context(conn, id)?;
        return Ok(false);
    }
    to_queue(conn, now, &job, "a new instruction")?;
    Ok(true)
}

fn tell(
    conn: &Connection,
    now: Timestamp,
    id: JobId,
    kind: InstructionKind,
    text: &str,
    by: &str,
    origin: Origin,
) -> Result<()> {
    instructions::insert(conn, now, id, kind, text, by, origin)?;
    let input = json!({ "kind": kind.as_str(), "by": by, "text": text });
    let note = NewLog { event_type: "supervisor_note", input_data: Some(input), ..NewLog::default() };
    log::append(conn, now, id, &note).map(drop)
}

/// Answers the question that a job waits with.
pub fn answer(conn: &Connection, now: Timestamp, id: JobId, text: &str, by: &str, origin: Origin) -> Result<()> {
    let job = row::get(conn, id)?;
    if job.status != JobStatus::NeedsReview
        || job.needs.as_ref().is_none_or(|needs| needs.what != NeedsWhat::Answer.as_str())
    {
        let hint = format!("assistantctl job instruct {id} \"...\"");
        return Err(Error::conflict(format!("job {id} is {} and asks nothing", job.status)).hint(hint));
    }
    tell(conn, now, id, InstructionKind::Answer, text, by, origin)?;
    to_queue(conn, now, &job, "answered")
}

/// Decides about one exact call; the job goes on when nothing else is pending.
pub fn decide(
    conn: &Connection,
    now: Timestamp,
    id: JobId,
    approval: Option<ApprovalId>,
    state: ApprovalState,
    reason: Option<&str>,
    by: &str,
) -> Result<()> {
    let job = row::get(conn, id)?;
    approvals::decide(conn, now, id, approval, state, by, reason)?;
    let input = json!({ "kind": state.as_str(), "by": by, "text": reason });
    let note = NewLog { event_type: "supervisor_note", input_data: Some(input), ..NewLog::default() };
    log::append(conn, now, id, &note)?;
    let waits =
        job.status == JobStatus::NeedsReview && job.needs.as_ref().is_some_and(|needs| needs.what == "approval");
    let more: bool = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM approvals WHERE job_id = ?1 AND state = 'pending')")?
        .query_row([id.0], |row| row.get(0))?;
    if waits && !more {
        to_queue(conn, now, &job, state.as_str())?;
    }
    Ok(())
}

/// Sets limits for the next run of a `needs_review` job, and queues it if wanted.
pub fn review(
    conn: &Connection,
    now: Timestamp,
    id: JobId,
    new: &ReviewOverride,
    by: &str,
    origin: Origin,
) -> Result<JobStatus> {
    let job = row::get(conn, id)?;
    if job.status != JobStatus::NeedsReview {
        return Err(Error::conflict(format!("job {id} is {} and does not wait for a review", job.status)));
    }
    let mut metadata = job.metadata.clone();
    metadata.insert(REVIEW.into(), override_of(&metadata, now, new, by, job.last_error.as_deref()));
    conn.prepare_cached("UPDATE jobs SET metadata = ?2, updated_at = ?3 WHERE id = ?1 AND status = 'needs_review'")?
        .execute((id.0, to_json(&metadata)?, micros(now)))?;
    if new.requeue {
        unanswered(conn, now, &job, by)?;
    }
    let text = new.instruction.as_deref().map(str::trim).filter(|text| !text.is_empty());
    if let Some(text) = text {
        tell(conn, now, id, InstructionKind::Override, text, by, origin)?;
    } else {
        let input = json!({ "kind": "override", "by": by, "max_iterations_per_task": new.max_iterations_per_task,
            "max_tokens_per_task": new.max_tokens_per_task, "max_job_cost_usd": new.max_job_cost_usd });
        let note = NewLog { event_type: "supervisor_note", input_data: Some(input), ..NewLog::default() };
        log::append(conn, now, id, &note)?;
    }
    if new.requeue {
        to_queue(conn, now, &job, "reviewed")?;
        return Ok(JobStatus::Queued);
    }
    Ok(JobStatus::NeedsReview)
}

/// What stands in `metadata.admin_review_override`; what an earlier review set and this one leaves out stays.
fn override_of(metadata: &Metadata, now: Timestamp, new: &ReviewOverride, by: &str, reason: Option<&str>) -> Value {
    let earlier = metadata.get(REVIEW).and_then(Value::as_object).cloned();
    let mut value = earlier.unwrap_or_default();
    value.insert("created_at".into(), now.to_string().into());
    value.insert("created_by".into(), by.into());
    value.insert("reason".into(), reason.into());
    let mut set = |key: &str, given: Option<Value>| {
        if let Some(given) = given {
            value.insert(key.into(), given);
        }
    };
    set("max_iterations_per_task", new.max_iterations_per_task.map(Into::into));
    set("max_tokens_per_task", new.max_tokens_per_task.map(Into::into));
    set("max_job_cost_usd", new.max_job_cost_usd.map(Into::into));
    set("instruction", new.instruction.clone().map(Into::into));
    Value::Object(value)
}

/// Lets a held job go, with what has been put in place for it.
pub fn release(conn: &Connection, now: Timestamp, id: JobId, attachments: &[Value], by: &str) -> Result<()> {
    let job = row::get(conn, id)?;
    if job.needs.as_ref().is_none_or(|needs| needs.what != "release") {
        return Err(Error::conflict(format!("job {id} is {} and not held", job.status)));
    }
    if !attachments.is_empty() {
        conn.prepare_cached("UPDATE emails SET attachments = ?2 WHERE id = ?1")?
            .execute((job.trigger_email_id.map(|id| id.0), to_json(&attachments)?))?;
    }
    let changed = conn
        .prepare_cached(
            "UPDATE jobs SET status = 'queued', needs = NULL, last_error = NULL, updated_at = ?2 \
             WHERE id = ?1 AND status = 'waiting' AND needs = 'release'",
        )?
        .execute((id.0, micros(now)))?;
    if changed != 1 {
        return Err(refused(&job, "it changed meanwhile"));
    }
    create::record(conn, now, "job_released", id, &json!({ "job_id": id, "by": by }))?;
    status::changed(
        conn,
        now,
        id,
        &Changed { from: JobStatus::Waiting, to: JobStatus::Queued, reason: "released" },
        None,
    )
}
