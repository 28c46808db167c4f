use std::{collections::HashMap, time::Duration};

use assistant_broker::container::{Open, Opened, RefusedKind, Reply};
use assistant_sandbox::protocol::{Exit, Frame, Guarantee, Kind, Limits, Ready, VERSION};
use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::{ContainerCreateBody, ContainerInspectResponse},
    query_parameters::{CreateContainerOptions, InspectContainerOptions, ListContainersOptions, StartContainerOptions},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::Instant,
};

use super::{Stage, engine, frame};

/// The engine itself.
pub(super) async fn view(engine: &str) -> Docker {
    Docker::connect_with_unix(engine, 30, API_DEFAULT_VERSION).unwrap().negotiate_version().await.unwrap()
}

/// A stage before a real engine, and a view of that engine.
async fn real(more: &str) -> Option<(Stage, Docker)> {
    let (engine, runner) = engine()?;
    let docker = view(&engine).await;
    Some((Stage::new(&format!("engine = \"{engine}\"\nrunner = \"{runner}\"\n{more}")), docker))
}

async fn opened(stage: &Stage) -> (UnixStream, Opened) {
    let (mut stream, reply) = stage.open(&Open::default()).await;
    let Reply::Opened(opened) = reply else { panic!("{reply:?}") };
    let ready = frame(&mut stream).await;
    assert_eq!(ready.kind, Kind::Ready);
    assert_eq!(ready.parse::<Ready>().unwrap().version, VERSION);
    (stream, opened)
}

pub(super) async fn inspect(docker: &Docker, name: &str) -> Option<ContainerInspectResponse> {
    docker.inspect_container(name, None::<InspectContainerOptions>).await.ok()
}

