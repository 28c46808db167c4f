//! Who may upload how much: said before a byte of it is read, over the socket and over the network.

use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

use super::served::{Reply, read_reply};
use crate::support::daemon::Daemon;

const LIMIT: usize = 1000;

/// Sends `head` and then `body`, and reads to the end; nobody is waited for between the two.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str, body: &str) -> Reply {
    stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await.unwrap();
    read_reply(&mut stream).await
}

/// In chunks of 100 bytes.
fn chunked(length: usize) -> String {
    let chunk = format!("64\r\n{}\r\n", "x".repeat(100));
    format!("{}0\r\n\r\n", chunk.repeat(length / 100))
}

#[tokio::test]
async fn s10_an_upload_is_refused_by_who_sends_it_and_by_its_length() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let daemon = Daemon::start(&format!(
        "[api]\nbind_host = \"127.0.0.1\"\nport = {port}\nmax_upload_bytes = {LIMIT}\n[sandbox]\nenabled = false\n"
    ))
    .await;
    let client = daemon.client();
    let mut tokens = Vec::new();
    for request in [
        json!({ "name": "v", "role": "viewer" }),
        json!({ "name": "k", "allow": ["GET /api/workspace/file"] }),
        json!({ "name": "o" }),
    ] {
        let made: serde_json::Value = client.post("/api/tokens", &request).await.unwrap();
        tokens.push(format!("authorization: Bearer {}\r\n", made["secret"].as_str().unwrap()));
    }
    let session = format!("origin: http://127.0.0.1:{port}\r\ncookie: assistant=AAAA\r\n");
    let over = async |head: String, body: &str| {
        exchange(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), &head, body).await
    };
    let line = |name: &str, more: &str| {
        format!("PUT /api/workspace/upload?path={name} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{more}")
    };
    // No byte is sent of what is announced, and none is asked for.
    for (who, status) in [(&session, 401), (&tokens[0], 403), (&tokens[1], 403)] {
        for length in ["content-length: 400000000\r\n", "content-length: 10\r\n", "transfer-encoding: chunked\r\n"] {
            let reply = over(line("refused.bin", &format!("{who}expect: 100-continue\r\n{length}")), "").await;
            assert_eq!(reply.status, status, "{who}{length}{reply:?}");
            assert!(reply.head.starts_with("HTTP/1.1 4"), "{reply:?}");
        }
    }
    let allowed = &tokens[2];
    let too_long = format!("{allowed}expect: 100-continue\r\ncontent-length: {}\r\n", LIMIT + 1);
    let reply = over(line("long.bin", &too_long), "").await;
    assert_eq!((reply.status, reply.kind().as_str()), (413, "too_large"), "{reply:?}");
    let counted = format!("{allowed}transfer-encoding: chunked\r\n");
    let reply = over(line("counted.bin", &counted), &chunked(LIMIT + 100)).await;
    assert_eq!((reply.status, reply.kind().as_str()), (413, "too_large"), "{reply:?}");
    // The same on the socket.
    let local = |name: &str, more: &str| {
        format!("PUT /api/workspace/upload?path={name} HTTP/1.1\r\nhost: assistantd\r\n{more}")
    };
    let on_socket = async |head: String, body: &str| {
        exchange(UnixStream::connect(daemon.socket()).await.unwrap(), &head, body).await
    };
    let reply = on_socket(local("long.bin", &format!("content-length: {}\r\n", LIMIT + 1)), "").await;
    assert_eq!(reply.status, 413, "{reply:?}");
    let reply = on_socket(local("counted.bin", "transfer-encoding: chunked\r\n"), &chunked(LIMIT + 100)).await;
    assert_eq!(reply.status, 413, "{reply:?}");

    let files = || {
        let all = std::fs::read_dir(daemon.workspace()).unwrap().map(|entry| entry.unwrap().file_name());
        all.filter(|name| name.to_string_lossy().contains("bin")).collect::<Vec<_>>()
    };
    assert_eq!(files(), Vec::<std::ffi::OsString>::new(), "nothing is left of what was refused");
    let reply = over(line("whole.bin", &counted), &chunked(LIMIT)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let exact = format!("content-length: {LIMIT}\r\n");
    let reply = on_socket(local("exact.bin", &exact), &"x".repeat(LIMIT)).await;
    assert_eq!((reply.status, files().len()), (200, 2), "{reply:?}");
    daemon.stop().await;
}
