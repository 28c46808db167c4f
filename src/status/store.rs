//! SQL of the status pages: single rows and counters that triggers keep, never a scan.

use std::collections::BTreeMap;

use assistant_api::{
    JobId,
    jobs::JobStatus,
    status::{Day, Stopped, WaitingJob},
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    jobs::{self, usage::usd},
    store::types::{RowExt as _, micros},
};

/// Jobs that wait for a person and are listed.
const WAITING: u32 = 20;
/// Room that a database needs to count as usable again after it was full.
const PROBE_BYTES: usize = 64 << 10;

pub(super) struct Overview {
    pub jobs: BTreeMap<String, i64>,
    pub waiting: Vec<WaitingJob>,
    pub stopped: Option<Stopped>,
    pub spent_today: i64,
}

pub(super) fn overview(conn: &Connection, now: Timestamp) -> Result<Overview> {
    Ok(Overview {
        jobs: job_counts(conn)?.into_iter().collect(),
        waiting: waiting(conn)?,
        stopped: jobs::stopped(conn)?.map(|stopped| Stopped { at: stopped.at, by: stopped.by }),
        spent_today: jobs::spend::today(conn, now)?,
    })
}

/// Every status with its count, in the order of [`JobStatus::ALL`].
fn job_counts(conn: &Connection) -> Result<Vec<(String, i64)>> {
    let known: BTreeMap<String, i64> = conn
        .prepare_cached("SELECT status, count FROM job_counts")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let count = |status: JobStatus| known.get(status.as_str()).copied().unwrap_or(0);
    Ok(JobStatus::ALL.into_iter().map(|status| (status.as_str().to_owned(), count(status))).collect())
}

fn waiting(conn: &Connection) -> Result<Vec<WaitingJob>> {
    let found: Vec<(JobId, String)> = conn
        .prepare_cached(
            "SELECT jobs.id, coalesce(emails.subject, jobs.task_summary) AS subject FROM jobs \
             LEFT JOIN emails ON emails.id = jobs.trigger_email_id \
             WHERE jobs.status = 'needs_review' ORDER BY jobs.id DESC LIMIT ?1",
        )?
        .query_map([WAITING], |row| Ok((JobId(row.col("id")?), row.col("subject")?)))?
        .collect::<rusqlite::Result<_>>()?;
    found
        .into_iter()
        .map(|(id, subject)| {
            let job = jobs::store::row::get(conn, id)?;
            Ok(WaitingJob { id, status: job.status, subject, updated_at: job.updated_at, needs: job.needs })
        })
        .collect()
}

pub(super) struct Counts {
    pub jobs: Vec<(String, i64)>,
    pub emails: i64,
    pub logs: i64,
    pub charged_jobs: i64,
    pub lifetime_nanos: i64,
    pub month_nanos: i64,
    pub calls: i64,
}

