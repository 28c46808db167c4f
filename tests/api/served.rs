//! The API of a daemon without work: a real database file, a real socket, and a few routes made for the tests.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::{ArcSwap, ArcSwapOption};
use assistant_api::{ErrorKind, EventId, Role};
use assistantd::{
    clock::Clock,
    config::Config,
    cx::{Cx, Inner, Process, Wake},
    error::{Error, Result},
    events,
    http::{
        self, Listener,
        route::{BodyLimit, Json, Req, Route, Stream},
    },
    llm::{Answer, BoxFuture, Llm, LlmError, ModelInfo, OnDelta, Request},
    store::Store,
    subsystems::{self, Subsystem},
};
use axum::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A served API; ends with the test.
pub(crate) struct Served {
    pub cx: Cx,
    pub socket: PathBuf,
    /// Where it listens on the network, if it does.
    pub web: Option<SocketAddr>,
    pub ended: JoinHandle<()>,
    pub dir: TempDir,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|err| panic!("{err}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn kind(&self) -> String {
        self.json()["kind"].as_str().unwrap_or_default().to_owned()
    }
}

impl Served {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(set: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        set(&mut config);
        let socket = dir.path().join("api.sock");
        let mut listeners = Listener::bind_web(&config).unwrap();
        let web = listeners.first().and_then(|listener| listener.address().unwrap());
        listeners.push(Listener::bind(&socket, &config.api.operator_group).unwrap());
        let cx = Cx::new(Inner {
            store: Store::open(&dir.path().join("assistant.db")).unwrap(),
            clock: Clock::System,
            config: ArcSwap::from_pointee(config),
            llm: ArcSwap::from_pointee(Arc::new(NoModel) as Arc<dyn Llm>),
            root: ArcSwapOption::empty(),
            root_problem: ArcSwapOption::empty(),
            state_dir: dir.path().to_owned(),
            wake: Wake::default(),
            process: Process::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            subsystems: subsystems(),
        });
        let ended = http::start(&cx, listeners).unwrap();
        Self { cx, socket, web, ended, dir }
    }

    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    /// Sends one request as it stands, on a connection of its own, and reads to the end.
    pub(crate) async fn send(&self, request: &str) -> Reply {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_reply(&mut stream).await
    }

    /// One that listens on a free port of loopback as well.
    pub(crate) fn on_the_web(set: impl FnOnce(&mut Config)) -> Self {
        Self::with(|config| {
            config.api.bind_host = Some("127.0.0.1".into());
            config.api.port = 0;
            set(config);
        })
    }

    /// A request over the network, with the right `Host`.
    pub(crate) async fn visit(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let address = self.web.unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = request(method, path, headers, body).replacen("assistantd", &address.to_string(), 1);
        stream.write_all(request.as_bytes()).await.unwrap();
        read_reply(&mut stream).await
    }

    /// A request with the usual head.
    pub(crate) async fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        self.send(&request(method, path, headers, body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, "", "").await
    }

    /// How often `POST /test/work` has done its work.
    pub(crate) async fn work_done(&self) -> usize {
        let found = self.cx.store.read(|conn| events::after(conn, EventId(0), None, 10_000)).await.unwrap();
        found.iter().filter(|event| event.kind == "test.work").count()
    }
}

pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nhost: assistantd\r\nconnection: close\r\n{length}{headers}\r\n{body}")
}

pub(crate) async fn read_reply(stream: &mut (impl AsyncRead + Unpin)) -> Reply {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}

/// The subsystems of the daemon, and one with routes for the tests.
fn subsystems() -> &'static [Subsystem] {
    let own = Subsystem { name: "test", routes, tools: &[], loops: &[] };
    let all = subsystems::ALL.iter().map(|one| Subsystem {
        name: one.name,
        routes: one.routes,
        tools: one.tools,
        loops: one.loops,
    });
    Box::leak(all.chain([own]).collect())
}

fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::GET, "/test/panic", Role::Viewer, "Panics.", panics),
        Route::new(Method::GET, "/test/slow", Role::Viewer, "Takes its time.", slow),
        Route::new(Method::GET, "/test/ids/{id}", Role::Viewer, "Takes a number.", number),
        Route::new(Method::POST, "/test/work", Role::Operator, "Does something.", work),
        Route::new(Method::DELETE, "/test/ids/{id}", Role::Admin, "Takes a number.", number),
        Route::new(Method::PUT, "/test/upload", Role::Operator, "Counts bytes.", upload)
            .body(BodyLimit::Upload)
            .stream()
            .errors(&[ErrorKind::TooLarge]),
    ]
}

async fn panics(_: Req) -> Result<Json<Value>> {
    panic!("on purpose");
}

async fn slow(_: Req) -> Result<Json<Value>> {
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(Json(json!({ "slow": true })))
}

async fn number(req: Req<i64>) -> Result<Json<i64>> {
    Ok(Json(req.path))
}

/// `{"work": n, "pause_ms": n, "fail": kind}`
async fn work(req: Req<(), (), Json<Value>>) -> Result<Json<Value>> {
    let now = req.cx.clock.now();
    let asked = req.body.0;
    match asked["fail"].as_str() {
        Some("conflict") => return Err(Error::conflict("not now")),
        Some("panic") => panic!("on purpose"),
        _ => {}
    }
    let id = req.cx.store.write(move |tx| events::emit(tx, now, "test.work", None, &json!({}))).await?;
    req.cx.wake.announce();
    tokio::time::sleep(Duration::from_millis(asked["pause_ms"].as_u64().unwrap_or(0))).await;
    if asked["fail"] == "after" {
        return Err(Error::internal("after the work"));
    }
    Ok(Json(json!({ "event": id })))
}

async fn upload(mut req: Req<(), (), Stream>) -> Result<Json<usize>> {
    let mut count = 0;
    while let Some(chunk) = req.body.chunk().await? {
        count += chunk.len();
    }
    Ok(Json(count))
}

struct NoModel;

impl Llm for NoModel {
    fn ask<'a>(&'a self, _: &'a Request, _: Option<OnDelta>) -> BoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async { Err(LlmError::NotConfigured("no model".into())) })
    }

    fn models(&self) -> Vec<ModelInfo> {
        Vec::new()
    }
}
