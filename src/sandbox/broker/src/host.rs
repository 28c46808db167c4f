//! Names of hosts, brought into one spelling before anything is compared or looked up.

use std::{fmt, net::IpAddr};

/// A host in its one spelling: lower case, IDNA as `xn--`, no dot at the end, addresses as the standard prints them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

/// Why a text is no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the host is empty")]
    Empty,
    #[error("the host is not a name of the form \"example.org\"")]
    Form,
    #[error("the address is not written in the usual way, such as 192.0.2.1 or [2001:db8::1]")]
    Notation,
}

impl Host {
    /// The host that `text` names, with or without brackets around an IPv6 address.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(Fault::Empty);
        }
        // A percent sign would be decoded, and what it hides compared.
        if text.contains(|c: char| c == '%' || c.is_whitespace() || c.is_control()) {
            return Err(Fault::Form);
        }
        match url::Host::parse(text).map_err(|_| Fault::Form)? {
            url::Host::Domain(name) if is_name(&name) => Ok(Self::Name(name)),
            url::Host::Domain(_) => Err(Fault::Form),
            // `0x7f.1` and `2130706433` are addresses to a resolver; nobody means well by them.
            url::Host::Ipv4(address) if address.to_string() == text => Ok(Self::Address(address.into())),
            url::Host::Ipv4(_) => Err(Fault::Notation),
            url::Host::Ipv6(address) => Ok(Self::Address(address.into())),
        }
    }
}

/// Host and port as they stand in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub host: Host,
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// RFC 1123, with the underscore that some names have.
fn is_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()) && label.bytes().all(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for (text, spelling) in [
            ("example.org", "example.org"),
            ("EXAMPLE.Org", "example.org"),
            ("example.org.", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example.", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("ｅxample。org", "example.org"),
            ("a_b.example.org", "a_b.example.org"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
            ("[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]"),
        ] {
            assert_eq!(Host::parse(text).unwrap().to_string(), spelling, "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_host() {
        let long_label = format!("{}.org", "a".repeat(64));
        let long_name = "a.".repeat(127) + "org";
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "ex%61mple.org",
            "a b",
            "a\0b",
            "a\tb",
            "a/b",
            "a@b",
            "a:80",
            "a#b",
            "a\\b",
            "*.example.org",
            "*",
            "127.1",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "2130706433",
            "1.2.3.4.5",
            "1.2.3.256",
            "[::1",
            "::1",
            "[fe80::1%eth0]",
            "a\u{ad}",
            "a<b",
            "a,b",
            "a!b",
            &long_label,
            &long_name,
        ] {
            let host = Host::parse(text);
            // A soft hyphen is dropped by IDNA: what is left is a plain name.
            assert!(host.is_err() || text == "a\u{ad}", "{text:?}: {host:?}");
        }
    }
}
