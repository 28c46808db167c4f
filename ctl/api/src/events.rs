//! The event stream on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{EventId, JobId};

/// One entry of `GET /api/events` (its SSE `id:` is `id`, its `event:` is `kind`, its `data:` this object).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    pub id: EventId,
    /// `job.created`, `job.status`, `job.log`, `effect.state`, `approval`, `workspace.changed`, `config.reloaded`,
    /// `stop`, `resume`; and two that are not stored: `gap` (older entries are no longer kept) and `shutdown` (the daemon
    /// stops; connect again with the last id).
    pub kind: String,
    pub job_id: Option<JobId>,
    pub data: Value,
    pub at: Timestamp,
}
