//! The allow list: hosts by name, or all below a name, each with its ports.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    address,
    host::{Host, Target},
};

/// The ports of an entry that names none.
pub const PORTS: [u16; 2] = [80, 443];

/// One line of an allow list: `example.org`, `*.example.org`, `example.org:8443`, `192.0.2.1`, `[2001:db8::1]:443`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Entry {
    host: Host,
    /// Whether all names below `host` are meant, and not `host` itself.
    below: bool,
    port: Option<u16>,
}

/// Why a text is no entry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no entry of an allow list: {reason}")]
pub struct Fault {
    text: String,
    reason: String,
}

impl FromStr for Entry {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::parse(text).map_err(|reason| Fault { text: text.to_owned(), reason })
    }
}

impl TryFrom<String> for Entry {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<Entry> for String {
    fn from(entry: Entry) -> Self {
        entry.to_string()
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains('/') || text.contains('@') {
            return Err("give the host alone, without scheme, user and path".to_owned());
        }
        let (rest, below) = text.strip_prefix("*.").map_or((text, false), |rest| (rest, true));
        let (name, port) = match rest.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => {
                let port = port.parse().ok().filter(|port| *port != 0);
                (name, Some(port.ok_or("a port is a number from 1 to 65535")?))
            }
            _ => (rest, None),
        };
        if name.contains('*') {
            return Err("a star stands only at the beginning, as in \"*.example.org\"".to_owned());
        }
        let host = Host::parse(name).map_err(|fault| fault.to_string())?;
        match &host {
            Host::Address(_) if below => return Err("nothing lies below an address".to_owned()),
            Host::Address(found) => {
                address::check(*found).map_err(|class| format!("the address is {class}, and never connected to"))?;
            }
            Host::Name(name) if below && !name.contains('.') => {
                return Err("it would open a whole top-level domain".to_owned());
            }
            Host::Name(_) => {}
        }
        Ok(Self { host, below, port })
    }

    fn covers_host(&self, host: &Host) -> bool {
        match (&self.host, host) {
            (Host::Name(own), Host::Name(name)) if self.below => {
                name.strip_suffix(own.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (own, host) => own == host,
        }
    }

    fn covers_port(&self, port: u16) -> bool {
        self.port.map_or_else(|| PORTS.contains(&port), |own| own == port)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.below { "*." } else { "" })?;
        self.host.fmt(f)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// What an allow list says of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// By this entry.
    Allowed(&'a Entry),
    /// This entry covers the host, at other ports.
    OtherPort(&'a Entry),
    NotListed,
}

/// Looks for the first entry that covers `target`.
pub fn look_up<'a>(list: &'a [Entry], target: &Target) -> Answer<'a> {
    let hosts = || list.iter().filter(|entry| entry.covers_host(&target.host));
    match hosts().find(|entry| entry.covers_port(target.port)) {
        Some(entry) => Answer::Allowed(entry),
        None => hosts().next().map_or(Answer::NotListed, Answer::OtherPort),
    }
}

/// The entry that would allow exactly this target, as text.
pub fn suggestion(target: &Target) -> String {
    if PORTS.contains(&target.port) { target.host.to_string() } else { target.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(list: &[&str], host: &str, port: u16) -> String {
        let list: Vec<Entry> = list.iter().map(|text| text.parse().unwrap()).collect();
        let target = Target { host: Host::parse(host).unwrap(), port };
        match look_up(&list, &target) {
            Answer::Allowed(entry) => format!("allowed by {entry}"),
            Answer::OtherPort(entry) => format!("other port than {entry}"),
            Answer::NotListed => "not listed".to_owned(),
        }
    }

    #[test]
    fn entries_cover_what_they_say_and_nothing_else() {
        let list = ["example.org", "*.Example.COM", "bücher.example", "big.example:8443", "93.184.216.34"];
        for (host, port, answer) in [
            ("example.org", 443, "allowed by example.org"),
            ("Example.ORG.", 80, "allowed by example.org"),
            ("example.org", 22, "other port than example.org"),
            ("example.org", 8443, "other port than example.org"),
            ("www.example.org", 443, "not listed"),
            ("badexample.org", 443, "not listed"),
            ("example.org.evil.net", 443, "not listed"),
            ("example.com", 443, "not listed"),
            ("a.example.com", 443, "allowed by *.example.com"),
            ("a.b.example.com", 443, "allowed by *.example.com"),
            ("aexample.com", 443, "not listed"),
            ("xn--bcher-kva.example", 443, "allowed by xn--bcher-kva.example"),
            ("BÜCHER.example", 443, "allowed by xn--bcher-kva.example"),
            ("bucher.example", 443, "not listed"),
            ("big.example", 8443, "allowed by big.example:8443"),
            ("big.example", 443, "other port than big.example:8443"),
            ("93.184.216.34", 443, "allowed by 93.184.216.34"),
            ("93.184.216.35", 443, "not listed"),
            ("localhost", 80, "not listed"),
        ] {
            assert_eq!(look(&list, host, port), answer, "{host}:{port}");
        }
        assert_eq!(look(&["a.example:81", "a.example"], "a.example", 443), "allowed by a.example");
        assert_eq!(look(&[], "example.org", 443), "not listed");
    }

    #[test]
    fn a_wrong_entry_says_why() {
        for (text, reason) in [
            ("*", "a star stands only at the beginning"),
            ("*.*.org", "a star stands only at the beginning"),
            ("a.*.org", "a star stands only at the beginning"),
            ("*.org", "a whole top-level domain"),
            ("*.org.", "a whole top-level domain"),
            ("", "the host is empty"),
            ("*.", "the host is empty"),
            ("https://example.org", "without scheme"),
            ("example.org/path", "without scheme"),
            ("me@example.org", "without scheme"),
            ("example.org:", "a port is a number"),
            ("example.org:0", "a port is a number"),
            ("example.org:65536", "a port is a number"),
            ("10.0.0.1", "the address is private"),
            ("127.0.0.1:80", "the address is loopback"),
            ("[::1]", "the address is loopback"),
            ("169.254.169.254", "metadata"),
            ("*.93.184.216.34", "below an address"),
            ("0x7f.1", "the usual way"),
            ("a b", "not a name"),
        ] {
            let fault = text.parse::<Entry>().unwrap_err().to_string();
            assert!(fault.contains(reason) && fault.contains(&format!("{text:?}")), "{text}: {fault}");
        }
    }

    #[test]
    fn a_suggestion_allows_its_target_and_no_other_port() {
        for (host, port, text) in [
            ("example.org", 443, "example.org"),
            ("example.org", 8080, "example.org:8080"),
            ("[2606:4700::1111]", 443, "[2606:4700::1111]"),
            ("[2606:4700::1111]", 8443, "[2606:4700::1111]:8443"),
        ] {
            let target = Target { host: Host::parse(host).unwrap(), port };
            assert_eq!(suggestion(&target), text);
            assert_eq!(look(&[text], host, port), format!("allowed by {text}"));
        }
    }
}
