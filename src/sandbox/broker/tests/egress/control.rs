use std::sync::Arc;

use assistant_broker::{
    config::Config,
    control::{Event, MAX_LINE, Request, Revoke},
    egress::Egress,
    listen,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    time::timeout,
};

use super::{
    outside::{Double, beside},
    stage::{Daemon, PATIENCE, Stage},
};

#[tokio::test]
async fn a_wrong_message_is_told_and_the_next_one_obeyed() {
    let mut stage = Stage::new("").await;
    let hash = "0".repeat(64);
    for (line, reason) in [
        ("", "EOF while parsing"),
        ("garbage", "expected value"),
        ("{}", "expected value"),
        ("[]", "expected value"),
        (r#"{"grant":{}}"#, "missing field `job`"),
        (r#"{"grant":{"job":"7","token_sha256":"short"}}"#, "64 hexadecimal digits"),
        (&format!(r#"{{"grant":{{"job":"","token_sha256":"{hash}"}}}}"#), "job: a name of 1 to 128 bytes"),
        (&format!(r#"{{"grant":{{"job":"7","token_sha256":"{hash}","allow":["*"]}}}}"#), "no entry of an allow list"),
        (&format!(r#"{{"grant":{{"job":"7","token_sha256":"{hash}","more":1}}}}"#), "unknown field `more`"),
        ("\u{0}", "expected value"),
    ] {
        stage.daemon.writing.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let Some(Event::Error { message }) = stage.daemon.event().await else { panic!("{line}: no error") };
        assert!(message.contains(reason), "{line}: {message}");
    }
    stage.daemon.writing.write_all(b"\xff\xfe\n").await.unwrap();
    assert!(matches!(stage.daemon.event().await, Some(Event::Error { .. })));
    stage.daemon.revoke("7").await;
    assert_eq!(stage.daemon.event().await, Some(Event::Revoked { job: "7".to_owned(), tokens: 1 }));
    stage.daemon.revoke("7").await;
    assert_eq!(stage.daemon.event().await, Some(Event::Revoked { job: "7".to_owned(), tokens: 0 }));
}

#[tokio::test]
async fn a_line_without_end_ends_the_connection() {
    let mut stage = Stage::new("").await;
    let _ = stage.daemon.writing.write_all(&vec![b'x'; MAX_LINE + 2]).await;
    assert_eq!(stage.daemon.event().await, None);
    assert!(stage.ask("GET http://example.org/").await.starts_with("HTTP/1.1 407 "), "its grants ended with it");
    Daemon::connect(stage.path("control")).await.grant("7", "secret").await;
}

#[tokio::test]
async fn one_daemon_cannot_revoke_what_another_granted() {
    let stage = Stage::new("").await;
    let mut other = Daemon::connect(stage.path("control")).await;
    other.say(&Request::Revoke(Revoke { job: "7".to_owned() })).await;
    assert_eq!(other.event().await, Some(Event::Revoked { job: "7".to_owned(), tokens: 0 }));
    assert!(stage.ask("GET http://example.org/").await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn another_user_is_not_listened_to() {
    let dir = tempfile::tempdir().unwrap();
    let egress = Egress::new(Config::default(), "x".to_owned(), Double(Arc::default()));
    let bind = |name: &str| UnixListener::from_std(listen::bind(&dir.path().join(name)).unwrap()).unwrap();
    let (proxy, control) = (bind("proxy"), bind("control"));
    let other = nix::unistd::geteuid().as_raw() + 1;
    beside(async move { egress.serve(proxy, control, vec![other]).await });
    let mut stream = UnixStream::connect(dir.path().join("control")).await.unwrap();
    let mut said = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap().unwrap();
    assert!(said.is_empty());
}
