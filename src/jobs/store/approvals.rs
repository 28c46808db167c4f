//! Questions to a person about one exact call; the answer is good for that call only, once.

use assistant_api::{ApprovalId, JobId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::Value;

use super::steps::parsed;
use crate::{
    error::{Error, Result},
    events,
    jobs::Lease,
    store::types::{RowExt as _, micros, to_json},
};

/// What a person said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApprovalState {
    Pending,
    Approved,
    Denied,
    /// Approved, and the call was made.
    Used,
    /// The job ended or went on without it.
    Void,
}

impl ApprovalState {
    const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Denied, Self::Used, Self::Void];

    /// As it stands on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Used => "used",
            Self::Void => "void",
        }
    }
}

impl std::str::FromStr for ApprovalState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| format!("unknown state {text:?}"))
    }
}

/// A question to be asked.
#[derive(Clone, Debug)]
pub struct NewApproval {
    /// The model's call, `<step seq>:<index>`.
    pub call_key: String,
    pub tool: String,
    /// The resolved arguments, shown to the person as they are.
    pub args: Value,
    pub args_hash: String,
    pub reason: String,
    /// The policy rule that asks.
    pub rule: String,
}

/// A stored question.
#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    pub id: ApprovalId,
    pub job_id: JobId,
    pub call_key: String,
    pub tool: String,
    pub args: Value,
    pub args_hash: String,
    pub reason: String,
    pub rule: String,
    pub state: ApprovalState,
    pub created_at: Timestamp,
    pub decided_at: Option<Timestamp>,
    pub decided_by: Option<String>,
    /// What the person said with a denial.
    pub decision_reason: Option<String>,
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Approval> {
    Ok(Approval {
        id: ApprovalId(row.col("id")?),
        job_id: JobId(row.col("job_id")?),
        call_key: row.col("call_key")?,
        tool: row.col("tool")?,
        args: row.json("args")?,
        args_hash: row.col("args_hash")?,
        reason: row.col("reason")?,
        rule: row.col("rule")?,
        state: parsed(row, "state")?,
        created_at: row.time("created_at")?,
        decided_at: row.opt_time("decided_at")?,
        decided_by: row.col("decided_by")?,
        decision_reason: row.col("decision_reason")?,
    })
}

/// Asks; the caller then ends its run with [`crate::jobs::Outcome::NeedsReview`]. Asking again for the same call gives
/// the question that is already there.
///
/// # Errors
/// `conflict` when the lease is no longer held.
pub fn request(conn: &Connection, now: Timestamp, lease: &Lease, new: &NewApproval) -> Result<ApprovalId> {
    super::claim::held(conn, lease)?;
    // What was asked before and not decided is about a call that the job has left behind.
    conn.prepare_cached(
        "UPDATE approvals SET state = 'void' WHERE job_id = ?1 AND state = 'pending' \
         AND (call_key <> ?2 OR args_hash <> ?3)",
    )?
    .execute((lease.job_id.0, &new.call_key, &new.args_hash))?;
    if let Some(known) = for_call(conn, lease.job_id, &new.call_key)?
        && known.state == ApprovalState::Pending
        && known.args_hash == new.args_hash
    {
        return Ok(known.id);
    }
    conn.prepare_cached(
        "INSERT INTO approvals (job_id, call_key, tool, args, args_hash, reason, rule, state, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'pending', ?8)",
    )?
    .execute((
        lease.job_id.0,
        &new.call_key,
        &new.tool,
        to_json(&new.args)?,
        &new.args_hash,
        &new.reason,
        &new.rule,
        micros(now),
    ))?;
    let id = ApprovalId(conn.last_insert_rowid());
    emit(conn, now, lease.job_id, id, ApprovalState::Pending)?;
    Ok(id)
}

fn emit(conn: &Connection, now: Timestamp, job_id: JobId, id: ApprovalId, state: ApprovalState) -> Result<()> {
    let data = serde_json::json!({ "approval_id": id, "state": state.as_str() });
    events::emit(conn, now, "approval", Some(job_id), &data).map(drop)
}

/// The newest question about this call.
pub fn for_call(conn: &Connection, job_id: JobId, call_key: &str) -> Result<Option<Approval>> {
    let found = conn
        .prepare_cached("SELECT * FROM approvals WHERE job_id = ?1 AND call_key = ?2 ORDER BY id DESC LIMIT 1")?
        .query_row((job_id.0, call_key), from_row)
        .optional()?;
    Ok(found)
}

