//! Which mail a job may see: that of its own thread; all of it only if the owner asked for the job.

use assistant_api::{EmailId, JobId, jobs::Email};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};
use serde::Serialize;

use crate::{error::Result, jobs, policy::Origin, store::types::RowExt as _};

/// How far a job sees.
pub(in crate::mail) struct Sight {
    thread_id: String,
    pub everything: bool,
}

/// A mail in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::mail) struct Found {
    id: i64,
    message_id: String,
    thread_id: String,
    from_address: String,
    subject: String,
    received_at: Timestamp,
    is_actionable: bool,
    #[serde(skip)]
    pub origin: Origin,
}

/// What was made of an attachment, as a job may know it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::mail) struct Made {
    artifact_id: i64,
    source: String,
    label: String,
    filename: Option<String>,
    content_type: Option<String>,
    scan_status: String,
    conversion_status: String,
    /// To be read with `file_read`.
    markdown_path: Option<String>,
    error: Option<String>,
}

/// How far this job sees: by the mail that made it, not by what it has read since.
pub(in crate::mail) fn of(conn: &Connection, job: JobId) -> Result<Sight> {
    let thread_id = jobs::thread_of(conn, job)?;
    let origin: Option<String> = conn
        .prepare_cached(
            "SELECT emails.origin FROM jobs JOIN emails ON emails.id = jobs.trigger_email_id WHERE jobs.id = ?1",
        )?
        .query_row([job.0], |row| row.get(0))
        .optional()?;
    Ok(Sight { thread_id, everything: origin.as_deref() == Some(Origin::Owner.as_str()) })
}

fn origin(row: &Row<'_>) -> rusqlite::Result<Origin> {
    row.get_ref("origin")?
        .as_str()?
        .parse()
        .map_err(|err: String| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, err.into()))
}

/// Mail in which all words occur, newest first.
pub(in crate::mail) fn search(conn: &Connection, sight: &Sight, words: &[String], limit: i64) -> Result<Vec<Found>> {
    let mut sql = "SELECT id, message_id, thread_id, from_address, subject, received_at, is_actionable, origin \
                   FROM emails WHERE from_address NOT LIKE '%@local'"
        .to_owned();
    let mut values: Vec<String> = Vec::new();
    if !sight.everything {
        sql.push_str(" AND thread_id = ?");
        values.push(sight.thread_id.clone());
    }
    for word in words.iter().take(20) {
        sql.push_str(
            " AND (subject LIKE ? ESCAPE '\\' OR from_address LIKE ? ESCAPE '\\' OR body_text LIKE ? ESCAPE '\\')",
        );
        let pattern = format!("%{}%", word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
        values.extend([pattern.clone(), pattern.clone(), pattern]);
    }
    let sql = format!("{sql} ORDER BY received_at DESC, id DESC LIMIT {limit}");
    let found = conn
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), |row| {
            Ok(Found {
                id: row.col("id")?,
                message_id: row.col("message_id")?,
                thread_id: row.col("thread_id")?,
                from_address: row.col("from_address")?,
                subject: row.col("subject")?,
                received_at: row.time("received_at")?,
                is_actionable: row.col("is_actionable")?,
                origin: origin(row)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

/// One mail, if the job may see it.
pub(in crate::mail) fn email(conn: &Connection, sight: &Sight, id: i64) -> Result<Option<(Email, Origin)>> {
    let Some(email) = jobs::email(conn, EmailId(id))? else { return Ok(None) };
    if !sight.everything && email.thread_id != sight.thread_id {
        return Ok(None);
    }
    let origin = conn.prepare_cached("SELECT origin FROM emails WHERE id = ?1")?.query_row([id], origin)?;
    Ok(Some((email, origin)))
}

/// What was made of a mail's attachments.
pub(in crate::mail) fn made(conn: &Connection, email: i64) -> Result<Vec<Made>> {
    let found = conn
        .prepare_cached("SELECT * FROM artifacts WHERE email_id = ?1 ORDER BY id LIMIT 200")?
        .query_map([email], |row| {
            Ok(Made {
                artifact_id: row.col("id")?,
                source: row.col("source_type")?,
                label: row.col("source_label")?,
                filename: row.col("original_filename")?,
                content_type: row.col("content_type")?,
                scan_status: row.col("scan_status")?,
                conversion_status: row.col("conversion_status")?,
                markdown_path: row.col("markdown_path")?,
                error: row.col("error")?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}
