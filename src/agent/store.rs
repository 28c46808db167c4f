//! What a prompt is made of, as it lies in the database.

use assistant_api::JobId;
use jiff::Timestamp;
use rusqlite::{Connection, Row};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    policy::Origin,
    store::types::RowExt as _,
};

/// One item of a thread, with its origin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub id: i64,
    pub from: String,
    pub to: Vec<String>,
    pub subject: String,
    /// The plain text, else the raw HTML.
    pub body: String,
    pub attachments: Vec<Value>,
    pub origin: Origin,
    pub received_at: Timestamp,
}

/// The newest `limit` items of a thread with an id above `after`, oldest first.
pub(crate) fn items(conn: &Connection, thread_id: &str, after: i64, limit: i64) -> Result<Vec<Item>> {
    let mut items: Vec<Item> = conn
        .prepare_cached(
            "SELECT id, from_address, to_addresses, subject, coalesce(body_text, body_html, '') AS body, attachments, \
             origin, received_at FROM emails WHERE thread_id = ?1 AND id > ?2 ORDER BY received_at DESC, id DESC LIMIT ?3",
        )?
        .query_map((thread_id, after, limit), |row| {
            Ok(Item {
                id: row.col("id")?,
                from: row.col("from_address")?,
                to: row.json("to_addresses")?,
                subject: row.col("subject")?,
                body: row.col("body")?,
                attachments: row.json("attachments")?,
                origin: origin(row)?,
                received_at: row.time("received_at")?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    items.reverse();
    Ok(items)
}

/// What people told the job in earlier epochs, oldest first: the newest `limit`.
pub(crate) fn told_before(conn: &Connection, job_id: JobId, limit: i64) -> Result<Vec<(String, Origin)>> {
    let mut told: Vec<_> = conn
        .prepare_cached(
            "SELECT instruction, origin FROM supervisor_instructions \
             WHERE job_id = ?1 AND consumed_at IS NOT NULL ORDER BY id DESC LIMIT ?2",
        )?
        .query_map((job_id.0, limit), |row| Ok((row.col("instruction")?, origin(row)?)))?
        .collect::<rusqlite::Result<_>>()?;
    told.reverse();
    Ok(told)
}

/// The least trusted origin that reached the model in any epoch of the job.
pub(crate) fn least_origin(conn: &Connection, job_id: JobId) -> Result<Option<Origin>> {
    let origins: Vec<Origin> = conn
        .prepare_cached("SELECT DISTINCT origin FROM steps WHERE job_id = ?1")?
        .query_map([job_id.0], origin)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(origins.into_iter().max())
}

/// The number of the job's last step, of any epoch.
pub(crate) fn last_step(conn: &Connection, job_id: JobId) -> Result<i64> {
    conn.prepare_cached("SELECT step_seq FROM jobs WHERE id = ?1")?.query_row([job_id.0], |row| row.get(0)).map_err(
        |err| match err {
            rusqlite::Error::QueryReturnedNoRows => Error::not_found("job", job_id),
            err => err.into(),
        },
    )
}

fn origin(row: &Row<'_>) -> rusqlite::Result<Origin> {
    let text: String = row.get("origin")?;
    text.parse()
        .map_err(|err: String| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, err.into()))
}
