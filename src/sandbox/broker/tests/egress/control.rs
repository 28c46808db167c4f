use std::sync::Arc;

use assistant_broker::{
    config::Config,
    control::{
        Event, Grant, MAX_LINE, Reason, Request, Revoke,
        client::{self, Token},
    },
    egress::Egress,
    listen,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    time::timeout,
};

use super::{
    outside::{Double, PUBLIC, beside, echo},
    stage::{Daemon, PATIENCE, Stage, authorization},
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
async fn the_daemon_s_client_asks_and_hears() {
    let stage = Stage::new("").await;
    let (link, mut records, driver) = client::connect(&stage.path("control")).await.unwrap();
    beside(driver.run());
    let (token, other) = (Token::new().unwrap(), Token::new().unwrap());
    assert_ne!(token.hash(), other.hash());
    assert!(!format!("{token:?}").contains(&token.login().0[4..12]), "a token is not shown");
    let grant = Grant { job: "9".to_owned(), token_sha256: token.hash(), allow: None, process: None };
    let both =
        tokio::join!(link.grant(grant.clone()), link.grant(Grant { token_sha256: other.hash(), ..grant.clone() }));
    both.0.unwrap();
    both.1.unwrap();
    let again = link.grant(grant).await.unwrap_err().to_string();
    assert!(again.contains("granted already"), "{again}");

    let login = token.login().0;
    let secret = login.strip_prefix("job:").unwrap();
    let request = format!("GET http://example.org/ HTTP/1.1\r\n{}connection: close\r\n\r\n", authorization(secret));
    assert!(stage.send(request).await.starts_with("HTTP/1.1 403 "));
    let record = records.recv().await.unwrap();
    assert_eq!(record.job.as_deref(), Some("9"));
    assert!(record.denial().unwrap().suggestion.unwrap().contains("allow = [\"example.org\"]"));

    assert_eq!(link.revoke("9").await.unwrap(), 2);
    stage.egress.stop();
    timeout(PATIENCE, link.closed()).await.unwrap();
    assert!(link.revoke("9").await.is_err());
}

#[tokio::test]
async fn what_is_over_is_told_before_settled_is() {
    let stage = Stage::new("allow = [\"example.org\"]").await;
    stage.outside.name("example.org", &[PUBLIC]);
    stage.outside.route(&format!("{PUBLIC}:443"), Some(echo().await));
    let (link, mut records, driver) = client::connect(&stage.path("control")).await.unwrap();
    beside(driver.run());
    let token = Token::new().unwrap();
    link.grant(Grant { job: "9".to_owned(), token_sha256: token.hash(), allow: None, process: None }).await.unwrap();
    let login = token.login().0;
    let secret = authorization(login.strip_prefix("job:").unwrap());
    for _ in 0..50 {
        // Refused by what goes into the tunnel, and nobody waits for the end of it.
        let mut tunnel = stage.connect().await;
        let head = format!("CONNECT example.org:443 HTTP/1.1\r\n{secret}\r\n");
        tunnel.write_all(head.as_bytes()).await.unwrap();
        tunnel.read_u8().await.unwrap();
        tunnel.write_all(b"no TLS").await.unwrap();
        drop(tunnel);
        assert!(link.settle("9").await.unwrap());
        assert!(matches!(records.try_recv().unwrap().reason, Reason::NotTls | Reason::ClientGone));
    }
    let mut open = stage.connect().await;
    open.write_all(format!("CONNECT example.org:443 HTTP/1.1\r\n{secret}\r\n").as_bytes()).await.unwrap();
    open.read_u8().await.unwrap();
    assert!(!link.settle("9").await.unwrap(), "this one is not over");
    assert!(link.settle("8").await.unwrap(), "nobody has this job");
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
