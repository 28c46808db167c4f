//! The workspace through its verbs, its tools and its routes.

mod api;
mod changes;
mod hostile;
mod kept;
mod origins;
mod paths;
mod tools;
mod undo;
mod versions;
mod zipped;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use assistant_api::{JobId, Role};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, StatusCode, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    agent::tools::{Call, Output, Tokens},
    clock::Clock,
    config::{Config, Environment, Secrets},
    cx::{Cx, Inner, Process, Wake},
    error::Result,
    http::{self, Listener},
    jobs::Lease,
    policy::Origin,
    store::Store,
    subsystems,
};

/// A workspace with a directory beside it that nobody may reach.
struct Bed {
    dir: TempDir,
    cx: Cx,
    inside: PathBuf,
    outside: PathBuf,
}

impl Bed {
    async fn new() -> Self {
        Self::with(Config::default()).await
    }

    async fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("state");
        let outside = dir.path().join("outside");
        fs::create_dir(&state_dir).unwrap();
        fs::create_dir(&outside).unwrap();
        let cx = Cx::new(Inner {
            store: Store::open(&state_dir.join("assistant.db")).unwrap(),
            clock: Clock::System,
            llm: ArcSwap::from_pointee(crate::llm::build(&config, &Secrets::default(), &Environment::default())),
            config: ArcSwap::from_pointee(config),
            root: ArcSwapOption::empty(),
            root_problem: ArcSwapOption::empty(),
            state_dir: state_dir.clone(),
            wake: Wake::default(),
            process: Process::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            subsystems: subsystems::ALL,
        });
        attach(&cx).await;
        let inside = state_dir.join("workspace");
        let bed = Self { dir, cx, inside, outside };
        bed.sql("INSERT INTO jobs (id, thread_id, status, lease, run_at, created_at, updated_at) VALUES (7, 't7', 'running', 1, 0, 0, 0)").await;
        bed.sql("INSERT INTO jobs (id, thread_id, status, lease, run_at, created_at, updated_at) VALUES (8, 't8', 'running', 1, 0, 0, 0)").await;
        bed
    }

    async fn sql(&self, sql: &'static str) {
        self.cx.store.write(move |tx| Ok(tx.execute_batch(sql)?)).await.unwrap();
    }

    async fn count(&self, sql: &'static str) -> i64 {
        self.cx.store.read(move |conn| Ok(conn.query_row(sql, [], |row| row.get(0))?)).await.unwrap()
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.inside.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.inside.join(path)).unwrap()
    }

    fn there(&self, path: &str) -> bool {
        self.inside.join(path).symlink_metadata().is_ok()
    }

    /// Calls a tool as job 7.
    async fn tool(&self, name: &str, arguments: Value) -> Result<Value> {
        self.tool_of(JobId(7), name, arguments).await
    }

    async fn tool_of(&self, job_id: JobId, name: &str, arguments: Value) -> Result<Value> {
        self.tool_by(call(job_id), name, arguments).await.map(|output| output.value)
    }

    async fn tool_by(&self, call: Call, name: &str, arguments: Value) -> Result<Output> {
        let tool = TOOLS.iter().find(|tool| tool.name == name).unwrap();
        (tool.run)(self.cx.clone(), call, arguments).await
    }

    async fn api(&self) -> Api {
        let socket = self.dir.path().join(format!("{:x}.sock", fastrand::u32(..)));
        let listener = Listener::bind(&socket, "assistant-users").unwrap();
        http::start(&self.cx, vec![listener]).unwrap();
        Api { sender: connect(&socket).await, socket }
    }
}

use super::tools::TOOLS;

fn call(job_id: JobId) -> Call {
    Call {
        job_id,
        lease: Lease { job_id, token: 1 },
        key: Arc::from(format!("{}:0", fastrand::u64(..))),
        origin: Origin::Owner,
        rule: Arc::from("test"),
        args_hash: Arc::from("00"),
        tokens: Tokens::default(),
    }
}

fn actor(role: Role) -> Actor {
    Actor::person(role, "file_write", &())
}

/// A client of the API; its caller is the daemon's own user, an admin.
struct Api {
    sender: SendRequest<Full<Bytes>>,
    socket: PathBuf,
}

#[expect(clippy::disallowed_methods, reason = "a connection of the test, not of the daemon")]
async fn connect(socket: &Path) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn(connection);
    sender
}

/// An answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Api {
    async fn send(&mut self, method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri(uri).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if self.sender.ready().await.is_err() {
            self.sender = connect(&self.socket).await; // the server closed it after an error
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = tokio::time::timeout(Duration::from_secs(20), self.sender.send_request(request)).await;
        let (parts, body) = response.expect("an answer in time").unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&mut self, route: &str, query: &[(&str, &str)]) -> Answer {
        self.send("GET", &uri(route, query), &[], Bytes::new()).await
    }

    async fn json(&mut self, method: &str, route: &str, body: &Value) -> Answer {
        self.send(method, &uri(route, &[]), &[("content-type", "application/json")], body.to_string()).await
    }
}

fn uri(route: &str, query: &[(&str, &str)]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(query);
    format!("/api/workspace/{route}?{}", text.finish())
}

#[tokio::test]
async fn a_root_that_cannot_be_used_says_why() {
    let mut config = Config::default();
    config.filesystem.shared_root = Some("/nonexistent/for/sure".into());
    let bed = Bed::with(config).await;
    let err = bed.tool("file_list", json!({})).await.unwrap_err();
    assert_eq!(err.kind(), crate::error::ErrorKind::Unavailable);
    assert!(err.message().contains("No such file or directory"), "{err}");
    let filesystem = config::Filesystem { require_mount: true, ..Default::default() };
    let err = open_root(&filesystem, bed.dir.path()).err().unwrap();
    assert!(err.contains("not a mount point"), "{err}");
}

#[test]
fn the_workspace_is_made_for_its_group() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    open_root(&config::Filesystem::default(), dir.path()).unwrap();
    let mode = fs::metadata(dir.path().join("workspace")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o770, "{mode:o}");
}
