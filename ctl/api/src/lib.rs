//! What the daemon and its clients say to each other: ids, requests, replies, error kinds.
//!
//! Serde types only; with the feature `client` also the small asynchronous client of the Unix socket.
//! Nothing here can reach the database: that is how the command line is kept from it.

pub mod backup;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
pub mod effects;
pub mod error;
pub mod events;
pub mod jobs;
pub mod log;
pub mod login;
pub mod mail;
pub mod near;
pub mod notify;
pub mod sandbox;
pub mod secrets;
pub mod status;
pub mod storage;
pub mod workspace;

pub use error::{ErrorKind, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the JSON that `assistantctl -o json` prints, as its `schema` field.
pub const OUTPUT_SCHEMA: &str = "v1";

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

ids! {
    /// A job: one piece of work, from its request to its result.
    JobId;
    /// One item of a thread: a mail, or the text of a request made in another way.
    EmailId;
    /// One row of the effect ledger.
    EffectId;
    /// One question to a person about one exact tool call.
    ApprovalId;
    /// One entry of the event stream; ids only grow.
    EventId;
}

/// What a caller may do; each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything that the API shows.
    Viewer,
    /// Also submits, answers and changes jobs and files.
    Operator,
    /// Also stops the daemon's work, erases, and changes configuration.
    Admin,
}

impl Role {
    /// All of them, from the least to the highest.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// How it is called on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
