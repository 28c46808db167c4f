//! What the proxy itself answers, in plain text.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full, combinators::BoxBody};
use hyper::{Response, StatusCode, header::HeaderValue};

use crate::control::{Reason, Record};

pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// Tells a tunnel's client to begin.
pub(super) fn established() -> Response<Body> {
    Response::new(Empty::new().map_err(|never| match never {}).boxed())
}

/// The proxy stops.
pub(super) fn unavailable() -> Response<Body> {
    let mut response = established();
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// Says why there is no other answer. What the client sent is never echoed, but for the host in its one spelling.
pub(super) fn refusal(record: &Record) -> Response<Body> {
    let mut text = format!("assistant-egress: {}\nrule: {}\n", record.sentence(), record.reason.word());
    if let Some(suggestion) = &record.suggestion {
        text += suggestion;
        text.push('\n');
    }
    let mut response = Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed());
    *response.status_mut() = status(record.reason);
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("connection", HeaderValue::from_static("close"));
    if record.reason == Reason::TokenUnknown {
        headers.insert("proxy-authenticate", HeaderValue::from_static("Basic realm=\"assistant-egress\""));
    }
    response
}

fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::Malformed => StatusCode::BAD_REQUEST,
        Reason::TokenUnknown => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        Reason::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Reason::Loop => StatusCode::LOOP_DETECTED,
        Reason::UploadBytes => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::ResolveTimeout | Reason::ConnectTimeout | Reason::Idle | Reason::TotalTime => {
            StatusCode::GATEWAY_TIMEOUT
        }
        Reason::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        Reason::Done
        | Reason::ResolveFailed
        | Reason::ConnectFailed
        | Reason::UpstreamFailed
        | Reason::ClientGone
        | Reason::BrokenOff
        | Reason::DownloadBytes => StatusCode::BAD_GATEWAY,
        _ => StatusCode::FORBIDDEN,
    }
}
