//! Everything stopped, until somebody says otherwise: kept in `runtime_state`, so that it survives a restart.

use assistant_api::{JobId, jobs::JobStatus};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    spend,
    status::{self, Changed},
};
use crate::{
    error::Result,
    events,
    store::types::{micros, to_json},
};

/// Since when everything is stopped, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    pub at: Timestamp,
    pub by: String,
}

/// Whether everything is stopped.
pub fn stopped(conn: &Connection) -> Result<Option<Stopped>> {
    let found: Option<String> = conn
        .prepare_cached("SELECT value FROM runtime_state WHERE key = 'stopped'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(found.map(|text| serde_json::from_str(&text)).transpose()?)
}

/// Stops everything: what runs goes back to the queue, its attempt not counted, and nothing is claimed any more. Says
/// whether anything changed.
pub fn stop(conn: &Connection, now: Timestamp, by: &str) -> Result<bool> {
    let value = to_json(&Stopped { at: now, by: by.to_owned() })?;
    let new = conn
        .prepare_cached(
            "INSERT INTO runtime_state (key, value, updated_at) VALUES ('stopped', ?1, ?2) ON CONFLICT DO NOTHING",
        )?
        .execute((value, micros(now)))?
        == 1;
    let ran: Vec<JobId> = conn
        .prepare_cached(
            "UPDATE jobs SET status = 'queued', attempts = max(attempts - 1, 0), run_at = min(run_at, ?1), \
             updated_at = ?1, lease = NULL, lease_boot = NULL, lease_until = NULL, locked_at = NULL, locked_by = NULL \
             WHERE status = 'running' RETURNING id",
        )?
        .query_map([micros(now)], |row| row.get(0).map(JobId))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &ran {
        spend::release_orphans(conn, Some(*id))?;
        let change = Changed { from: JobStatus::Running, to: JobStatus::Queued, reason: "everything was stopped" };
        status::changed(conn, now, *id, &change, None)?;
    }
    if new {
        record(conn, now, "stop", by)?;
    }
    Ok(new || !ran.is_empty())
}

/// Lets everything go on. Says whether it was stopped.
pub fn go_on(conn: &Connection, now: Timestamp, by: &str) -> Result<bool> {
    let was = conn.prepare_cached("DELETE FROM runtime_state WHERE key = 'stopped'")?.execute([])? == 1;
    if was {
        record(conn, now, "resume", by)?;
    }
    Ok(was)
}

fn record(conn: &Connection, now: Timestamp, kind: &str, by: &str) -> Result<()> {
    conn.prepare_cached("INSERT INTO manual_events (event_type, payload, created_at) VALUES (?1, ?2, ?3)")?
        .execute((kind, json!({ "by": by }).to_string(), micros(now)))?;
    events::emit(conn, now, kind, None, &json!({ "by": by })).map(drop)
}
