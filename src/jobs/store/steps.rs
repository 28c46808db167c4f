//! The conversation of a job with its model, append-only.

use assistant_api::JobId;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    jobs::Lease,
    policy::Origin,
    store::{
        texts,
        types::{RowExt as _, micros},
    },
};

/// What a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepKind {
    /// What the conversation starts with, or what the host adds to it later.
    Prompt,
    /// What the model answered.
    Answer,
    /// What became of one call.
    Result,
    /// A word of the host to the model.
    Note,
    /// Stands for the steps before it.
    Summary,
}

impl StepKind {
    const ALL: [Self; 5] = [Self::Prompt, Self::Answer, Self::Result, Self::Note, Self::Summary];

    /// As it stands in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Answer => "answer",
            Self::Result => "result",
            Self::Note => "note",
            Self::Summary => "summary",
        }
    }
}

impl std::str::FromStr for StepKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| format!("unknown step kind {text:?}"))
    }
}

/// A step to be written.
#[derive(Clone, Debug)]
pub struct NewStep {
    pub kind: StepKind,
    pub body: Value,
    /// A text that other steps may share; stored once by hash.
    pub text: Option<String>,
    pub origin: Origin,
}

/// A stored step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Grows by one per step of the job, over all epochs.
    pub seq: i64,
    pub kind: StepKind,
    pub body: Value,
    pub text: Option<String>,
    pub origin: Origin,
    pub created_at: Timestamp,
}

/// Says `conflict`, as every write of a worker that no longer holds the job.
pub(super) fn lost(job_id: JobId) -> Error {
    Error::conflict(format!("the lease on job {job_id} is no longer held"))
}

/// Appends steps to the job's current epoch and returns the sequence number of the last one.
///
/// # Errors
/// `conflict` when the lease is no longer held.
pub fn append(conn: &Connection, now: Timestamp, lease: &Lease, steps: &[NewStep]) -> Result<i64> {
    let count = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    let (last, epoch): (i64, i64) = conn
        .prepare_cached(
            "UPDATE jobs SET step_seq = step_seq + ?3, updated_at = ?4 \
             WHERE id = ?1 AND lease = ?2 AND status = 'running' RETURNING step_seq, epoch",
        )?
        .query_row((lease.job_id.0, lease.token, count, micros(now)), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or_else(|| lost(lease.job_id))?;
    let mut insert = conn.prepare_cached(
        "INSERT INTO steps (job_id, seq, epoch, kind, body, text_hash, origin, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (seq, step) in (last - count + 1..).zip(steps) {
        let hash = step.text.as_deref().map(|text| texts::put(conn, text)).transpose()?;
        insert.execute((
            lease.job_id.0,
            seq,
            epoch,
            step.kind.as_str(),
            step.body.to_string(),
            hash,
            step.origin.as_str(),
            micros(now),
        ))?;
    }
    Ok(last)
}

/// The steps of one epoch, in order.
pub fn load(conn: &Connection, job_id: JobId, epoch: i64) -> Result<Vec<Step>> {
    let steps = conn
        .prepare_cached(
            "SELECT seq, kind, steps.body, texts.body AS text, origin, created_at \
             FROM steps LEFT JOIN texts ON texts.hash = steps.text_hash \
             WHERE job_id = ?1 AND epoch = ?2 ORDER BY seq",
        )?
        .query_map((job_id.0, epoch), |row| {
            Ok(Step {
                seq: row.col("seq")?,
                kind: parsed(row, "kind")?,
                body: row.json("body")?,
                text: row.col("text")?,
                origin: parsed(row, "origin")?,
                created_at: row.time("created_at")?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(steps)
}

/// A text column that names one of a closed set.
pub(crate) fn parsed<T: std::str::FromStr<Err = String>>(row: &rusqlite::Row<'_>, name: &str) -> rusqlite::Result<T> {
    row.get_ref(name)?
        .as_str()?
        .parse()
        .map_err(|err: String| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, err.into()))
}