/// Waits until the container is gone; how long that took.
pub(super) async fn gone(docker: &Docker, name: &str) -> Duration {
    let began = Instant::now();
    while inspect(docker, name).await.is_some() {
        assert!(began.elapsed() < Duration::from_secs(20), "{name} is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

#[tokio::test]
async fn a_session_is_one_container_and_ends_with_its_connection() {
    let Some((stage, docker)) = real("").await else { return };
    let began = Instant::now();
    let (stream, session) = opened(&stage).await;
    println!("a session is open after {:?}", began.elapsed());
    assert!(session.image.starts_with("sha256:") && !session.engine.is_empty(), "{session:?}");
    let there = inspect(&docker, &session.container).await.unwrap();
    let host = there.host_config.unwrap();
    assert_eq!(
        (host.network_mode.as_deref(), host.readonly_rootfs, host.privileged),
        (Some("none"), Some(true), Some(false))
    );
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    let mounts: Vec<_> =
        there.mounts.unwrap().into_iter().map(|mount| (mount.destination.unwrap(), mount.rw.unwrap())).collect();
    assert_eq!(mounts.len(), 3, "{mounts:?}");
    assert_eq!(mounts.iter().filter(|(_, writable)| *writable).count(), 1, "{mounts:?}");
    let config = there.config.unwrap();
    assert_eq!((config.user.as_deref(), config.image.as_deref()), (Some("65534:65534"), Some(session.image.as_str())));
    let left: Vec<_> = std::fs::read_dir(stage.path("sessions").join(&session.container)).unwrap().collect();
    assert!(left.is_empty(), "the way to the broker is closed: {left:?}");

    drop(stream);
    let took = gone(&docker, &session.container).await;
    println!("its container is gone after {took:?}");
    assert!(!stage.path("sessions").join(&session.container).exists());
}

/// Runs one command; its exit code and what it said.
async fn run(stream: &mut UnixStream, argv: &[&str]) -> (Exit, String) {
    let argv: Vec<&str> = argv.to_vec();
    let exec = Frame { kind: Kind::Exec, body: serde_json::json!({ "argv": argv }).to_string().into_bytes() };
    stream.write_all(&exec.bytes().unwrap()).await.unwrap();
    let mut said = Vec::new();
    loop {
        let frame = frame(stream).await;
        match frame.kind {
            Kind::Stdout | Kind::Stderr => said.extend(frame.body),
            Kind::Exit => return (frame.parse().unwrap(), String::from_utf8_lossy(&said).into_owned()),
            Kind::Refused => panic!("{}", String::from_utf8_lossy(&frame.body)),
            _ => {}
        }
    }
}

#[tokio::test]
async fn commands_run_with_every_guarantee() {
    let Some((stage, _docker)) = real("").await else { return };
    std::os::unix::fs::chown(stage.path("workspace"), Some(65534), Some(65534)).unwrap();
    let (mut stream, reply) = stage.open(&Open::default()).await;
    assert!(matches!(reply, Reply::Opened(_)), "{reply:?}");
    let ready: Ready = frame(&mut stream).await.parse().unwrap();
    assert!(ready.missing.is_empty() && ready.guarantees.len() == Guarantee::ALL.len(), "{ready:?}");

    let (exit, said) = run(&mut stream, &["sh", "-c", "echo kept > file; cat file; id -u"]).await;
    assert_eq!((exit.code, said.as_str()), (Some(0), "kept\n65534\n"));
    assert_eq!(std::fs::read_to_string(stage.path("workspace/file")).unwrap(), "kept\n");
    for forbidden in [
        "touch /here",
        "touch .assistant/here",
        "mv .assistant elsewhere",
        "touch /assistant-sandbox",
        "ls /assistant-session",
        "mount -t tmpfs none /tmp",
        "unshare -r id",
        "kill -9 1 && sleep 1 && false",
        "cat /proc/1/environ",
    ] {
        let (exit, said) = run(&mut stream, &["sh", "-c", forbidden]).await;
        assert!(exit.code.is_some_and(|code| code != 0), "{forbidden}: {exit:?} {said}");
    }
    let (exit, _) = run(&mut stream, &["mount", "-t", "tmpfs", "none", "/tmp"]).await;
    assert!(exit.denials.iter().any(|denial| denial.target.contains("mount")), "it is reported: {exit:?}");

    let mut times = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        run(&mut stream, &["true"]).await;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    println!("a command in a warm container takes {:?}", times[25]);
}

#[tokio::test]
async fn the_runner_answers_in_the_protocol() {
    let Some((stage, docker)) = real("").await else { return };
    let (mut stream, session) = opened(&stage).await;
    // Garbage instead of a frame ends the runner, and with it the session.
    stream.write_all(&[0; 16]).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    gone(&docker, &session.container).await;
}

#[tokio::test]
async fn a_check_starts_nothing() {
    let Some((stage, docker)) = real("images = [\"assistant-work:1\", \"not-there:1\"]").await else { return };
    let (_, reply) = stage.say(r#"{"check":{}}"#).await;
    let Reply::Checked { engine, images } = reply else { panic!("{reply:?}") };
    assert!(!engine.is_empty());
    assert_eq!((images["assistant-work:1"], images["not-there:1"]), (true, false));
    assert_eq!(ours(&docker, &stage).await, 0);
    let (_, reply) = stage.open(&Open { image: Some("not-there:1".to_owned()), ..Open::default() }).await;
    let Reply::Refused(refused) = reply else { panic!("{reply:?}") };
    assert_eq!(refused.kind, RefusedKind::ImageMissing);
    assert!(refused.remedy.unwrap().contains("build-work-image.sh not-there:1"));
}

/// Containers of this stage's broker.
async fn ours(docker: &Docker, stage: &Stage) -> usize {
    let label = format!("assistant.docker={}", stage.path("sessions").display());
    let filters = HashMap::from([("label".to_owned(), vec![label])]);
    let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
    docker.list_containers(Some(options)).await.unwrap().len()
}

#[tokio::test]
async fn sessions_are_counted_and_bounded() {
    let Some((stage, docker)) = real("sessions = 2\n[limits]\nmemory_bytes = 67108864\nprocesses = 20").await else {
        return;
    };
    let ((first, session), _second) = (opened(&stage).await, opened(&stage).await);
    let (_, reply) = stage.open(&Open::default()).await;
    assert!(matches!(reply, Reply::Refused(refused) if refused.kind == RefusedKind::TooManySessions));
    let host = inspect(&docker, &session.container).await.unwrap().host_config.unwrap();
    assert_eq!((host.memory, host.memory_swap, host.pids_limit), (Some(64 << 20), Some(64 << 20), Some(20 + 2 + 4)));
    assert_eq!((session.limits.memory_bytes, session.limits.processes), (64 << 20, 20));
    drop(first);
    gone(&docker, &session.container).await;
    let asked = Limits { memory_bytes: 32 << 20, ..Limits::default() };
    let mut reply = stage.open(&Open { limits: asked, ..Open::default() }).await.1;
    for _ in 0..100 {
        if !matches!(reply, Reply::Refused(_)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // the place is free once the engine has answered
        reply = stage.open(&Open { limits: asked, ..Open::default() }).await.1;
    }
    assert!(matches!(&reply, Reply::Opened(opened) if opened.limits.memory_bytes == 32 << 20), "{reply:?}");
}

#[tokio::test]
async fn a_runner_that_does_not_come_up_is_told_and_cleared_away() {
    let Some((engine, _)) = engine() else { return };
    let stage = Stage::new(&format!("engine = \"{engine}\"\nrunner = \"/bin/true\""));
    let (_, reply) = stage.open(&Open::default()).await;
    let Reply::Refused(refused) = reply else { panic!("{reply:?}") };
    assert_eq!(refused.kind, RefusedKind::StartFailed);
    let docker = view(&engine).await;
    for _ in 0..200 {
        if ours(&docker, &stage).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{refused}: its container is still there");
}

#[tokio::test]
async fn what_an_earlier_broker_left_is_removed_at_the_start() {
    let Some((stage, docker)) = real("").await else { return };
    let (stream, session) = opened(&stage).await;
    // A container as a killed broker leaves it, and one of somebody else.
    let make = |name: String, label: Option<String>| {
        let docker = docker.clone();
        async move {
            let body = ContainerCreateBody {
                image: Some("assistant-work:1".to_owned()),
                cmd: Some(vec!["/bin/sleep".to_owned(), "600".to_owned()]),
                labels: label.map(|label| HashMap::from([("assistant.docker".to_owned(), label)])),
                network_disabled: Some(true),
                ..ContainerCreateBody::default()
            };
            let options = CreateContainerOptions { name: Some(name.clone()), ..CreateContainerOptions::default() };
            docker.create_container(Some(options), body).await.unwrap();
            docker.start_container(&name, None::<StartContainerOptions>).await.unwrap();
        }
    };
    let unique = session.container.clone()
        + "-"
        + stage.path("x").parent().unwrap().file_name().unwrap().to_str().unwrap().trim_start_matches('.');
    let (orphan, other) = (format!("orphan-{unique}"), format!("other-{unique}"));
    make(orphan.clone(), Some(stage.path("sessions").display().to_string())).await;
    make(other.clone(), None).await;

    let dir = stage.stop().await;
    drop(stream);
    assert!(inspect(&docker, &session.container).await.is_none(), "a broker that stops takes its containers along");
    assert!(inspect(&docker, &orphan).await.is_some());
    let (engine, runner) = engine().unwrap();
    let next = Stage::at(dir, &format!("engine = \"{engine}\"\nrunner = \"{runner}\""));
    gone(&docker, &orphan).await;
    assert!(inspect(&docker, &other).await.is_some());
    assert_eq!(ours(&docker, &next).await, 0);
    docker
        .remove_container(
            &other,
            Some(bollard::query_parameters::RemoveContainerOptions { force: true, ..Default::default() }),
        )
        .await
        .unwrap();
}
