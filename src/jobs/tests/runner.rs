use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use assistant_api::jobs::{Job, JobStatus};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::jobs::{
    Claimed, NewStep, Outcome, StepKind, runner, steps,
    store::{
        change,
        claim::{self, Term},
    },
};

/// A run that does what the subject of its job says.
fn scripted<'a>(cx: &'a Cx, claimed: &'a Claimed, cancel: &'a CancellationToken) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let retry = |error: &str| Outcome::Retry { error: error.into(), after: None, permanent: false };
        let done = || Outcome::Completed { summary: "s".into(), response: format!("attempt {}", claimed.job.attempts) };
        let subject = claimed.job.metadata.get("final_response").map_or(&*claimed.job.task_summary, |_| "again");
        match subject {
            "panics" => panic!("on purpose"),
            "fails once" if claimed.job.attempts == 1 => retry("bad luck"),
            "hangs politely" => {
                cancel.cancelled().await;
                Outcome::Lost
            }
            "hangs" => std::future::pending().await,
            "blocks once" if claimed.job.attempts == 1 => {
                std::thread::sleep(Duration::from_millis(1500)); // nothing else runs in this task, not even its renewal
                done()
            }
            "steps" => {
                let lease = claimed.lease;
                let now = cx.clock.now();
                let step = NewStep {
                    kind: StepKind::Note,
                    body: serde_json::Value::Null,
                    text: None,
                    origin: crate::policy::Origin::Host,
                };
                match cx.store.write(move |tx| steps::append(tx, now, &lease, std::slice::from_ref(&step))).await {
                    Ok(_) => done(),
                    Err(_) => Outcome::Lost,
                }
            }
            _ => done(),
        }
    })
}

async fn stop(cx: &Cx) {
    cx.stop.cancel();
    cx.tasks.close();
    tokio::time::timeout(Duration::from_secs(8), cx.tasks.wait()).await.unwrap();
}

/// Where the only lease ends.
async fn lease_until(cx: &Cx) -> Option<i64> {
    cx.store.read(|conn| Ok(conn.query_row(claim::NEXT_LEASE, [], |row| row.get(0))?)).await.unwrap()
}

#[tokio::test]
async fn a_submitted_job_is_run_at_once() {
    let (cx, _dir) = cx();
    runner::start(&cx, scripted).await.unwrap();
    let id = submit(&cx, "steps").await;
    let done = reaches(&cx, id, JobStatus::Completed).await;
    assert_eq!(done.metadata["final_response"], "attempt 1");
    assert_eq!(cx.wake.running.count(), 0);
    stop(&cx).await;
}

#[tokio::test]
async fn an_error_is_retried_when_its_pause_is_over_and_not_before() {
    let (cx, _dir) = cx();
    runner::start(&cx, scripted).await.unwrap();
    let id = submit(&cx, "fails once").await;
    let waits = loop {
        let job = reaches(&cx, id, JobStatus::Queued).await;
        if job.last_error.is_some() {
            break job;
        }
    };
    let pause = waits.run_at.duration_since(cx.clock.now());
    assert!(pause >= SignedDuration::from_secs(1) && pause <= SignedDuration::from_secs(2), "{pause:?}");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(job(&cx, id).await.status, JobStatus::Queued);
    cx.clock.advance(Duration::from_secs(2));
    assert_eq!(reaches(&cx, id, JobStatus::Completed).await.attempts, 2);
    stop(&cx).await;
}

