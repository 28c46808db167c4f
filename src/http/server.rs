//! What every connection shares, and what happens to a request before its route is known.

use std::sync::Arc;

use arc_swap::ArcSwap;
use assistant_api::ErrorKind;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header},
};
use hyper::body::Incoming;
use tokio::time::Instant;
use tower::Service as _;

use super::{
    arrival::Arrival,
    id::{RequestId, RequestIds},
    peer::{Peer, RoleGroups},
    places::{Full, Place, Placed, Places},
    problem,
};
use crate::{config::Config, cx::Cx, error::Error, logging::catalog};

pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who sent a request and how it is called; travels in the request's extensions.
#[derive(Clone)]
pub(super) struct Caller {
    pub peer: Peer,
    pub id: RequestId,
    /// Routes that the caller is kept to; empty: none in particular.
    pub allow: Arc<[String]>,
}

pub(super) struct Server {
    pub cx: Cx,
    pub ids: RequestIds,
    /// What the clients of proxies have open.
    behind: Arc<Places>,
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
            behind: Arc::default(),
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

    /// Answers one request; `doubt`: why it cannot be said where it ends, then it is refused.
    pub(super) async fn answer(
        &self,
        arrival: Arrival,
        request: Request<Incoming>,
        doubt: Option<&'static str>,
    ) -> Response<Body> {
        let (id, counters) = (self.ids.next(), &self.cx.process.counters);
        let requests = if matches!(arrival, Arrival::Local(_)) { &counters.socket } else { &counters.web };
        let begun = Instant::now();
        let encoded = request.headers().contains_key(header::TRANSFER_ENCODING);
        let admitted = match doubt {
            Some(why) => Err(Error::invalid(format!("it is not certain where the request ends: {why}"))
                .hint("send one Content-Length, or one Transfer-Encoding: chunked, and end lines with CR LF")),
            None => match self.place(arrival, &request) {
                Ok(place) => arrival.admit(&request, &self.cx).await.map(|(peer, allow)| (peer, allow, place)),
                Err(full) => Err(full.error()),
            },
        };
        let mut response = match admitted {
            Ok((peer, allow, place)) => {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(Caller { peer, id, allow });
                let Ok(response) = self.router.clone().call(request).await;
                match place {
                    Some(place) => response.map(|body| Body::new(Placed::new(body, place))),
                    None => response,
                }
            }
            Err(err) => {
                if err.kind() != ErrorKind::Unauthorized {
                    counters.refused.add(1);
                }
                // Those without a place are told of together, once in a while.
                if err.kind() != ErrorKind::RateLimited {
                    let (method, path) = (request.method(), request.uri().path());
                    tracing::warn!(target: catalog::AUTH_DENIED, ?arrival, %method, path, request_id = %id, "{err}");
                }
                problem::respond(&err, &id, "header")
            }
        };
        // What follows a body in chunks is not read as a request, whatever it is.
        if doubt.is_some() || encoded {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.headers_mut().insert(&REQUEST_ID, id.header());
        requests.answered(response.status().as_u16(), begun.elapsed());
        response
    }
}

impl Server {
    /// The place of a request that came by a proxy.
    fn place(&self, arrival: Arrival, request: &Request<Incoming>) -> Result<Option<Place>, Full> {
        let config = self.cx.config.load();
        let Some(client) = arrival.behind(request.headers(), &config) else { return Ok(None) };
        self.behind.take_behind(client, &config.api).map(Some).inspect_err(|full| {
            self.cx.process.counters.turned_away.add(1);
            if let Some(refused) = self.behind.refused(self.cx.clock.monotonic()) {
                full.tell(refused);
            }
        })
    }
}

/// Whether a body says that it is JSON, or says nothing.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_none_or(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        essence.eq_ignore_ascii_case(b"application/json") || essence.to_ascii_lowercase().ends_with(b"+json")
    })
}
