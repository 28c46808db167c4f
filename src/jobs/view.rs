//! Jobs as the API and the tools show them.

use assistant_api::{
    JobId,
    jobs::{
        Actions, Email, Job, JobDetail, JobList, JobPoll, JobStatus, LogPage, LogRow, Poll, ReviewDefaults,
        ReviewDiagnostics, ThreadMessage,
    },
};
use rusqlite::Connection;
use serde_json::json;

use super::{
    Overrides,
    store::{
        filter::{self, Filter, Place},
        list, log, row, thread, usage,
    },
};
use crate::{cx::Cx, error::Result, http::cursor, ledger};

/// Log rows of a job's detail, and of one page.
const LOGS: i64 = 500;
/// Log rows of one poll.
const POLLED: i64 = 200;
/// Items of the thread.
const THREAD: i64 = 20;
/// Effects of a job's detail.
const EFFECTS: i64 = 200;

/// A page of jobs, newest first. It may be short, and even empty, and still have a next one.
///
/// # Errors
/// `validation` for a cursor of another list.
pub async fn list(cx: &Cx, filter: Filter, after: Option<&str>, limit: i64) -> Result<JobList> {
    let shown = usize::try_from(limit).unwrap_or(0);
    if !filter.is_by_status() {
        let by_time = filter.is_by_time();
        let after = match after {
            None => None,
            Some(after) if by_time => Some(cursor::decode::<Place>(after)?),
            Some(after) => Some(Place(0, cursor::decode::<JobId>(after)?)),
        };
        let page = cx.store.read(move |conn| {
            let (jobs, next) = filter::page(conn, &filter, after, shown)?;
            Ok((list::with_steps(conn, jobs)?, next))
        });
        let (jobs, next) = page.await?;
        let encode = |place: Place| if by_time { cursor::encode(&place) } else { cursor::encode(&place.1) };
        return Ok(JobList { jobs, next_cursor: next.map(encode).transpose()? });
    }
    let before = after.map(cursor::decode::<JobId>).transpose()?;
    // One more than is shown tells whether there is a next page.
    let page = move |conn: &Connection| list::with_steps(conn, list::page(conn, &filter.statuses, before, limit + 1)?);
    let mut jobs = cx.store.read(page).await?;
    let more = jobs.len() > shown;
    jobs.truncate(shown);
    let last = jobs.last().filter(|_| more).map(|item| item.job.id);
    Ok(JobList { jobs, next_cursor: last.map(|id| cursor::encode(&id)).transpose()? })
}

/// Everything about one job.
///
/// # Errors
/// `not_found`.
pub async fn detail(cx: &Cx, id: JobId) -> Result<JobDetail> {
    let base = base_limits(cx);
    let (mut detail, written) = cx.store.read(move |conn| read_detail(conn, id, base)).await?;
    detail.written_paths = existing(cx, written).await;
    Ok(detail)
}

fn base_limits(cx: &Cx) -> ReviewDefaults {
    let config = cx.config.load();
    ReviewDefaults {
        max_iterations_per_task: config.limits.max_iterations_per_task.into(),
        max_tokens_per_task: config.limits.max_tokens_per_task.into(),
        max_job_cost_usd: config.limits.max_job_cost_usd,
        max_run_seconds: config.limits.max_run_seconds.0.as_secs(),
    }
}

