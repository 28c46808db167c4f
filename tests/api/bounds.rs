//! Bounds in size, time and number, and what happens at them.

use std::time::{Duration, Instant};

use assistantd::config::value::{Bytes, Seconds};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::served::{Served, read_reply, request};

fn millis(count: u64) -> Seconds {
    Seconds(Duration::from_millis(count))
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_unread() {
    let served = Served::with(|config| config.api.max_upload_bytes = Bytes(1000));
    for (method, path, length) in
        [("POST", "/test/work", (1 << 20) + 1), ("PUT", "/test/upload", 1001), ("GET", "/api", 1)]
    {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: assistantd\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n"
        );
        let reply = served.send(&head).await;
        assert_eq!((reply.status, reply.kind().as_str()), (413, "too_large"), "{path}: {reply:?}");
        assert!(reply.head.starts_with("HTTP/1.1 413"), "the body was never asked for: {reply:?}");
    }
    // Without an announced length the count is held while it streams.
    let mut chunked = String::from(
        "PUT /test/upload HTTP/1.1\r\nhost: assistantd\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
    );
    for _ in 0..11 {
        chunked.extend(["64\r\n", &"x".repeat(100), "\r\n"]);
    }
    let reply = served.send(&chunked).await;
    assert_eq!((reply.status, reply.kind().as_str()), (413, "too_large"), "{reply:?}");
    let reply = served.call("PUT", "/test/upload", "", &"x".repeat(1000)).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "1000"));
}

#[tokio::test]
async fn without_a_limit_uploads_have_none() {
    let served = Served::with(|config| config.api.max_upload_bytes = Bytes(0));
    let reply = served.call("PUT", "/test/upload", "", &"x".repeat(3 << 20)).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "3145728"));
}

#[tokio::test]
async fn a_request_ends_at_its_time_limit() {
    let served = Served::with(|config| config.api.request_timeout = millis(50));
    let reply = served.get("/test/slow").await;
    assert_eq!((reply.status, reply.kind().as_str()), (504, "timeout"));
    let reply = served.call("POST", "/test/work", "", r#"{"pause_ms":300}"#).await;
    assert_eq!((reply.status, reply.kind().as_str()), (504, "timeout"));
    // A body that does not come counts as well.
    let reply = served.send("POST /test/work HTTP/1.1\r\nhost: assistantd\r\ncontent-length: 9\r\n\r\n{").await;
    assert_eq!((reply.status, reply.kind().as_str()), (504, "timeout"));
}

#[tokio::test]
async fn a_head_that_does_not_come_closes_the_connection() {
    let served = Served::with(|config| config.api.header_timeout = millis(100));
    let mut slow = served.connect().await;
    slow.write_all(b"GET /api HTTP/1.1\r\nhost: assis").await.unwrap();
    let begun = Instant::now();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), slow.read_to_end(&mut rest)).await.expect("an end");
    assert!(begun.elapsed() >= Duration::from_millis(90), "{:?}", begun.elapsed());
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn an_upload_that_stands_still_ends() {
    let served = Served::with(|config| config.api.stream_idle_timeout = millis(100));
    let reply = served.send("PUT /test/upload HTTP/1.1\r\nhost: assistantd\r\ncontent-length: 9\r\n\r\n{").await;
    assert_eq!((reply.status, reply.kind().as_str()), (504, "timeout"), "{reply:?}");
}

#[tokio::test]
async fn a_connection_above_the_cap_hears_why() {
    let served = Served::with(|config| config.api.max_connections = 2);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = served.connect().await;
        stream.write_all(b"GET /api HTTP/1.1\r\nhost: assistantd\r\n\r\n").await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap(); // served, and kept open
        held.push(stream);
    }
    let reply = served.get("/api").await;
    assert_eq!((reply.status, reply.kind().as_str()), (503, "unavailable"), "{reply:?}");
    assert_eq!(reply.json()["title"], "all 2 connections are in use");
    assert_eq!(reply.header("retry-after"), Some("1"));

    // Many more than can be refused at once: each hears it, if some only after a moment.
    let many = (0..80).map(|_| served.get("/api"));
    for reply in futures_util::future::join_all(many).await {
        assert_eq!(reply.status, 503, "{reply:?}");
    }

    held.pop();
    let deadline = Instant::now() + Duration::from_secs(5);
    while served.get("/api").await.status != 200 {
        assert!(Instant::now() < deadline, "the place is not given back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn requests_share_a_connection() {
    let served = Served::start();
    let mut stream = served.connect().await;
    let one = "GET /test/ids/7 HTTP/1.1\r\nhost: assistantd\r\n\r\n";
    stream.write_all(format!("{one}{one}{}", request("GET", "/test/ids/8", "", "")).as_bytes()).await.unwrap();
    let all = read_reply(&mut stream).await;
    let text = format!("{}\r\n\r\n{}", all.head, all.body);
    assert_eq!(text.matches("HTTP/1.1 200").count(), 3, "{text}");
    let ids: std::collections::HashSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect();
    assert_eq!(ids.len(), 3, "{text}");
}
