//! Requests to `http://` URLs: passed on to the host, one connection each.

use std::pin::pin;

use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Request, Response, StatusCode, Version,
    body::Incoming,
    client::conn::http1,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
    },
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::oneshot};

use super::{
    answer::{self, Body},
    exchange::Exchange,
    meter::Metered,
    passing::Passing,
    target::PSEUDONYM,
};
use crate::{
    control::{Reason, Record},
    host::Target,
};

/// Headers between neighbours, which no proxy passes on (RFC 9110, section 7.6.1).
const HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Where the answer goes, or why there is none.
type Tell = oneshot::Sender<Result<Response<Passing>, Record>>;

/// Passes `request` on over `host`, and its answer back.
pub(super) async fn run(exchange: Exchange, mut request: Request<Incoming>, host: TcpStream) -> Response<Body> {
    if exchange.target.as_ref().and_then(|target| prepare(&mut request, target)).is_none() {
        return answer::refusal(&exchange.finish(Reason::Malformed));
    }
    let (tell, told) = oneshot::channel();
    let tasks = exchange.egress.tasks.clone();
    tasks.spawn(async move {
        let mut tell = Some(tell);
        let reason = tokio::select! {
            reason = exchange.bounds() => reason,
            reason = carry(&exchange, request, host, &mut tell) => reason,
        };
        let record = exchange.finish(reason);
        if let Some(tell) = tell {
            let _ = tell.send(Err(record)); // the client is gone
        }
    });
    match told.await {
        Ok(Ok(mut response)) => {
            strip(response.headers_mut());
            response.map(BodyExt::boxed)
        }
        Ok(Err(record)) => answer::refusal(&record),
        Err(_) => answer::unavailable(), // the task was torn down with the program
    }
}

/// Sends the request, tells the answer, and ends with the answer's last byte.
async fn carry(exchange: &Exchange, request: Request<Incoming>, host: TcpStream, tell: &mut Option<Tell>) -> Reason {
    let failed = |err: &hyper::Error| {
        let own = if err.is_user() { Reason::ClientGone } else { Reason::UpstreamFailed };
        exchange.meter.over().unwrap_or(own)
    };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(exchange.config.limits.header_bytes as usize);
    let host = Metered::new(host, exchange.meter.clone());
    let (mut sender, connection) = match builder.handshake(TokioIo::new(host)).await {
        Ok(both) => both,
        Err(err) => return failed(&err),
    };
    let (mut connection, mut sent) = (pin!(connection), pin!(sender.send_request(request)));
    let mut ended = None;
    let answered = loop {
        tokio::select! {
            answered = &mut sent => break answered,
            end = &mut connection, if ended.is_none() => ended = Some(end),
        }
    };
    match answered {
        // Nobody asked for another protocol.
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Reason::UpstreamFailed,
        Ok(response) => {
            let (end, passed) = oneshot::channel();
            if let Some(tell) = tell.take() {
                let _ = tell.send(Ok(response.map(|body| Passing::new(body, end)))); // or nobody wants it any more
            }
            if ended.is_none() {
                ended = Some(connection.await);
            }
            let reason = passed.await.unwrap_or(Reason::ClientGone);
            match ended {
                Some(Err(err)) => failed(&err),
                _ => exchange.meter.over().unwrap_or(reason),
            }
        }
        Err(err) => failed(&err),
    }
}

/// Makes of a request to a proxy one to the host: path alone, its name in `Host`, nothing meant for the proxy.
fn prepare(request: &mut Request<Incoming>, target: &Target) -> Option<()> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = if path.starts_with('/') { path.parse().ok()? } else { format!("/{path}").parse().ok()? };
    *request.version_mut() = Version::HTTP_11;
    let name = if target.port == 80 { target.host.to_string() } else { target.to_string() };
    let name = HeaderValue::from_str(&name).ok()?;
    let headers = request.headers_mut();
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH); // of the two, the other one counted (RFC 9112, section 6.3)
    }
    strip(headers);
    headers.insert(HOST, name);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.append(VIA, HeaderValue::from_str(&format!("1.1 {PSEUDONYM}")).ok()?);
    Some(())
}

/// Takes away the headers between neighbours, with those that `Connection` names.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Framing and target are not for a client to take away.
        .filter(|name: &HeaderName| !["content-length", "host"].contains(&name.as_str()))
        .collect();
    for name in named.iter().chain(&HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn headers_between_neighbours_stay_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "Keep-Alive, X-Mine, content-length"),
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("x-mine", "1"),
            ("x-other", "1"),
            ("proxy-authorization", "Basic am9iOnNlY3JldA=="),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("content-length", "3"),
            ("authorization", "Bearer own"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let left: BTreeSet<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, BTreeSet::from(["authorization", "content-length", "x-other"]));
    }
}