fn read_detail(conn: &Connection, id: JobId, base: ReviewDefaults) -> Result<(JobDetail, Vec<String>)> {
    let job = row::get(conn, id)?;
    let (usage, iterations) = usage::get(conn, id)?;
    // What came after a job's end belongs to the next job of the thread.
    let end = job.completed_at.filter(|_| !job.status.is_open());
    let emails = thread::until(conn, &job.thread_id, end, THREAD)?;
    let trigger_email = job.trigger_email_id.map(|id| thread::email(conn, id)).transpose()?.flatten();
    let (logs, logs_cursor) = page_of_logs(conn, id, None, LOGS)?;
    let effects = ledger::for_job(conn, id, EFFECTS)?;
    let written = ledger::written_paths(conn, id)?;
    let review_diagnostics = (job.status == JobStatus::NeedsReview).then(|| diagnose(&job, base, iterations, &usage));
    let detail = JobDetail {
        actions: actions(&job),
        usage,
        trigger_email,
        thread_messages: conversation(conn, &job, &emails)?,
        thread_emails: emails.clone(),
        emails,
        logs_truncated: logs_cursor.is_some(),
        logs,
        logs_cursor,
        review_defaults: base,
        review_diagnostics,
        // The route adds it for those who may decide.
        approval: None,
        effects,
        written_paths: Vec::new(),
        job,
    };
    Ok((detail, written))
}

/// What came and what went out, in the order of time.
fn conversation(conn: &Connection, job: &Job, came: &[Email]) -> Result<Vec<ThreadMessage>> {
    let message = |email: Email, context_type: &str, direction: &str| ThreadMessage {
        thread_item_id: format!("{context_type}:{}", email.id),
        context_type: context_type.into(),
        direction: direction.into(),
        email,
    };
    let sent = thread::sent(conn, &job.thread_id, job.id, THREAD)?;
    let mut all: Vec<_> = came.iter().cloned().map(|email| message(email, "email", "inbound")).collect();
    all.extend(sent.into_iter().map(|email| message(email, "sent_email", "outbound")));
    all.sort_by_key(|message| message.email.received_at);
    let most = usize::try_from(THREAD).unwrap_or(usize::MAX);
    Ok(all.split_off(all.len().saturating_sub(most)))
}

/// Those of `paths` that are still in the workspace.
async fn existing(cx: &Cx, paths: Vec<String>) -> Vec<String> {
    let Ok(root) = cx.root() else { return Vec::new() };
    let keep = move || {
        let there = |path: &String| root.rel(path).and_then(|rel| root.metadata(&rel)).is_ok_and(|meta| meta.is_some());
        paths.into_iter().filter(there).collect()
    };
    tokio::task::spawn_blocking(keep).await.unwrap_or_default()
}

/// What changes while a job runs, with the log rows after `after`.
///
/// # Errors
/// `not_found`.
pub async fn poll(cx: &Cx, id: JobId, after: i64) -> Result<Poll> {
    cx.store
        .read(move |conn| {
            let job = row::get(conn, id)?;
            let (usage, _) = usage::get(conn, id)?;
            let new_logs = log::after(conn, id, after, POLLED)?;
            let actions = actions(&job);
            let job = JobPoll {
                id: job.id,
                status: job.status,
                last_error: job.last_error,
                task_summary: job.task_summary,
                updated_at: job.updated_at,
                locked_at: job.locked_at,
                attempts: job.attempts,
                completed_at: job.completed_at,
                metadata: job.metadata,
                needs: job.needs,
            };
            Ok(Poll { job, usage, actions, new_logs })
        })
        .await
}

/// A page of log rows, oldest first; the next cursor leads to older ones.
///
/// # Errors
/// `not_found`; `validation` for a cursor of another list.
pub async fn logs(cx: &Cx, id: JobId, after: Option<&str>, limit: i64) -> Result<LogPage> {
    let before = after.map(cursor::decode::<i64>).transpose()?;
    cx.store
        .read(move |conn| {
            row::get(conn, id)?;
            let (logs, next_cursor) = page_of_logs(conn, id, before, limit)?;
            Ok(LogPage { logs, next_cursor })
        })
        .await
}

fn page_of_logs(
    conn: &Connection,
    id: JobId,
    before: Option<i64>,
    limit: i64,
) -> Result<(Vec<LogRow>, Option<String>)> {
    let logs = log::before(conn, id, before, limit)?;
    // Sequences start at 1 and have no gap, so the first row says whether there is anything before it.
    let first = logs.first().map(|row| row.sequence).filter(|first| *first > 1);
    let more = first.map(|first| log::before(conn, id, Some(first), 1)).transpose()?;
    let next = first.filter(|_| more.is_some_and(|rows| !rows.is_empty()));
    Ok((logs, next.map(|first| cursor::encode(&first)).transpose()?))
}

