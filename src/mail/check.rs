//! What the settings of mail must be beyond their types.

use lettre::{Address, message::Mailbox};

use crate::config::check;

/// The name or the address of a server, without a port.
pub(super) fn server(text: &str) -> Result<(), String> {
    let odd = |c: char| c.is_whitespace() || matches!(c, '/' | '@' | '?' | '#' | '\\');
    let port = text.contains(':') && text.parse::<std::net::Ipv6Addr>().is_err();
    if text.is_empty() || text.contains(odd) || port {
        return Err(format!("expected the name of a server alone, such as \"mail.example.org\", found {text:?}"));
    }
    Ok(())
}

/// How TLS begins.
pub(super) fn security(text: &str) -> Result<(), String> {
    one_of(text, &["tls", "starttls"])
}

/// How to log in.
pub(super) fn auth(text: &str) -> Result<(), String> {
    one_of(text, &["plain", "login", "xoauth2", "oauthbearer"])
}

/// A mail address, with a name before it or without.
pub(super) fn mailbox(text: &str) -> Result<(), String> {
    text.parse::<Mailbox>().map(drop).map_err(|err| {
        format!("expected an address such as \"Assistant <assistant@example.org>\", found {text:?}: {err}")
    })
}

/// Domains of recipients: `example.org`, or `.example.org` for all below it.
pub(super) fn domains(all: &[String]) -> Result<(), String> {
    all.iter().try_for_each(|text| {
        let name = text.strip_prefix('.').unwrap_or(text);
        if name.starts_with('.') { check::domain("") } else { check::domain(name) }.map(drop)
    })
}

/// Addresses, or `*`.
pub(super) fn senders(all: &[String]) -> Result<(), String> {
    let wrong = all.iter().find(|text| *text != "*" && text.parse::<Address>().is_err());
    wrong.map_or(Ok(()), |text| Err(format!("expected mail addresses or \"*\", found {text:?}")))
}

/// A name server.
pub(super) fn dns_server(text: &str) -> Result<(), String> {
    if text.parse::<std::net::SocketAddr>().is_ok() || text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    Err(format!("expected an address such as \"192.168.1.1\" or \"127.0.0.1:5353\", found {text:?}"))
}

fn one_of(text: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&text) {
        return Ok(());
    }
    Err(format!("expected one of {}, found {text:?}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_and_what_is_not() {
        type Check = fn(&str) -> Result<(), String>;
        let cases: &[(Check, &[&str], &[&str])] = &[
            (
                server,
                &["mail.example.org", "localhost", "10.0.0.1", "::1"],
                &["", "a b", "mail:993", "imaps://a", "me@a"],
            ),
            (security, &["tls", "starttls"], &["none", "TLS", ""]),
            (auth, &["plain", "xoauth2"], &["cram-md5", ""]),
            (
                mailbox,
                &["a@example.org", "An Assistant <a@example.org>"],
                &["a", "a@b, c@d", "<a@example.org", "a@b\r\nBcc: c@d"],
            ),
            (dns_server, &["10.0.0.1", "127.0.0.1:53", "[::1]:53", "::1"], &["dns.example.org", "10.0.0.1:x", ""]),
        ];
        for (check, good, bad) in cases {
            for text in *good {
                assert_eq!(check(text), Ok(()), "{text}");
            }
            for text in *bad {
                assert!(check(text).is_err(), "{text:?}");
            }
        }
        let list = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(domains(&list(&["example.org", ".example.com"])), Ok(()));
        assert_eq!(senders(&list(&["me@example.org", "*"])), Ok(()));
        for bad in ["", "*", "org", "me@example.org", "..example.org"] {
            assert!(domains(&list(&[bad])).is_err(), "{bad:?}");
        }
        for bad in ["", "example.org", "Me <me@example.org>", "a@b,c@d"] {
            assert!(senders(&list(&[bad])).is_err(), "{bad:?}");
        }
    }
}
