//! The routes of commands.

use assistant_api::{
    ErrorKind, Role,
    sandbox::{
        CommandEnd, STREAM_MEDIA, SandboxStatus, SandboxTest, ScriptReply, ScriptRequest, StreamKind, stream_header,
    },
};
use assistant_sandbox::protocol::Level;
use axum::{
    body::Body,
    http::{HeaderValue, Method, Response, header},
};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use super::{Asked, run};
use crate::{
    cx::Cx,
    error::{Error, Result},
    http::route::{BodyLimit, Json, Raw, Req, Route, Stream},
    sandbox::{self, Input, Output, config::JobLevel},
};

const RUN: &[ErrorKind] = &[
    ErrorKind::Invalid,
    ErrorKind::Forbidden,
    ErrorKind::NotFound,
    ErrorKind::SandboxDisabled,
    ErrorKind::Unavailable,
];
const SCRIPT: &[ErrorKind] = &[
    ErrorKind::Invalid,
    ErrorKind::Forbidden,
    ErrorKind::NotFound,
    ErrorKind::SandboxDisabled,
    ErrorKind::StorageFull,
    ErrorKind::Unavailable,
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::GET, "/api/sandbox", Role::Viewer, "What this host's sandbox guarantees.", status),
        Route::new(
            Method::POST,
            "/api/sandbox/run",
            Role::Operator,
            "Runs a command in the sandbox; the body is its standard input, the answer its output as it comes.",
            run_streamed,
        )
        .errors(RUN)
        .body(BodyLimit::Input)
        .stream()
        .produces(STREAM_MEDIA),
        Route::new(
            Method::POST,
            "/api/sandbox/test",
            Role::Operator,
            "Tries to break out of the sandbox, and to do ordinary work in it.",
            test,
        )
        .errors(&[ErrorKind::Unavailable, ErrorKind::SandboxDisabled])
        .stream(),
        Route::new(
            Method::POST,
            "/api/workspace/script-runs",
            Role::Operator,
            "Runs a script or a command in the sandbox and writes a transcript.",
            script,
        )
        .errors(SCRIPT)
        .stream(),
    ]
}

async fn status(req: Req) -> Result<Json<SandboxStatus>> {
    Ok(Json(sandbox::status(&req.cx).await))
}

async fn test(req: Req) -> Result<Json<SandboxTest>> {
    super::proof::run(&req.cx).await.map(Json)
}

async fn script(req: Req<(), (), Json<ScriptRequest>>) -> Result<Json<ScriptReply>> {
    super::scripts::run(&req.cx, req.peer.role.unwrap_or(Role::Viewer), req.body.0).await.map(Json)
}

#[derive(Deserialize, JsonSchema)]
struct RunQuery {
    /// The program and its arguments, as a JSON list of texts.
    command: String,
    /// A directory of the workspace; the workspace itself unless given.
    #[serde(default)]
    workdir: String,
    /// Seconds until it is ended; `sandbox.default_timeout_seconds` unless given.
    #[serde(default)]
    timeout_seconds: Option<u64>,
    /// Whether the body is its standard input; without, that is empty.
    #[serde(default)]
    stdin: bool,
    /// How much it may; as much as the commands of jobs unless given. What is not less than that is for admins.
    #[serde(default)]
    level: Option<AskedLevel>,
}

/// A level as the configuration writes it.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum AskedLevel {
    Read,
    Work,
    #[serde(rename = "work+net")]
    WorkNet,
    Container,
}

/// The level of a person's command: that of jobs, less, or, for admins, any.
fn level(asked: Option<AskedLevel>, of_jobs: Level, role: Option<Role>) -> Result<Level> {
    let asked = match asked {
        None => return Ok(of_jobs),
        Some(AskedLevel::Read) => Level::Read,
        Some(AskedLevel::Work) => Level::Work,
        Some(AskedLevel::WorkNet) => Level::WorkNet,
        Some(AskedLevel::Container) => Level::Container,
    };
    let less = asked == Level::Read || (asked, of_jobs) == (Level::Work, Level::WorkNet);
    if asked == of_jobs || less || role == Some(Role::Admin) {
        return Ok(asked);
    }
    let message = format!("a level beyond that of jobs, {}, is for admins", JobLevel(of_jobs).name());
    Err(Error::forbidden(message).field("query.level").hint("an admin may set sandbox.level"))
}

