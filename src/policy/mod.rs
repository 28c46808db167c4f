//! What a tool call may do: decided in code, before every call, from the tool, its arguments and where the request
//! came from. Model output never widens it.

pub mod config;
mod rules;

use serde::{Deserialize, Serialize};

pub use self::rules::{Rule, Rules, decide};

/// Where a piece of text or a request came from, from most to least trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The person it works for, over the socket or by verified mail.
    Owner,
    /// The program itself.
    Host,
    /// A known, verified person.
    Contact,
    /// Output of a tool on local data.
    Tool,
    /// Something remembered; carries the least of its sources.
    Memory,
    /// A file that came with a message.
    Attachment,
    /// A web page or search result.
    Web,
    /// Anybody else.
    Stranger,
}

impl Origin {
    /// Every origin, most trusted first.
    pub const ALL: [Self; 8] =
        [Self::Owner, Self::Host, Self::Contact, Self::Tool, Self::Memory, Self::Attachment, Self::Web, Self::Stranger];

    /// The origin as it stands in config, prompts and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Host => "host",
            Self::Contact => "contact",
            Self::Tool => "tool",
            Self::Memory => "memory",
            Self::Attachment => "attachment",
            Self::Web => "web",
            Self::Stranger => "stranger",
        }
    }

    /// The less trusted of two.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        self.max(other)
    }
}

impl std::str::FromStr for Origin {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == text).ok_or_else(|| format!("unknown origin {text:?}"))
    }
}

/// What kind of thing a tool does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Ends or steers the run itself.
    Control,
    /// Reads what belongs to the job's owner; adjacent reads may run at once.
    Read,
    /// Changes something that can be undone.
    Write,
    /// Leaves the machine.
    Send,
    /// Runs a program.
    Run,
}

impl Access {
    /// The access as it stands in config and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Read => "read",
            Self::Write => "write",
            Self::Send => "send",
            Self::Run => "run",
        }
    }
}

/// The answer to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Verdict,
    /// The rule that decided: `config[2]` or the name of a built-in one.
    pub rule: String,
}

/// Whether a call may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// A person has to see the exact call first; the reason is shown with it.
    Ask(String),
    /// Refused; the reason is told to the model.
    Deny(String),
}
