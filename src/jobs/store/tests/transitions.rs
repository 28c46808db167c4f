//! Every change of status that exists, from every status.

use assistant_api::{
    ErrorKind, JobId,
    jobs::{JobStatus, ReviewOverride},
};
use rusqlite::Connection;

use super::*;
use crate::{
    error::Error,
    jobs::{ApprovalState, NeedsWhat, NewApproval},
};

use JobStatus::{Cancelled, Completed, Failed, NeedsReview, Queued, Running, Waiting};

/// Where a job can stand, as far as it makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Queued,
    Running,
    Waiting,
    Held,
    Question,
    Approval,
    Review,
    Completed,
    Failed,
    Cancelled,
}

const STARTS: [Start; 10] = [
    Start::Queued,
    Start::Running,
    Start::Waiting,
    Start::Held,
    Start::Question,
    Start::Approval,
    Start::Review,
    Start::Completed,
    Start::Failed,
    Start::Cancelled,
];

/// A new job in that state.
fn job_in(conn: &Connection, start: Start) -> JobId {
    let new = Creation { hold: start == Start::Held, ..creation(&format!("{start:?}")) };
    let id = insert(conn, now(), &new).unwrap().id;
    let outcome = match start {
        Start::Queued | Start::Held => return id,
        Start::Cancelled => {
            change::cancel(conn, now(), id, "me").unwrap();
            return id;
        }
        Start::Running => {
            claim_one(conn);
            return id;
        }
        Start::Waiting => Outcome::Waiting { reason: "for others".into() },
        Start::Question => Outcome::NeedsReview { needs: NeedsWhat::Answer, reason: "which one?".into() },
        Start::Approval => Outcome::NeedsReview { needs: NeedsWhat::Approval, reason: "may I?".into() },
        Start::Review => Outcome::NeedsReview { needs: NeedsWhat::Review, reason: "look".into() },
        Start::Completed => Outcome::Completed { summary: "s".into(), response: "r".into() },
        Start::Failed => Outcome::Failed { reason: "cannot".into() },
    };
    let claimed = claim_one(conn);
    assert_eq!(claimed.job.id, id);
    if start == Start::Approval {
        approvals::request(conn, now(), &claimed.lease, &approval("2:0")).unwrap();
    }
    apply(conn, now(), &claimed.lease, &outcome, &BACKOFF).unwrap();
    id
}

fn approval(call_key: &str) -> NewApproval {
    NewApproval {
        call_key: call_key.into(),
        tool: "file_delete".into(),
        args: serde_json::json!({ "path": "a" }),
        args_hash: "hash".into(),
        reason: "web text asked".into(),
        rule: "write-untrusted".into(),
    }
}

fn review(requeue: bool) -> ReviewOverride {
    ReviewOverride {
        instruction: Some("go on".into()),
        max_iterations_per_task: Some(80),
        requeue,
        ..Default::default()
    }
}

/// Runs `verb` from every start and compares with the status it should lead to; `None`: refused with 409, unchanged.
async fn check(
    verb: impl Fn(&Connection, JobId) -> Result<(), Error> + Send + 'static,
    wanted: impl Fn(Start) -> Option<JobStatus> + Send + 'static,
) {
    with_db(move |conn| {
        for start in STARTS {
            conn.execute_batch("SAVEPOINT start").unwrap();
            let id = job_in(conn, start);
            let before = row::get(conn, id).unwrap();
            let result = verb(conn, id);
            let after = row::get(conn, id).unwrap();
            if let Some(status) = wanted(start) {
                result.unwrap_or_else(|err| panic!("{start:?}: {err}"));
                assert_eq!(after.status, status, "{start:?}");
            } else {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Conflict, "{start:?}");
                assert_eq!(after.status, before.status, "{start:?}");
            }
            assert_eq!(after.completed_at.is_some(), !after.status.is_open(), "{start:?}");
            assert_eq!(after.locked_at.is_some(), after.status == Running, "{start:?}");
            conn.execute_batch("ROLLBACK TO start; RELEASE start").unwrap();
        }
    })
    .await;
}

fn is_open(start: Start) -> bool {
    !matches!(start, Start::Completed | Start::Failed | Start::Cancelled)
}

