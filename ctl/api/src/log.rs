//! The daemon's own log, as far as it is in memory.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::JobId;

/// How much a line matters; each level includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// How it is called on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        let found = all.into_iter().find(|level| level.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is not a level; there are error, warn, info, debug and trace"))
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// Grows from line to line, over restarts too: microseconds since 1970, made unique.
    pub id: i64,
    pub at: Timestamp,
    pub level: LogLevel,
    /// The part of the program that says it.
    pub target: String,
    pub text: String,
    /// The job that it is about.
    pub job_id: Option<JobId>,
    /// What else it says, by name.
    pub fields: Map<String, Value>,
}

/// `GET /api/log`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogList {
    /// The newest of those asked for, the oldest of them first.
    pub lines: Vec<LogLine>,
    /// What is written down at present: `log.level`.
    pub level: LogLevel,
}
