//! What stands before every handler: role, size, time, panic, repetition; and what is written about it afterwards.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use assistant_api::{ErrorKind, Role};
use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, Response, header},
};
use futures_util::FutureExt as _;
use http_body_util::Limited;
use tracing::Instrument as _;

use super::{
    absent,
    idempotency::{self, Repeats},
    login,
    pace::{self, Paced},
    peer::{Peer, Who},
    problem,
    route::{BodyLimit, Incoming, Route, TimeLimit},
    server::{Caller, is_json},
};
use crate::{
    config::Config,
    cx::Cx,
    error::{Error, Result},
    logging::catalog,
};

/// What all routes share.
pub(super) struct Gate {
    pub cx: Cx,
    pub repeats: Repeats,
}

/// Answers a request for `route`.
pub(super) async fn pass(gate: Arc<Gate>, route: Arc<Route>, mut request: Request<Body>) -> Response<Body> {
    let Some(caller) = request.extensions_mut().remove::<Caller>() else {
        return problem::respond(&Error::internal("a request without a caller"), "-", "body");
    };
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let config = gate.cx.config.load_full();
    let result = match check(&route, &config, &caller, request.headers()) {
        Ok(limit) => perform(&gate, &route, &config, &caller, request, limit, changes).await,
        Err(err) => Err(err),
    };
    if let Err(err) = &result
        && err.kind() == ErrorKind::Forbidden
    {
        denied(&caller, &route, err);
    }
    let place = if takes_json(&route) { "body" } else { "query" };
    let response = result.unwrap_or_else(|err| match route.login {
        Some(page) if err.kind() == ErrorKind::Unauthorized => page(),
        _ => problem::respond(&err, &caller.id, place),
    });
    if changes {
        let Caller { peer, id, .. } = &caller;
        tracing::info!(
            target: "audit",
            caller = peer.label(),
            pid = peer.pid(),
            method = route.method.as_str(),
            route = route.path,
            status = response.status().as_u16(),
            request_id = %id,
            "request"
        );
    }
    response
}

/// Tells the journal who was refused.
fn denied(caller: &Caller, route: &Route, err: &Error) {
    let Caller { peer, id, .. } = caller;
    tracing::warn!(
        target: catalog::AUTH_DENIED,
        caller = peer.label(),
        uid = peer.uid(),
        pid = peer.pid(),
        method = route.method.as_str(),
        route = route.path,
        request_id = %id,
        "{}",
        err.message()
    );
}

fn takes_json(route: &Route) -> bool {
    matches!(route.body, BodyLimit::Bytes(_))
}

/// Everything that can be said without reading the body; gives the number of bytes that may be read.
fn check(route: &Route, config: &Config, caller: &Caller, headers: &HeaderMap) -> Result<usize> {
    if let Some(least) = route.role {
        match caller.peer.role {
            _ if route.also.is_some_and(|rule| rule(config, &caller.peer)) => {}
            None => return Err(stranger(caller, config)),
            Some(role) if role < least => return Err(too_low(role, least, config)),
            Some(_) => {}
        }
        // Who shows a token is held to it, even where others need none.
        if !is_for(route, caller) {
            return Err(Error::forbidden("this token is not for this route")
                .hint("assistantctl token list shows what it is for"));
        }
    }
    let limit = match route.body {
        BodyLimit::None => 0,
        BodyLimit::Bytes(limit) => limit,
        BodyLimit::Upload => match usize::try_from(config.api.max_upload_bytes.0) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(limit) => limit,
        },
        BodyLimit::Input => usize::MAX,
    };
    if let Some(length) = headers.get(header::CONTENT_LENGTH) {
        let length = length.to_str().ok().and_then(|text| text.parse::<usize>().ok());
        if length.is_none_or(|length| length > limit) {
            return Err(too_large(route.body, limit));
        }
    } else if limit == 0 && headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(too_large(route.body, limit));
    }
    if takes_json(route) && !is_json(headers) {
        return Err(Error::new(ErrorKind::UnsupportedMedia, "the body has to be JSON")
            .hint("send Content-Type: application/json"));
    }
    Ok(limit)
}

/// Whether a token that is kept to some routes is for this one.
fn is_for(route: &Route, caller: &Caller) -> bool {
    let kept = |rule: &String| login::permits(rule, &route.method, route.path);
    caller.allow.is_empty() || caller.allow.iter().any(kept)
}

