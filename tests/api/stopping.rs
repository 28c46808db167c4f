//! The end of the daemon as its clients see it.

use std::time::{Duration, Instant};

use assistantd::config::value::Seconds;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::served::{Served, read_reply, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_streams_a_slow_upload_and_an_idle_connection_ends_within_its_bound() {
    let grace = Duration::from_millis(700);
    let served = Served::with(|config| config.api.stop_grace = Seconds(grace));
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = served.connect().await;
        stream.write_all(request("GET", "/api/events", "", "").as_bytes()).await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        streams.push(stream);
    }
    let mut upload = served.connect().await;
    upload
        .write_all(b"PUT /test/upload HTTP/1.1\r\nhost: assistantd\r\ncontent-length: 100000\r\n\r\nslow")
        .await
        .unwrap();
    let mut idle = served.connect().await;
    idle.write_all(b"GET /test/ids/1 HTTP/1.1\r\nhost: assistantd\r\n\r\n").await.unwrap();
    let mut byte = [0];
    idle.read_exact(&mut byte).await.unwrap();
    let mut early = served.connect().await;
    let mut running = served.connect().await;
    running.write_all(request("GET", "/test/slow", "", "").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;

    let begun = Instant::now();
    served.cx.stop.cancel();
    for stream in &mut streams {
        let text = read_reply(stream).await;
        assert!(text.body.contains("event: shutdown"), "{text:?}");
    }
    early.write_all(request("GET", "/test/ids/2", "", "").as_bytes()).await.unwrap();
    let reply = read_reply(&mut early).await;
    assert_eq!(reply.status, 200, "who had connected before is answered: {reply:?}");
    let reply = read_reply(&mut running).await;
    assert_eq!(reply.status, 200, "a request that runs is answered: {reply:?}");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    early.read_to_end(&mut rest).await.unwrap();
    assert!(begun.elapsed() < grace, "only the upload waits for the bound: {:?}", begun.elapsed());

    served.ended.await.unwrap();
    let taken = begun.elapsed();
    let most = grace + Duration::from_secs(1);
    assert!(taken.as_millis() + 50 >= grace.as_millis() && taken < most, "{taken:?}");
    assert!(!served.socket.exists(), "the socket is removed");
    served.cx.tasks.close();
    tokio::time::timeout(Duration::from_secs(1), served.cx.tasks.wait()).await.unwrap();
}