/// One question, if it is there.
pub fn get(conn: &Connection, id: ApprovalId) -> Result<Option<Approval>> {
    let found = conn.prepare_cached("SELECT * FROM approvals WHERE id = ?1")?.query_row([id.0], from_row).optional()?;
    Ok(found)
}

/// Takes the approval for the one call that it is for. `false`: it is not approved, was used, or is for other arguments.
///
/// # Errors
/// `conflict` when the lease is no longer held.
pub fn use_once(conn: &Connection, now: Timestamp, lease: &Lease, id: ApprovalId, args_hash: &str) -> Result<bool> {
    super::claim::held(conn, lease)?;
    let changed = conn
        .prepare_cached(
            "UPDATE approvals SET state = 'used' \
             WHERE id = ?1 AND job_id = ?2 AND state = 'approved' AND args_hash = ?3",
        )?
        .execute((id.0, lease.job_id.0, args_hash))?;
    if changed == 1 {
        emit(conn, now, lease.job_id, id, ApprovalState::Used)?;
    }
    Ok(changed == 1)
}

/// A person's decision on a pending question; the caller queues the job again.
///
/// # Errors
/// `conflict` when it is decided already, `not_found` when the job has no such question.
pub(in crate::jobs) fn decide(
    conn: &Connection,
    now: Timestamp,
    job_id: JobId,
    wanted: Option<ApprovalId>,
    state: ApprovalState,
    by: &str,
    reason: Option<&str>,
) -> Result<Approval> {
    let found = match wanted {
        Some(id) => conn
            .prepare_cached("SELECT * FROM approvals WHERE id = ?1 AND job_id = ?2")?
            .query_row((id.0, job_id.0), from_row)
            .optional()?
            .ok_or_else(|| Error::not_found("approval", id))?,
        None => conn
            .prepare_cached("SELECT * FROM approvals WHERE job_id = ?1 AND state = 'pending' ORDER BY id DESC LIMIT 1")?
            .query_row([job_id.0], from_row)
            .optional()?
            .ok_or_else(|| Error::conflict(format!("job {job_id} asks for no approval")))?,
    };
    let changed = conn
        .prepare_cached(
            "UPDATE approvals SET state = ?2, decided_at = ?3, decided_by = ?4, decision_reason = ?5 \
             WHERE id = ?1 AND state = 'pending'",
        )?
        .execute((found.id.0, state.as_str(), micros(now), by, reason))?;
    if changed != 1 {
        let message = format!("approval {} is {} already", found.id, found.state.as_str());
        return Err(Error::conflict(message).hint("a decision is made once, for one call"));
    }
    emit(conn, now, job_id, found.id, state)?;
    Ok(Approval { state, ..found })
}

/// Ends one that is pending or unused: its call goes on without it.
///
/// # Errors
/// `conflict` when the lease is no longer held.
pub fn void_one(conn: &Connection, now: Timestamp, lease: &Lease, id: ApprovalId) -> Result<()> {
    super::claim::held(conn, lease)?;
    let changed = conn
        .prepare_cached(
            "UPDATE approvals SET state = 'void' WHERE id = ?1 AND job_id = ?2 AND state IN ('pending', 'approved')",
        )?
        .execute((id.0, lease.job_id.0))?;
    if changed == 1 {
        emit(conn, now, lease.job_id, id, ApprovalState::Void)?;
    }
    Ok(())
}

/// Ends what is still pending or unused: the job ended.
pub(super) fn void(conn: &Connection, job_id: JobId) -> Result<()> {
    conn.prepare_cached("UPDATE approvals SET state = 'void' WHERE job_id = ?1 AND state IN ('pending', 'approved')")?
        .execute([job_id.0])?;
    Ok(())
}

/// At most `limit` pending questions of all jobs with an id below `before`, newest first.
pub fn pending(conn: &Connection, before: i64, limit: i64) -> Result<Vec<Approval>> {
    let found = conn
        .prepare_cached("SELECT * FROM approvals WHERE state = 'pending' AND id < ?1 ORDER BY id DESC LIMIT ?2")?
        .query_map((before, limit), from_row)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}
