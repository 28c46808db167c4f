//! SQL of what is made of attachments and links.

pub(super) mod kept;

use std::{fmt::Write as _, time::Duration};

use assistant_api::JobId;
use jiff::Timestamp;
use rusqlite::{Connection, Row};
use serde_json::{Value, json};

use crate::{
    error::Result,
    jobs::within,
    policy::Origin,
    store::types::{RowExt as _, micros, to_json},
};

/// What is to be written down.
pub(super) struct NewArtifact {
    pub(super) source: &'static str,
    pub(super) label: String,
    pub(super) uri: Option<String>,
    pub(super) filename: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) raw_name: Option<String>,
    pub(super) part: Option<u32>,
    pub(super) size: Option<u64>,
    pub(super) scan: &'static str,
    pub(super) conversion: &'static str,
    pub(super) error: Option<String>,
}

impl NewArtifact {
    pub(super) fn link(uri: String, skip: Option<&str>) -> Self {
        Self {
            source: "youtube_url",
            label: uri.clone(),
            uri: Some(uri),
            filename: None,
            content_type: None,
            raw_name: None,
            part: None,
            size: None,
            scan: "not_applicable",
            conversion: if skip.is_some() { "skipped" } else { "pending" },
            error: skip.map(str::to_owned),
        }
    }
}

pub(super) fn insert(tx: &Connection, now: Timestamp, email_id: i64, new: &NewArtifact) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO artifacts (email_id, source_type, source_label, source_uri, original_filename, content_type, raw_name, \
         part, raw_size_bytes, scan_status, conversion_status, error, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13)",
    )?
    .execute(rusqlite::params![
        email_id,
        new.source,
        new.label,
        new.uri,
        new.filename,
        new.content_type,
        new.raw_name,
        new.part,
        new.size.map(|size| i64::try_from(size).unwrap_or(i64::MAX)),
        new.scan,
        new.conversion,
        new.error,
        micros(now),
    ])?;
    Ok(())
}

/// What waits to be made.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) id: i64,
    pub(super) email_id: i64,
    pub(super) label: String,
    pub(super) uri: Option<String>,
    pub(super) raw_name: Option<String>,
    pub(super) part: Option<u32>,
    /// How many of the same mail come before it and have the same name but for its end.
    pub(super) number: usize,
}

/// The first that wait.
pub(super) fn pending(conn: &Connection, limit: u32) -> Result<Vec<Pending>> {
    let mut found: Vec<Pending> = conn
        .prepare_cached(
            "SELECT id, email_id, source_label, source_uri, raw_name, part FROM artifacts \
             WHERE scan_status = 'pending' OR conversion_status = 'pending' ORDER BY id LIMIT ?1",
        )?
        .query_map([limit], |row| {
            Ok(Pending {
                id: row.col("id")?,
                email_id: row.col("email_id")?,
                label: row.col("source_label")?,
                uri: row.col("source_uri")?,
                raw_name: row.col("raw_name")?,
                part: row.col("part")?,
                number: 0,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    for row in &mut found {
        let before: Vec<String> = conn
            .prepare_cached("SELECT source_label FROM artifacts WHERE email_id = ?1 AND id < ?2")?
            .query_map((row.email_id, row.id), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let own = stem(&row.label).to_lowercase();
        row.number = before.iter().filter(|label| stem(label).to_lowercase() == own).count();
    }
    Ok(found)
}

impl Pending {
    /// What the file that is made of it is called, without the end.
    pub(super) fn stem(&self) -> String {
        match &self.uri {
            // The address of a video ends with its id, which is letters, digits, `_` and `-`.
            Some(uri) => format!("youtube-{}", uri.rsplit('=').next().unwrap_or_default()),
            None => stem(&self.label).to_owned(),
        }
    }
}

/// A name without its end.
pub(super) fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem })
}

/// What became of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) scan: &'static str,
    pub(super) scan_result: Option<String>,
    pub(super) raw_sha256: Option<String>,
    pub(super) raw_size: Option<u64>,
    pub(super) conversion: &'static str,
    pub(super) markdown: Option<Markdown>,
    pub(super) error: Option<String>,
}

/// A file that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Markdown {
    pub(super) path: String,
    pub(super) sha256: String,
    pub(super) size: u64,
}

/// Writes it down, for the mail too, and tells the job that has seen the mail already.
pub(super) fn settle(tx: &Connection, now: Timestamp, row: &Pending, outcome: &Outcome) -> Result<()> {
    let size = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    let markdown = outcome.markdown.as_ref();
    tx.prepare_cached(
        "UPDATE artifacts SET scan_status = ?2, scan_result = ?3, raw_sha256 = ?4, \
         raw_size_bytes = coalesce(?5, raw_size_bytes), conversion_status = ?6, markdown_path = ?7, markdown_sha256 = ?8, \
         markdown_size_bytes = ?9, error = ?10, updated_at = ?11 WHERE id = ?1",
    )?
    .execute(rusqlite::params![
        row.id,
        outcome.scan,
        outcome.scan_result,
        outcome.raw_sha256,
        outcome.raw_size.map(size),
        outcome.conversion,
        markdown.map(|markdown| &markdown.path),
        markdown.map(|markdown| &markdown.sha256),
        markdown.map(|markdown| size(markdown.size)),
        outcome.error,
        micros(now),
    ])?;
    show(tx, row.email_id)?;
    if !is_pending(tx, row.email_id)? {
        tell(tx, now, row.email_id)?;
    }
    Ok(())
}