/// The refusal of somebody who has no role.
fn stranger(caller: &Caller, config: &Config) -> Error {
    if let Who::Web { .. } = caller.peer.who {
        return Error::new(ErrorKind::Unauthorized, "this takes a login")
            .hint("POST /api/login or Authorization: Bearer TOKEN; `assistantctl web password` and `assistantctl token create` make them");
    }
    Error::forbidden("you are not a member of a group that may use this daemon")
        .hint(format!("sudo adduser $USER {}, then log in again", config.api.operator_group))
}

/// The answer where no route fits; somebody who is not let in does not hear even that.
pub(super) fn unmatched(gate: &Gate, caller: &Caller, kind: ErrorKind, path: &str) -> Response<Body> {
    let error = match kind {
        _ if caller.peer.role.is_none() => stranger(caller, &gate.cx.config.load()),
        ErrorKind::MethodNotAllowed => {
            Error::new(kind, "this path has no such method").hint("the Allow header lists its methods")
        }
        _ if let Some(part) = absent::part(path) => {
            Error::new(ErrorKind::NotAvailable, format!("this version has no {part}"))
                .hint("docs/api.md lists the paths that it has")
        }
        _ => Error::new(kind, "there is no such path").hint("docs/api.md lists the paths"),
    };
    problem::respond(&error, &caller.id, "path")
}

fn too_low(role: Role, least: Role, config: &Config) -> Error {
    let group = match least {
        Role::Admin => &config.api.admin_group,
        Role::Operator | Role::Viewer => &config.api.operator_group,
    };
    Error::forbidden(format!("this takes the role {least}, yours is {role}"))
        .hint(format!("as root, or: sudo adduser $USER {group}, then log in again"))
}

pub(super) fn too_large(body: BodyLimit, limit: usize) -> Error {
    match body {
        BodyLimit::None => Error::too_large("this route takes no body"),
        BodyLimit::Bytes(_) => Error::too_large(format!("the body is larger than {limit} bytes")),
        BodyLimit::Upload => Error::too_large(format!("the upload is larger than {limit} bytes"))
            .hint("the limit is api.max_upload_bytes"),
        BodyLimit::Input => Error::too_large("the length of the body is no number"),
    }
}

async fn perform(
    gate: &Arc<Gate>,
    route: &Arc<Route>,
    config: &Config,
    caller: &Caller,
    request: Request<Body>,
    limit: usize,
    changes: bool,
) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = match route.body {
        BodyLimit::Upload => Body::new(Paced::new(Limited::new(body, limit), config.api.stream_idle_timeout.0)),
        _ => body,
    };
    // What a token is not for, it makes nobody of.
    let role = caller.peer.role.filter(|_| is_for(route, caller));
    let peer = Peer { role, ..caller.peer };
    let mut incoming = Incoming { parts, body, peer, request_id: caller.id, limit };
    let work = async {
        if !changes {
            let work = caught((route.handler)(gate.cx.clone(), incoming));
            if route.role.is_none() {
                return work.await;
            }
            return work.instrument(span(route, caller)).await;
        }
        if takes_json(route) {
            // Read here, where the time limit ends it: a body that never comes must hold nothing.
            let body = std::mem::take(&mut incoming.body);
            let bytes = axum::body::to_bytes(body, limit).await.map_err(|err| pace::explain(err, limit))?;
            incoming.body = Body::from(bytes);
        }
        // What changes something runs to its end even if the caller hangs up half-way: a write that is on its way
        // commits anyway, and what follows it (waking who waits for it) must not be lost.
        let task = if let Some(key) = idempotency::key(&incoming)? {
            let work = idempotency::once(Arc::clone(gate), Arc::clone(route), key, incoming);
            gate.cx.tasks.spawn(caught(work).instrument(span(route, caller)))
        } else {
            let work = (route.handler)(gate.cx.clone(), incoming);
            gate.cx.tasks.spawn(caught(work).instrument(span(route, caller)))
        };
        task.await.map_err(Error::internal)?
    };
    match route.time {
        TimeLimit::Stream => work.await,
        TimeLimit::Request => {
            let limit = config.api.request_timeout.0;
            tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                let seconds = limit.as_secs();
                Err(Error::timeout(format!("the request took longer than {seconds} s"))
                    .hint("what it changes may still be done; look before you repeat it (api.request_timeout)"))
            })
        }
    }
}

fn span(route: &Route, caller: &Caller) -> tracing::Span {
    tracing::info_span!("request", request_id = %caller.id, method = route.method.as_str(), route = route.path)
}

/// A panic in a handler ends its request, not the connection or the daemon.
pub(super) async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::internal(format!("a handler panicked: {text}")))
    })
}