fn actions(job: &Job) -> Actions {
    let review = job.status == JobStatus::NeedsReview;
    let needs = |what: &str| review && job.needs.as_ref().is_some_and(|needs| needs.what == what);
    Actions {
        can_cancel: job.status.is_open(),
        can_requeue: !matches!(job.status, JobStatus::Queued | JobStatus::Running),
        can_review_override: review,
        can_answer: needs("answer"),
        can_approve: needs("approval"),
    }
}

/// Why a job in review stopped, told from what its run said.
fn diagnose(job: &Job, base: ReviewDefaults, iterations: i64, usage: &assistant_api::jobs::Usage) -> ReviewDiagnostics {
    let reason = job.last_error.clone().unwrap_or_default();
    let (stop_reason, explanation) = stop_reason(&reason);
    let set = Overrides::of(&job.metadata).unwrap_or_default();
    let max_iterations = set.max_iterations.unwrap_or(base.max_iterations_per_task);
    let max_tokens = set.max_tokens.unwrap_or(base.max_tokens_per_task);
    let percent = |used: i64, max: i64| if max > 0 { used.saturating_mul(100) / max } else { 0 };
    ReviewDiagnostics {
        stop_reason: stop_reason.into(),
        explanation: explanation.into(),
        limits: json!({
            "max_iterations": max_iterations,
            "max_tokens": max_tokens,
            "base_max_iterations": base.max_iterations_per_task,
            "base_max_tokens": base.max_tokens_per_task,
            "max_job_cost_usd": set.max_cost.unwrap_or(base.max_job_cost_usd),
        }),
        usage: json!({
            "iterations_used": iterations,
            "total_tokens": usage.total_tokens,
            "api_calls": usage.api_call_count,
            "token_pct": percent(usage.total_tokens, max_tokens),
            "iteration_pct": percent(iterations, max_iterations),
        }),
    }
}

fn stop_reason(reason: &str) -> (&'static str, &'static str) {
    let reason = reason.to_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| reason.contains(part));
    if reason.is_empty() {
        ("unknown", "the job was put into review without a reason")
    } else if says(&["agent limit increase request", "asked for more"]) {
        ("agent_limit_request", "the model asked for more iterations or tokens before it ran out of them")
    } else if says(&["token budget", "token limit", "max tokens"]) {
        ("token_budget", "the run used up its tokens")
    } else if says(&["max iterations", "iteration limit"]) {
        ("max_iterations", "the run used up its iterations")
    } else if says(&["the spend cap of one job"]) {
        ("spend_cap", "the job has cost as much as it may")
    } else if says(&["stall", "no progress", "did not end within", "renew its lease"]) {
        ("stalled", "the run went on without getting further")
    } else if says(&["same call", "repeated", "times in a row", "again and again"]) {
        ("repeated_failure", "the same thing went wrong again and again")
    } else {
        ("other", "the reason is in last_error")
    }
}

#[cfg(test)]
mod tests {
    use super::stop_reason;

    #[test]
    fn reasons_are_recognised_whatever_their_case() {
        for (text, wanted) in [
            ("Token budget exceeded", "token_budget"),
            ("max iterations reached", "max_iterations"),
            ("agent limit increase request (tokens): more files", "agent_limit_request"),
            ("the spend cap of one job is reached: $2.00 of $2.00", "spend_cap"),
            ("Task stalled for 15 minutes", "stalled"),
            ("the same call failed three times in a row", "repeated_failure"),
            ("which colour?", "other"),
            ("", "unknown"),
        ] {
            assert_eq!(stop_reason(text).0, wanted, "{text}");
        }
    }
}
