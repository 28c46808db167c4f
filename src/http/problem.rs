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
        ErrorKind::NotFound | ErrorKind::NotAvailable => StatusCode::NOT_FOUND,
        ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::Conflict | ErrorKind::SandboxDisabled => StatusCode::CONFLICT,
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
pub fn respond(error: &Error, request_id: &str, place: &str) -> Response<Body> {
    let kind = error.kind();
    let status = status(kind);
    if status.is_server_error() {
        tracing::warn!(request_id, kind = kind.as_str(), error = error.chain(), "a request failed");
    }
    let mut response = Response::new(Body::from(body(error, request_id, place)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(after) = error.retry_delay() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

/// The problem document. `place` (`body`, `query`, `header`) is where the field stands if the error does not begin its
/// name with one of these or `path`.
pub(super) fn body(error: &Error, request_id: &str, place: &str) -> Vec<u8> {
    let kind = error.kind();
    let named = error.field_name().map(|name| match name.split_once('.') {
        Some((place @ ("body" | "query" | "header" | "path"), field)) => (place, field),
        _ if matches!(name, "body" | "query") => (name, ""),
        _ => (place, name),
    });
    let field = named.map(|(_, field)| field).filter(|field| !field.is_empty());
    let detail = match kind {
        ErrorKind::Validation => {
            let (place, field) = named.unwrap_or((place, ""));
            let mut loc = vec![place];
            loc.extend(field.split('.').filter(|part| !part.is_empty()));
            json!([{ "type": "value_error", "loc": loc, "msg": error.message() }])
        }
        _ => json!(error.message()),
    };
    let problem = Problem {
        type_uri: "about:blank".into(),
        title: error.message().to_owned(),
        status: status(kind).as_u16(),
        detail,
        kind,
        request_id: request_id.to_owned(),
        field: field.map(str::to_owned),
        hint: error.hint_text().map(str::to_owned),
    };
    serde_json::to_vec(&problem).unwrap_or_default()
}
