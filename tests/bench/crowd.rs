//! Many at once: what other clients feel of an attack on the web listener, and 200 clients of the event stream.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpSocket, UnixStream},
    task::JoinSet,
};

use super::{
    load::Connection,
    measure,
    table::{Goal, Table},
};
use crate::support::process::Place;

/// Connections of an attack.
const ATTACKERS: usize = 400;
/// Requests of the others during each.
const ROUNDS: usize = 400;
/// Clients of the event stream, what each is to hear, and how often in a second.
const CLIENTS: usize = 200;
const EVENTS: u64 = 1000;
const PER_SECOND: u64 = 100;

pub(crate) async fn measure(table: &mut Table) {
    attacks(table).await;
    streams(table).await;
}

/// Of one address that wants all of the daemon: 400 connections that say nothing, or a head or a body that never ends.
async fn attacks(table: &mut Table) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place::new(&format!("[api]\nbind_host = \"127.0.0.1\"\nport = {port}\n[log]\nlevel = \"warn\"\n"));
    let process = place.start(&[]);
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let quiet = others(to).await;
    table.row("GET /health by TCP, nobody else, p99", quiet, "ms", None, Goal::None);
    let login = format!(
        "POST /api/login HTTP/1.1\r\nhost: {to}\r\norigin: http://{to}\r\nsec-fetch-site: same-origin\r\n\
         content-length: 100000\r\n\r\n"
    );
    for (name, begin) in [
        ("idle connections", String::new()),
        ("heads that do not end", format!("GET /health HTTP/1.1\r\nhost: {to}\r\nx-slow: ")),
        ("bodies that do not end", login),
    ] {
        let mut attack = JoinSet::new();
        for _ in 0..ATTACKERS {
            let begin = begin.clone();
            attack.spawn(async move {
                loop {
                    attacker(to, &begin).await;
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let p99 = others(to).await;
        attack.shutdown().await;
        table.row(&format!("the same during 400 {name}, p99"), p99, "ms", Some(quiet), Goal::AtMost(100.0));
    }
    drop(process);
}

/// One connection of an attack, until it is ended; a byte from time to time, unless it is to be idle.
async fn attacker(to: SocketAddr, begin: &str) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let pause = || tokio::time::sleep(Duration::from_millis(100));
    let Ok(mut stream) = socket.connect(to).await else { return pause().await };
    let (mut reading, mut writing) = stream.split();
    let speak = async {
        if writing.write_all(begin.as_bytes()).await.is_ok() && begin.is_empty() {
            std::future::pending::<()>().await;
        }
        while writing.write_all(b"x").await.is_ok() {
            pause().await;
        }
    };
    let mut said = Vec::new();
    tokio::select! {
        _ = reading.read_to_end(&mut said) => {}
        () = speak => {}
    }
    pause().await;
}

/// Requests of another address, each on a connection of its own; the p99 in milliseconds.
async fn others(to: SocketAddr) -> f64 {
    let request = format!("GET /health HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n");
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.3:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(to).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        times.push(measure::millis(begin.elapsed()));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    measure::percentile(&mut times, 0.99)
}

/// 200 clients of the event stream while jobs are made, each of which is an event at least.
async fn streams(table: &mut Table) {
    let place = super::place("http://127.0.0.1:9/v1");
    let process = place.start(&[]);
    let mut connection = Connection::open(&place.socket()).await;
    let (status, _) = connection.send("POST", "/api/stop", "{}".into()).await;
    assert!(status.is_success(), "{status}");
    let heard = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let stream = UnixStream::connect(place.socket()).await.unwrap();
        clients.spawn(listen(stream, Arc::clone(&heard)));
    }
    while heard.load(Ordering::Relaxed) < CLIENTS as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (mut rss, mut anonymous, begin) = (0.0_f64, 0.0_f64, Instant::now());
    for number in 0..EVENTS {
        let body = json!({"subject": format!("event {number}"), "body": "Say nothing."}).to_string();
        let (status, _) = connection.send("POST", "/api/jobs", body).await;
        assert!(status.is_success(), "{status}");
        if number % 50 == 0 {
            let pid = process.pid().as_raw();
            (rss, anonymous) = (rss.max(measure::memory(pid).0), anonymous.max(measure::anonymous(pid)));
        }
        let due = Duration::from_millis(1000 / PER_SECOND) * u32::try_from(number + 1).unwrap();
        tokio::time::sleep(due.saturating_sub(begin.elapsed())).await;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let mut fewest = u64::MAX;
    while let Some(seen) = clients.join_next().await {
        fewest = fewest.min(seen.unwrap());
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of events")]
    let (lost, rate) = (EVENTS.saturating_sub(fewest) as f64, fewest as f64 / seconds);
    table.row("events heard by each of 200 clients", rate, "/s", None, Goal::AtLeast(90.0));
    table.row("events lost by the worst of them", lost, "", Some(1.0), Goal::RatioAtMost(0.0));
    table.row("resident memory meanwhile, at most", rss, "MiB", None, Goal::AtMost(60.0));
    table.row("anonymous memory meanwhile, at most", anonymous, "MiB", None, Goal::AtMost(60.0));
    drop(process);
}

/// Hears events until it has as many as jobs are made; every number follows the one before.
async fn listen(mut stream: UnixStream, ready: Arc<AtomicU64>) -> u64 {
    stream.write_all(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let (mut last, mut jobs) = (None, 0);
    while let Ok(Ok(Some(line))) = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await {
        if let Some(id) = line.strip_prefix("id: ").map(|id| id.parse::<u64>().unwrap()) {
            match last {
                None => _ = ready.fetch_add(1, Ordering::Relaxed),
                Some(last) => assert_eq!(id, last + 1, "an event is missing"),
            }
            last = Some(id);
        }
        assert_ne!(line, "event: gap");
        jobs += u64::from(line == "event: job.created");
        if jobs == EVENTS {
            break;
        }
    }
    jobs
}
