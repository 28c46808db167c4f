//! Which addresses are ours, and a resolver that lets nothing else through.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Loopback (RFC 1122, RFC 4291) and private addresses (RFC 1918, RFC 4193); link-local and shared ones (RFC 6598) are
/// not among them.
pub(in crate::llm) fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

/// The address that a URL's host is, if it is not a name.
pub(in crate::llm) fn literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// Whether a host is this machine by its mere name (RFC 6761).
pub(in crate::llm) fn is_loopback_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || literal(&host).is_some_and(|address| address.to_canonical().is_loopback())
}

/// What has been found out about a host's addresses.
#[derive(Debug, Default)]
pub(super) struct Seen(AtomicU8);

impl Seen {
    pub(super) fn set(&self, local: bool) {
        self.0.store(if local { 1 } else { 2 }, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(true),
            2 => Some(false),
            _ => None,
        }
    }
}

/// Why an address was refused; found again in the error chain of the HTTP client.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

/// Resolves, and refuses a host with any address that is not local if it has to be.
///
/// The connection goes to the very addresses that were checked, so a name that changes its mind in between gains nothing.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// The host of the URL; another name is that of a proxy.
    pub(super) host: String,
    /// Why every address has to be local; `None`: it need not.
    pub(super) must_be_local: Option<&'static str>,
    pub(super) seen: Arc<Seen>,
}

impl Guard {
    /// Checks the addresses of a name.
    pub(super) fn check(&self, host: &str, addresses: &[SocketAddr]) -> Result<(), Refused> {
        if !host.eq_ignore_ascii_case(&self.host) {
            return Ok(());
        }
        let foreign = addresses.iter().find(|address| !is_local(address.ip()));
        self.seen.set(foreign.is_none() && !addresses.is_empty());
        match (self.must_be_local, foreign) {
            (Some(why), Some(address)) => {
                Err(Refused(format!("{host} is {}, which is neither loopback nor private: {why}", address.ip())))
            }
            _ => Ok(()),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            guard.check(name.as_str(), &addresses)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_local() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_local(address.parse().unwrap()), "{address}");
        }
        for address in [
            "8.8.8.8",
            "172.32.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "100.64.0.1",
            "::",
            "fe80::1",
            "2606:4700::1",
            "::ffff:8.8.8.8",
            "224.0.0.1",
        ] {
            assert!(!is_local(address.parse().unwrap()), "{address}");
        }
        assert!(is_loopback_name("LOCALHOST.") && is_loopback_name("a.localhost") && is_loopback_name("[::1]"));
        assert!(!is_loopback_name("localhost.example.org") && !is_loopback_name("10.0.0.1"));
    }

    #[test]
    fn one_foreign_address_is_enough_to_refuse() {
        let guard = Guard { host: "models.lan".into(), must_be_local: Some("because"), seen: Arc::default() };
        let at = |address: &str| SocketAddr::new(address.parse().unwrap(), 0);
        assert_eq!(guard.seen.get(), None);
        guard.check("models.lan", &[at("10.0.0.1"), at("::1")]).unwrap();
        assert_eq!(guard.seen.get(), Some(true));
        let error = guard.check("MODELS.lan", &[at("10.0.0.1"), at("9.9.9.9")]).unwrap_err();
        assert!(error.0.contains("9.9.9.9") && error.0.contains("because"), "{error}");
        assert_eq!(guard.seen.get(), Some(false));
        guard.check("proxy.example.org", &[at("9.9.9.9")]).unwrap();
        Guard { must_be_local: None, ..guard }.check("models.lan", &[at("9.9.9.9")]).unwrap();
    }
}
