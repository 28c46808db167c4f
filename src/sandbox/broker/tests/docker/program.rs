//! The program itself, and what becomes of its containers when it is killed.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio, time::Duration};

use assistant_broker::container::{self, Open, RefusedKind, Reply};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    process::{Child, Command},
    time::timeout,
};

use super::{PATIENCE, containers, engine};

const PROGRAM: &str = env!("CARGO_BIN_EXE_assistant-docker");

async fn start(dir: &std::path::Path, config: &str) -> Child {
    let workspace = dir.join("workspace");
    let _ = fs::create_dir(&workspace);
    let config = format!("workspace = \"{}\"\nuser = {{ uid = 65534, gid = 65534 }}\n{config}", workspace.display());
    fs::write(dir.join("docker.toml"), config).unwrap();
    let mut command = Command::new(PROGRAM);
    command.env_clear().kill_on_drop(true).stdin(Stdio::null()).stderr(Stdio::piped());
    command.arg("--config").arg(dir.join("docker.toml"));
    command.arg("--listen").arg(dir.join("run")).arg("--runtime-dir").arg(dir.join("sessions"));
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    loop {
        let line = timeout(PATIENCE, log.next_line()).await.unwrap().unwrap().expect("it says that it is ready");
        if line.contains("ready") {
            return child;
        }
    }
}

async fn say(dir: &std::path::Path, line: &str) -> (BufReader<UnixStream>, Reply) {
    let mut stream = BufReader::new(UnixStream::connect(dir.join("run")).await.unwrap());
    stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    let mut reply = String::new();
    timeout(PATIENCE, stream.read_line(&mut reply)).await.unwrap().unwrap();
    (stream, serde_json::from_str(&reply).unwrap())
}

/// Processes that name this container, such as the one by which an engine watches it.
fn processes_of(id: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        fs::read_to_string(entry.ok()?.path().join("cmdline")).ok() // it may have ended
    });
    lines.filter(|line| line.contains(id)).collect()
}

#[tokio::test]
async fn it_starts_serves_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start(dir.path(), "engine = \"/nonexistent/docker.sock\"").await;
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("run"), mode("sessions")), (0o660, 0o700));
    let (_, reply) = say(dir.path(), r#"{"check":{}}"#).await;
    assert!(matches!(reply, Reply::Refused(refused) if refused.kind == RefusedKind::EngineUnavailable));
    let pid = nix::unistd::Pid::from_raw(child.id().unwrap().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_wrong_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("docker.toml");
    for (text, arguments, code, reason) in [
        ("", &["--check"][..], 0, ""),
        ("images = []", &["--check"], 78, "docker.toml:1: images: "),
        ("", &[], 1, "there is no run socket"),
        ("", &["--nonsense"], 64, "--nonsense"),
    ] {
        fs::write(&config, text).unwrap();
        let mut command = Command::new(PROGRAM);
        let done = command.env_clear().arg("--config").arg(&config).args(arguments).output().await.unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(code) && said.contains(reason), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_directory_that_no_socket_fits_in_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("docker.toml");
    fs::write(&config, "").unwrap();
    let long = dir.path().join("x".repeat(60));
    let mut command = Command::new(PROGRAM);
    command.env_clear().arg("--config").arg(&config).arg("--listen").arg(dir.path().join("run"));
    let done = command.arg("--runtime-dir").arg(&long).output().await.unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    let reason = format!("--runtime-dir {}: its path has ", long.display());
    assert!(done.status.code() == Some(1) && said.contains(&reason) && said.contains("name a shorter one"), "{said}");
}

#[tokio::test]
async fn its_containers_do_not_outlive_it_when_it_is_killed() {
    let Some((engine, runner)) = engine() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut child = start(dir.path(), &format!("engine = \"{engine}\"\nrunner = \"{runner}\"")).await;
    let (stream, reply) = say(dir.path(), r#"{"open":{}}"#).await;
    let Reply::Opened(opened) = reply else { panic!("{reply:?}") };
    let docker = containers::view(&engine).await;
    let id = containers::inspect(&docker, &opened.container).await.unwrap().id.unwrap();
    assert!(!processes_of(&id).is_empty(), "what the engine keeps beside a container can be seen");
    child.kill().await.unwrap();
    containers::gone(&docker, &opened.container).await;
    for _ in 0..100 {
        if processes_of(&id).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(processes_of(&id), Vec::<String>::new(), "of the engine neither");
    drop(stream);

    // The next one finds its place as it was left.
    let _next = start(dir.path(), &format!("engine = \"{engine}\"\nrunner = \"{runner}\"")).await;
    let (_stream, opened) = container::open(&dir.path().join("run"), Open::default(), None).await.unwrap();
    assert!(containers::inspect(&docker, &opened.container).await.is_some());
    let (_, images) = container::check(&dir.path().join("run")).await.unwrap();
    assert!(images["assistant-work:1"]);
}