async fn run_streamed(req: Req<(), RunQuery, Stream>) -> Result<Raw> {
    let query = req.query;
    let command: Vec<String> = serde_json::from_str(&query.command)
        .map_err(|_| Error::validation("not a JSON list of texts").field("query.command"))?;
    let level = level(query.level, req.cx.config.load().sandbox.level.0, req.peer.role)?;
    let asked = Asked { command, workdir: query.workdir, timeout: query.timeout_seconds, level, stdin: query.stdin };
    let exec = asked.exec(&req.cx)?;
    let (to_command, input) = mpsc::channel(4);
    if query.stdin {
        req.cx.tasks.spawn(feed(req.body, to_command));
    }
    let (to_caller, mut output) = mpsc::channel(16);
    let (tell, begun) = oneshot::channel();
    let cx = req.cx.clone();
    req.cx.tasks.spawn(async move {
        let gone = to_caller.clone();
        tokio::select! {
            // Who hangs up ends the command: dropping it closes its session.
            () = gone.closed() => {}
            () = cx.stop.cancelled() => {}
            () = execute(&cx, exec, input, to_caller, tell) => {}
        }
    });
    // A command that cannot be run is an ordinary error; from the first byte on it is a stream.
    begun.await.map_err(|_| Error::unavailable("the daemon stops"))??;
    let chunks = futures_util::stream::poll_fn(move |task| {
        output.poll_recv(task).map(|chunk| chunk.map(Ok::<_, std::convert::Infallible>))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(STREAM_MEDIA));
    Ok(Raw(response))
}

async fn execute(
    cx: &Cx,
    exec: assistant_sandbox::protocol::Exec,
    input: mpsc::Receiver<Input>,
    to_caller: mpsc::Sender<Bytes>,
    tell: oneshot::Sender<Result<()>>,
) {
    let (said, mut heard) = mpsc::channel(16);
    let pass = async {
        let mut tell = Some(tell);
        while let Some(output) = heard.recv().await {
            let chunk = match output {
                Output::Started => {
                    if let Some(tell) = tell.take() {
                        let _ = tell.send(Ok(())); // who went away needs no answer
                    }
                    continue;
                }
                Output::Stdout(bytes) => chunk(StreamKind::Stdout, &bytes),
                Output::Stderr(bytes) => chunk(StreamKind::Stderr, &bytes),
            };
            let _ = to_caller.send(chunk).await; // as above
        }
        tell
    };
    let (done, tell) = tokio::join!(sandbox::exec(cx, None, &exec, input, said), pass);
    let done = done.and_then(run::exited);
    let end = match (done, tell) {
        (Err(err), Some(tell)) => {
            let _ = tell.send(Err(err));
            return;
        }
        (Err(err), None) => CommandEnd { error: Some(err.message().to_owned()), ..CommandEnd::default() },
        (Ok((backend, exit)), _) => {
            run::report(None, &exit);
            run::end(backend, &exit)
        }
    };
    if let Ok(end) = serde_json::to_vec(&end) {
        let _ = to_caller.send(chunk(StreamKind::End, &end)).await;
    }
}

async fn feed(mut body: Stream, to_command: mpsc::Sender<Input>) {
    while let Ok(Some(bytes)) = body.chunk().await {
        if to_command.send(Input::Stdin(bytes.to_vec())).await.is_err() {
            return;
        }
    }
    let _ = to_command.send(Input::End).await; // a command that has ended takes none
}

fn chunk(kind: StreamKind, bytes: &[u8]) -> Bytes {
    let mut chunk = Vec::with_capacity(bytes.len() + 8);
    chunk.extend_from_slice(&stream_header(kind, bytes.len()));
    chunk.extend_from_slice(bytes);
    chunk.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_admins_go_beyond_the_level_of_jobs() {
        use AskedLevel as Asked;
        for (asked, of_jobs, operator, admin) in [
            (None, Level::Work, Some(Level::Work), Level::Work),
            (None, Level::WorkNet, Some(Level::WorkNet), Level::WorkNet),
            (Some(Asked::Read), Level::WorkNet, Some(Level::Read), Level::Read),
            (Some(Asked::Read), Level::Container, Some(Level::Read), Level::Read),
            (Some(Asked::Work), Level::WorkNet, Some(Level::Work), Level::Work),
            (Some(Asked::Work), Level::Read, None, Level::Work),
            (Some(Asked::Work), Level::Container, None, Level::Work),
            (Some(Asked::WorkNet), Level::Work, None, Level::WorkNet),
            (Some(Asked::WorkNet), Level::WorkNet, Some(Level::WorkNet), Level::WorkNet),
            (Some(Asked::Container), Level::WorkNet, None, Level::Container),
        ] {
            assert_eq!(level(asked, of_jobs, Some(Role::Operator)).ok(), operator, "{of_jobs:?}");
            assert_eq!(level(asked, of_jobs, None).ok(), operator, "{of_jobs:?}");
            assert_eq!(level(asked, of_jobs, Some(Role::Admin)).ok(), Some(admin), "{of_jobs:?}");
        }
        let err = level(Some(Asked::WorkNet), Level::Read, Some(Role::Operator)).unwrap_err();
        assert_eq!((err.kind(), err.field_name()), (ErrorKind::Forbidden, Some("query.level")));
    }
}
