//! Whatever is thrown at the proxy, it answers with an error or closes, and serves the next one.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Runtime;

use super::stage::{Stage, authorization};

/// Pieces of requests, in orders and with bytes in between that no client would send.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"GET ".to_vec()),
        Just(b"CONNECT ".to_vec()),
        Just(b"example.org:443".to_vec()),
        Just(b"http://example.org/".to_vec()),
        Just(b"http://[::1]:99999/".to_vec()),
        Just(b" HTTP/1.1\r\n".to_vec()),
        Just(b" HTTP/2.0\r\n".to_vec()),
        Just(authorization("secret").into_bytes()),
        Just(authorization("wrong").into_bytes()),
        Just(b"content-length: 18446744073709551616\r\n".to_vec()),
        Just(b"content-length: 5\r\n".to_vec()),
        Just(b"transfer-encoding: chunked\r\n".to_vec()),
        Just(b"ffffffffffffffff\r\n".to_vec()),
        Just(b"host: a\r\nhost: b\r\n".to_vec()),
        Just(b"upgrade: h2c\r\nconnection: upgrade\r\n".to_vec()),
        Just(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn nothing_that_is_sent_harms_the_proxy() {
    let runtime = Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::new("allow = [\"example.org\"]\n[limits]\nheader_seconds = 1"));
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&request(), |bytes| {
        // The end of the request cuts off what waits for more.
        let answer = runtime.block_on(async {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut stream = stage.connect().await;
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(super::stage::PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        });
        // Nothing leads anywhere here: a success would be one of the proxy's own making.
        for line in answer.lines().filter(|line| line.starts_with("HTTP/1.1 ")) {
            prop_assert!(line[9..].starts_with(['4', '5']), "{line}");
        }
        prop_assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{answer}");
        Ok(())
    });
    outcome.unwrap();
    let answer = runtime.block_on(stage.ask("GET http://other.example/"));
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}
