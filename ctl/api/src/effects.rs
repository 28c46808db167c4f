//! The effect ledger on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{EffectId, JobId};

/// How far an effect has come. `dispatched` after a crash is settled by looking, or becomes `unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectState {
    /// Written down, not begun.
    Prepared,
    /// Begun; whether it happened is not yet known.
    Dispatched,
    /// It happened.
    Confirmed,
    /// It did not happen.
    Failed,
    /// Nobody could find out; waits for a person.
    Unknown,
}

impl EffectState {
    /// Every state in order.
    pub const ALL: [Self; 5] = [Self::Prepared, Self::Dispatched, Self::Confirmed, Self::Failed, Self::Unknown];

    /// The state as it stands on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Dispatched => "dispatched",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl std::str::FromStr for EffectState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            format!("unknown effect state {text:?}; one of prepared, dispatched, confirmed, failed, unknown")
        })
    }
}

/// One thing that outlives the job that did it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Effect {
    pub id: EffectId,
    pub job_id: Option<JobId>,
    pub tool: String,
    /// What it acts on, for people: a path, a recipient.
    pub target: String,
    /// SHA-256 of the resolved arguments, hexadecimal.
    pub args_hash: String,
    /// The least trusted origin that led to it.
    pub origin: String,
    pub state: EffectState,
    /// The policy rule that let it pass.
    pub rule: String,
    /// What the tool keeps about it, such as hashes before and after.
    pub detail: Value,
    pub prepared_at: Timestamp,
    pub dispatched_at: Option<Timestamp>,
    pub settled_at: Option<Timestamp>,
}

/// `GET /api/effects`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EffectList {
    pub effects: Vec<Effect>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `POST /api/effects/{id}/resolve`: a person says what became of an `unknown` effect.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// `confirmed` or `failed`.
    pub state: EffectState,
}

/// `POST /api/effects/{id}/undo`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undone {
    /// The effect that was taken back.
    pub id: EffectId,
    /// What is the case now, in words.
    pub done: String,
}
