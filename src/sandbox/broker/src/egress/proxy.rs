//! Accepts the connections of commands, and judges each request.

use std::{convert::Infallible, sync::Arc};

use hyper::{Method, Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Egress,
    answer::{self, Body},
    dial::dial,
    exchange::Exchange,
    plain, target, tunnel,
};
use crate::control::{Reason, RequestKind};

/// Accepts until the proxy stops.
pub(super) async fn serve(egress: &Arc<Egress>, listener: UnixListener) {
    let room = Arc::new(Semaphore::new(egress.config.borrow().limits.connections as usize));
    let accept = async {
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { return }; // it is never closed
            match listener.accept().await {
                Ok((stream, _)) => {
                    let egress = egress.clone();
                    egress.tasks.clone().spawn(async move { converse(&egress, stream, Arc::new(permit)).await });
                }
                Err(err) => {
                    tracing::warn!(%err, "accepting a connection");
                    tokio::time::sleep(super::ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = egress.stop.cancelled() => {}
        () = accept => {}
    }
}

/// One connection of a command, until it closes, becomes a tunnel, or its time is over.
async fn converse(egress: &Arc<Egress>, stream: UnixStream, permit: Arc<OwnedSemaphorePermit>) {
    let limits = egress.config.borrow().limits;
    let process = stream.peer_cred().ok().and_then(|peer| u32::try_from(peer.pid()?).ok());
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header()).max_buf_size(limits.header_bytes as usize);
    let answer = service_fn(move |request| {
        let (egress, permit) = (egress.clone(), permit.clone());
        async move { Ok::<_, Infallible>(handle(&egress, permit, process, request).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), answer).with_upgrades();
    tokio::select! {
        () = egress.stop.cancelled() => {}
        ended = timeout(limits.total(), connection) => if let Ok(Err(err)) = ended {
            tracing::debug!(%err, "a connection broke off");
        },
    }
}

async fn handle(
    egress: &Arc<Egress>,
    permit: Arc<OwnedSemaphorePermit>,
    process: Option<u32>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let connect = request.method() == Method::CONNECT;
    let kind = if connect { RequestKind::Tunnel } else { RequestKind::Plain };
    let mut exchange = Exchange::begin(egress, kind, permit);
    let host = match judge(&mut exchange, process, &request).await {
        Ok(host) => host,
        Err(reason) => return answer::refusal(&exchange.finish(reason)),
    };
    if !connect {
        return plain::run(exchange, request, host).await;
    }
    let client = hyper::upgrade::on(&mut request);
    egress.tasks.spawn(async move {
        let reason = tunnel::run(&exchange, client, host).await;
        exchange.finish(reason)
    });
    answer::established()
}

/// A connection to what was asked for, if everything allows it.
async fn judge(
    exchange: &mut Exchange,
    process: Option<u32>,
    request: &Request<Incoming>,
) -> Result<TcpStream, Reason> {
    let found = target::of(request.method(), request.uri());
    exchange.target.clone_from(&found);
    exchange.claim(target::token(request.headers()).as_deref(), process)?;
    let target = found.ok_or(Reason::Malformed)?;
    if target::is_loop(request.headers()) {
        return Err(Reason::Loop);
    }
    exchange.permit(&target)?;
    let limits = exchange.config.limits;
    let dialled = tokio::select! {
        reason = exchange.bounds() => return Err(reason),
        dialled = dial(&*exchange.egress.network, &target, &limits) => dialled,
    };
    match dialled {
        Ok((host, address)) => {
            exchange.address = Some(address);
            Ok(host)
        }
        Err(failure) => {
            exchange.address = failure.address;
            Err(failure.reason)
        }
    }
}