#[tokio::test]
async fn a_panic_is_an_error_like_any_other() {
    let (cx, _dir) = cx();
    runner::start(&cx, scripted).await.unwrap();
    let id = submit(&cx, "panics").await;
    let other = submit(&cx, "fine").await;
    reaches(&cx, other, JobStatus::Completed).await;
    let job = loop {
        let job = job(&cx, id).await;
        if job.status == JobStatus::NeedsReview {
            break job;
        }
        cx.clock.advance(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(job.attempts, 3);
    assert!(!job.last_error.unwrap().contains("on purpose"), "the journal has it");
    stop(&cx).await;
}

#[tokio::test]
async fn a_cancel_reaches_a_run_within_a_second_and_it_stays_cancelled() {
    let (cx, _dir) = cx();
    runner::start(&cx, scripted).await.unwrap();
    for (subject, bound) in [("hangs politely", 1), ("hangs", 4)] {
        let id = submit(&cx, subject).await;
        reaches(&cx, id, JobStatus::Running).await;
        let started = Instant::now();
        jobs::cancel(&cx, id, "me").await.unwrap();
        assert_eq!(job(&cx, id).await.status, JobStatus::Cancelled);
        while cx.wake.running.count() > 0 {
            assert!(started.elapsed() < Duration::from_secs(bound), "{subject}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(job(&cx, id).await.status, JobStatus::Cancelled);
    }
    stop(&cx).await;
}

#[tokio::test]
async fn a_stop_holds_over_a_restart_until_it_is_taken_back() {
    let (first, dir) = cx();
    runner::start(&first, scripted).await.unwrap();
    let id = submit(&first, "hangs politely").await;
    reaches(&first, id, JobStatus::Running).await;
    jobs::stop_all(&first, "me").await.unwrap();
    let job = reaches(&first, id, JobStatus::Queued).await;
    assert_eq!(job.attempts, 0, "the attempt does not count");
    let later = submit(&first, "fine").await;
    stop(&first).await;
    first.store.close().await;

    let second = cx_in(&dir);
    runner::start(&second, scripted).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(self::job(&second, later).await.status, JobStatus::Queued);
    assert!(jobs::resume(&second, "me").await.unwrap());
    reaches(&second, later, JobStatus::Completed).await;
    stop(&second).await;
}

#[tokio::test]
async fn when_the_daemon_stops_a_job_goes_back_and_the_next_daemon_takes_it() {
    let (first, dir) = cx();
    runner::start(&first, scripted).await.unwrap();
    let (polite, rude) = (submit(&first, "hangs politely").await, submit(&first, "hangs").await);
    reaches(&first, polite, JobStatus::Running).await;
    reaches(&first, rude, JobStatus::Running).await;
    stop(&first).await;
    for id in [polite, rude] {
        let job = job(&first, id).await;
        assert_eq!((job.status, job.attempts), (JobStatus::Queued, 0));
    }
    first.store.close().await;
    let second = cx_in(&dir);
    runner::start(&second, scripted).await.unwrap();
    reaches(&second, polite, JobStatus::Running).await;
    stop(&second).await;
}

#[tokio::test]
async fn what_a_crash_left_running_is_run_again() {
    let (first, dir) = cx();
    runner::start(&first, scripted).await.unwrap();
    let id = submit(&first, "hangs").await;
    reaches(&first, id, JobStatus::Running).await;
    // No stop: the database is all that the next daemon sees of the first one.
    let second = cx_in(&dir);
    runner::start(&second, scripted).await.unwrap();
    let job = reaches(&second, id, JobStatus::Running).await;
    assert_eq!(job.attempts, 1, "the run that was cut off does not count");
    stop(&second).await;
    stop(&first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_hangs_loses_its_job_to_another() {
    let (cx, _dir) = cx();
    runner::start(&cx, scripted).await.unwrap();
    let id = submit(&cx, "blocks once").await;
    reaches(&cx, id, JobStatus::Running).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    cx.clock.advance(Duration::from_secs(61));
    let job = reaches(&cx, id, JobStatus::Completed).await;
    assert_eq!(job.metadata["final_response"], "attempt 2", "what the first one says comes too late");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(self::job(&cx, id).await.metadata["final_response"], "attempt 2");
    stop(&cx).await;
}

#[tokio::test]
async fn a_lease_is_renewed_and_no_step_of_the_wall_clock_ends_it() {
    let (cx, _dir) = cx();
    runner::start(&cx, scripted).await.unwrap();
    let id = submit(&cx, "hangs politely").await;
    let before = reaches(&cx, id, JobStatus::Running).await;
    for wall in ["2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z"] {
        cx.clock.step_wall(wall.parse().unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Five leases long, in steps of a renewal each.
    for _ in 0..15 {
        let before = lease_until(&cx).await;
        cx.clock.advance(Duration::from_secs(20));
        while lease_until(&cx).await == before {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let after = job(&cx, id).await;
    assert_eq!((after.status, after.attempts, after.locked_at), (JobStatus::Running, 1, before.locked_at));
    stop(&cx).await;
}

#[tokio::test]
async fn a_job_for_later_runs_when_the_wall_clock_says_so_however_it_got_there() {
    let (cx, _dir) = cx();
    runner::start(&cx, scripted).await.unwrap();
    let later = NewJob { run_at: Some("2026-11-23T09:00".into()), ..new("later") };
    let id = jobs::create(&cx, later, "me").await.unwrap().id;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(job(&cx, id).await.status, JobStatus::Queued);
    cx.clock.step_wall("2026-11-23T09:00:00Z".parse().unwrap());
    reaches(&cx, id, JobStatus::Completed).await;
    stop(&cx).await;
}

static RUNS: AtomicUsize = AtomicUsize::new(0);

fn tallied<'a>(_: &'a Cx, _: &'a Claimed, cancel: &'a CancellationToken) -> BoxFuture<'a, Outcome> {
    Box::pin(async {
        RUNS.fetch_add(1, Ordering::SeqCst);
        let _ = tokio::time::timeout(Duration::from_millis(300), cancel.cancelled()).await;
        Outcome::Completed { summary: "s".into(), response: "r".into() }
    })
}

#[tokio::test]
async fn a_clock_that_jumps_a_day_forward_and_back_runs_nothing_twice() {
    let (cx, _dir) = cx();
    let start = cx.clock.now();
    runner::start(&cx, tallied).await.unwrap();
    let day = SignedDuration::from_hours(24);
    let timed = |at: jiff::Timestamp| NewJob { run_at: Some(at.to_string()), ..new("later") };
    let soon = jobs::create(&cx, timed(start + SignedDuration::from_hours(1)), "me").await.unwrap().id;
    let far = jobs::create(&cx, timed(start + day * 3), "me").await.unwrap().id;
    let running = submit(&cx, "at once").await;
    reaches(&cx, running, JobStatus::Running).await;
    // What runs goes on, what became due runs, and going back over its time does not run it again.
    for wall in [start + day, start - day, start + day, start] {
        cx.clock.step_wall(wall);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    for id in [running, soon] {
        let job = reaches(&cx, id, JobStatus::Completed).await;
        assert_eq!(job.attempts, 1);
    }
    cx.clock.step_wall(start + day);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(RUNS.load(Ordering::SeqCst), 2);
    assert_eq!(job(&cx, far).await.status, JobStatus::Queued);
    stop(&cx).await;
}

static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn counted<'a>(_: &'a Cx, _: &'a Claimed, _: &'a CancellationToken) -> BoxFuture<'a, Outcome> {
    Box::pin(async {
        MOST.fetch_max(AT_ONCE.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        AT_ONCE.fetch_sub(1, Ordering::SeqCst);
        Outcome::Completed { summary: "s".into(), response: "r".into() }
    })
}

#[tokio::test]
async fn as_many_jobs_run_at_once_as_there_are_workers() {
    let (cx, _dir) = cx();
    runner::start(&cx, counted).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(submit(&cx, &format!("job {number}")).await);
    }
    for id in ids {
        reaches(&cx, id, JobStatus::Completed).await;
    }
    assert_eq!(MOST.load(Ordering::SeqCst), 4);
    stop(&cx).await;
}

#[tokio::test]
async fn an_instruction_during_the_last_step_is_not_lost() {
    fn told_late<'a>(cx: &'a Cx, claimed: &'a Claimed, _: &'a CancellationToken) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let lease = claimed.lease;
            let now = cx.clock.now();
            if claimed.epoch == 0 {
                jobs::instruct(cx, lease.job_id, "one more thing", "me").await.unwrap();
            } else {
                let read = move |tx: &rusqlite::Connection| {
                    let told = jobs::instructions::pending(tx, lease.job_id)?;
                    let ids: Vec<_> = told.iter().map(|one| one.id).collect();
                    jobs::instructions::consume(tx, now, &lease, &ids)?;
                    jobs::clear_new_context(tx, &lease)
                };
                cx.store.write(read).await.unwrap();
            }
            Outcome::Completed { summary: "s".into(), response: format!("epoch {}", claimed.epoch) }
        })
    }
    let (cx, _dir) = cx();
    runner::start(&cx, told_late).await.unwrap();
    let id = submit(&cx, "told late").await;
    let job: Job = reaches(&cx, id, JobStatus::Completed).await;
    assert_eq!(job.metadata["final_response"], "epoch 1");
    stop(&cx).await;
}

#[tokio::test]
async fn an_effect_that_a_crash_left_under_way_is_looked_at_before_jobs_go_on() {
    use assistant_api::effects::EffectState;

    use crate::ledger::{self, NewEffect};

    let (cx, _dir) = cx();
    let id = submit(&cx, "fine").await;
    let now = cx.clock.now();
    let new = |call: &str| NewEffect {
        job_id: Some(id),
        call_key: Some(call.into()),
        tool: "a tool that is no longer there".into(),
        target: "x".into(),
        args_hash: String::new(),
        origin: crate::policy::Origin::Owner,
        rule: String::new(),
        detail: serde_json::json!({}),
    };
    let (written, begun) = (new("1:0"), new("1:1"));
    let write = move |tx: &rusqlite::Connection| {
        let written = ledger::prepare(tx, now, &written)?;
        let begun = ledger::prepare(tx, now, &begun)?;
        ledger::dispatch(tx, now, begun)?;
        Ok((written, begun))
    };
    let (written, begun) = cx.store.write(write).await.unwrap();
    runner::start(&cx, scripted).await.unwrap();
    reaches(&cx, id, JobStatus::Completed).await;
    let states = cx
        .store
        .read(move |conn| Ok((ledger::get(conn, written)?.state, ledger::get(conn, begun)?.state)))
        .await
        .unwrap();
    assert_eq!(states, (EffectState::Failed, EffectState::Unknown), "not begun; and nobody can tell");
    stop(&cx).await;
}

/// The claim and the cancel may share one commit, before the run is among those that a cancel finds.
#[tokio::test]
async fn a_job_that_was_cancelled_before_its_run_was_registered_is_not_run() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    fn never<'a>(_: &'a Cx, _: &'a Claimed, _: &'a CancellationToken) -> BoxFuture<'a, Outcome> {
        RUNS.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Outcome::Lost))
    }
    let (cx, _dir) = cx();
    let id = submit(&cx, "x").await;
    let now = cx.clock.now();
    let claim = move |tx: &rusqlite::Connection| {
        let term = Term { boot: "boot".into(), until: Duration::from_hours(1) };
        let claimed = claim::claim(tx, now, &term, &[], 1)?.pop();
        change::cancel(tx, now, id, "me")?;
        Ok(claimed)
    };
    let claimed = cx.store.write(claim).await.unwrap().unwrap();
    let cancel = cx.wake.running.begin(claimed.lease);
    runner::Runner::new(&cx, never).work(claimed, cancel).await;
    assert_eq!(RUNS.load(Ordering::SeqCst), 0);
    assert_eq!((job(&cx, id).await.status, cx.wake.running.count()), (JobStatus::Cancelled, 0));
}

