#![expect(clippy::disallowed_methods, reason = "a counterpart, not part of the daemon")]

use assistant_broker::container::{Opened, Reply, Request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    sync::mpsc,
};

use super::*;
use crate::sandbox::double;

#[tokio::test]
async fn what_is_not_there_is_not_installed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.sock").to_str().unwrap().to_owned();
    let config = Sandbox { unit_socket: path.clone(), docker_socket: path.clone(), ..Sandbox::default() };
    for (backend, key) in [(Backend::Unit, "sandbox.unit_socket"), (Backend::Docker, "sandbox.docker_socket")] {
        let err = begin(backend, dir.path(), &config, Level::Work).await.unwrap_err();
        assert_eq!(err.message(), format!("not installed: there is no {path}"));
        assert_eq!(err.field_name(), Some(key));
    }
    let long = Sandbox { docker_socket: format!("/{}", "x".repeat(120)), ..Sandbox::default() };
    let err = begin(Backend::Docker, dir.path(), &long, Level::Work).await.unwrap_err();
    assert!(err.message().ends_with("x is longer than the path of a socket can be"), "{}", err.message());
    drop(UnixListener::bind(&path).unwrap());
    let err = begin(Backend::Unit, dir.path(), &config, Level::Work).await.unwrap_err();
    assert_eq!(err.message(), format!("nobody listens at {path}"));
}

/// A broker that answers once, then plays the runner if it opened; the request.
fn broker(path: &str, reply: Reply, of: &Path) -> tokio::task::JoinHandle<Request> {
    let (listener, ready) = (UnixListener::bind(path).unwrap(), double::ready(double::place(of)));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(stream.read_u8().await.unwrap());
        }
        let answer = serde_json::to_string(&reply).unwrap() + "\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        if matches!(reply, Reply::Opened(_)) {
            double::serve(stream, &ready).await;
        }
        serde_json::from_slice(&line).unwrap()
    })
}

#[tokio::test]
async fn a_container_is_asked_for_by_name_and_then_spoken_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock").to_str().unwrap().to_owned();
    let config = Sandbox {
        docker_socket: path.clone(),
        image: "tools:2".to_owned(),
        processes: 99,
        protect: vec![".envrc".to_owned()],
        ..Sandbox::default()
    };
    let (container, engine, image) = ("assistant-1".to_owned(), "20.10".to_owned(), "sha256:0".to_owned());
    let opened = Reply::Opened(Opened { container, engine, image, limits: limits(&config), process: Some(7) });
    let asked = broker(&path, opened, dir.path());
    let mut session = begin(Backend::Docker, dir.path(), &config, Level::Container).await.unwrap();
    let ((_nothing, input), (said, _heard)) = (mpsc::channel(1), mpsc::channel(9));
    session.run(&double::exec(Level::Container), input, said).await.unwrap();
    drop(session);
    let Request::Open(open) = asked.await.unwrap() else { panic!("it was asked for something else") };
    assert_eq!((open.image.as_deref(), open.limits.processes), (Some("tools:2"), 99));
    assert_eq!(open.protect, [".envrc"]);
}

#[tokio::test]
async fn a_missing_image_is_refused_with_the_command_that_makes_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock").to_str().unwrap().to_owned();
    let config = Sandbox { docker_socket: path.clone(), ..Sandbox::default() };
    let refused = container::Refused {
        kind: container::RefusedKind::ImageMissing,
        message: "the engine has no image assistant-work:1".to_owned(),
        remedy: Some("build it: build-work-image.sh".to_owned()),
    };
    let _asked = broker(&path, Reply::Refused(refused), dir.path());
    let err = begin(Backend::Docker, dir.path(), &config, Level::Container).await.unwrap_err();
    assert_eq!(
        (err.message(), err.hint_text()),
        ("the engine has no image assistant-work:1", Some("build it: build-work-image.sh"))
    );
}
