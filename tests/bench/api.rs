//! The API over the socket: health, the newest jobs, durable posts, and the command line.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use assistantd::{
    jobs::store::create::{self, Creation},
    policy::Origin,
    store::Store,
};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    load::{self, Connection},
    measure, seed,
    table::{Goal, Table},
};
use crate::support::process::Place;

const TIME: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

pub(crate) async fn measure(table: &mut Table) {
    health(table).await;
    newest(table).await;
    posts(table).await;
    status(table);
}

/// Eight connections that ask for nothing but health, against bare axum.
async fn health(table: &mut Table) {
    let place = super::place("http://127.0.0.1:9/v1");
    let process = place.start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("bare.sock");
    let mut static_server =
        Command::new(std::env::current_exe().unwrap()).arg("bare-http").arg(&socket).spawn().unwrap();
    while !socket.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (mut ours, mut base, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let seen = load::run(&place.socket(), 8, TIME / 2, "GET", "/health", |_| String::new()).await;
        ours.push(seen.per_second);
        p50.push(seen.p50);
        p99.push(seen.p99);
        base.push(load::run(&socket, 8, TIME / 2, "GET", "/health", |_| String::new()).await.per_second);
    }
    static_server.kill().unwrap();
    static_server.wait().unwrap();
    drop(process);
    let (ours, base) = (measure::median(&mut ours), measure::median(&mut base));
    table.row("GET /health, 8 connections", ours, "/s", Some(base), Goal::RatioAtLeast(0.6));
    table.row("GET /health, 8 connections, p50", measure::median(&mut p50), "ms", None, Goal::None);
    table.row("GET /health, 8 connections, p99", measure::median(&mut p99), "ms", None, Goal::None);
}

/// The page that everybody sees first, with few jobs and with very many.
async fn newest(table: &mut Table) {
    let place = super::place("http://127.0.0.1:9/v1");
    place.start(&[]).stop();
    let mut times = Vec::new();
    for count in [1000, 1_000_000] {
        seed::jobs(&place.database(), count);
        let process = place.start(&[]);
        let mut connection = Connection::open(&place.socket()).await;
        let mut values = Vec::new();
        for round in 0..600 {
            let begin = Instant::now();
            let (status, _) = connection.send("GET", "/api/jobs?limit=50", String::new()).await;
            assert!(status.is_success(), "{status}");
            if round >= 100 {
                values.push(measure::millis(begin.elapsed()));
            }
        }
        times.push(measure::median(&mut values));
        drop(process);
    }
    table.row("GET /api/jobs, 50 of 1000 jobs, p50", times[0], "ms", None, Goal::AtMost(1.0));
    table.row("GET /api/jobs, 50 of 1000000 jobs, p50", times[1], "ms", Some(times[0]), Goal::RatioAtMost(1.2));
}

/// Durable posts on 64 connections, against 64 callers of the writer thread in this process.
async fn posts(table: &mut Table) {
    let (mut ours, mut base) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let place = stopped().await;
        let seen = load::run(&place.0.socket(), 64, TIME, "POST", "/api/jobs", |number| {
            json!({"subject": format!("post {number}"), "body": "Say nothing."}).to_string()
        })
        .await;
        ours.push(seen.per_second);
        drop(place);
        base.push(callers(64, TIME).await);
    }
    let (ours, base) = (measure::median(&mut ours), measure::median(&mut base));
    table.row("POST /api/jobs, durable, 64 connections", ours, "/s", Some(base), Goal::RatioAtLeast(0.5));
}

/// A daemon that accepts jobs and runs none.
async fn stopped() -> (Place, crate::support::process::Process) {
    let place = super::place("http://127.0.0.1:9/v1");
    let process = place.start(&[]);
    let mut connection = Connection::open(&place.socket()).await;
    let (status, body) = connection.send("POST", "/api/stop", "{}".into()).await;
    assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    (place, process)
}

/// The same statements by as many callers of the same writer thread, without HTTP; per second.
async fn callers(count: usize, time: Duration) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("bare.db")).unwrap();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let new = Arc::new(Creation {
        subject: "post".into(),
        body: "Say nothing.".into(),
        from_address: "dashboard@local".into(),
        to_address: "assistant@local".into(),
        origin: Origin::Owner,
        priority: 0,
        max_attempts: 3,
        run_at: now,
        hold: false,
        attachments: Vec::new(),
        metadata: serde_json::Map::default(),
        parent_job_id: None,
        domain: "local".into(),
        created_by: "uid 0".into(),
    });
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..count {
        let (store, new) = (store.clone(), Arc::clone(&new));
        tasks.spawn(async move {
            let mut done = 0_u32;
            while begin.elapsed() < time {
                let stamp =
                    now + jiff::SignedDuration::from_micros(i64::from(done) * 1000 + i64::try_from(task).unwrap());
                let new = Arc::clone(&new);
                store.write(move |conn| create::insert(conn, stamp, &new)).await.unwrap();
                done += 1;
            }
            done
        });
    }
    let done: u32 = tasks.join_all().await.into_iter().sum();
    let per_second = f64::from(done) / begin.elapsed().as_secs_f64();
    store.close().await;
    per_second
}

/// The whole command, from exec to exit.
fn status(table: &mut Table) {
    let place = super::place("http://127.0.0.1:9/v1");
    let process = place.start(&[]);
    let mut times = Vec::new();
    for _ in 0..50 {
        let begin = Instant::now();
        let done = Command::new(super::program("assistantctl"))
            .arg("--socket")
            .arg(place.socket())
            .arg("status")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        times.push(measure::millis(begin.elapsed()));
        assert!(done.code().is_some(), "{done}");
    }
    drop(process);
    table.row("assistantctl status, p50", measure::median(&mut times), "ms", None, Goal::AtMost(15.0));
}
