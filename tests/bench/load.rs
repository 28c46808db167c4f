//! A load generator: so many connections to a Unix socket, each with one request after the other.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, task::JoinSet};

use super::measure;

/// What a load run saw.
pub(crate) struct Seen {
    pub(crate) per_second: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// One connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

impl Connection {
    pub(crate) async fn open(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ = connection.await;
        });
        Self { sender, _driver: driver }
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn send(&mut self, method: &str, path: &str, body: String) -> (StatusCode, Bytes) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }
}

/// `connections` that send what `body` makes of a running number, for `time`.
pub(crate) async fn run(
    socket: &Path,
    connections: usize,
    time: Duration,
    method: &'static str,
    path: &'static str,
    body: fn(u64) -> String,
) -> Seen {
    let numbers = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    let begin = Instant::now();
    for _ in 0..connections {
        let mut connection = Connection::open(socket).await;
        let numbers = Arc::clone(&numbers);
        workers.spawn(async move {
            let mut times = Vec::new();
            while begin.elapsed() < time {
                let sent = Instant::now();
                let (status, answer) =
                    connection.send(method, path, body(numbers.fetch_add(1, Ordering::Relaxed))).await;
                assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&answer));
                times.push(measure::millis(sent.elapsed()));
            }
            times
        });
    }
    let mut times: Vec<f64> = workers.join_all().await.into_iter().flatten().collect();
    let seconds = begin.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let per_second = times.len() as f64 / seconds;
    Seen { per_second, p50: measure::percentile(&mut times, 0.5), p99: measure::percentile(&mut times, 0.99) }
}
