//! What can go wrong between a client and the daemon.

use std::{io, path::PathBuf, time::Duration};

use hyper::{header::RETRY_AFTER, http::response};
use hyper_util::client::legacy;
use serde_json::Value;

use crate::{ErrorKind, Problem};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What the client's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request has no successful answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no socket: the daemon has not been started, or listens elsewhere.
    #[error("there is no socket at {}", .0.display())]
    NoSocket(PathBuf),
    /// The socket does not let this user in.
    #[error("you may not connect to {}", .0.display())]
    Denied(PathBuf),
    /// Nobody listens on the socket.
    #[error("nobody listens on {}", .0.display())]
    Refused(PathBuf),
    /// Connecting failed in another way.
    #[error("connecting to {}: {source}", .socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    /// The connection broke before the answer was complete: whether the request was carried out is not known.
    #[error("the connection to the daemon broke: {0}")]
    Lost(#[source] Source),
    /// No complete answer within the time limit.
    #[error("the daemon did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The daemon says why not.
    #[error("{}", .problem.title)]
    Problem { problem: Box<Problem>, retry_after: Option<Duration> },
    /// The answer cannot be understood.
    #[error("{0}")]
    Protocol(String),
    /// The request cannot be sent as it was put together.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// The kind that the daemon named, if it answered.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Problem { problem, .. } => Some(problem.kind),
            _ => None,
        }
    }

    /// Whether the daemon could not be reached, or went away; it may come back.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::NoSocket(_) | Self::Refused(_) | Self::Connect { .. } | Self::Lost(_))
    }

    pub(super) fn transport(socket: &std::path::Path, err: &legacy::Error) -> Self {
        if !err.is_connect() {
            return Self::Lost(root_cause(err));
        }
        let socket = socket.to_owned();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(err);
        while let Some(current) = cause {
            if let Some(io) = current.downcast_ref::<io::Error>() {
                return match io.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NoSocket(socket),
                    io::ErrorKind::PermissionDenied => Self::Denied(socket),
                    io::ErrorKind::ConnectionRefused => Self::Refused(socket),
                    kind => Self::Connect { socket, source: io::Error::new(kind, io.to_string()) },
                };
            }
            cause = current.source();
        }
        Self::Connect { socket, source: io::Error::other(err.to_string()) }
    }

    /// Reads a problem document; one of a newer daemon, or none at all, is told by its status.
    pub(super) fn problem(head: &response::Parts, body: &[u8]) -> Self {
        let seconds = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        let problem = serde_json::from_slice(body).unwrap_or_else(|_| {
            let loose: Value = serde_json::from_slice(body).unwrap_or_default();
            let text = |name: &str| loose.get(name).and_then(Value::as_str).map(str::to_owned);
            Problem {
                type_uri: "about:blank".into(),
                title: text("title")
                    .or_else(|| text("detail"))
                    .unwrap_or_else(|| format!("the daemon answered {}", head.status)),
                status: head.status.as_u16(),
                detail: loose.get("detail").cloned().unwrap_or_default(),
                kind: kind_of(head.status.as_u16()),
                request_id: text("request_id").unwrap_or_default(),
                field: text("field"),
                hint: text("hint"),
            }
        });
        Self::Problem { problem: Box::new(problem), retry_after }
    }
}

/// The innermost cause, which says most: `broken pipe` rather than `client error (SendRequest)`.
fn root_cause(err: &legacy::Error) -> Source {
    let mut text = err.to_string();
    let mut cause = std::error::Error::source(err);
    while let Some(current) = cause {
        text = current.to_string();
        cause = current.source();
    }
    text.into()
}

/// The kind that comes nearest to an HTTP status.
fn kind_of(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        405 => ErrorKind::MethodNotAllowed,
        409 => ErrorKind::Conflict,
        412 => ErrorKind::PreconditionFailed,
        413 => ErrorKind::TooLarge,
        415 => ErrorKind::UnsupportedMedia,
        422 => ErrorKind::Validation,
        429 => ErrorKind::RateLimited,
        408 | 504 => ErrorKind::Timeout,
        507 => ErrorKind::StorageFull,
        502 | 503 => ErrorKind::Unavailable,
        500..=599 => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    }
}
