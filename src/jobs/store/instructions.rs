//! What people and finished work tell a job. Consumed only together with the step that used it.

use assistant_api::JobId;
use jiff::Timestamp;
use rusqlite::Connection;

use super::steps::{lost, parsed};
use crate::{
    error::Result,
    jobs::Lease,
    policy::Origin,
    store::types::{RowExt as _, micros},
};

/// What an instruction is to the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstructionKind {
    /// A word on the way.
    Instruction,
    /// The answer to the question that the job asked.
    Answer,
    /// What came with a review.
    Override,
}

impl InstructionKind {
    /// As it stands in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instruction => "instruction",
            Self::Answer => "answer",
            Self::Override => "override",
        }
    }
}

impl std::str::FromStr for InstructionKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Instruction, Self::Answer, Self::Override]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("unknown kind of instruction {text:?}"))
    }
}

/// One that has not been used yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub id: i64,
    pub kind: InstructionKind,
    pub text: String,
    pub created_by: String,
    pub origin: Origin,
    pub created_at: Timestamp,
}

/// Stores one, unused.
pub(in crate::jobs) fn insert(
    conn: &Connection,
    now: Timestamp,
    job_id: JobId,
    kind: InstructionKind,
    text: &str,
    created_by: &str,
    origin: Origin,
) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO supervisor_instructions (job_id, kind, instruction, created_by, origin, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((job_id.0, kind.as_str(), text, created_by, origin.as_str(), micros(now)))?;
    Ok(())
}

/// The unused ones, oldest first.
pub fn pending(conn: &Connection, job_id: JobId) -> Result<Vec<Instruction>> {
    let found = conn
        .prepare_cached(
            "SELECT id, kind, instruction, created_by, origin, created_at FROM supervisor_instructions \
             WHERE job_id = ?1 AND consumed_at IS NULL ORDER BY id",
        )?
        .query_map([job_id.0], |row| {
            Ok(Instruction {
                id: row.col("id")?,
                kind: parsed(row, "kind")?,
                text: row.col("instruction")?,
                created_by: row.col("created_by")?,
                origin: parsed(row, "origin")?,
                created_at: row.time("created_at")?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

/// Marks them as used; in the same transaction as the step that carries them.
///
/// # Errors
/// `conflict` when the lease is no longer held.
pub fn consume(conn: &Connection, now: Timestamp, lease: &Lease, ids: &[i64]) -> Result<()> {
    let mut update = conn.prepare_cached(
        "UPDATE supervisor_instructions SET consumed_at = ?3 WHERE id = ?1 AND job_id = ?2 AND consumed_at IS NULL \
         AND EXISTS (SELECT 1 FROM jobs WHERE id = ?2 AND lease = ?4 AND status = 'running')",
    )?;
    for id in ids {
        if update.execute((id, lease.job_id.0, micros(now), lease.token))? != 1 {
            return Err(lost(lease.job_id));
        }
    }
    Ok(())
}
