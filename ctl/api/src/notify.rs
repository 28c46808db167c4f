//! Who is told of what, on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EffectId, JobId, effects::EffectState};

/// `GET /api/notifications`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notifications {
    pub ways: Vec<NotifyWay>,
    /// What was told last, the newest first.
    pub lately: Vec<Notice>,
}

/// A way in which somebody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotifyWay {
    /// `owner` and `requester` by mail, `command` or `webhook`.
    pub way: String,
    /// An address, a program, or the host of a webhook; null for whoever asked, and for nobody.
    pub to: Option<String>,
    /// Why nobody is told in this way.
    pub problem: Option<String>,
    /// When they are told, in sentences.
    pub told: Vec<String>,
    /// The keys of the configuration that matter, such as `admin.email`; a name that ends in `.` stands for a section.
    pub keys: Vec<String>,
}

/// Something that somebody was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    pub effect_id: EffectId,
    pub at: Timestamp,
    /// `mail`, `command` or `webhook`.
    pub way: String,
    pub to: String,
    /// Such as `result`, `question`, `approval`, `notice` or `needs_review`.
    pub kind: String,
    pub job_id: Option<JobId>,
    pub subject: String,
    /// Whether it arrived.
    pub state: EffectState,
    /// Why not, or what the server said.
    pub answer: Option<String>,
}

/// `POST /api/notifications/untold`: what mail would have told the owner, and does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Untold {
    /// Why no mail tells the owner; null when mail does, and then nothing else is said here.
    pub no_mail: Option<String>,
    /// Jobs that wait for a person.
    pub waiting: i64,
    /// Jobs that have failed since this caller was told last, or in the last day if they never were.
    pub failed: i64,
    /// The newest of them, at most 5.
    pub failed_jobs: Vec<JobId>,
    /// Why this host lets nobody run commands.
    pub commands: Option<String>,
}
