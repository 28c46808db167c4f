//! Clients that are slow, or send too much before anything is known of them.

use std::time::Duration;

use assistant_broker::control::Reason;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use super::{
    outside::{PUBLIC, beside, host},
    stage::{PATIENCE, Stage, authorization},
};

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off() {
    let stage = Stage::new("[limits]\nheader_seconds = 1").await;
    for first in ["", "GET http://example.org/ HT", "GET http://example.org/ HTTP/1.1\r\nx-slow: 1\r\n"] {
        let mut stream = stage.connect().await;
        stream.write_all(first.as_bytes()).await.unwrap();
        let began = Instant::now();
        let (mut reading, mut writing) = stream.into_split();
        if first.is_empty() {
            writing.forget();
        } else {
            beside(async move {
                while writing.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, reading.read_to_end(&mut answer)).await.expect("it is cut off"); // a reset is an end too
        assert!(began.elapsed() < Duration::from_secs(4), "{first:?}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_is_said_is_cut_off() {
    let mut stage = Stage::new("allow = [\"example.org\"]\n[limits]\nheader_seconds = 1").await;
    stage.outside.name("example.org", &[PUBLIC]);
    stage.outside.route(&format!("{PUBLIC}:443"), Some(super::outside::echo().await));
    for first in [&[][..], &[22, 3, 1]] {
        let mut stream = stage.tunnel("example.org:443").await;
        stream.write_all(first).await.unwrap();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.expect("it is cut off");
        assert_eq!(stage.record().await.reason, Reason::HeaderTimeout);
    }
}

#[tokio::test]
async fn heads_are_bounded() {
    let stage = Stage::new("[limits]\nheader_bytes = 8192").await;
    let token = authorization("secret");
    for (what, request) in [
        ("one long header", format!("GET http://example.org/ HTTP/1.1\r\n{token}x: {}\r\n\r\n", "x".repeat(20_000))),
        ("many headers", format!("GET http://example.org/ HTTP/1.1\r\n{token}{}\r\n", "x: y\r\n".repeat(1000))),
        ("a long target", format!("GET http://example.org/{} HTTP/1.1\r\n{token}\r\n", "x".repeat(20_000))),
        ("no end", "x".repeat(1 << 20)),
    ] {
        let answer = stage.send(request).await;
        let status = answer.get(9..12).unwrap_or_default();
        assert!(answer.is_empty() || ["400", "414", "431"].contains(&status), "{what}: {answer}");
    }
    assert!(stage.ask("GET http://example.org/").await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn connections_wait_for_their_turn() {
    let stage = Stage::new("[limits]\nconnections = 2\nheader_seconds = 2").await;
    let (_one, _two) = (stage.connect().await, stage.connect().await);
    let began = Instant::now();
    assert!(stage.ask("GET http://example.org/").await.starts_with("HTTP/1.1 403 "));
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let mut stage = Stage::new("allow = [\"example.org\"]\n[limits]\nidle_seconds = 1").await;
    stage.outside.name("example.org", &[PUBLIC]);
    let flood = host(|mut stream| async move {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
        let _ = stream.write_all(head).await;
        while stream.write_all(&[0; 16_384]).await.is_ok() {}
    })
    .await;
    stage.outside.route(&format!("{PUBLIC}:80"), Some(flood));
    let mut stream = stage.connect().await;
    let request = format!("GET http://example.org/ HTTP/1.1\r\n{}\r\n", authorization("secret"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let record = stage.record().await;
    assert_eq!(record.reason, Reason::Idle);
    assert!(record.bytes_down < 20 << 20, "what is not read is not fetched: {}", record.bytes_down);
}