/// Whether something of a mail is still to be done.
pub(super) fn is_pending(conn: &Connection, email_id: i64) -> Result<bool> {
    Ok(conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM artifacts WHERE email_id = ?1 \
             AND (scan_status = 'pending' OR conversion_status = 'pending'))",
        )?
        .query_row([email_id], |row| row.get(0))?)
}

/// What waited for a person waits for the loop.
pub(super) fn take_up(tx: &Connection, now: Timestamp, email_id: i64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE artifacts SET scan_status = CASE source_type WHEN 'attachment' THEN 'pending' ELSE scan_status END, \
         conversion_status = 'pending', error = NULL, updated_at = ?3 WHERE email_id = ?1 AND error = ?2",
    )?
    .execute((email_id, super::register::NOT_ACTED_ON, micros(now)))?;
    Ok(())
}

/// What jobs and people are shown of one: never where it lies.
fn shown(row: &Row<'_>) -> rusqlite::Result<Value> {
    let (filename, conversion): (String, String) = (row.col("source_label")?, row.col("conversion_status")?);
    let (path, error): (Option<String>, Option<String>) = (row.col("markdown_path")?, row.col("error")?);
    let size: Option<i64> = row.col("raw_size_bytes")?;
    let mut shown = json!({
        "artifact_id": row.col::<i64>("id")?,
        "filename": filename,
        "content_type": row.col::<Option<String>>("content_type")?,
        "size_bytes": size,
        "scan_status": row.col::<String>("scan_status")?,
        "conversion_status": conversion,
    });
    if let Some(path) = path {
        shown["path"] = path.into();
        shown["kind"] = "file".into();
        shown["size_bytes"] = row.col::<Option<i64>>("markdown_size_bytes")?.into();
    }
    if let Some(error) = error {
        shown["error"] = error.into();
    }
    Ok(shown)
}

/// Puts what there is of attachments and links where the mail is read.
pub(super) fn show(tx: &Connection, email_id: i64) -> Result<()> {
    let all = manifest(tx, email_id)?;
    if !all.is_empty() {
        tx.prepare_cached("UPDATE emails SET attachments = ?2 WHERE id = ?1")?.execute((email_id, to_json(&all)?))?;
    }
    Ok(())
}

fn manifest(conn: &Connection, email_id: i64) -> Result<Vec<Value>> {
    Ok(conn
        .prepare_cached("SELECT * FROM artifacts WHERE email_id = ?1 ORDER BY id LIMIT 200")?
        .query_map([email_id], shown)?
        .collect::<rusqlite::Result<_>>()?)
}

/// A job that goes on while attachments are made learns what became of them.
fn tell(tx: &Connection, now: Timestamp, email_id: i64) -> Result<()> {
    let jobs: Vec<(i64, String)> = tx
        .prepare_cached(
            "SELECT jobs.id, emails.origin FROM mail_received JOIN jobs ON jobs.id = mail_received.job_id \
             JOIN emails ON emails.id = email_id WHERE email_id = ?1 AND jobs.status IN ('queued', 'running', 'needs_review') \
             AND (decision IN ('joined', 'answered') OR jobs.step_seq > 0)",
        )?
        .query_map([email_id], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (job, origin) in jobs {
        let mut text = String::from("What came with the mail was made readable:");
        for value in manifest(tx, email_id)? {
            let name = value["filename"].as_str().unwrap_or_default();
            let became = match (value["path"].as_str(), value["error"].as_str()) {
                (Some(path), _) => path.to_owned(),
                (None, Some(error)) => format!("not readable: {error}"),
                (None, None) => "not readable".to_owned(),
            };
            let _ = write!(text, "\n- {name}: {became}");
        }
        let origin = origin.parse().unwrap_or(Origin::Stranger).least(Origin::Attachment);
        within::instruct(tx, now, JobId(job), &text, "mail", origin)?;
    }
    Ok(())
}

/// Lets jobs go that are held for the attachments of a mail, when those are done or `patience` is over. Whether there was
/// one, and whether others still wait.
pub(super) fn release(tx: &Connection, now: Timestamp, patience: Duration) -> Result<(bool, bool)> {
    let held: Vec<(i64, i64, i64)> = tx
        .prepare_cached(
            "SELECT jobs.id, jobs.trigger_email_id, jobs.created_at FROM jobs WHERE status = 'waiting' AND needs = 'release' \
             AND EXISTS (SELECT 1 FROM artifacts WHERE email_id = jobs.trigger_email_id)",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let patience = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
    let (mut released, mut waiting) = (false, false);
    for (job, email_id, since) in held {
        if is_pending(tx, email_id)? && micros(now) - since < patience {
            waiting = true;
            continue;
        }
        within::release(tx, now, JobId(job), &[], "mail")?;
        released = true;
    }
    Ok((released, waiting))
}
