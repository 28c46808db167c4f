//! SQL of the messages.

use assistant_api::{
    EffectId, JobId,
    effects::EffectState,
    notify::{Notice, Untold},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;

use crate::{
    error::Result,
    store::types::{RowExt as _, micros},
};

/// Effects that are looked through for messages.
const LOOKED_AT: u32 = 5000;

/// What a job is about; `None` when it is gone.
pub(super) fn subject(conn: &Connection, job: JobId) -> Result<Option<String>> {
    let subject = conn
        .prepare_cached(
            "SELECT coalesce(emails.subject, jobs.task_summary) FROM jobs \
             LEFT JOIN emails ON emails.id = jobs.trigger_email_id WHERE jobs.id = ?1",
        )?
        .query_row([job.0], |row| row.get(0))
        .optional()?;
    Ok(subject)
}

/// The newest messages, of those among the newest effects.
pub(super) fn sent(conn: &Connection, limit: u32) -> Result<Vec<Notice>> {
    let rows = conn
        .prepare_cached(
            "SELECT effects.id, effects.job_id, tool, target, state, detail, prepared_at, \
             coalesce(emails.subject, jobs.task_summary, '') AS subject \
             FROM (SELECT * FROM effects ORDER BY id DESC LIMIT ?1) AS effects \
             LEFT JOIN jobs ON jobs.id = effects.job_id LEFT JOIN emails ON emails.id = jobs.trigger_email_id \
             WHERE tool IN ('notify.command', 'notify.webhook') ORDER BY effects.id DESC LIMIT ?2",
        )?
        .query_map((LOOKED_AT, limit), |row| {
            let detail: Value = row.json("detail")?;
            let tool: String = row.get("tool")?;
            Ok(Notice {
                effect_id: EffectId(row.get("id")?),
                at: row.time("prepared_at")?,
                way: tool.trim_start_matches("notify.").to_owned(),
                to: row.get("target")?,
                kind: detail["kind"].as_str().unwrap_or_default().to_owned(),
                job_id: row.get::<_, Option<i64>>("job_id")?.map(JobId),
                subject: row.get("subject")?,
                state: row.get::<_, String>("state")?.parse().unwrap_or(EffectState::Unknown),
                answer: detail["reason"].as_str().map(str::to_owned),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

/// Until when `caller` was told of failed jobs.
pub(super) fn told_until(conn: &Connection, caller: &str) -> Result<Option<Timestamp>> {
    let found = conn
        .prepare_cached("SELECT updated_at FROM runtime_state WHERE key = 'told:' || ?1")?
        .query_row([caller], |row| row.time("updated_at"))
        .optional()?;
    Ok(found)
}

/// They know it now.
pub(super) fn tell_until(conn: &Connection, caller: &str, now: Timestamp) -> Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO runtime_state (key, value, updated_at) VALUES ('told:' || ?1, '', ?2)",
    )?
    .execute((caller, micros(now)))?;
    Ok(())
}

/// Jobs that wait for a person, and those that have failed since.
pub(super) fn trouble(conn: &Connection, since: Timestamp) -> Result<Untold> {
    let count = |sql: &str, values: &[i64]| -> Result<i64> {
        Ok(conn.prepare_cached(sql)?.query_row(rusqlite::params_from_iter(values), |row| row.get(0))?)
    };
    let since = micros(since);
    let failed_jobs = conn
        .prepare_cached(
            "SELECT id FROM jobs WHERE status = 'failed' AND completed_at > ?1 ORDER BY completed_at DESC LIMIT 5",
        )?
        .query_map([since], |row| row.get(0).map(JobId))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Untold {
        waiting: count("SELECT count(*) FROM jobs WHERE status = 'needs_review'", &[])?,
        failed: count("SELECT count(*) FROM jobs WHERE status = 'failed' AND completed_at > ?1", &[since])?,
        failed_jobs,
        ..Untold::default()
    })
}
