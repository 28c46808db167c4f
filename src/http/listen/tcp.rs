//! TCP: what the configured host means on this system, judged before it is bound.

use std::{
    io::ErrorKind as Io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
};

use super::{Door, Listener, Socket};
use crate::{
    config::Config,
    error::{Error, Result},
    http::exposure,
};

impl Listener {
    /// Listens where `api.bind_host` and `api.port` say; on every address that the system finds for a name. Nothing is
    /// bound unless all of them may be.
    ///
    /// # Errors
    /// `validation` when the host means nothing, or an address that others can reach; `unavailable` when it cannot be
    /// bound.
    pub fn bind_web(config: &Config) -> Result<Vec<Self>> {
        let addresses = addresses(config)?;
        let mut bound = Vec::new();
        for address in &addresses {
            match TcpListener::bind(address) {
                Ok(tcp) => bound.push(Self { socket: Socket::Tcp(tcp), door: Door::Web, bound: None }),
                // `localhost` often has an address of IPv6 where there is no IPv6.
                Err(err) if err.kind() == Io::AddrNotAvailable && addresses.len() > 1 => {
                    tracing::debug!(%address, "this host does not have the address");
                }
                Err(err) => return Err(refusal(*address, &err)),
            }
        }
        match (bound.is_empty(), addresses.first()) {
            (true, Some(address)) => Err(refusal(*address, &Io::AddrNotAvailable.into())),
            _ => Ok(bound),
        }
    }
}

/// What the system makes of the configured host, none of it an address that others can reach without that being meant.
///
/// # Errors
/// `validation` as [`Listener::bind_web`].
pub fn addresses(config: &Config) -> Result<Vec<SocketAddr>> {
    let Some(host) = config.api.web_host() else { return Ok(Vec::new()) };
    let plain = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let fault = |why: &str| {
        Error::validation(format!("api.bind_host {host:?} is no address of this host: {why}"))
            .field("api.bind_host")
            .hint("give an address such as 192.168.1.50, or leave it empty for no listener")
    };
    let found = (plain, config.api.port).to_socket_addrs().map_err(|err| fault(&err.to_string()))?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(fault("nothing is known by this name"));
    }
    for address in &addresses {
        exposure::allow(*address, config)?;
    }
    Ok(addresses)
}

fn refusal(address: SocketAddr, err: &std::io::Error) -> Error {
    let error = Error::unavailable(format!("listening on {address}: {err}"));
    match err.kind() {
        Io::AddrInUse => error.hint("another program has this port: give a different api.port"),
        Io::AddrNotAvailable => error.hint("this host does not have the address: `ip address` lists those it has"),
        Io::PermissionDenied => error.hint("ports below 1024 belong to root: give a higher api.port"),
        _ => error.hint("give another api.bind_host or api.port"),
    }
}
