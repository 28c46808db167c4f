//! The baselines: the same libraries doing the same work with nothing around them.

use std::{
    convert::Infallible,
    os::unix::net::{UnixDatagram, UnixListener},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use axum::{Router, routing::get};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rusqlite::Connection;
use tower::Service as _;

/// Opens the database with the daemon's settings, listens, says that it is ready, and waits to be killed.
#[expect(clippy::disallowed_methods, reason = "the bare library is what is measured")]
pub(crate) fn open_and_listen(database: &Path, socket: &Path) -> ExitCode {
    let conn = Connection::open(database).unwrap();
    conn.pragma_update(None, "journal_mode", "WAL").unwrap();
    conn.pragma_update(None, "synchronous", "FULL").unwrap();
    conn.pragma_update(None, "foreign_keys", true).unwrap();
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let _listener = UnixListener::bind(socket).unwrap();
    let notify = UnixDatagram::unbound().unwrap();
    notify
        .send_to(format!("READY=1\nSTATUS=schema {version}").as_bytes(), std::env::var("NOTIFY_SOCKET").unwrap())
        .unwrap();
    loop {
        std::thread::park();
    }
}

/// Serves a static body by axum, behind the daemon's accept loop settings: hyper with timer and header timeout.
pub(crate) fn serve(socket: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let router: Router = Router::new().route(
            "/health",
            get(async || ([("content-type", "application/json")], r#"{"status":"ok","database":"ok"}"#)),
        );
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let router = router.clone();
            connections.spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let mut router = router.clone();
                    async move { router.call(request.map(axum::body::Body::new)).await.map_err(|err: Infallible| err) }
                });
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(10))
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}
