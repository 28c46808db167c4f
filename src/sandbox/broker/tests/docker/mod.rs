//! The container broker: what it refuses without an engine, and real containers where there is one.
//!
//! `engine.sh` beside this file starts an engine of its own and sets `ASSISTANT_TEST_ENGINE` (its socket) and
//! `ASSISTANT_TEST_RUNNER` (the static runner).

mod containers;
mod matrix;
mod program;
mod refusals;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use assistant_broker::{
    container::{Open, Reply, Request},
    docker::{Broker, config::Config},
    listen,
};
use assistant_sandbox::protocol::{Frame, body_length};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    time::timeout,
};
use tokio_util::task::TaskTracker;

const PATIENCE: Duration = Duration::from_secs(60);

/// A broker with a workspace.
struct Stage {
    dir: TempDir,
    broker: Arc<Broker>,
    serving: TaskTracker,
}

impl Stage {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("workspace")).unwrap();
        Self::at(dir, config)
    }

    /// A broker in a directory that an earlier one may have used.
    fn at(dir: TempDir, config: &str) -> Self {
        let sessions = dir.path().join("sessions");
        let _ = std::fs::create_dir(&sessions);
        let workspace = dir.path().join("workspace");
        let config =
            format!("workspace = \"{}\"\nuser = {{ uid = 65534, gid = 65534 }}\n{config}", workspace.display());
        let broker = Broker::new(Config::parse(&config, "docker.toml").unwrap(), sessions).unwrap();
        let listener = UnixListener::from_std(listen::bind(&dir.path().join("run")).unwrap()).unwrap();
        let (serving, served) = (TaskTracker::new(), broker.clone());
        serving.spawn(async move { served.serve(listener, vec![nix::unistd::geteuid().as_raw()]).await });
        serving.close();
        Self { dir, broker, serving }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn say(&self, line: &str) -> (UnixStream, Reply) {
        let mut stream = UnixStream::connect(self.path("run")).await.unwrap();
        stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        loop {
            match timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap() {
                b'\n' => break,
                byte => reply.push(byte),
            }
        }
        let reply = serde_json::from_slice(&reply).unwrap();
        (stream, reply)
    }

    async fn open(&self, open: &Open) -> (UnixStream, Reply) {
        self.say(&serde_json::to_string(&Request::Open(open.clone())).unwrap()).await
    }

    /// Ends the broker in good order.
    async fn stop(self) -> TempDir {
        self.broker.stop();
        timeout(PATIENCE, self.serving.wait()).await.unwrap();
        self.dir
    }
}

/// The next frame of a runner.
async fn frame(stream: &mut UnixStream) -> Frame {
    let mut length = [0; 4];
    timeout(PATIENCE, stream.read_exact(&mut length)).await.unwrap().unwrap();
    let mut rest = vec![0; body_length(length).unwrap()];
    timeout(PATIENCE, stream.read_exact(&mut rest)).await.unwrap().unwrap();
    Frame::from_rest(rest).unwrap()
}

/// Says that a test cannot show here what it is for; `tests/run.sh` counts it as skipped instead of passed.
#[expect(clippy::print_stdout, reason = "it is what the test has to say")]
fn skip(reason: &str) {
    println!("skipped: {reason}");
    if let Some(file) = std::env::var_os("ASSISTANT_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
        file.write_all(format!("{reason}\n").as_bytes()).unwrap();
    }
}

/// The engine and the runner that `engine.sh` provides.
fn engine() -> Option<(String, String)> {
    let both = std::env::var("ASSISTANT_TEST_ENGINE").ok().zip(std::env::var("ASSISTANT_TEST_RUNNER").ok());
    match &both {
        Some((engine, runner)) => assert!(Path::new(engine).exists() && Path::new(runner).exists(), "{both:?}"),
        None => skip("no container engine for tests: ASSISTANT_TEST_ENGINE is set by engine.sh, which needs root"),
    }
    both
}
