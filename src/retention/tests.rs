use jiff::Timestamp;
use rusqlite::Connection;

use serde_json::Value;

use super::*;
use crate::{clock::Clock, config::Config, daemon, store::texts};

const DAY: i64 = 86_400;

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn ago(days: i64) -> i64 {
    (now() - jiff::SignedDuration::from_secs(days * DAY)).as_microsecond()
}

fn job(conn: &Connection, id: i64, status: &str, completed: Option<i64>) {
    conn.execute(
        "INSERT INTO jobs (id, thread_id, status, run_at, created_at, updated_at, completed_at) \
         VALUES (?1, ?2, ?3, 0, 0, ?4, ?5)",
        (id, format!("t{id}"), status, completed.unwrap_or(ago(400)), completed),
    )
    .unwrap();
}

fn log(conn: &Connection, job: i64, sequence: i64, at: i64) {
    conn.execute(
        "INSERT INTO task_logs (job_id, sequence, event_type, created_at) VALUES (?1, ?2, 'error', ?3)",
        (job, sequence, at),
    )
    .unwrap();
}

fn step(conn: &Connection, job: i64, seq: i64, text: Option<&str>) {
    let hash = text.map(|text| texts::put(conn, text).unwrap());
    conn.execute(
        "INSERT INTO steps (job_id, seq, epoch, kind, body, text_hash, origin, created_at) \
         VALUES (?1, ?2, 0, 'answer', '{}', ?3, 'host', 0)",
        (job, seq, hash),
    )
    .unwrap();
}

fn count(conn: &Connection, table: &str) -> i64 {
    conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

struct Place {
    #[expect(dead_code, reason = "removed when dropped")]
    dir: tempfile::TempDir,
    cx: Cx,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cx = daemon::idle(dir.path(), Config::default(), Clock::fixed(now()));
        Self { dir, cx }
    }

    async fn fill(&self, f: impl Fn(&Connection) + Send + 'static) {
        self.cx
            .store
            .write(move |tx| {
                f(tx);
                Ok(())
            })
            .await
            .unwrap();
    }

    async fn left(&self, table: &'static str) -> i64 {
        self.cx.store.read(move |conn| Ok(count(conn, table))).await.unwrap()
    }
}

#[tokio::test]
async fn only_what_ended_jobs_left_and_is_old_goes() {
    let place = Place::new();
    place
        .fill(|tx| {
            job(tx, 1, "completed", Some(ago(100)));
            job(tx, 2, "running", None);
            job(tx, 3, "failed", Some(ago(2)));
            for (id, at) in [(1, ago(100)), (2, ago(100)), (3, ago(2))] {
                log(tx, id, 1, at);
                step(tx, id, 1, Some("shared prompt"));
                step(tx, id, 2, Some(&format!("prompt of {id}")));
                step(tx, id, 3, None);
            }
        })
        .await;
    let (removed, _) = pass(&place.cx).await;
    assert!(removed.contains(&("task_logs", 1)), "{removed:?}");
    assert!(removed.contains(&("steps", 3)), "{removed:?}");
    assert_eq!(place.left("task_logs").await, 2);
    assert_eq!(place.left("steps").await, 6);
    assert_eq!(place.left("texts").await, 3, "the shared text stays, that of job 1 goes");
    assert_eq!(place.left("jobs").await, 3, "jobs and their answers stay");
}

#[tokio::test]
async fn more_than_a_batch_goes_in_one_pass() {
    let place = Place::new();
    place
        .fill(|tx| {
            for id in 1..=30 {
                job(tx, id, "cancelled", Some(ago(100)));
            }
            for sequence in 1..=1203 {
                log(tx, 1, sequence, ago(100));
                step(tx, 2, sequence, None);
            }
            (3..=30).for_each(|id| step(tx, id, 1, None));
        })
        .await;
    let (removed, _) = pass(&place.cx).await;
    assert!(removed.contains(&("task_logs", 1203)) && removed.contains(&("steps", 1203 + 28)), "{removed:?}");
}

#[tokio::test]
async fn the_stream_records_and_keys_end_with_their_time() {
    let place = Place::new();
    place
        .fill(|tx| {
            for days in [1, 6, 8, 400] {
                let at = Timestamp::from_microsecond(ago(days)).unwrap();
                events::emit(tx, at, "job.log", None, &Value::Null).unwrap();
                tx.execute(
                    "INSERT INTO manual_events (event_type, payload, created_at) VALUES ('stop', '{}', ?1)",
                    [ago(days)],
                )
                .unwrap();
                tx.execute(
                    "INSERT INTO idempotency (key, caller, request_hash, created_at) VALUES (?1, 'uid:0', x'00', ?2)",
                    (days.to_string(), ago(days)),
                )
                .unwrap();
            }
        })
        .await;
    pass(&place.cx).await;
    assert_eq!(place.left("events").await, 2);
    assert_eq!(place.left("manual_events").await, 3);
    assert_eq!(place.left("idempotency").await, 1, "24 hours exactly are still kept");
}

#[tokio::test]
async fn one_part_that_fails_does_not_stop_the_others() {
    let place = Place::new(); // without a workspace
    place
        .fill(|tx| {
            job(tx, 1, "completed", Some(ago(100)));
            log(tx, 1, 1, ago(100));
        })
        .await;
    let (removed, fine) = pass(&place.cx).await;
    assert!(!fine);
    assert_eq!(removed, [("task_logs", 1)]);
}

#[test]
fn the_pass_runs_in_the_night_of_the_configured_zone() {
    let day = Duration::from_hours(24);
    let check = |now: &str, interval: Duration, zone: &str, expected: &str| {
        assert_eq!(next_pass(now.parse().unwrap(), interval, zone).to_string(), expected);
    };
    check("2026-11-22T12:00:00Z", day, "UTC", "2026-11-23T03:00:00Z");
    check("2026-11-22T02:00:00Z", day, "UTC", "2026-11-22T03:00:00Z");
    check("2026-11-22T03:00:00Z", day, "UTC", "2026-11-23T03:00:00Z");
    check("2026-11-22T12:00:00Z", day, "Europe/Berlin", "2026-11-23T02:00:00Z");
    check("2026-11-22T12:00:00Z", 3 * day, "UTC", "2026-11-25T03:00:00Z");
    check("2026-11-22T12:00:00Z", Duration::from_hours(6), "UTC", "2026-11-22T18:00:00Z");
    // 03:00 on the night when the clock goes forward is there; when it goes back it comes once.
    check("2027-03-27T12:00:00Z", day, "Europe/Berlin", "2027-03-28T01:00:00Z");
}
