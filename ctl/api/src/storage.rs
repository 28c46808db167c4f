//! What lies on the disk, on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /api/storage`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Storage {
    /// When it was measured; it is measured anew when that is a minute ago.
    pub measured_at: Timestamp,
    pub kinds: Vec<StorageKind>,
}

/// What there is of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StorageKind {
    /// `database`, `workspace`, `trash`, `tool_results`, `artifacts`, `versions`, `mail`, `backups` or `sandbox`.
    pub kind: String,
    /// Bytes on the disk; null for what has none there.
    pub bytes: Option<u64>,
    /// How many files, or sessions of the sandbox.
    pub count: Option<u64>,
    /// Whether there is more: a measurement looks at so many files and no more.
    pub at_least: bool,
    /// How long it is kept, with the key that says so.
    pub kept: Option<String>,
    /// Why it could not be measured.
    pub problem: Option<String>,
}
