//! The event stream: what happened, numbered, kept for replay. Whoever changes something writes the event in the same
//! transaction ([`emit`]) and, once that is on disk, says so ([`crate::cx::Wake::announce`]); who listens then looks
//! in the database. Nothing is held in memory for a listener, so a slow or absent one costs and loses nothing.

mod follow;
mod store;
#[cfg(test)]
mod tests;

use assistant_api::{EventId, JobId};
use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;

#[cfg(test)]
pub(crate) use self::{follow::BATCH, store::cursor::cursor};
pub use self::{
    follow::{Follower, follow, unfollow},
    store::{Stored, after, bounds, purge},
};
use crate::error::Result;

/// Puts `data` into the newest entry, if the caller's transaction has just written it: same job, same kind, same time.
/// `false`: it is another one.
pub fn amend(conn: &Connection, now: Timestamp, kind: &str, job_id: JobId, data: &impl Serialize) -> Result<bool> {
    store::amend(conn, now, kind, job_id, &serde_json::to_string(data)?)
}

/// Writes one entry in the caller's transaction. `kind` is one of those that `assistant_api::events::Event` names.
pub fn emit(
    conn: &Connection,
    now: Timestamp,
    kind: &str,
    job_id: Option<JobId>,
    data: &impl Serialize,
) -> Result<EventId> {
    store::insert(conn, now, kind, job_id, &serde_json::to_string(data)?)
}
