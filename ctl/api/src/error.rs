//! Error kinds, shared by the daemon, the wire and the command line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a request failed, in words that a program may rely on: a kind is never renamed or removed.
///
/// Each kind is mapped once to an HTTP status (`src/http/problem.rs`), once to what the model is told
/// (`src/agent/tools.rs`) and once to an exit code (`ctl/src/exit.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request cannot be understood or asks for something impossible.
    Invalid,
    /// A field of the request is missing, of the wrong type or out of range.
    Validation,
    /// Nobody is known to be asking.
    Unauthorized,
    /// The caller's role, or a guard, does not allow it.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path belongs to a part that this version does not have.
    NotAvailable,
    /// The path exists but not with this method.
    MethodNotAllowed,
    /// The thing is in a state that does not allow it.
    Conflict,
    /// Running commands is switched off (`sandbox.enabled`).
    SandboxDisabled,
    /// `If-Match` names a version that is no longer current.
    PreconditionFailed,
    /// The request is larger than the limit that the message names.
    TooLarge,
    /// The content is not of a type that the route takes or gives.
    UnsupportedMedia,
    /// Too many requests; try again later.
    RateLimited,
    /// It did not finish within its time limit.
    Timeout,
    /// The disk is full, or below the free-space mark.
    StorageFull,
    /// A part that is needed does not answer, or is not configured; the message says which.
    Unavailable,
    /// A fault of the daemon itself; details are in its journal under the request id.
    Internal,
}

impl ErrorKind {
    /// The kind as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Validation => "validation",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::NotAvailable => "not_available",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::SandboxDisabled => "sandbox_disabled",
            Self::PreconditionFailed => "precondition_failed",
            Self::TooLarge => "too_large",
            Self::UnsupportedMedia => "unsupported_media",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::StorageFull => "storage_full",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// The body of every error answer: an RFC 9457 problem document (`application/problem+json`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Always `about:blank`; `kind` tells problems apart.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// A sentence for people.
    pub title: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The sentence again, or for `validation` a list of `{type, loc, msg}`.
    pub detail: serde_json::Value,
    /// What a program may branch on.
    pub kind: ErrorKind,
    /// The same id stands in the daemon's journal.
    pub request_id: String,
    /// The field that is at fault, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
