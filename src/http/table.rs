//! The router, made from the route table. A table with a fault does not start.

use std::{collections::BTreeMap, future::ready, sync::Arc};

use assistant_api::ErrorKind;
use axum::{
    Router,
    body::Body,
    http::{Method, Request, Response},
    routing::{MethodFilter, MethodRouter, on},
};

use super::{
    guard::{self, Gate},
    problem,
    route::Route,
    server::Caller,
};
use crate::{
    error::{Error, Result},
    subsystems::Subsystem,
};

/// Every route of the daemon: those of this module and of all subsystems.
pub fn routes(subsystems: &[Subsystem]) -> Vec<Route> {
    let own = super::api::routes().into_iter();
    own.chain(subsystems.iter().flat_map(|subsystem| (subsystem.routes)())).collect()
}

/// Makes the router.
///
/// # Errors
/// `internal` when a route is declared twice, or without a path, a summary or a method that is known here.
pub(super) fn router(gate: &Arc<Gate>, table: Vec<Route>) -> Result<Router> {
    let mut paths: BTreeMap<&'static str, (MethodRouter, Vec<Method>)> = BTreeMap::new();
    for route in table {
        let fault = |what: &str| Error::internal(format!("route {} {}: {what}", route.method, route.path));
        if !route.path.starts_with('/') || route.summary.is_empty() {
            return Err(fault("a route needs a path and a summary"));
        }
        let filter = MethodFilter::try_from(route.method.clone()).map_err(|err| fault(&err.to_string()))?;
        let (methods, known) = paths.entry(route.path).or_default();
        if known.contains(&route.method) {
            return Err(fault("declared twice"));
        }
        known.push(route.method.clone());
        let (gate, route) = (Arc::clone(gate), Arc::new(route));
        let handler = move |request: Request<Body>| guard::pass(Arc::clone(&gate), Arc::clone(&route), request);
        *methods = std::mem::take(methods).merge(on(filter, handler));
    }
    let known = paths.into_iter().fold(Router::new(), |known, (path, (methods, _))| known.route(path, methods));
    let (no_path, no_method) = (Arc::clone(gate), Arc::clone(gate));
    Ok(known
        .fallback(move |request| ready(unmatched(&no_path, &request, ErrorKind::NotFound)))
        .method_not_allowed_fallback(move |request| {
            ready(unmatched(&no_method, &request, ErrorKind::MethodNotAllowed))
        }))
}

fn unmatched(gate: &Gate, request: &Request<Body>, kind: ErrorKind) -> Response<Body> {
    match request.extensions().get::<Caller>() {
        Some(caller) => guard::unmatched(gate, caller, kind, request.uri().path()),
        None => problem::respond(&Error::internal("a request without a caller"), "-", "path"),
    }
}
