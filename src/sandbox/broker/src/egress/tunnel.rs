//! `CONNECT`: TLS to the host that was asked for, passed on unopened.

use std::{io, time::Duration};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::TcpStream,
    time::timeout,
};

use super::{
    client_hello::{self, Opening},
    exchange::Exchange,
    meter::Metered,
};
use crate::{
    control::Reason,
    host::{Host, Target},
};

/// A fatal `access_denied` (RFC 8446, section 6): the client then says so instead of speaking of a broken connection.
const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 49];

/// Runs a tunnel to its end.
pub(super) async fn run(exchange: &Exchange, client: OnUpgrade, host: TcpStream) -> Reason {
    tokio::select! {
        reason = exchange.bounds() => reason,
        reason = carry(exchange, client, host) => reason,
    }
}

async fn carry(exchange: &Exchange, client: OnUpgrade, host: TcpStream) -> Reason {
    let Some(target) = &exchange.target else { return Reason::Malformed };
    let Ok(client) = client.await else { return Reason::ClientGone };
    let mut client = TokioIo::new(client);
    let opening = match opening(&mut client, target, exchange.config.limits.header()).await {
        Ok(opening) => opening,
        Err(reason) => {
            let _ = client.write_all(&ALERT).await; // it may be gone
            let _ = client.shutdown().await;
            return reason;
        }
    };
    let mut host = Metered::new(host, exchange.meter.clone());
    let passed: io::Result<()> = async {
        host.write_all(&opening).await?;
        copy_bidirectional(&mut client, &mut host).await?;
        Ok(())
    }
    .await;
    match passed {
        Ok(()) => Reason::Done,
        Err(_) => exchange.meter.over().unwrap_or(Reason::BrokenOff),
    }
}

/// The first bytes of a client, once they are known to be a client hello for `target`.
async fn opening(client: &mut (impl AsyncRead + Unpin), target: &Target, limit: Duration) -> Result<Vec<u8>, Reason> {
    let mut bytes = Vec::with_capacity(2048);
    let read = async {
        loop {
            match client.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return Err(Reason::ClientGone),
                Ok(_) => {}
            }
            match client_hello::read(&bytes) {
                Opening::Incomplete if bytes.len() < 2 * client_hello::MOST => {}
                Opening::Incomplete | Opening::NotTls => return Err(Reason::NotTls),
                Opening::Hello { name, hidden } => return check(target, name.as_deref(), hidden),
            }
        }
    };
    timeout(limit, read).await.unwrap_or(Err(Reason::HeaderTimeout))?;
    Ok(bytes)
}

/// The name in TLS must be the name of the tunnel: one address often serves many names, allowed ones and others.
fn check(target: &Target, name: Option<&str>, hidden: bool) -> Result<(), Reason> {
    match (&target.host, name) {
        _ if hidden => Err(Reason::SniHidden),
        (host, Some(name)) if Host::parse(name).as_ref() != Ok(host) => Err(Reason::SniMismatch),
        // An address has no name that could be sent.
        (Host::Address(_), None) | (_, Some(_)) => Ok(()),
        (Host::Name(_), None) => Err(Reason::SniMissing),
    }
}
