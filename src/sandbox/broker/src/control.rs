//! What the daemon and the proxy say to each other: lines of JSON on a Unix socket.
//!
//! The proxy says [`Event::Hello`] first. The daemon sends a [`Request`] a line; each is answered by `granted`, `revoked`
//! or `error`, in order. Between the answers come [`Event::Request`]s: one for each request of a job that this connection
//! granted, when it is over, and those of nobody. What was granted over a connection is revoked when it ends.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{address::Class, allow::Entry};

/// The number that both sides must share.
pub const VERSION: u32 = 1;

/// Longest line, in bytes, either way.
pub const MAX_LINE: usize = 64 << 10;

/// The user name that goes with a token: `Proxy-Authorization: Basic base64("job:<token>")`.
pub const USER: &str = "job";

/// From the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Grant(Grant),
    Revoke(Revoke),
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
}

/// Ends all tokens of a job, and every request that runs with one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
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

/// One request, when it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whose token was shown; `None`: no known one.
    pub job: Option<String>,
    pub kind: RequestKind,
    /// The host in its one spelling, as far as it could be read.
    pub host: Option<String>,
    pub port: Option<u16>,
    /// The address that was connected to, or the one that was refused.
    pub address: Option<IpAddr>,
    pub verdict: Verdict,
    pub reason: Reason,
    /// Which entry of the allow list allowed it, or what it broke.
    pub rule: Option<String>,
    /// What would allow it: a sentence with the line to add.
    pub suggestion: Option<String>,
    /// Bytes sent to the host.
    pub bytes_up: u64,
    /// Bytes received from the host.
    pub bytes_down: u64,
    pub duration_ms: u64,
}

/// How it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// `CONNECT host:port`.
    Tunnel,
    /// `GET http://host/`.
    Plain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was let through, and ended by itself.
    Allowed,
    /// A rule or a bound forbade it, or ended it.
    Refused,
    /// It was allowed, and did not work.
    Failed,
}

/// Why a request ended as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// By itself.
    Done,
    /// It could not be understood.
    Malformed,
    /// No token, or none that is granted.
    TokenUnknown,
    HostNotListed,
    PortNotListed,
    /// The host is listed, but not for this token.
    NotGranted,
    /// Every address of the name is of this class.
    AddressNotPublic(Class),
    /// The address is this machine's own.
    AddressOwn,
    TooManyRequests,
    /// The request came through this proxy before.
    Loop,
    /// What went into the tunnel was not TLS.
    NotTls,
    /// TLS asked for another host than CONNECT.
    SniMismatch,
    /// TLS named no host.
    SniMissing,
    /// TLS hid the name of the host (encrypted client hello).
    SniHidden,
    ResolveFailed,
    ResolveTimeout,
    ConnectFailed,
    ConnectTimeout,
    /// The host did not speak HTTP, or broke off.
    UpstreamFailed,
    /// The command closed its end early.
    ClientGone,
    HeaderTimeout,
    Idle,
    TotalTime,
    UploadBytes,
    DownloadBytes,
    /// The token was revoked.
    Revoked,
    /// The allow list was reloaded without the host.
    NoLongerListed,
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

    #[test]
    fn records_survive_the_wire() {
        let record = Record {
            job: Some("7".to_owned()),
            kind: RequestKind::Tunnel,
            host: Some("example.org".to_owned()),
            port: Some(443),
            address: Some([10, 0, 0, 1].into()),
            verdict: Verdict::Refused,
            reason: Reason::AddressNotPublic(Class::Private),
            rule: None,
            suggestion: None,
            bytes_up: 1,
            bytes_down: 2,
            duration_ms: 3,
        };
        let event = Event::Request(Box::new(record));
        let line = serde_json::to_string(&event).unwrap();
        assert!(line.contains(r#""reason":{"address_not_public":"private"}"#), "{line}");
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }
}