#[tokio::test]
async fn cancel_ends_every_open_job() {
    let cancel = |conn: &Connection, id| change::cancel(conn, now(), id, "me").map(drop);
    check(cancel, |start| is_open(start).then_some(Cancelled)).await;
}

#[tokio::test]
async fn requeue_takes_whatever_is_not_under_way() {
    let requeue = |conn: &Connection, id| change::requeue(conn, now(), id, "me");
    check(requeue, |start| (!matches!(start, Start::Queued | Start::Running)).then_some(Queued)).await;
}

#[tokio::test]
async fn an_instruction_starts_a_finished_job_over_and_waits_for_an_open_one() {
    let instruct =
        |conn: &Connection, id| change::instruct(conn, now(), id, "use euros", "me", Origin::Owner).map(drop);
    check(instruct, |start| {
        Some(match start {
            Start::Running => Running,
            Start::Waiting | Start::Held => Waiting,
            Start::Question | Start::Approval | Start::Review => NeedsReview,
            Start::Queued | Start::Completed | Start::Failed | Start::Cancelled => Queued,
        })
    })
    .await;
}

#[tokio::test]
async fn an_answer_needs_a_question() {
    let answer = |conn: &Connection, id| change::answer(conn, now(), id, "the second", "me", Origin::Owner);
    check(answer, |start| (start == Start::Question).then_some(Queued)).await;
}

#[tokio::test]
async fn a_decision_needs_a_pending_call() {
    for state in [ApprovalState::Approved, ApprovalState::Denied] {
        let decide = move |conn: &Connection, id| change::decide(conn, now(), id, None, state, None, "me");
        check(decide, |start| (start == Start::Approval).then_some(Queued)).await;
    }
}

#[tokio::test]
async fn a_review_needs_a_job_in_review() {
    let in_review = |start| matches!(start, Start::Question | Start::Approval | Start::Review);
    let requeued =
        |conn: &Connection, id| change::review(conn, now(), id, &review(true), "me", Origin::Owner).map(drop);
    check(requeued, move |start| in_review(start).then_some(Queued)).await;
    let kept = |conn: &Connection, id| change::review(conn, now(), id, &review(false), "me", Origin::Owner).map(drop);
    check(kept, move |start| in_review(start).then_some(NeedsReview)).await;
}

#[tokio::test]
async fn a_question_that_nobody_answered_is_not_lost() {
    with_db(|conn| {
        let notes = |id| {
            let rows = log::before(conn, id, None, 50).unwrap();
            rows.into_iter()
                .filter(|row| row.event_type == "supervisor_note")
                .filter_map(|row| row.input_data)
                .collect()
        };
        let told = |id| instructions::pending(conn, id).unwrap();

        let id = job_in(conn, Start::Question);
        change::requeue(conn, now(), id, "me").unwrap();
        let new = told(id);
        assert_eq!((new.len(), new[0].origin), (1, Origin::Host));
        assert!(new[0].text.contains("Nobody answered your question"), "{new:?}");
        let rows: Vec<serde_json::Value> = notes(id);
        assert_eq!((&rows[0]["kind"], &rows[0]["question"]), (&"unanswered".into(), &"which one?".into()));

        change::cancel(conn, now(), id, "me").unwrap();
        let id = job_in(conn, Start::Question);
        change::review(conn, now(), id, &review(false), "me", Origin::Owner).unwrap();
        let needs = row::get(conn, id).unwrap().needs.unwrap();
        assert_eq!((&*needs.what, &*needs.text), ("answer", "which one?"), "it still waits for its answer");
        change::review(conn, now(), id, &review(true), "me", Origin::Owner).unwrap();
        let new: Vec<_> = told(id).into_iter().map(|told| told.text).collect();
        assert!(new.len() == 3 && new[0] == "go on" && new[1].contains("Nobody answered") && new[2] == "go on");
        let rows: Vec<serde_json::Value> = notes(id);
        assert!(rows.iter().any(|row| row["question"] == "which one?"), "{rows:?}");

        // An answer is an answer, and what asked nothing is told nothing.
        change::cancel(conn, now(), id, "me").unwrap();
        let id = job_in(conn, Start::Question);
        change::answer(conn, now(), id, "the second", "me", Origin::Owner).unwrap();
        assert_eq!(told(id).into_iter().map(|told| told.text).collect::<Vec<_>>(), ["the second"]);
        change::cancel(conn, now(), id, "me").unwrap();
        let id = job_in(conn, Start::Review);
        change::requeue(conn, now(), id, "me").unwrap();
        assert!(told(id).is_empty());
    })
    .await;
}

