//! The program itself: arguments, sockets, signals, and what it really refuses to connect to.

use std::{
    fs,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{fs::PermissionsExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use assistant_broker::{
    address::Class,
    control::{Event, Reason},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{TcpListener, UnixStream},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

use super::stage::{Daemon, PATIENCE, authorization};

const PROGRAM: &str = env!("CARGO_BIN_EXE_assistant-egress");

struct Running {
    dir: TempDir,
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Running {
    async fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = program(dir.path(), config);
        command.arg("--listen").arg(dir.path().join("proxy")).arg("--control").arg(dir.path().join("control"));
        Self::await_ready(dir, command).await
    }

    async fn await_ready(dir: TempDir, mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut running = Self { dir, child, log };
        running.logged("ready").await;
        running
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Reads the log up to a line that contains `part`.
    async fn logged(&mut self, part: &str) -> String {
        loop {
            let line = timeout(PATIENCE, self.log.next_line()).await.unwrap().unwrap();
            let line = line.unwrap_or_else(|| panic!("the log ended before {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().unwrap().try_into().unwrap()), signal).unwrap();
    }

    async fn ask(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(self.path("proxy")).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\n{}connection: close\r\n\r\n", authorization("secret"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }
}

/// The program with this configuration, in a clean environment.
fn program(dir: &Path, config: &str) -> Command {
    let file = dir.join("egress.toml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(PROGRAM);
    command.env_clear().arg("--config").arg(file).kill_on_drop(true).stdin(Stdio::null());
    command
}

#[tokio::test]
async fn it_serves_reloads_and_stops() {
    let mut running = Running::start("allow = [\"example.org\"]").await;
    for (name, mode) in [("proxy", 0o666), ("control", 0o660)] {
        assert_eq!(fs::metadata(running.path(name)).unwrap().permissions().mode() & 0o777, mode);
    }
    let mut daemon = Daemon::connect(running.path("control")).await;
    daemon.grant("7", "secret").await;
    let answer = running.ask("GET http://localhost/").await;
    assert!(answer.contains("rule: host_not_listed") && answer.contains("allow = [\"localhost\"]"), "{answer}");
    let line = running.logged("localhost is refused").await;
    for field in ["job_id=\"7\"", "host=\"localhost\"", "port=80", "verdict=\"refused\"", "reason=\"host_not_listed\""]
    {
        assert!(line.contains(field), "{field}: {line}");
    }

    fs::write(running.path("egress.toml"), "allow = [\"localhost\"]").unwrap();
    running.signal(Signal::SIGHUP);
    running.logged("read again").await;
    // Now it is listed, and still nobody gets to this machine; the real resolver says where it lies.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    fs::write(running.path("egress.toml"), format!("allow = [\"localhost\", \"localhost:{port}\"]")).unwrap();
    running.signal(Signal::SIGHUP);
    running.logged("read again").await;
    let answer = running.ask(&format!("CONNECT localhost:{port}")).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") || answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(daemon.record().await.reason, Reason::HostNotListed);
    let reason = daemon.record().await.reason;
    assert!(matches!(reason, Reason::AddressNotPublic(Class::Loopback) | Reason::ResolveFailed), "{reason:?}");

    fs::write(running.path("egress.toml"), "allow = [\"*.org\"]").unwrap();
    running.signal(Signal::SIGHUP);
    let line = running.logged("the old one stays in force").await;
    assert!(line.contains("egress.toml:1: allow[0]: "), "{line}");
    assert!(!running.ask(&format!("CONNECT localhost:{port}")).await.contains("host_not_listed"));

    running.signal(Signal::SIGTERM);
    let status = timeout(PATIENCE, running.child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(daemon.record().await.reason, reason);
    assert_eq!(daemon.event().await, None);
}

#[tokio::test]
async fn a_wrong_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("x"), dir.path().join("y"));
    let twice = ["--listen", path.to_str().unwrap(), "--control", path.to_str().unwrap()];
    let nobody = [&twice[..3], &[other.to_str().unwrap(), "--control-user", "no-such-user"]].concat();
    for (config, arguments, code, reason) in [
        ("", &["--check"][..], 0, ""),
        ("alow = []", &["--check"], 78, "egress.toml:1: alow: unknown field `alow`"),
        ("", &[], 1, "there is no proxy socket"),
        ("", &twice, 1, "somebody listens there already"),
        ("", &["--listen", "/dev/null/x", "--control", "/dev/null/y"], 1, "listening at /dev/null/x"),
        ("", &nobody, 1, "there is no user \"no-such-user\""),
        ("", &["--nonsense"], 64, "--nonsense"),
    ] {
        let done = program(dir.path(), config).args(arguments).output().await.unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
        for made in [&path, &other] {
            let _ = fs::remove_file(made); // by those that got so far
        }
    }
}

#[tokio::test]
async fn it_takes_sockets_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let bind = |name: &str| OwnedFd::from(UnixListener::bind(dir.path().join(name)).unwrap());
    // A shell puts the sockets at 3 and 4 and says so as the service manager does.
    let (proxy, control) = (bind("proxy"), bind("control"));
    let start = |names: &str| {
        let mut command = Command::new("/bin/sh");
        let config = dir.path().join("egress.toml");
        fs::write(&config, "").unwrap();
        let script = "exec \"$0\" --config \"$1\" 3<&0 4<&1 0</dev/null 1>/dev/null";
        let script = format!(
            "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES={names}; export LISTEN_PID LISTEN_FDS LISTEN_FDNAMES; {script}"
        );
        command.env_clear().args(["-c", &script, PROGRAM]).arg(config).kill_on_drop(true);
        command.stdin(Stdio::from(proxy.try_clone().unwrap())).stdout(Stdio::from(control.try_clone().unwrap()));
        command
    };
    assert!(proxy.as_raw_fd() > 2);
    let wrong = start("proxy:other").stderr(Stdio::piped()).spawn().unwrap().wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(wrong.status.code() == Some(1) && said.contains("an inherited socket is named \"other\""), "{said}");

    let command = start("proxy:control");
    let running = Running::await_ready(dir, command).await;
    let mut daemon = Daemon::connect(running.path("control")).await;
    daemon.grant("7", "secret").await;
    assert!(running.ask("GET http://example.org/").await.starts_with("HTTP/1.1 403 "));
    assert!(matches!(daemon.event().await, Some(Event::Request(_))));
}

#[tokio::test]
async fn a_crowd_of_idle_connections_does_not_shut_others_out_for_long() {
    let running = Running::start("[limits]\nconnections = 50\nheader_seconds = 1").await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(UnixStream::connect(running.path("proxy")).await.unwrap());
    }
    let answer = timeout(Duration::from_secs(15), running.ask("GET http://example.org/")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
}
