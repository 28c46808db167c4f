use std::time::Duration;

use assistant_broker::{
    config::Config,
    control::{Reason, RequestKind, Verdict},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    outside::{PUBLIC, beside, echo, host},
    stage::{PATIENCE, Stage, client_hello},
};

const ALLOW: &str = "allow = [\"example.org\", \"93.184.216.34\"]\n";

async fn with_echo(config: &str) -> Stage {
    let stage = Stage::new(&format!("{ALLOW}{config}")).await;
    stage.outside.name("example.org", &[PUBLIC]);
    stage.outside.route(&format!("{PUBLIC}:443"), Some(echo().await));
    stage
}

/// Sends `bytes`, and expects them back.
async fn exchange(stream: &mut tokio::net::UnixStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(back, bytes);
}

/// Waits until the other end is closed; what came before that.
async fn rest(stream: &mut tokio::net::UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the tunnel ends"); // a reset is an end too
    bytes
}

#[tokio::test]
async fn a_tunnel_carries_bytes_as_they_are() {
    let mut stage = with_echo("").await;
    let mut stream = stage.tunnel("Example.org:443").await;
    let hello = client_hello(Some("example.org"), &[]);
    exchange(&mut stream, &hello).await;
    for (byte, size) in [(1, 1), (2, 100), (3, 70_000)] {
        exchange(&mut stream, &vec![byte; size]).await;
    }
    stream.shutdown().await.unwrap();
    assert!(rest(&mut stream).await.is_empty());
    let record = stage.record().await;
    let sent = hello.len() as u64 + 70_101;
    assert_eq!((record.bytes_up, record.bytes_down), (sent, sent));
    assert_eq!((record.kind, record.verdict, record.reason), (RequestKind::Tunnel, Verdict::Allowed, Reason::Done));
}

#[tokio::test]
async fn each_end_may_finish_before_the_other() {
    // A host that reads to the end before it answers, and one that answers and ends before it reads on.
    let late = host(|mut stream| async move {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        stream.write_all(format!("{} bytes", bytes.len()).as_bytes()).await.unwrap();
    })
    .await;
    let (told, mut heard) = tokio::sync::mpsc::channel(1);
    let early = host(move |mut stream| {
        let told = told.clone();
        async move {
            stream.write_all(b"early").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            told.send(bytes).await.unwrap();
        }
    })
    .await;
    let stage = with_echo("").await;
    let hello = client_hello(Some("example.org"), &[]);

    stage.outside.route(&format!("{PUBLIC}:443"), Some(late));
    let mut stream = stage.tunnel("example.org:443").await;
    stream.write_all(&hello).await.unwrap();
    stream.write_all(&[5; 1000]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, format!("{} bytes", hello.len() + 1000).into_bytes());

    stage.outside.route(&format!("{PUBLIC}:443"), Some(early));
    let mut stream = stage.tunnel("example.org:443").await;
    stream.write_all(&hello).await.unwrap();
    assert_eq!(rest(&mut stream).await, b"early");
    stream.write_all(b"still heard").await.unwrap();
    stream.shutdown().await.unwrap();
    let bytes = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    assert!(bytes.ends_with(b"still heard"));
}