pub(super) fn counts(conn: &Connection, now: Timestamp) -> Result<Counts> {
    let rows = |name: &str| -> Result<i64> {
        let count = conn
            .prepare_cached("SELECT count FROM row_counts WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        Ok(count.unwrap_or(0))
    };
    let month = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-01").to_string();
    let (lifetime_nanos, month_nanos, calls) = conn
        .prepare_cached(
            "SELECT coalesce(sum(settled_nanos), 0), coalesce(sum(settled_nanos) FILTER (WHERE day >= ?1), 0), \
             coalesce(sum(calls), 0) FROM spend_days",
        )?
        .query_row([month], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(Counts {
        jobs: job_counts(conn)?.into_iter().filter(|(_, count)| *count > 0).collect(),
        emails: rows("emails")?,
        logs: rows("task_logs")?,
        charged_jobs: rows("charged_jobs")?,
        lifetime_nanos,
        month_nanos,
        calls,
    })
}

/// What `/metrics` reads; of counters that triggers keep, and of few rows.
pub(super) struct Figures {
    pub jobs: Vec<(String, i64)>,
    counts: BTreeMap<String, i64>,
    pub oldest_seconds: i64,
    pub approvals: i64,
    pub sessions: i64,
    pub calls: i64,
    pub tokens: i64,
    pub settled_nanos: i64,
    pub today_nanos: i64,
}

impl Figures {
    /// The counter of that name of a group.
    pub(super) fn count(&self, group: &str, name: &str) -> i64 {
        self.counts.get(&format!("{group}:{name}")).copied().unwrap_or(0)
    }
}

pub(super) fn figures(conn: &Connection, now: Timestamp) -> Result<Figures> {
    let counts = conn
        .prepare_cached("SELECT name, count FROM row_counts")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let one = |sql: &str| -> Result<i64> { Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?) };
    let oldest = one("SELECT coalesce(min(run_at), 0) FROM jobs WHERE status = 'queued'")?;
    let (settled_nanos, calls, tokens) = conn
        .prepare_cached(
            "SELECT coalesce(sum(settled_nanos), 0), coalesce(sum(calls), 0), coalesce(sum(tokens), 0) FROM spend_days",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(Figures {
        jobs: job_counts(conn)?,
        counts,
        oldest_seconds: if oldest > 0 { (micros(now) - oldest).max(0) / 1_000_000 } else { 0 },
        approvals: one("SELECT count(*) FROM approvals WHERE state = 'pending'")?,
        sessions: conn
            .prepare_cached("SELECT count(*) FROM web_sessions WHERE expires_at > ?1")?
            .query_row([micros(now)], |row| row.get(0))?,
        calls,
        tokens,
        settled_nanos,
        today_nanos: jobs::spend::today(conn, now)?,
    })
}

/// The days from `first` on that had a cost or an end of a job.
pub(super) fn days(conn: &Connection, first: Date) -> Result<BTreeMap<String, Day>> {
    let mut days: BTreeMap<String, Day> = BTreeMap::new();
    let mut spent = conn.prepare_cached("SELECT day, settled_nanos, calls, tokens FROM spend_days WHERE day >= ?1")?;
    let mut rows = spent.query([first.to_string()])?;
    while let Some(row) = rows.next()? {
        let date: String = row.get(0)?;
        let day = Day { cost: usd(row.get(1)?), calls: row.get(2)?, tokens: row.get(3)?, ..Day::default() };
        days.insert(date.clone(), Day { date, ..day });
    }
    let mut models = conn.prepare_cached("SELECT day, model, nanos FROM spend_models WHERE day >= ?1")?;
    let mut rows = models.query([first.to_string()])?;
    while let Some(row) = rows.next()? {
        let date: String = row.get(0)?;
        let day = days.entry(date.clone()).or_insert_with(|| Day { date, ..Day::default() });
        day.models.insert(row.get(1)?, usd(row.get(2)?));
    }
    // Along the index on both columns; the jobs themselves are not read.
    let mut ended = conn.prepare_cached(
        "SELECT date(completed_at / 1000000, 'unixepoch') AS day, status, count(*) FROM jobs \
         WHERE completed_at >= ?1 GROUP BY day, status",
    )?;
    let begin = first.to_zoned(TimeZone::UTC).map_err(Error::internal)?.timestamp();
    let mut rows = ended.query([micros(begin)])?;
    while let Some(row) = rows.next()? {
        let date: String = row.get(0)?;
        let day = days.entry(date.clone()).or_insert_with(|| Day { date, ..Day::default() });
        day.outcomes.insert(row.get(1)?, row.get(2)?);
    }
    Ok(days)
}

/// Writes for the sake of writing: whether there is room again. What it writes is gone with its own transaction.
pub(super) fn probe(conn: &Connection, now: i64) -> Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO runtime_state (key, value, updated_at) VALUES ('probe', ?1, ?2)")?
        .execute((" ".repeat(PROBE_BYTES), now))?;
    conn.prepare_cached("DELETE FROM runtime_state WHERE key = 'probe'")?.execute([])?;
    Ok(())
}

/// What is remembered of a secret: enough to know whether it is still the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dated {
    pub seal: String,
    pub since: Timestamp,
}

/// Those that are remembered, by the names of their credentials.
pub(super) fn secrets(conn: &Connection) -> Result<BTreeMap<String, Dated>> {
    let rows: Vec<(String, String)> = conn
        .prepare_cached("SELECT substr(key, 8), value FROM runtime_state WHERE key GLOB 'secret:*'")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    // What cannot be read is as if it were not there: the secret counts as new.
    Ok(rows.into_iter().filter_map(|(name, value)| Some((name, serde_json::from_str(&value).ok()?))).collect())
}

/// Remembers a secret.
pub(super) fn set_secret(conn: &Connection, now: Timestamp, name: &str, dated: &Dated) -> Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO runtime_state (key, value, updated_at) VALUES ('secret:' || ?1, ?2, ?3)",
    )?
    .execute((name, serde_json::to_string(dated)?, micros(now)))?;
    Ok(())
}

/// Forgets a secret that is gone.
pub(super) fn forget_secret(conn: &Connection, name: &str) -> Result<()> {
    conn.prepare_cached("DELETE FROM runtime_state WHERE key = 'secret:' || ?1")?.execute([name])?;
    Ok(())
}
