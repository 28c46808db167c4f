//! A socket that the service manager made: taken by its name, left in place at the end, refused under another name.

use std::{
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Starts the daemon as a service manager does, with `listener` as descriptor 3 under `name`.
fn start(dir: &Path, listener: UnixListener, name: &str) -> Child {
    let script = "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
    Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_assistantd")])
        .arg("--state-dir")
        .arg(dir.join("state"))
        .arg("--runtime-dir")
        .arg(dir.join("run"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", dir)
        .env("LISTEN_FDNAMES", name)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for the end, and ends the daemon by force if it does not come.
fn end(mut child: Child) -> Output {
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    child.wait_with_output().unwrap()
}

fn ask(socket: &Path) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(super::served::request("GET", "/health", "", "").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn an_inherited_socket_is_served_by_name_and_left_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("activated.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let child = start(dir.path(), listener, "api");
    // The connection waits in the backlog until the daemon takes it.
    let answer = ask(&socket);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!dir.path().join("run/api.sock").exists(), "no socket of its own beside an inherited one");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let output = end(child);
    assert!(output.status.success(), "{output:?}");
    assert!(socket.exists(), "it belongs to the service manager");
}

#[test]
fn an_inherited_socket_of_another_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("other.sock")).unwrap();
    let output = end(start(dir.path(), listener, "smtp"));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("\"smtp\"") && text.contains("FileDescriptorName=api"), "{text}");
}
