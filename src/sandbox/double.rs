//! A runner for tests: it speaks the protocol and confines nothing.

use std::path::Path;

use assistant_sandbox::protocol::{
    End, Exec, Exit, Frame, Guarantee, Kind, Level, Limits, Net, Place, Ready, Started, VERSION,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

/// One that promises everything, of the workspace at `place`.
pub(super) fn ready(place: Place) -> Ready {
    Ready {
        version: VERSION,
        guarantees: Guarantee::ALL.map(|guarantee| (guarantee, "a test".to_owned())).into(),
        missing: [].into(),
        landlock_abi: 7,
        workspace: Some(place),
        protect: Vec::new(),
        limits: Some(Limits { seconds: 3600, ..Limits::default() }),
        net: Net::Given("a test".to_owned()),
        pid: None,
    }
}

pub(super) fn place(path: &Path) -> Place {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::metadata(path).unwrap();
    Place { device: found.dev(), inode: found.ino() }
}

pub(super) fn exec(level: Level) -> Exec {
    let limits = Limits { seconds: 1, ..Limits::default() };
    Exec {
        argv: vec!["true".to_owned()],
        cwd: String::new(),
        env: [].into(),
        stdin: false,
        level,
        limits,
        proxy_login: None,
    }
}

pub(super) fn exit() -> Exit {
    let (duration_ms, cpu_ms, peak_bytes) = (1, 1, 1);
    Exit { end: End::Exited, code: Some(0), signal: None, duration_ms, cpu_ms, peak_bytes, denials: Vec::new() }
}

pub(super) fn started() -> Started {
    Started { pid: 2, notes: Vec::new() }
}

/// Says it; the daemon may have gone.
pub(super) async fn say(socket: &mut UnixStream, frame: Frame) {
    let _ = socket.write_all(&frame.bytes().unwrap()).await;
}

pub(super) async fn say_json(socket: &mut UnixStream, kind: Kind, body: &impl serde::Serialize) {
    say(socket, Frame::json(kind, body).unwrap()).await;
}

/// The next frame of the daemon, unless it has gone.
pub(super) async fn hear(socket: &mut UnixStream) -> Option<Frame> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).await.ok()?;
    let mut rest = vec![0; u32::from_le_bytes(length) as usize];
    socket.read_exact(&mut rest).await.ok()?;
    Some(Frame::from_rest(rest).unwrap())
}

/// Serves a whole session; what was to be run.
pub(super) async fn serve(mut socket: UnixStream, ready: &Ready) -> Vec<Exec> {
    say_json(&mut socket, Kind::Ready, ready).await;
    let mut ran = Vec::new();
    while let Some(frame) = hear(&mut socket).await {
        if frame.kind == Kind::Exec {
            ran.push(frame.parse().unwrap());
            say_json(&mut socket, Kind::Started, &started()).await;
            say_json(&mut socket, Kind::Exit, &exit()).await;
        }
    }
    ran
}
