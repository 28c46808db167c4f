#![expect(clippy::disallowed_methods, reason = "counterparts, not part of the daemon")]

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixListener, UnixStream},
};

use super::*;
use crate::{ErrorKind, EventId};

/// Reads a request's head and returns it.
async fn head(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.expect("a request"));
    }
    String::from_utf8(bytes).unwrap()
}

async fn answer(stream: &mut UnixStream, status: &str, headers: &str, body: &str) {
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
}

fn socket() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    (dir, path)
}

/// A client whose first request gets this answer; resolves to the head of that request.
fn once(path: &Path, status: &'static str, headers: &'static str, body: String) -> impl Future<Output = String> {
    let listener = UnixListener::bind(path).unwrap();
    async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = head(&mut stream).await;
        answer(&mut stream, status, headers, &body).await;
        head
    }
}

#[tokio::test]
async fn a_request_carries_method_host_query_and_json() {
    let (_dir, path) = socket();
    let server = once(&path, "200 OK", "", json!({"status": "ok"}).to_string());
    let client = Client::new(&path);
    let request = client.request("POST", "/api/x").query("path", "a b/ö&c").maybe("none", None::<i64>);
    let (head, reply) = tokio::join!(server, request.json(&json!({"a": 1})).fetch::<Value>());
    assert_eq!(reply.unwrap()["status"], "ok");
    assert!(head.starts_with("POST /api/x?path=a+b%2F%C3%B6%26c HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: assistantd\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
}

#[tokio::test]
async fn a_missing_socket_and_a_dead_one_are_told_apart() {
    let (_dir, path) = socket();
    let err = Client::new(&path).get::<Value>("/health").await.unwrap_err();
    assert!(matches!(err, Error::NoSocket(_)), "{err:?}");
    drop(UnixListener::bind(&path).unwrap());
    let err = Client::new(&path).get::<Value>("/health").await.unwrap_err();
    assert!(matches!(err, Error::Refused(_)), "{err:?}");
    let long = PathBuf::from("/".to_owned() + &"x".repeat(300));
    let err = Client::new(long).get::<Value>("/health").await.unwrap_err();
    assert!(matches!(err, Error::Connect { .. }), "{err:?}");
}

#[tokio::test]
async fn a_problem_keeps_kind_hint_and_retry_after() {
    let (_dir, path) = socket();
    let body = json!({"type": "about:blank", "title": "too busy", "status": 429, "detail": "too busy",
        "kind": "rate_limited", "request_id": "r1", "hint": "wait"});
    let server = once(&path, "429 Too Many Requests", "retry-after: 7\r\n", body.to_string());
    let client = Client::new(&path);
    let (_, reply) = tokio::join!(server, client.get::<Value>("/api/x"));
    let Err(Error::Problem { problem, retry_after }) = reply else { panic!("{reply:?}") };
    assert_eq!((problem.kind, problem.hint.as_deref()), (ErrorKind::RateLimited, Some("wait")));
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn an_answer_that_is_no_problem_document_is_told_by_its_status() {
    for (status, body, kind, title) in [
        ("404 Not Found", "<html>", ErrorKind::NotFound, "the daemon answered 404 Not Found"),
        ("409 Conflict", r#"{"detail": "already"}"#, ErrorKind::Conflict, "already"),
        ("418 Teapot", r#"{"title": "tea", "kind": "of_the_future"}"#, ErrorKind::Invalid, "tea"),
    ] {
        let (_dir, path) = socket();
        let server = once(&path, status, "", body.to_owned());
        let client = Client::new(&path);
        let (_, reply) = tokio::join!(server, client.get::<Value>("/api/x"));
        let err = reply.unwrap_err();
        assert_eq!((err.kind(), err.to_string().as_str()), (Some(kind), title));
    }
}

#[tokio::test]
async fn an_answer_cut_short_is_lost() {
    let (_dir, path) = socket();
    let listener = UnixListener::bind(&path).unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
    };
    let client = Client::new(&path);
    let ((), reply) = tokio::join!(server, client.get::<Value>("/api/x"));
    assert!(matches!(reply, Err(Error::Lost(_))), "{reply:?}");
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_times_out() {
    let (_dir, path) = socket();
    let _listener = UnixListener::bind(&path).unwrap();
    let client = Client::new(&path);
    let reply = client.request("GET", "/x").timeout(Some(Duration::from_millis(20))).fetch::<Value>().await;
    assert!(matches!(reply, Err(Error::Timeout(_))), "{reply:?}");
}

#[tokio::test]
async fn a_path_that_cannot_be_sent_is_refused() {
    let client = Client::new("/nowhere");
    for (method, path) in [("GET", "api/x"), ("GET", "/a b\n"), ("", "/x"), ("G T", "/x")] {
        let err = client.request(method, path).send().await.unwrap_err();
        assert!(matches!(err, Error::Invalid(_)), "{method} {path}: {err:?}");
    }
}

#[tokio::test]
async fn an_upload_is_streamed_with_its_length() {
    let (_dir, path) = socket();
    let listener = UnixListener::bind(&path).unwrap();
    let sent = vec![b'x'; 300_000];
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = head(&mut stream).await;
        assert!(head.contains("content-length: 300000\r\n"), "{head}");
        let mut body = vec![0; 300_000];
        stream.read_exact(&mut body).await.unwrap();
        answer(&mut stream, "200 OK", "", "{}").await;
        body
    };
    let client = Client::new(&path);
    let reader = io::Cursor::new(sent.clone());
    let (body, reply) =
        tokio::join!(server, client.request("PUT", "/x").upload(reader, Some(300_000)).fetch::<Value>());
    reply.unwrap();
    assert!(body == sent);
}

#[tokio::test]
async fn events_go_on_behind_the_last_one() {
    let (_dir, path) = socket();
    let listener = UnixListener::bind(&path).unwrap();
    let event = |id: i64| {
        let data = json!({"id": id, "kind": "job.log", "job_id": 1, "data": {}, "at": "2026-11-22T12:00:00Z"});
        format!("id: {id}\nevent: job.log\ndata: {data}\n\n")
    };
    let server = async {
        let mut heads = Vec::new();
        // The second connection repeats an event that was seen and is cut in the middle of the next.
        for body in ["id: 3\n\n".to_owned() + &event(4), event(4) + &event(5)[..20], event(5) + &event(6)] {
            let (mut stream, _) = listener.accept().await.unwrap();
            heads.push(head(&mut stream).await);
            let text = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).await.unwrap();
        }
        heads
    };
    let client = async {
        let mut events = Client::new(&path).events("/api/events", None);
        let mut ids = Vec::new();
        while ids.len() < 3 {
            ids.push(events.next().await.unwrap().id);
        }
        ids
    };
    let (heads, ids) = tokio::join!(server, client);
    assert_eq!(ids, [EventId(4), EventId(5), EventId(6)]);
    assert!(!heads[0].contains("last-event-id"), "{}", heads[0]);
    assert!(heads[1].contains("last-event-id: 4\r\n"), "{}", heads[1]);
    assert!(heads[2].contains("last-event-id: 4\r\n"), "{}", heads[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_reaches_the_caller_though_the_upload_was_not_read() {
    for _ in 0..50 {
        let (_dir, path) = socket();
        let listener = UnixListener::bind(&path).unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await;
            answer(&mut stream, "409 Conflict", "connection: close\r\n", r#"{"detail": "exists"}"#).await;
        });
        let client = Client::new(&path);
        let reader = tokio::io::repeat(b'x').take(50_000_000);
        let reply = client.request("PUT", "/x").upload(reader, Some(50_000_000)).fetch::<Value>().await;
        assert_eq!(reply.unwrap_err().kind(), Some(ErrorKind::Conflict));
        tasks.join_next().await.unwrap().unwrap();
    }
}

/// Accepts everybody; whoever asks for `/health` is answered if `well`, and all others as long as they wait.
async fn slow(listener: UnixListener, well: bool, delay: Duration) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let head = head(&mut stream).await;
            if !head.starts_with("GET /health ") {
                tokio::time::sleep(delay).await;
            } else if !well {
                std::future::pending::<()>().await;
            }
            answer(&mut stream, "200 OK", "", "7").await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_a_daemon_that_answers_others_is_waited_for() {
    let (_dir, path) = socket();
    let server = tokio::spawn(slow(UnixListener::bind(&path).unwrap(), true, Duration::from_hours(1)));
    let client = Client::new(&path);
    let begun = tokio::time::Instant::now();
    let reply = client.request("GET", "/x").timeout(None).fetch::<i64>().await;
    assert_eq!(reply.unwrap(), 7);
    assert!(begun.elapsed() >= Duration::from_hours(1));
    server.abort();
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_a_daemon_that_answers_nobody_is_not_waited_for() {
    let (_dir, path) = socket();
    let listener = UnixListener::bind(&path).unwrap();
    let client = Client::new(&path);
    let begun = tokio::time::Instant::now();
    // Nobody accepts, as when the service behind the socket cannot start.
    for request in [client.request("GET", "/x").timeout(None), client.request("PUT", "/x").upload(&b"x"[..], Some(1))] {
        let reply = request.fetch::<i64>().await;
        assert!(matches!(reply, Err(Error::Timeout(limit)) if limit == LOOK + SIGN), "{reply:?}");
    }
    // And one that accepts and stands still.
    let server = tokio::spawn(slow(listener, false, Duration::from_hours(1)));
    let reply = client.request("GET", "/x").timeout(None).fetch::<i64>().await;
    assert!(matches!(reply, Err(Error::Timeout(_))), "{reply:?}");
    assert_eq!(begun.elapsed().as_secs(), 3 * (LOOK + SIGN).as_secs());
    server.abort();
}