#[tokio::test]
async fn only_a_held_job_is_released() {
    let release = |conn: &Connection, id| change::release(conn, now(), id, &[], "me");
    check(release, |start| (start == Start::Held).then_some(Queued)).await;
}

#[tokio::test]
async fn a_stop_takes_running_jobs_back_and_touches_no_other() {
    let stop = |conn: &Connection, _| pause::stop(conn, now(), "me").map(drop);
    check(stop, |start| {
        Some(match start {
            Start::Queued | Start::Running => Queued,
            Start::Waiting | Start::Held => Waiting,
            Start::Question | Start::Approval | Start::Review => NeedsReview,
            Start::Completed => Completed,
            Start::Failed => Failed,
            Start::Cancelled => Cancelled,
        })
    })
    .await;
}

#[tokio::test]
async fn every_outcome_leads_where_it_should() {
    let retry = |permanent| Outcome::Retry { error: "429".into(), after: None, permanent };
    let cases = [
        (Outcome::Completed { summary: "s".into(), response: "r".into() }, Some(Completed)),
        (Outcome::Failed { reason: "cannot".into() }, Some(Failed)),
        (Outcome::NeedsReview { needs: NeedsWhat::Limits, reason: "more".into() }, Some(NeedsReview)),
        (Outcome::Waiting { reason: "children".into() }, Some(Waiting)),
        (retry(false), Some(Queued)),
        (retry(true), Some(NeedsReview)),
        (Outcome::Released, Some(Queued)),
        (Outcome::Lost, None),
    ];
    for (outcome, wanted) in cases {
        with_db(move |conn| {
            let id = insert(conn, now(), &creation("outcome")).unwrap().id;
            let claimed = claim_one(conn);
            assert_eq!(apply(conn, now(), &claimed.lease, &outcome, &BACKOFF).unwrap(), wanted, "{outcome:?}");
            let job = row::get(conn, id).unwrap();
            assert_eq!(job.status, wanted.unwrap_or(Running), "{outcome:?}");
            let attempts = i64::from(outcome != Outcome::Released);
            assert_eq!(job.attempts, attempts, "{outcome:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn retries_back_off_and_end_in_review() {
    with_db(|conn| {
        let id = insert(conn, now(), &creation("retry")).unwrap().id;
        let mut at = now();
        let mut pauses = Vec::new();
        loop {
            let Some(claimed) = claim(conn, at, &term(60), &[], 1).unwrap().pop() else { break };
            let outcome = Outcome::Retry { error: "overloaded".into(), after: None, permanent: false };
            apply(conn, at, &claimed.lease, &outcome, &BACKOFF).unwrap();
            let job = row::get(conn, id).unwrap();
            if job.status == Queued {
                pauses.push((job.run_at.as_millisecond() - at.as_millisecond()) / 100);
                assert!(claim(conn, at, &term(60), &[], 1).unwrap().is_empty(), "not before it is due");
            }
            at = job.run_at;
        }
        assert_eq!(pauses, [10, 20], "half of 2 s and 4 s, without jitter");
        let job = row::get(conn, id).unwrap();
        assert_eq!((job.status, job.attempts), (NeedsReview, 3));
        assert_eq!(job.needs.unwrap().what, "review");

        change::requeue(conn, at, id, "me").unwrap();
        let claimed = claim(conn, at, &term(60), &[], 1).unwrap().remove(0);
        assert_eq!(claimed.job.attempts, 1, "a person's requeue gives all attempts back");
        let outcome = Outcome::Retry { error: "429".into(), after: Some(Duration::from_secs(90)), permanent: false };
        apply(conn, at, &claimed.lease, &outcome, &BACKOFF).unwrap();
        let job = row::get(conn, id).unwrap();
        assert_eq!((job.run_at.as_second() - at.as_second(), job.status), (90, Queued), "Retry-After is honoured");
    })
    .await;
}

#[tokio::test]
async fn limits_of_a_review_are_for_one_run_which_a_retry_goes_on_with() {
    with_db(|conn| {
        let id = job_in(conn, Start::Review);
        change::review(conn, now(), id, &review(false), "me", Origin::Owner).unwrap();
        change::requeue(conn, now(), id, "me").unwrap();
        let claimed = claim_one(conn);
        assert_eq!(claimed.overrides.max_iterations, Some(80));
        let retry = Outcome::Retry { error: "e".into(), after: Some(Duration::ZERO), permanent: false };
        apply(conn, now(), &claimed.lease, &retry, &BACKOFF).unwrap();
        let claimed = claim_one(conn);
        assert_eq!(claimed.overrides.max_iterations, Some(80), "the run goes on");
        assert_eq!(claimed.epoch, 0, "and so does the conversation");
        let ends = Outcome::NeedsReview { needs: NeedsWhat::Limits, reason: "again".into() };
        apply(conn, now(), &claimed.lease, &ends, &BACKOFF).unwrap();
        change::requeue(conn, now(), id, "me").unwrap();
        assert_eq!(claim_one(conn).overrides, crate::jobs::Overrides::default());
    })
    .await;
}

#[tokio::test]
async fn what_comes_in_while_a_run_ends_starts_another() {
    with_db(|conn| {
        let id = insert(conn, now(), &creation("late")).unwrap().id;
        let claimed = claim_one(conn);
        change::instruct(conn, now(), id, "one more thing", "me", Origin::Owner).unwrap();
        let done = Outcome::Completed { summary: "s".into(), response: "r".into() };
        assert_eq!(apply(conn, now(), &claimed.lease, &done, &BACKOFF).unwrap(), Some(Queued));
        let again = claim_one(conn);
        assert_eq!(again.epoch, claimed.epoch + 1);
        assert_eq!(again.job.metadata["final_response"], "r", "the earlier answer is known");
        let told = instructions::pending(conn, id).unwrap();
        assert_eq!(told[0].text, "one more thing");
        instructions::consume(conn, now(), &again.lease, &[told[0].id]).unwrap();
        assert!(thread::clear_new_context(conn, &again.lease).unwrap());
        assert_eq!(apply(conn, now(), &again.lease, &done, &BACKOFF).unwrap(), Some(Completed));
    })
    .await;
}

#[tokio::test]
async fn a_thread_has_one_open_job() {
    with_db(|conn| {
        let id = job_in(conn, Start::Completed);
        let thread = row::get(conn, id).unwrap().thread_id;
        let other = job_in(conn, Start::Queued);
        conn.execute("UPDATE jobs SET thread_id = ?1 WHERE id = ?2", (&thread, other.0)).unwrap();
        for result in [
            change::requeue(conn, now(), id, "me"),
            change::instruct(conn, now(), id, "x", "me", Origin::Owner).map(drop),
        ] {
            let err = result.unwrap_err();
            assert_eq!(err.kind(), ErrorKind::Conflict);
            assert!(err.message().contains(&format!("job {other} ")), "{err}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_approval_is_for_one_call_once() {
    with_db(|conn| {
        let id = job_in(conn, Start::Approval);
        let needs = row::get(conn, id).unwrap().needs.unwrap();
        assert_eq!(needs.command, format!("assistantctl job approve {id}"));
        change::decide(conn, now(), id, needs.approval_id, ApprovalState::Approved, None, "me").unwrap();
        let claimed = claim_one(conn);
        let asked = approvals::for_call(conn, id, "2:0").unwrap().unwrap();
        assert_eq!(asked.state, ApprovalState::Approved);
        let take = |hash: &str| approvals::use_once(conn, now(), &claimed.lease, asked.id, hash).unwrap();
        assert!(!take("another call"));
        assert!(take("hash"));
        assert!(!take("hash"), "it is used");
        assert!(change::decide(conn, now(), id, Some(asked.id), ApprovalState::Denied, None, "me").is_err());
    })
    .await;
}

#[tokio::test]
async fn a_cancel_takes_what_the_job_started_with_it() {
    with_db(|conn| {
        let root = insert(conn, now(), &creation("root")).unwrap().id;
        let child =
            |parent| insert(conn, now(), &Creation { parent_job_id: Some(parent), ..creation("c") }).unwrap().id;
        let first = child(root);
        let second = child(first);
        let done = child(root);
        conn.execute("UPDATE jobs SET status = 'completed' WHERE id = ?1", [done.0]).unwrap();
        // Named in the metadata alone.
        let named = insert(conn, now(), &creation("named")).unwrap().id;
        let metadata = format!("{{\"parent_job_id\": {root}}}");
        conn.execute("UPDATE jobs SET metadata = ?1 WHERE id = ?2", (metadata, named.0)).unwrap();
        let mut cancelled = change::cancel(conn, now(), root, "me").unwrap();
        cancelled.sort_unstable();
        assert_eq!(cancelled, [root, first, second, named]);
        assert_eq!(row::get(conn, done).unwrap().status, Completed);
    })
    .await;
}

#[tokio::test]
async fn what_a_crash_left_running_goes_on_and_a_job_that_brings_the_daemon_down_goes_to_review() {
    with_db(|conn| {
        let id = insert(conn, now(), &creation("crash")).unwrap().id;
        for _ in 0..2 {
            claim_one(conn);
            assert_eq!(claim::recover(conn, now(), 3).unwrap(), [id]);
            let job = row::get(conn, id).unwrap();
            assert_eq!((job.status, job.attempts), (Queued, 0));
        }
        // A run that got somewhere starts the count anew.
        let claimed = claim_one(conn);
        let step = NewStep { kind: StepKind::Note, body: serde_json::Value::Null, text: None, origin: Origin::Host };
        steps::append(conn, now(), &claimed.lease, &[step]).unwrap();
        claim::recover(conn, now(), 3).unwrap();
        for round in 1..=3 {
            claim_one(conn);
            claim::recover(conn, now(), 3).unwrap();
            let wanted = if round < 3 { Queued } else { NeedsReview };
            assert_eq!(row::get(conn, id).unwrap().status, wanted);
        }
        assert!(claim::recover(conn, now(), 3).unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn nothing_is_claimed_while_everything_is_stopped() {
    with_db(|conn| {
        let id = job_in(conn, Start::Running);
        assert!(pause::stop(conn, now(), "me").unwrap());
        assert!(!pause::stop(conn, now(), "you").unwrap(), "it was stopped already");
        assert_eq!(pause::stopped(conn).unwrap().unwrap().by, "me");
        assert_eq!(row::get(conn, id).unwrap().attempts, 0);
        assert!(claim(conn, now(), &term(60), &[], 4).unwrap().is_empty());
        insert(conn, now(), &creation("queued all the same")).unwrap();
        assert!(pause::go_on(conn, now(), "me").unwrap());
        assert_eq!(claim(conn, now(), &term(60), &[], 4).unwrap().len(), 2);
        assert_eq!(pause::stopped(conn).unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn claims_go_by_priority_then_age_and_pass_over_what_is_not_due_or_still_ends() {
    with_db(|conn| {
        let late = now() + jiff::SignedDuration::from_secs(60);
        let add = |subject: &str, priority, run_at| {
            insert(conn, now(), &Creation { priority, run_at, ..creation(subject) }).unwrap().id
        };
        let (old, young) = (add("old", 0, now()), add("young", 0, now()));
        let (urgent, later) = (add("urgent", 5, now()), add("later", 9, late));
        let ids = |claimed: Vec<Claimed>| claimed.into_iter().map(|claimed| claimed.job.id).collect::<Vec<_>>();
        assert_eq!(claim::next_due(conn, now()).unwrap().run_at, Some(late));
        assert_eq!(ids(claim(conn, now(), &term(60), &[old], 2).unwrap()), [urgent, young]);
        assert_eq!(ids(claim(conn, now(), &term(60), &[], 4).unwrap()), [old]);
        assert_eq!(ids(claim(conn, late, &term(60), &[], 4).unwrap()), [later]);
        assert_eq!(claim::next_due(conn, now()).unwrap().lease_until, Some(Duration::from_mins(1)));
    })
    .await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_no_other() {
    with_db(|conn| {
        let [array, limit, fine] = ["a", "b", "c"].map(|subject| insert(conn, now(), &creation(subject)).unwrap().id);
        let spoil = |id: JobId, metadata: &str| {
            conn.execute("UPDATE jobs SET metadata = ?2 WHERE id = ?1", (id.0, metadata)).unwrap();
        };
        spoil(array, "[1]");
        spoil(limit, r#"{"mine": 1, "admin_review_override": {"max_iterations_per_task": "many"}}"#);
        let claimed = claim(conn, now(), &term(60), &[], 4).unwrap();
        assert_eq!(claimed.iter().map(|claimed| claimed.job.id).collect::<Vec<_>>(), [fine]);
        let kept = serde_json::json!({"admin_review_override": {"max_iterations_per_task": "many"}});
        for (id, unreadable) in [(array, "[1]".into()), (limit, kept)] {
            let job = row::get(conn, id).unwrap();
            assert_eq!((job.status, job.attempts, job.locked_at), (NeedsReview, 0, None));
            assert_eq!(job.metadata["unreadable"], unreadable, "what was there is kept");
            assert!(job.last_error.unwrap().contains("could not be read") && job.needs.is_some());
            change::requeue(conn, now(), id, "me").unwrap();
        }
        assert_eq!(row::get(conn, limit).unwrap().metadata["mine"], 1);
        assert_eq!(claim(conn, now(), &term(60), &[], 4).unwrap().len(), 2, "they can go on");

        // Nor does one that runs, at the next start and when its lease ends.
        spoil(array, "[2]");
        assert_eq!(claim::recover(conn, now(), 3).unwrap().len(), 3);
        assert_eq!(claim(conn, now(), &term(60), &[], 4).unwrap().len(), 2);
        spoil(limit, "[3]");
        assert_eq!(claim::expire(conn, now(), Duration::from_secs(61), "boot").unwrap().len(), 2);
        let status = |id| row::get(conn, id).unwrap().status;
        assert_eq!((status(array), status(limit), status(fine)), (NeedsReview, NeedsReview, Queued));
    })
    .await;
}

#[tokio::test]
async fn the_journal_tells_a_cancelled_run_from_one_that_lost_its_job() {
    with_db(|conn| {
        let done = Outcome::Completed { summary: "s".into(), response: "r".into() };
        let ended = |claimed: &Claimed| {
            let status = apply(conn, now(), &claimed.lease, &done, &BACKOFF).unwrap();
            finish::ended_as(conn, claimed.job.id, status).unwrap()
        };
        let start = || {
            insert(conn, now(), &creation("job")).unwrap();
            claim_one(conn)
        };
        assert_eq!(ended(&start()), "completed");
        let cancelled = start();
        change::cancel(conn, now(), cancelled.job.id, "me").unwrap();
        assert_eq!(ended(&cancelled), "cancelled");
        let erased = start();
        erase::erase(conn, erased.job.id).unwrap();
        assert_eq!(ended(&erased), "erased");
        let lost = start();
        pause::stop(conn, now(), "me").unwrap();
        assert_eq!(ended(&lost), "lost");
    })
    .await;
}

#[tokio::test]
async fn an_expired_lease_is_taken_back_and_its_holder_can_write_nothing() {
    with_db(|conn| {
        let id = insert(conn, now(), &creation("hangs")).unwrap().id;
        let held = claim_one(conn);
        claim::renew(conn, &held.lease, &term(100)).unwrap();
        assert!(claim::expire(conn, now(), Duration::from_secs(99), "boot").unwrap().is_empty());
        assert_eq!(claim::expire(conn, now(), Duration::from_secs(100), "boot").unwrap(), [held.lease]);
        let job = row::get(conn, id).unwrap();
        assert_eq!((job.status, job.attempts), (Queued, 1), "the attempt counts");
        let lost = |result: Result<(), Error>| assert_eq!(result.unwrap_err().kind(), ErrorKind::Conflict);
        lost(claim::renew(conn, &held.lease, &term(200)));
        lost(steps::append(conn, now(), &held.lease, &[]).map(drop));
        lost(usage::add(conn, now(), &held.lease, usage::UsageDelta::default()));
        lost(thread::clear_new_context(conn, &held.lease).map(drop));
        lost(approvals::request(conn, now(), &held.lease, &approval("1:0")).map(drop));
        lost(approvals::use_once(conn, now(), &held.lease, assistant_api::ApprovalId(1), "hash").map(drop));
        change::instruct(conn, now(), id, "x", "me", Origin::Owner).unwrap();
        let told = instructions::pending(conn, id).unwrap();
        lost(instructions::consume(conn, now(), &held.lease, &[told[0].id]));
        let again = claim_one(conn);
        lost(steps::append(conn, now(), &held.lease, &[]).map(drop));
        steps::append(conn, now(), &again.lease, &[]).unwrap();
    })
    .await;
}