/// As a full disk does: the outcome waits, and the job is not taken for one whose worker hangs.
#[tokio::test]
async fn an_outcome_that_cannot_be_stored_keeps_its_lease() {
    let (cx, _dir) = cx();
    let sql = |sql: &'static str| cx.store.write(move |tx| Ok(tx.execute_batch(sql)?));
    sql("CREATE TRIGGER full BEFORE UPDATE ON jobs WHEN new.status = 'completed' \
         BEGIN SELECT RAISE(ABORT, 'full'); END")
    .await
    .unwrap();
    runner::start(&cx, scripted).await.unwrap();
    let id = submit(&cx, "fine").await;
    while cx.wake.running.waiting().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..3 {
        let before = lease_until(&cx).await;
        cx.clock.advance(Duration::from_secs(61));
        while lease_until(&cx).await == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(job(&cx, id).await.status, JobStatus::Running);
    }
    sql("DROP TRIGGER full").await.unwrap();
    let done = reaches(&cx, id, JobStatus::Completed).await;
    assert_eq!((done.attempts, &done.metadata["final_response"]), (1, &"attempt 1".into()), "it ran once");
    while cx.wake.running.count() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop(&cx).await;
}

/// As a full disk does.
#[tokio::test]
async fn a_database_that_cannot_be_written_at_the_start_is_waited_for() {
    let (cx, _dir) = cx();
    let id = submit(&cx, "fine").await;
    let sql = |sql: &'static str| cx.store.write(move |tx| Ok(tx.execute_batch(sql)?));
    sql("UPDATE jobs SET status = 'running', lease = 1; \
         CREATE TRIGGER full BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'full'); END")
    .await
    .unwrap();
    runner::start(&cx, scripted).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    sql("DROP TRIGGER full").await.unwrap();
    reaches(&cx, id, JobStatus::Completed).await;
    stop(&cx).await;
}
