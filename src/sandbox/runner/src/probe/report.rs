//! What is said of one attempt.

use serde::{Deserialize, Serialize};

use super::Expect;
use crate::protocol::Guarantee;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was refused, as it should be.
    Denied,
    /// It was not refused, and should have been.
    Allowed,
    /// It did its work, as it should.
    Works,
    /// It did not, and should have.
    Failed,
    /// There was nothing to try it on.
    Absent,
    /// It went wrong before it could show anything.
    Broken,
    /// It died.
    Crashed,
    /// It was still at it when its time was over.
    Hung,
}

/// One line of the probe's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub name: String,
    /// What its refusal shows to hold; none for what must work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<Guarantee>,
    pub expect: Expect,
    pub outcome: Outcome,
    pub detail: String,
}

impl Report {
    /// Whether it came out as it should; `absent` says nothing either way and is the reader's to judge.
    pub fn good(&self) -> bool {
        match self.expect {
            Expect::Denied => self.outcome == Outcome::Denied,
            Expect::Works => self.outcome == Outcome::Works,
        }
    }
}
