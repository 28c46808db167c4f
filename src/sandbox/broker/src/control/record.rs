//! What is told of each request.

use std::net::IpAddr;

use assistant_sandbox::protocol::Denial;
use serde::{Deserialize, Serialize};

use crate::{address::Class, allow::PORTS};

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
    /// The host did not answer in HTTP, or broke off.
    UpstreamFailed,
    /// The command closed its end early.
    ClientGone,
    /// One of both ends broke off.
    BrokenOff,
    HeaderTimeout,
    Idle,
    TotalTime,
    UploadBytes,
    DownloadBytes,
    /// The token was revoked.
    Revoked,
    /// The allow list was reloaded without the host.
    NoLongerListed,
    /// The proxy stopped.
    Stopped,
}

impl Reason {
    /// As it stands in logs: `host_not_listed`, `address_not_public: private`.
    pub fn word(self) -> String {
        let Ok(value) = serde_json::to_value(self) else { return String::new() };
        match value.as_object().and_then(|map| map.iter().next()) {
            Some((word, class)) => format!("{word}: {}", class.as_str().unwrap_or_default()),
            None => value.as_str().unwrap_or_default().to_owned(),
        }
    }

    /// What it means for the request.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Done => Verdict::Allowed,
            Self::ResolveFailed
            | Self::ResolveTimeout
            | Self::ConnectFailed
            | Self::ConnectTimeout
            | Self::UpstreamFailed
            | Self::ClientGone
            | Self::BrokenOff
            | Self::Stopped => Verdict::Failed,
            _ => Verdict::Refused,
        }
    }
}

impl Record {
    /// The same as a denial in a command's result; `None` for what was not refused.
    pub fn denial(&self) -> Option<Denial> {
        let target = match (&self.host, self.port) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            _ => "a request".to_owned(),
        };
        let rule = self.reason.word();
        let denial = Denial { layer: "proxy".to_owned(), target, rule, suggestion: self.suggestion.clone(), count: 1 };
        (self.verdict == Verdict::Refused).then_some(denial)
    }

    /// What happened, as a person or a model reads it; without the suggestion.
    pub fn sentence(&self) -> String {
        let target = match (&self.host, self.port) {
            (Some(host), Some(port)) if !PORTS.contains(&port) => format!("{host}:{port}"),
            (Some(host), _) => host.clone(),
            (None, _) => "the request".to_owned(),
        };
        let cause = match self.reason {
            Reason::Done => return format!("{target} was reached"),
            Reason::Malformed => "it is no request to a proxy for HTTP and HTTPS".to_owned(),
            Reason::TokenUnknown => "no granted token came with it".to_owned(),
            Reason::HostNotListed => "no entry of the allow list covers this host".to_owned(),
            Reason::PortNotListed => "the allow list has this host at other ports only".to_owned(),
            Reason::NotGranted => "this job may not use it, though the allow list has it".to_owned(),
            Reason::AddressNotPublic(class) => match self.address {
                Some(address) => format!("its address {address} is {class}"),
                None => format!("its address is {class}"),
            },
            Reason::AddressOwn => "its address is this machine's own".to_owned(),
            Reason::TooManyRequests => "too many requests of this job run already".to_owned(),
            Reason::Loop => "it came through this proxy before".to_owned(),
            Reason::NotTls => "a tunnel carries TLS and nothing else".to_owned(),
            Reason::SniMismatch => "TLS asked for another host than CONNECT".to_owned(),
            Reason::SniMissing => "TLS did not name the host (no server_name)".to_owned(),
            Reason::SniHidden => "TLS hid which host it asks for (encrypted client hello)".to_owned(),
            Reason::ResolveFailed => "its name could not be resolved".to_owned(),
            Reason::ResolveTimeout => "resolving its name took too long".to_owned(),
            Reason::ConnectFailed => "it could not be connected to".to_owned(),
            Reason::ConnectTimeout => "connecting took too long".to_owned(),
            Reason::UpstreamFailed => "it did not answer in HTTP, or broke off".to_owned(),
            Reason::ClientGone => "the command closed the connection".to_owned(),
            Reason::BrokenOff => "the connection broke off".to_owned(),
            Reason::HeaderTimeout => "the command sent nothing, or too slowly".to_owned(),
            Reason::Idle => "nothing was sent for too long".to_owned(),
            Reason::TotalTime => "it took too long in all".to_owned(),
            Reason::UploadBytes => "it sent more bytes than one request may".to_owned(),
            Reason::DownloadBytes => "it received more bytes than one request may".to_owned(),
            Reason::Revoked => "the session is over".to_owned(),
            Reason::NoLongerListed => "the allow list does not have it any more".to_owned(),
            Reason::Stopped => "the proxy stopped".to_owned(),
        };
        let verb = if self.verdict == Verdict::Refused { "is refused" } else { "failed" };
        format!("{target} {verb}: {cause}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Event;

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
        let Event::Request(record) = event else { unreachable!() };
        assert_eq!(record.sentence(), "example.org is refused: its address 10.0.0.1 is private");
        assert_eq!(record.reason.word(), "address_not_public: private");
        assert_eq!(Reason::SniMissing.word(), "sni_missing");
        let denial = record.denial().unwrap();
        assert_eq!((denial.target.as_str(), denial.rule.as_str()), ("example.org:443", "address_not_public: private"));
    }
}
