//! Whole jobs with a model server that thinks no time: latency, throughput, and what each costs.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use assistant_api::status::Stats;
use rusqlite::{Connection as Database, OpenFlags};
use serde_json::{Value, json};

use super::{
    load::{self, Connection},
    measure,
    table::{Goal, Table},
};
use crate::support::{
    model::{Asked, ModelServer, Reply},
    process::{Place, Process},
};

const MANY: usize = 1000;

/// When the model was first asked about a job, by its number.
type FirstAsked = Arc<Mutex<Vec<(u64, Instant)>>>;

/// Four steps: tools, write, read, done.
fn script(asked: &Asked, first: &FirstAsked) -> (u64, Reply) {
    let number = asked.number_after("bench job ").unwrap_or(0);
    let path = format!("bench/{number}.txt");
    let reply = match asked.turn() {
        0 => {
            first.lock().unwrap().push((number, Instant::now()));
            Reply::call("get_tool_specs", json!({"tools": ["file_write", "file_read"]}))
        }
        1 => Reply::call("file_write", json!({"path": path, "content": format!("result of job {number}\n")})),
        2 => Reply::call("file_read", json!({"path": path})),
        _ => Reply::complete("The file is written."),
    };
    (number, reply)
}

fn body(number: u64) -> String {
    json!({"subject": format!("bench job {number}"), "body": format!("This is bench job {number} : write the file.")})
        .to_string()
}

pub(crate) async fn measure(table: &mut Table) {
    let first = FirstAsked::default();
    let seen = Arc::clone(&first);
    let model = ModelServer::start(move |asked| script(asked, &seen)).await;
    let place = super::place(&model.base_url());
    let process = place.start(&[]);
    one_by_one(table, &place, &first).await;
    let ids = many(table, &place, &process).await;
    after_load(table, &place, &process).await;
    let mut process = process;
    assert_eq!(process.stop(), Some(0), "{}", place.log());
    sizes(table, &place, &ids);
}

/// Latency of single jobs on an idle daemon.
async fn one_by_one(table: &mut Table, place: &Place, first: &FirstAsked) {
    let mut connection = Connection::open(&place.socket()).await;
    let (mut to_model, mut to_end) = (Vec::new(), Vec::new());
    for number in 1..=60 {
        let sent = Instant::now();
        let id = submit(&mut connection, number).await;
        wait(&mut connection, id).await;
        let asked = first.lock().unwrap().iter().find(|(asked, _)| *asked == number).map(|(_, when)| *when);
        if number > 10 {
            to_model.push(measure::millis(asked.unwrap() - sent));
            to_end.push(course(&mut connection, id).await);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    table.row("submit to first model request, p50", measure::median(&mut to_model), "ms", None, Goal::AtMost(10.0));
    let goal = f64::max(25.0, 8.0 + 12.0 * table.fdatasync_ms());
    table.row("four-step job, submit to completed, p50", measure::median(&mut to_end), "ms", None, Goal::AtMost(goal));
}

/// Throughput with the default four workers.
async fn many(table: &mut Table, place: &Place, process: &Process) -> Vec<i64> {
    let pid = process.pid().as_raw();
    let mut connection = Connection::open(&place.socket()).await;
    let cpu = measure::cpu_ms(pid);
    let begin = Instant::now();
    let mut ids = Vec::new();
    for number in 1000..1000 + MANY as u64 {
        ids.push(submit(&mut connection, number).await);
    }
    loop {
        let (_, counts) = connection.send("GET", "/api/stats", String::new()).await;
        let stats: Stats = serde_json::from_slice(&counts).unwrap();
        let open = stats.jobs.iter().filter(|row| matches!(row.status.as_str(), "queued" | "running"));
        if open.map(|row| row.count).sum::<i64>() == 0 {
            break;
        }
        assert!(begin.elapsed() < Duration::from_mins(2), "the jobs do not end: {stats:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let seconds = begin.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of jobs")]
    let count = MANY as f64;
    table.row("1000 four-step jobs, 4 workers", count / seconds, "jobs/s", None, Goal::AtLeast(100.0));
    let each = (measure::cpu_ms(pid) - cpu) / count;
    table.row("processor per job, submission included", each, "ms", None, Goal::AtMost(5.0));
    for id in &ids {
        let (_, answer) = connection.send("GET", &format!("/api/jobs/{id}"), String::new()).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["job"]["status"], "completed", "job {id}: {}\n{}", answer["job"], place.log());
    }
    ids
}

/// Memory after health, lists and jobs went over the daemon.
async fn after_load(table: &mut Table, place: &Place, process: &Process) {
    for (connections, path) in [(8, "/health"), (64, "/health"), (8, "/api/jobs?limit=50"), (64, "/api/jobs?limit=50")]
    {
        load::run(&place.socket(), connections, Duration::from_secs(2), "GET", path, |_| String::new()).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (rss, _) = measure::memory(process.pid().as_raw());
    table.row("resident memory after the load", rss, "MiB", None, Goal::AtMost(32.0));
}

/// What the jobs left in the database.
#[expect(clippy::cast_precision_loss, reason = "a file size")]
fn sizes(table: &mut Table, place: &Place, ids: &[i64]) {
    let empty = super::place("http://127.0.0.1:9/v1");
    empty.start(&[]).stop();
    let grown = compact(&place.database()).saturating_sub(compact(&empty.database()));
    let jobs = ids.len() + 60;
    table.row("database per job", grown as f64 / jobs as f64 / 1024.0, "KiB", None, Goal::AtMost(10.0));
}

/// Bytes of a database file, everything in the log moved into it.
#[expect(clippy::disallowed_methods, reason = "no daemon has the database open")]
fn compact(path: &Path) -> u64 {
    let conn = Database::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let _: i64 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    drop(conn);
    fs::metadata(path).unwrap().len()
}

async fn submit(connection: &mut Connection, number: u64) -> i64 {
    let (status, answer) = connection.send("POST", "/api/jobs", body(number)).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert!(status.is_success(), "{status}: {answer}");
    answer["job"]["id"].as_i64().unwrap()
}

async fn job(connection: &mut Connection, id: i64) -> Value {
    let (_, answer) = connection.send("GET", &format!("/api/jobs/{id}/poll"), String::new()).await;
    serde_json::from_slice(&answer).unwrap()
}

async fn wait(connection: &mut Connection, id: i64) {
    let begin = Instant::now();
    while job(connection, id).await["job"]["status"] != "completed" {
        assert!(begin.elapsed() < Duration::from_secs(20), "job {id} does not end");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Milliseconds from a completed job's creation to its end, by the daemon's own clock.
async fn course(connection: &mut Connection, id: i64) -> f64 {
    let (_, answer) = connection.send("GET", &format!("/api/jobs/{id}"), String::new()).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let when = |field: &str| answer["job"][field].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let (Some(from), Some(to)) = (when("created_at"), when("completed_at")) else { return -1.0 };
    to.duration_since(from).as_secs_f64() * 1000.0
}
