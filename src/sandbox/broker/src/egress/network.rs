//! The outside: names to addresses, addresses to connections.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use futures_util::future::BoxFuture;
use tokio::net::{TcpStream, lookup_host};

/// What the proxy asks of the outside. Which addresses are connected to is not decided here.
pub trait Network: Send + Sync + 'static {
    /// The addresses of a name, in the order in which to try them.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;

    /// A connection to exactly this address.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>>;
}

/// The address is one of this machine's: behind it are services that a firewall keeps from others.
#[derive(Debug, thiserror::Error)]
#[error("the address is this machine's own")]
pub struct OwnAddress;

/// The system's resolver and the system's network.
#[derive(Clone, Copy, Debug)]
pub struct Internet;

impl Network for Internet {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            // With the dot a resolver appends no search domain, in which somebody else might answer.
            let found = lookup_host((format!("{name}."), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            if stream.local_addr()?.ip() == address.ip() {
                return Err(io::Error::other(OwnAddress));
            }
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn this_machine_is_never_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let err = Internet.connect(listener.local_addr().unwrap()).await.unwrap_err();
        assert!(err.get_ref().unwrap().is::<OwnAddress>(), "{err}");
    }
}
