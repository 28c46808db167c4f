//! What the daemon and the proxy say to each other: lines of JSON on a Unix socket.
//!
//! The proxy says [`Event::Hello`] first. The daemon sends a [`Request`] a line; each is answered by `granted`, `revoked`,
//! `settled` or `error`, in order. Between the answers come [`Event::Request`]s: one for each request of a job that this connection
//! granted, when it is over, and those of nobody. What was granted over a connection is revoked when it ends.

pub mod client;
mod record;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::record::{Reason, Record, RequestKind, Verdict};
use crate::allow::Entry;

/// The number that both sides must share.
pub const VERSION: u32 = 1;

/// Longest line, in bytes, either way.
pub const MAX_LINE: usize = 64 << 10;

/// The user name that goes with a token: `Proxy-Authorization: Basic base64("job:<token>")`.
pub const USER: &str = "job";

/// `MESSAGE_ID=` of a refused request in the journal; catalogued with those of the daemon.
pub const DENIED: &str = "e6374d03ee344e6aa2dafb4623e836e1";

/// From the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Grant(Grant),
    Revoke(Revoke),
    Settle(Settle),
}

/// Whoever shows this token asks for this job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The job as the daemon calls it; up to 128 bytes. A job may hold several tokens.
    pub job: String,
    pub token_sha256: TokenHash,
    /// Narrows the allow list of the configuration for this token; it never widens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<Entry>>,
    /// The process from whose connections alone the token counts; from any without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
}

/// Ends all tokens of a job, and every request that runs with one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    pub job: String,
}

/// Asks for an answer when no request of this job runs any more, or after a second: every one that is over has been told
/// by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settle {
    pub job: String,
}

/// SHA-256 of a token, on the wire as 64 hexadecimal digits. A token is random, of at least 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// The hash of this token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fault = "a token_sha256 is 64 hexadecimal digits";
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(fault);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = std::str::from_utf8(digits).ok().and_then(|text| u8::from_str_radix(text, 16).ok()).ok_or(fault)?;
        }
        Ok(Self(bytes))
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        use std::fmt::Write as _;
        hash.0.iter().fold(Self::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // a String takes everything
            text
        })
    }
}

/// From the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Hello {
        version: u32,
    },
    Granted {
        job: String,
    },
    Revoked {
        job: String,
        /// How many tokens ended.
        tokens: usize,
    },
    Settled {
        job: String,
        /// Whether all of them are over.
        all: bool,
    },
    Request(Box<Record>),
    /// So many records were dropped because nobody read them; the journal has them.
    Lost {
        count: u64,
    },
    /// The last line was not understood or not obeyed.
    Error {
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_documented() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let line = format!(r#"{{"grant":{{"job":"7","token_sha256":"{hash}","allow":["*.example.org"]}}}}"#);
        let request: Request = serde_json::from_str(&line).unwrap();
        let Request::Grant(grant) = &request else { panic!("{request:?}") };
        assert_eq!(grant.token_sha256, TokenHash::of("abc"));
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        let revoke: Request = serde_json::from_str(r#"{"revoke":{"job":"7"}}"#).unwrap();
        assert_eq!(revoke, Request::Revoke(Revoke { job: "7".to_owned() }));
    }

    #[test]
    fn what_is_no_message_says_why() {
        for (line, reason) in [
            (r#"{"grant":{"job":"7","token_sha256":"ab"}}"#, "64 hexadecimal digits"),
            (r#"{"grant":{"job":"7"}}"#, "missing field `token_sha256`"),
            (r#"{"revoke":{"job":"7","also":1}}"#, "unknown field `also`"),
            (r#"{"stop":{}}"#, "unknown variant `stop`"),
        ] {
            let err = serde_json::from_str::<Request>(line).unwrap_err().to_string();
            assert!(err.contains(reason), "{line}: {err}");
        }
        let plus = format!(r#"{{"grant":{{"job":"7","token_sha256":"{}"}}}}"#, "+1".repeat(32));
        assert!(serde_json::from_str::<Request>(&plus).is_err());
    }
}
