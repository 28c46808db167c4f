//! The public-bind guard: who can reach an address that is listened on, and whether that is meant.
//!
//! It judges addresses and nothing else; that somebody would have to log in makes no difference to it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use assistant_api::status::Listening;

use super::Listener;
use crate::{
    config::Config,
    cx::Cx,
    error::{Error, Result},
    logging::catalog,
};

/// Who can reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Programs on this host.
    Loopback,
    /// The networks that this host is in: RFC 1918, link-local, the shared addresses of RFC 6598, RFC 4193.
    Private,
    /// Everybody whom any network of this host lets through, because it stands for all addresses.
    Every,
    /// Everybody on the Internet.
    Public,
}

impl Reach {
    /// Of an address; an IPv4 address within IPv6 (`::ffff:0:0/96`) is what it is within. What is not known to be
    /// private counts as public.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let shared = address.octets()[0] == 100 && address.octets()[1] & 0b1100_0000 == 64;
        if address.is_unspecified() {
            Self::Every
        } else if address.is_loopback() {
            Self::Loopback
        } else if address.is_private() || address.is_link_local() || shared {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_unspecified() {
            Self::Every
        } else if address.is_loopback() {
            Self::Loopback
        } else if address.is_unique_local() || address.is_unicast_link_local() {
            Self::Private
        } else {
            Self::Public
        }
    }

    /// Whether it reaches farther than the guard lets anybody come unasked.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Every | Self::Public)
    }

    /// How it is called on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Every => "every",
            Self::Public => "public",
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "only programs on this host can reach it",
            Self::Private => "the networks that this host is in can reach it",
            Self::Every => "it stands for every address of this host, whoever can reach those",
            Self::Public => "it can be reached from the Internet",
        })
    }
}

/// Refuses an address that reaches too far, unless that is meant.
///
/// # Errors
/// `validation`, with the address and what to set.
pub fn allow(address: SocketAddr, config: &Config) -> Result<()> {
    let reach = Reach::of(address.ip());
    if config.api.allow_public_bind {
        return Ok(());
    }
    if config.api.auth == "none" && reach != Reach::Loopback {
        return Err(Error::validation(format!(
            "with api.auth = \"none\" the API would let everybody in on {address}: {reach}"
        ))
        .field("api.auth")
        .hint(
            "set api.auth = \"login\", listen on 127.0.0.1 only, or, if it is meant, set api.allow_public_bind = true",
        ));
    }
    if !reach.is_open() {
        return Ok(());
    }
    tracing::error!(target: catalog::PUBLIC_BIND_REFUSED, %address, "refused to listen on {address}: {reach}");
    Err(Error::validation(format!("the API would listen on {address}: {reach}")).field("api.bind_host").hint(
        "listen on a private address such as 192.168.1.50, or on 127.0.0.1 behind a proxy; if it is meant, set \
         api.allow_public_bind = true (AGENT_API_ALLOW_PUBLIC_BIND=true)",
    ))
}

/// Judges where the listeners really are, whoever opened them.
///
/// # Errors
/// As [`allow`].
pub fn guard(listeners: &[Listener], config: &Config) -> Result<()> {
    for address in listeners.iter().filter_map(|listener| listener.address().transpose()) {
        allow(address?, config)?;
    }
    Ok(())
}

/// Judges another configuration by where the listeners of this daemon are.
///
/// # Errors
/// As [`allow`].
pub fn guard_anew(cx: &Cx, config: &Config) -> Result<()> {
    let listening = cx.process.listening.load();
    listening.iter().filter_map(|one| one.address.parse().ok()).try_for_each(|address| allow(address, config))
}

/// What stands before the API's own socket.
pub const KERNEL: &str = "the kernel says who is there";
/// What stands before a web listener.
const LOGIN: &str = "a login";
/// The same, where HTTPS is spoken.
const HTTPS_LOGIN: &str = "a login, by HTTPS";

/// Tells everybody who asks whether HTTPS is spoken now.
pub(super) fn tell(cx: &Cx) {
    let guard = if cx.process.tls.until().is_some() { HTTPS_LOGIN } else { LOGIN };
    cx.process.listening.rcu(|listening| {
        let mut listening = Vec::clone(listening);
        for one in listening.iter_mut().filter(|one| one.reach != "socket") {
            guard.clone_into(&mut one.guard);
        }
        listening
    });
}

/// Where the listeners are, who can reach them, and what stands before them.
pub fn listening(listeners: &[Listener]) -> Vec<Listening> {
    let one = |listener: &Listener| {
        let network = listener.address().ok().flatten();
        let guard = if listener.is_local() { KERNEL } else { LOGIN };
        Listening {
            address: listener.to_string(),
            reach: network.map_or("socket", |address| Reach::of(address.ip()).as_str()).to_owned(),
            guard: guard.to_owned(),
        }
    };
    listeners.iter().map(one).collect()
}

#[cfg(test)]
mod tests;
