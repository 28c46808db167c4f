//! The task log: what the API shows of a job's course. Redacted here, before it is stored.

use assistant_api::{
    JobId,
    jobs::{LogRow, PresentStep},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    events,
    jobs::redact,
    store::types::{RowExt as _, micros},
};

/// A row to be written. Event types are those that [`LogRow::event_type`] names.
#[derive(Clone, Debug, Default)]
pub struct NewLog<'a> {
    pub event_type: &'a str,
    pub tool_name: Option<&'a str>,
    pub tool_action: Option<&'a str>,
    pub input_data: Option<Value>,
    pub output_data: Option<Value>,
    pub tokens_used: Option<Value>,
    pub duration_ms: Option<i64>,
}

/// Writes a row and emits `job.log`; returns its sequence, which grows by one per row of the job. Rows that are written
/// together share one event, which names the last of them.
pub fn append(conn: &Connection, now: Timestamp, job_id: JobId, row: &NewLog<'_>) -> Result<i64> {
    let sequence = insert(conn, now, job_id, row)?;
    let mut data = json!({ "sequence": sequence, "event_type": row.event_type });
    if let Some(tool) = row.tool_name {
        data["tool_name"] = tool.into();
    }
    if !events::amend(conn, now, "job.log", job_id, &data)? {
        events::emit(conn, now, "job.log", Some(job_id), &data)?;
    }
    Ok(sequence)
}

/// Writes a row without an event of its own.
pub(super) fn insert(conn: &Connection, now: Timestamp, job_id: JobId, row: &NewLog<'_>) -> Result<i64> {
    let sequence: i64 = conn
        .prepare_cached("UPDATE jobs SET log_seq = log_seq + 1 WHERE id = ?1 RETURNING log_seq")?
        .query_row([job_id.0], |row| row.get(0))
        .optional()?
        .ok_or_else(|| Error::not_found("job", job_id))?;
    let json = |value: &Option<Value>| value.as_ref().map(redact::stored);
    conn.prepare_cached(
        "INSERT INTO task_logs (job_id, sequence, event_type, tool_name, tool_action, input_data, output_data, \
         tokens_used, duration_ms, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute((
        job_id.0,
        sequence,
        row.event_type,
        row.tool_name,
        row.tool_action,
        json(&row.input_data),
        json(&row.output_data),
        row.tokens_used.as_ref().map(Value::to_string),
        row.duration_ms,
        micros(now),
    ))?;
    Ok(sequence)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<LogRow> {
    Ok(LogRow {
        id: row.col("id")?,
        job_id: JobId(row.col("job_id")?),
        sequence: row.col("sequence")?,
        event_type: row.col("event_type")?,
        tool_name: row.col("tool_name")?,
        tool_action: row.col("tool_action")?,
        input_data: row.opt_json("input_data")?,
        output_data: row.opt_json("output_data")?,
        tokens_used: row.opt_json("tokens_used")?,
        duration_ms: row.col("duration_ms")?,
        created_at: row.time("created_at")?,
    })
}

/// At most `limit` rows before `before`, oldest first: the newest page when `before` is `None`.
pub fn before(conn: &Connection, job_id: JobId, before: Option<i64>, limit: i64) -> Result<Vec<LogRow>> {
    let mut rows: Vec<_> = conn
        .prepare_cached("SELECT * FROM task_logs WHERE job_id = ?1 AND sequence < ?2 ORDER BY sequence DESC LIMIT ?3")?
        .query_map((job_id.0, before.unwrap_or(i64::MAX), limit), from_row)?
        .collect::<rusqlite::Result<_>>()?;
    rows.reverse();
    Ok(rows)
}

/// At most `limit` rows after `sequence`, oldest first.
pub fn after(conn: &Connection, job_id: JobId, sequence: i64, limit: i64) -> Result<Vec<LogRow>> {
    let rows = conn
        .prepare_cached("SELECT * FROM task_logs WHERE job_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3")?
        .query_map((job_id.0, sequence, limit), from_row)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

pub(super) const PRESENT: &str = "SELECT event_type, tool_name, input_data, created_at FROM task_logs WHERE job_id = ?1 \
     AND event_type NOT IN ('tool_output', 'policy', 'supervisor_note') ORDER BY sequence DESC LIMIT 1";

/// What a job is at.
pub fn present(conn: &Connection, job_id: JobId) -> Result<Option<PresentStep>> {
    let step = |row: &Row<'_>| {
        Ok(PresentStep {
            event_type: row.col("event_type")?,
            tool_name: row.col("tool_name")?,
            about: row.opt_json::<Value>("input_data")?.as_ref().and_then(about),
            at: row.time("created_at")?,
        })
    };
    Ok(conn.prepare_cached(PRESENT)?.query_row([job_id.0], step).optional()?)
}

/// Characters of what a step is about.
const ABOUT: usize = 120;

fn about(input: &Value) -> Option<String> {
    let arguments = input.get("arguments")?.as_object()?;
    let text = match arguments.get("command").or_else(|| arguments.values().next())? {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => return None,
    };
    Some(text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(ABOUT).collect())
}
