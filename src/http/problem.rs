//! Errors on the wire: the one place that maps kinds to HTTP statuses and writes problem documents (RFC 9457).

use assistant_api::{ErrorKind, Problem};
use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use serde_json::json;

use crate::error::Error;

/// The HTTP status of each kind.
pub const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Validation => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer for an error. Its source goes to the journal under the request id, never to the caller.
pub fn respond(error: &Error, request_id: &str) -> Response<Body> {
    let kind = error.kind();
    let status = status(kind);
    if status.is_server_error() {
        tracing::warn!(request_id, kind = kind.as_str(), error = error.chain(), "a request failed");
    }
    let detail = match kind {
        ErrorKind::Validation => {
            let mut loc = vec!["body"];
            loc.extend(error.field_name().unwrap_or_default().split('.').filter(|part| !part.is_empty()));
            json!([{ "type": "value_error", "loc": loc, "msg": error.message() }])
        }
        _ => json!(error.message()),
    };
    let problem = Problem {
        type_uri: "about:blank".into(),
        title: error.message().to_owned(),
        status: status.as_u16(),
        detail,
        kind,
        request_id: request_id.to_owned(),
        field: error.field_name().map(str::to_owned),
        hint: error.hint_text().map(str::to_owned),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(after) = error.retry_delay() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}
