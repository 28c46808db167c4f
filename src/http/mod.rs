//! HTTP on every kind of listener: one accept loop, one route table, one shape of errors.
//!
//! A connection is accepted (`accept.rs`) and, on the socket, its peer identified (`peer.rs`); each of its requests is
//! refused if it was not made for where it came in (`arrival.rs`), routed (`table.rs`), held against its route's declaration (`guard.rs`), and handled.

mod absent;
mod accept;
mod api;
mod arrival;
pub mod config;
pub mod cursor;
pub mod etag;
mod events;
pub mod exposure;
mod forwarded;
mod framing;
mod guard;
mod id;
pub mod idempotency;
mod listen;
mod log;
pub mod login;
pub mod openapi;
mod pace;
pub mod peer;
mod places;
pub mod problem;
mod read;
mod reference;
pub mod route;
mod server;
mod stall;
mod store;
mod table;
pub mod tls;

use std::sync::Arc;

use tokio::task::JoinHandle;

pub use self::{
    id::RequestId,
    listen::{Listener, addresses},
    table::routes,
};
use crate::{cx::Cx, error::Result};

/// Starts to serve the listeners, on `cx.tasks`. After `cx.stop` is cancelled nothing more is accepted, and the handle
/// ends when the last connection has, `api.stop_grace` later at most.
///
/// # Errors
/// `internal` when the route table is at fault.
pub fn start(cx: &Cx, listeners: Vec<Listener>) -> Result<JoinHandle<()>> {
    let gate = Arc::new(guard::Gate { cx: cx.clone(), repeats: idempotency::Repeats::default() });
    let router = table::router(&gate, routes(cx.subsystems))?;
    let server = Arc::new(server::Server::new(cx.clone(), router));
    tls::renew(cx, &cx.config.load())?;
    cx.tasks.spawn(tls::watch(cx.clone()));
    let ready = listeners.into_iter().map(accept::Ready::new).collect::<Result<Vec<_>>>()?;
    Ok(cx.tasks.spawn(accept::run(server, ready)))
}