#[tokio::test]
async fn a_tunnel_is_for_tls_to_its_own_host() {
    let hidden = [0xfe, 0x0d, 0, 2, 0, 0];
    for (target, first, reason) in [
        ("example.org:443", client_hello(Some("evil.example"), &[]), Reason::SniMismatch),
        ("example.org:443", client_hello(Some("www.example.org"), &[]), Reason::SniMismatch),
        ("example.org:443", client_hello(None, &[]), Reason::SniMissing),
        ("example.org:443", client_hello(Some("example.org"), &hidden), Reason::SniHidden),
        ("93.184.216.34:443", client_hello(Some("evil.example"), &[]), Reason::SniMismatch),
        ("example.org:443", b"GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n".to_vec(), Reason::NotTls),
        ("example.org:443", b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n".to_vec(), Reason::NotTls),
        ("example.org:443", b"SSH-2.0-x\r\n".to_vec(), Reason::NotTls),
    ] {
        let mut stage = with_echo("").await;
        let mut stream = stage.tunnel(target).await;
        stream.write_all(&first).await.unwrap();
        assert_eq!(rest(&mut stream).await, [21, 3, 1, 0, 2, 2, 49], "{reason:?}: a fatal alert of TLS");
        let record = stage.record().await;
        assert_eq!((record.reason, record.verdict), (reason, Verdict::Refused));
        assert_eq!((record.bytes_up, record.job.as_deref()), (0, Some("7")), "nothing reaches the host");
    }
    let stage = with_echo("").await;
    exchange(&mut stage.tunnel("93.184.216.34:443").await, &client_hello(None, &[])).await;
    exchange(&mut stage.tunnel("example.org.:443").await, &client_hello(Some("EXAMPLE.org"), &[])).await;
}

#[tokio::test]
async fn a_hello_may_come_byte_by_byte() {
    let stage = with_echo("").await;
    let mut stream = stage.tunnel("example.org:443").await;
    let hello = client_hello(Some("example.org"), &[]);
    for byte in &hello {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut back = vec![0; hello.len()];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(back, hello);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_tunnels_at_once() {
    let mut stage = with_echo("").await;
    let mut open = Vec::new();
    for _ in 0..200 {
        open.push(stage.tunnel("example.org:443").await);
    }
    let mut running = JoinSet::new();
    for (byte, mut stream) in (0_u8..).zip(open) {
        running.spawn(async move {
            exchange(&mut stream, &client_hello(Some("example.org"), &[])).await;
            for _ in 0..5 {
                exchange(&mut stream, &[byte; 4000]).await;
            }
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    for _ in 0..200 {
        assert_eq!(stage.record().await.reason, Reason::Done);
    }
}

#[tokio::test]
async fn one_job_cannot_take_all_connections() {
    let mut stage = with_echo("[limits]\nrequests_per_job = 2").await;
    let (first, _second) = (stage.tunnel("example.org:443").await, stage.tunnel("example.org:443").await);
    let answer = stage.ask("CONNECT example.org:443").await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert_eq!(stage.record().await.reason, Reason::TooManyRequests);
    drop(first);
    assert_eq!(stage.record().await.reason, Reason::ClientGone);
    stage.tunnel("example.org:443").await;
}

#[tokio::test]
async fn a_tunnel_ends_with_its_grant_its_list_and_its_proxy() {
    for (reason, cause) in [(Reason::Revoked, 0), (Reason::NoLongerListed, 1), (Reason::Stopped, 2)] {
        let mut stage = with_echo("").await;
        let mut stream = stage.tunnel("example.org:443").await;
        exchange(&mut stream, &client_hello(Some("example.org"), &[])).await;
        let began = Instant::now();
        match cause {
            0 => stage.daemon.revoke("7").await,
            1 => {
                stage.egress.reload(Config::parse("allow = [\"example.org\", \"a.example\"]", "x").unwrap());
                exchange(&mut stream, b"still listed").await;
                stage.egress.reload(Config::parse("allow = [\"a.example\"]", "x").unwrap());
            }
            _ => stage.egress.stop(),
        }
        assert!(rest(&mut stream).await.is_empty());
        assert!(began.elapsed() < Duration::from_secs(1), "{reason:?}: {:?}", began.elapsed());
        assert_eq!(stage.record().await.reason, reason);
    }
}

#[tokio::test]
async fn the_daemon_s_end_is_the_end_of_its_grants() {
    let mut stage = with_echo("").await;
    let mut other = super::stage::Daemon::connect(stage.path("control")).await;
    other.grant("9", "nine").await;
    let mut stream = stage.tunnel("example.org:443").await;
    exchange(&mut stream, &client_hello(Some("example.org"), &[])).await;
    stage.daemon.writing.shutdown().await.unwrap();
    assert!(rest(&mut stream).await.is_empty());
    let answer = stage.ask("GET http://example.org/").await;
    assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
    assert_eq!(other.record().await.reason, Reason::TokenUnknown, "what belongs to nobody is told to everybody");
}

#[tokio::test]
async fn time_without_a_byte_and_time_in_all_are_bounded() {
    for (config, reason) in [("idle_seconds = 1", Reason::Idle), ("total_seconds = 1", Reason::TotalTime)] {
        let mut stage = with_echo(&format!("[limits]\n{config}")).await;
        let mut stream = stage.tunnel("example.org:443").await;
        exchange(&mut stream, &client_hello(Some("example.org"), &[])).await;
        let began = Instant::now();
        let (mut reading, mut writing) = stream.into_split();
        if reason == Reason::TotalTime {
            beside(async move {
                while writing.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        } else {
            writing.forget();
        }
        let mut bytes = Vec::new();
        let _ = timeout(PATIENCE, reading.read_to_end(&mut bytes)).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
        assert_eq!(stage.record().await.reason, reason);
    }
}
