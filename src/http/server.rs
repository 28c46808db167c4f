//! What every connection shares, and what happens to a request before its route is known.

use std::sync::{Arc, atomic::AtomicU32};

use arc_swap::ArcSwap;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderName, Request, Response, header, uri::Authority},
};
use hyper::body::Incoming;
use tower::Service as _;

use super::{
    id::{RequestId, RequestIds},
    peer::{Peer, RoleGroups},
    problem,
};
use crate::{
    config::Config,
    cx::Cx,
    error::{Error, Result},
};

pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who sent a request and how it is called; travels in the request's extensions.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub peer: Peer,
    pub id: RequestId,
}

pub(super) struct Server {
    pub cx: Cx,
    pub ids: RequestIds,
    /// Connections that are served.
    pub connections: Arc<AtomicU32>,
    router: Router,
    groups: ArcSwap<(Arc<Config>, RoleGroups)>,
}

impl Server {
    pub(super) fn new(cx: Cx, router: Router) -> Self {
        let config = cx.config.load_full();
        let groups = RoleGroups::resolve(&config.api);
        Self {
            cx,
            ids: RequestIds::new(),
            connections: Arc::default(),
            router,
            groups: ArcSwap::from_pointee((config, groups)),
        }
    }

    /// The groups that give roles; looked up again when the configuration has been loaded again.
    pub(super) fn role_groups(&self) -> RoleGroups {
        let config = self.cx.config.load();
        let known = self.groups.load();
        if Arc::ptr_eq(&known.0, &config) {
            return known.1;
        }
        let groups = RoleGroups::resolve(&config.api);
        self.groups.store(Arc::new((Arc::clone(&config), groups)));
        groups
    }

    /// Answers one request.
    pub(super) async fn answer(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let id = self.ids.next();
        let mut response = match check_head(request.headers(), request.uri().authority().map(Authority::as_str)) {
            Ok(()) => {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(Caller { peer, id });
                let Ok(response) = self.router.clone().call(request).await;
                response
            }
            Err(err) => {
                let (method, path) = (request.method(), request.uri().path());
                tracing::warn!(uid = peer.uid, pid = peer.pid, %method, path, request_id = %id, "{err}");
                problem::respond(&err, &id, "header")
            }
        };
        response.headers_mut().insert(&REQUEST_ID, id.header());
        response
    }
}

/// Refuses what only a browser sends: no web page may reach the socket, not even through a program that forwards it.
fn check_head(headers: &HeaderMap, authority: Option<&str>) -> Result<()> {
    let mut hosts = 0_u32;
    let forbidden = headers.iter().find_map(|(name, value)| match name.as_str() {
        "host" => {
            hosts += 1;
            (hosts > 1 || !is_own_name(value.as_bytes())).then_some("Host")
        }
        "origin" => Some("Origin"),
        "referer" => Some("Referer"),
        name => name.starts_with("sec-fetch-").then_some("Sec-Fetch"),
    });
    let forbidden = forbidden.or_else(|| authority.is_some_and(|name| !is_own_name(name.as_bytes())).then_some("Host"));
    match forbidden {
        None => Ok(()),
        Some("Host") => Err(Error::forbidden("the Host header does not name this daemon")
            .hint("on the Unix socket Host is \"assistantd\", \"localhost\" or empty, given once")),
        Some(name) => {
            Err(Error::forbidden(format!("requests with browser headers ({name}) are refused on this socket"))
                .hint("use assistantctl, or a client that sends no Origin, Referer or Sec-Fetch headers"))
        }
    }
}

fn is_own_name(host: &[u8]) -> bool {
    host.is_empty() || host.eq_ignore_ascii_case(b"assistantd") || host.eq_ignore_ascii_case(b"localhost")
}

/// Whether a body says that it is JSON, or says nothing.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_none_or(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        essence.eq_ignore_ascii_case(b"application/json") || essence.to_ascii_lowercase().ends_with(b"+json")
    })
}
