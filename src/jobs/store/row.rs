//! A job's row as the API shows it.

use assistant_api::{
    ApprovalId, EmailId, JobId,
    jobs::{Job, JobStatus, Needs},
};
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::{
    error::{Error, Result},
    store::types::RowExt as _,
};

/// The columns that [`from_row`] reads, of a table that is named `jobs` in the statement.
macro_rules! job_columns {
    () => {
        "jobs.id, jobs.thread_id, jobs.trigger_email_id, jobs.status, jobs.priority, jobs.attempts, jobs.max_attempts, \
         jobs.run_at, jobs.locked_at, jobs.has_new_context, jobs.task_summary, jobs.metadata, jobs.created_at, \
         jobs.updated_at, jobs.completed_at, jobs.last_error, jobs.needs, jobs.epoch, CASE jobs.needs WHEN 'approval' \
         THEN (SELECT max(approvals.id) FROM approvals WHERE approvals.job_id = jobs.id AND state = 'pending') END \
         AS approval_id"
    };
}
pub(super) use job_columns;

/// Reads the columns of [`job_columns`].
pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Job> {
    let id = JobId(row.col("id")?);
    let last_error: Option<String> = row.col("last_error")?;
    let needs = row.col::<Option<String>>("needs")?.map(|what| Needs {
        text: last_error.clone().unwrap_or_default(),
        command: command(&what, id),
        approval_id: None,
        what,
    });
    let approval_id = row.col::<Option<i64>>("approval_id")?.map(ApprovalId);
    Ok(Job {
        id,
        thread_id: row.col("thread_id")?,
        trigger_email_id: row.col::<Option<i64>>("trigger_email_id")?.map(EmailId),
        status: status(row)?,
        priority: row.col("priority")?,
        attempts: row.col("attempts")?,
        max_attempts: row.col("max_attempts")?,
        run_at: row.time("run_at")?,
        locked_at: row.opt_time("locked_at")?,
        has_new_context: row.col("has_new_context")?,
        task_summary: row.col("task_summary")?,
        metadata: row.json("metadata")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        completed_at: row.opt_time("completed_at")?,
        last_error,
        needs: needs.map(|needs| Needs { approval_id, ..needs }),
    })
}

/// The column `status`.
pub(super) fn status(row: &Row<'_>) -> rusqlite::Result<JobStatus> {
    let text = row.get_ref("status")?.as_str()?;
    text.parse()
        .map_err(|err: String| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, err.into()))
}

/// The command that gives a job what it needs, ready to type.
fn command(what: &str, id: JobId) -> String {
    match what {
        "answer" => format!("assistantctl job answer {id} \"...\""),
        "approval" => format!("assistantctl job approve {id}"),
        "limits" => format!("assistantctl job review {id} --max-iterations 100 --max-tokens 2000000"),
        "review" => format!("assistantctl job review {id} --instruction \"...\""),
        "release" => format!("assistantctl query POST /api/jobs/{id}/release"),
        "prompt" => {
            format!("assistantctl config set limits.max_prompt_chars NUMBER && assistantctl job requeue {id}")
        }
        // Model and budget: once it is there, the job only has to be queued again. Time: each run has its own.
        _ => format!("assistantctl job requeue {id}"),
    }
}

/// The job, or `not_found`.
pub fn get(conn: &Connection, id: JobId) -> Result<Job> {
    conn.prepare_cached(concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = ?1"))?
        .query_row([id.0], from_row)
        .optional()?
        .ok_or_else(|| Error::not_found("job", id))
}
