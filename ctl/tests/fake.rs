//! A daemon that answers from a table, and the program that is run against it.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Runtime};

type Body = UnsyncBoxBody<Bytes, Infallible>;
/// What answers differently from the table: from method, path with query and body to status and JSON.
pub type Special = Box<dyn Fn(&str, &str, &[u8]) -> Option<(u16, Value)> + Send + Sync>;

/// A request that the daemon has seen.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl Seen {
    /// Its JSON body.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The daemon. It lives as long as this value.
pub struct Daemon {
    pub dir: TempDir,
    pub socket: PathBuf,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: Runtime,
}

impl Daemon {
    /// One that answers from the table only.
    pub fn new() -> Self {
        Self::with(|_, _, _| None)
    }

    /// One that is asked `special` first.
    pub fn with(special: impl Fn(&str, &str, &[u8]) -> Option<(u16, Value)> + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api.sock");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let special: Arc<Special> = Arc::new(Box::new(special));
        let listener = {
            let _in_runtime = runtime.enter();
            UnixListener::bind(&socket).unwrap()
        };
        runtime.handle().spawn(serve(listener, Arc::clone(&seen), special));
        Self { dir, socket, seen, _runtime: runtime }
    }

    /// Everything that was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests of one method whose paths begin so.
    pub fn asked(&self, method: &str, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method == method && seen.path.starts_with(path)).collect()
    }

    /// A command in an empty directory of its own, with a small environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.dir.path());
        command.env("ASSISTANT_SOCKET", &self.socket).args(arguments);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).stdin(Stdio::null()).output().unwrap())
    }
}

/// The program, to be run in `dir/here` without anything of the real environment.
pub fn program(dir: &Path) -> Command {
    let here = dir.join("here");
    fs::create_dir_all(&here).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_assistantctl"));
    command
        .current_dir(here)
        .env_clear()
        .env("TZ", "UTC")
        .env("HOME", dir)
        .env("TERM", "xterm")
        .env("PATH", "/nowhere");
    command
}

/// What came of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The JSON document that it printed.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|err| panic!("{err}: {self:?}"))
    }

    /// The JSON documents that it printed, one per line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|err| panic!("{err}: {self:?}")))
            .collect()
    }
}

async fn serve(listener: UnixListener, seen: Arc<Mutex<Vec<Seen>>>, special: Arc<Special>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (seen, special) = (Arc::clone(&seen), Arc::clone(&special));
        let service = service_fn(move |request| answer(request, Arc::clone(&seen), Arc::clone(&special)));
        connections.spawn(async move {
            // A client that goes away in the middle is its own affair.
            _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
    special: Arc<Special>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let (method, path) = (head.method.to_string(), head.uri.to_string());
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    seen.lock().unwrap().push(Seen {
        method: method.clone(),
        path: path.clone(),
        headers: head.headers,
        body: body.clone(),
    });
    let found = special(&method, &path, &body);
    let found = match (found, method.as_str(), path.split('?').next().unwrap_or_default()) {
        (Some(found), ..) => Some(found),
        (None, "GET", "/api/events") => return Ok(events()),
        (None, "GET", "/api/workspace/download") => return Ok(bytes(b"month,total\n2026-10,12\n")),
        (None, ..) => crate::answers::answer(&method, &path, &body),
    };
    let (status, value) = found.unwrap_or_else(|| problem(404, "not_found", &format!("no answer for {method} {path}")));
    let kind = if status < 400 { "application/json" } else { "application/problem+json" };
    let body = if status == 204 { Bytes::new() } else { value.to_string().into() };
    let response = Response::builder().status(status).header("content-type", kind).header("x-request-id", "r4");
    Ok(response.body(Full::new(body).boxed_unsync()).unwrap())
}

/// A problem document.
pub fn problem(status: u16, kind: &str, title: &str) -> (u16, Value) {
    let body = json!({
        "type": "about:blank", "title": title, "status": status, "detail": title, "kind": kind, "request_id": "r4",
    });
    (status, body)
}

fn bytes(bytes: &'static [u8]) -> Response<Body> {
    Response::new(Full::new(Bytes::from_static(bytes)).boxed_unsync())
}

/// A stream that never ends and says every few milliseconds that something happened to job 7.
fn events() -> Response<Body> {
    let frames = stream::unfold(40, |id: i64| async move {
        if id > 41 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let data = json!({ "id": id, "kind": "job.status", "job_id": 7, "data": {"status": "running"}, "at": crate::answers::AT });
        let text = format!("id: {id}\nevent: job.status\ndata: {data}\n\n");
        Some((Ok(Frame::data(Bytes::from(text))), id + 1))
    });
    let body = StreamBody::new(Box::pin(frames));
    Response::builder().header("content-type", "text/event-stream").body(body.boxed_unsync()).unwrap()
}
