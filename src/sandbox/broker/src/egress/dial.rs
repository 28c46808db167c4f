//! From a target to a connection: resolve once, keep the public addresses, connect to one of exactly those.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::network::{Network, OwnAddress};
use crate::{
    address,
    config::Limits,
    control::Reason,
    host::{Host, Target},
};

/// Addresses of one name that are tried.
const TRIED: usize = 6;

/// Why there is no connection, and which address was the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) address: Option<IpAddr>,
}

/// A connection to `target`, and its address.
pub(super) async fn dial(
    network: &dyn Network,
    target: &Target,
    limits: &Limits,
) -> Result<(TcpStream, IpAddr), Failure> {
    let addresses = match &target.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => match timeout(limits.resolve(), network.resolve(name)).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => addresses,
            Ok(_) => return Err(Failure { reason: Reason::ResolveFailed, address: None }),
            Err(_) => return Err(Failure { reason: Reason::ResolveTimeout, address: None }),
        },
    };
    connect(network, &public(addresses)?, target.port, limits).await
}

/// Those of the public Internet; a name may have others too, and they are passed over.
fn public(mut addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Failure> {
    let first = addresses.first().copied();
    addresses.retain(|address| address::check(*address).is_ok());
    addresses.truncate(TRIED);
    match first.map(|address| (address, address::check(address))) {
        Some((address, Err(class))) if addresses.is_empty() => {
            Err(Failure { reason: Reason::AddressNotPublic(class), address: Some(address) })
        }
        _ => Ok(addresses),
    }
}

/// Tries one address after the other, each with an equal share of the time that is left.
async fn connect(
    network: &dyn Network,
    addresses: &[IpAddr],
    port: u16,
    limits: &Limits,
) -> Result<(TcpStream, IpAddr), Failure> {
    let end = Instant::now() + limits.connect();
    let mut last = Failure { reason: Reason::ConnectFailed, address: None };
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = Instant::now() + end.saturating_duration_since(Instant::now()) / left;
        let reason = match timeout_at(share, network.connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(err)) if is_own(&err) => Reason::AddressOwn,
            Ok(Err(_)) => Reason::ConnectFailed,
            Err(_) => Reason::ConnectTimeout,
        };
        last = Failure { reason, address: Some(*address) };
    }
    Err(last)
}

fn is_own(err: &io::Error) -> bool {
    matches!(err.get_ref(), Some(inner) if inner.is::<OwnAddress>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Class;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn only_public_addresses_are_kept() {
        let mixed = addresses(&["10.0.0.1", "93.184.216.34", "::1", "::ffff:8.8.8.8", "2606:4700::1"]);
        assert_eq!(public(mixed).unwrap(), addresses(&["93.184.216.34", "2606:4700::1"]));
        let failure = public(addresses(&["169.254.169.254", "10.0.0.1"])).unwrap_err();
        assert_eq!(failure.reason, Reason::AddressNotPublic(Class::Metadata));
        assert_eq!(failure.address, Some([169, 254, 169, 254].into()));
    }
}
