//! The trail that every change of status leaves: one log row and one event, in the same transaction.

use assistant_api::{
    JobId,
    jobs::{JobStatus, Needs},
};
use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;
use serde_json::json;

use super::log::{self, NewLog};
use crate::{error::Result, events};

/// A change that has just been made.
pub(super) struct Changed<'a> {
    pub from: JobStatus,
    pub to: JobStatus,
    /// Why, for people; not logged when empty.
    pub reason: &'a str,
}

#[derive(Serialize)]
struct StatusEvent<'a> {
    status: JobStatus,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<&'a Needs>,
}

/// Logs `status_change` and emits `job.status`.
pub(super) fn changed(
    conn: &Connection,
    now: Timestamp,
    id: JobId,
    change: &Changed<'_>,
    needs: Option<&Needs>,
) -> Result<()> {
    let mut input = json!({ "from": change.from, "to": change.to });
    if !change.reason.is_empty() {
        input["reason"] = change.reason.into();
    }
    log::insert(conn, now, id, &NewLog { event_type: "status_change", input_data: Some(input), ..NewLog::default() })?;
    let data = StatusEvent { status: change.to, reason: change.reason, needs };
    events::emit(conn, now, "job.status", Some(id), &data)?;
    Ok(())
}
