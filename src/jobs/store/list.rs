//! Lists and counts. Pages by id, newest first; nothing is ever counted row by row.

use assistant_api::{
    JobId,
    jobs::{JobListItem, JobStatus},
};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{log, row, usage::usd};
use crate::{error::Result, store::types::RowExt as _};

/// Items of a thread that a list counts; a longer thread shows this number.
pub(super) const COUNTED: i64 = 1000;

macro_rules! list_select {
    () => {
        concat!(
            "SELECT ",
            row::job_columns!(),
            ", cost_nanos, emails.from_address, emails.subject, emails.received_at, \
             (SELECT verified FROM mail_received WHERE mail_received.email_id = jobs.trigger_email_id LIMIT 1) \
             AS sender_verified, (SELECT count(*) FROM (SELECT 1 \
             FROM emails AS item WHERE item.thread_id = jobs.thread_id AND (jobs.completed_at IS NULL \
             OR item.received_at <= jobs.completed_at) LIMIT ?2)) AS context_email_count \
             FROM jobs LEFT JOIN emails ON emails.id = jobs.trigger_email_id "
        )
    };
}

pub(super) const NEWEST: &str = concat!(list_select!(), "WHERE jobs.id < ?1 ORDER BY jobs.id DESC LIMIT ?3");
pub(super) const WORKSPACE: &str = concat!(
    list_select!(),
    "WHERE json_extract(jobs.metadata, '$.source') = 'workspace' AND jobs.id < ?1 ORDER BY jobs.id DESC LIMIT ?3"
);
pub(super) const ONE: &str = concat!(list_select!(), "WHERE jobs.id = ?1");
pub(super) const IDS: &str = "SELECT id FROM jobs WHERE status = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";

pub(super) fn item(row: &Row<'_>) -> rusqlite::Result<JobListItem> {
    Ok(JobListItem {
        job: row::from_row(row)?,
        cost_total: usd(row.col("cost_nanos")?),
        trigger_from_address: row.col("from_address")?,
        trigger_subject: row.col("subject")?,
        trigger_received_at: row.opt_time("received_at")?,
        sender_verified: row.col("sender_verified")?,
        context_email_count: row.col("context_email_count")?,
        step: None,
    })
}

/// At most `limit` jobs below `before`, newest first; of these statuses, unless none is named.
pub fn page(conn: &Connection, statuses: &[JobStatus], before: Option<JobId>, limit: i64) -> Result<Vec<JobListItem>> {
    let before = before.map_or(i64::MAX, |id| id.0);
    if statuses.is_empty() {
        let jobs =
            conn.prepare_cached(NEWEST)?.query_map((before, COUNTED, limit), item)?.collect::<rusqlite::Result<_>>()?;
        return Ok(jobs);
    }
    let ids = ids(conn, statuses, before, limit)?;
    let mut get = conn.prepare_cached(ONE)?;
    let mut jobs = Vec::with_capacity(ids.len());
    for id in ids {
        jobs.extend(get.query_row((id, COUNTED), item).optional()?);
    }
    Ok(jobs)
}

/// The newest ids below `before` of these statuses, at most `limit`: one walk per status along its index, then merged,
/// because a walk over all of them would read past what is not wanted.
pub(super) fn ids(conn: &Connection, statuses: &[JobStatus], before: i64, limit: i64) -> Result<Vec<i64>> {
    let mut ids = Vec::new();
    let mut find = conn.prepare_cached(IDS)?;
    for (index, status) in statuses.iter().enumerate() {
        if !statuses[..index].contains(status) {
            let found = find.query_map((status.as_str(), before, limit), |row| row.get::<_, i64>(0))?;
            ids.extend(found.collect::<rusqlite::Result<Vec<_>>>()?);
        }
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(ids)
}

/// Adds what those that run are at.
pub fn with_steps(conn: &Connection, mut jobs: Vec<JobListItem>) -> Result<Vec<JobListItem>> {
    for item in jobs.iter_mut().filter(|item| item.job.status == JobStatus::Running) {
        item.step = log::present(conn, item.job.id)?;
    }
    Ok(jobs)
}

/// The newest jobs that were made in the workspace.
pub fn of_workspace(conn: &Connection, limit: i64) -> Result<Vec<JobListItem>> {
    let mut find = conn.prepare_cached(WORKSPACE)?;
    Ok(find.query_map((i64::MAX, COUNTED, limit), item)?.collect::<rusqlite::Result<_>>()?)
}

/// How many jobs stand where, from running counts.
pub fn counts(conn: &Connection) -> Result<Vec<(JobStatus, i64)>> {
    let found: Vec<(String, i64)> = conn
        .prepare_cached("SELECT status, count FROM job_counts")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let of = |status: JobStatus| found.iter().find(|(name, _)| name == status.as_str()).map_or(0, |(_, count)| *count);
    Ok(JobStatus::ALL.into_iter().map(|status| (status, of(status))).collect())
}
