use std::time::Duration;

use assistant_api::jobs::{JobStatus, Metadata};
use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    claim::{Term, claim},
    create::{Creation, insert},
    finish::{Backoff, apply},
    *,
};
use crate::{
    jobs::{Claimed, NewStep, Outcome, StepKind},
    policy::Origin,
    store::Store,
};

pub(crate) const BACKOFF: Backoff = Backoff { base: Duration::from_secs(2), max: Duration::from_mins(5), jitter: 0.0 };

pub(crate) fn creation(subject: &str) -> Creation {
    Creation {
        subject: subject.into(),
        body: "do it".into(),
        from_address: "dashboard@local".into(),
        to_address: "assistant@local".into(),
        origin: Origin::Owner,
        priority: 0,
        max_attempts: 3,
        run_at: now(),
        hold: false,
        attachments: Vec::new(),
        metadata: Metadata::new(),
        parent_job_id: None,
        domain: "local".into(),
        created_by: "uid:0".into(),
    }
}

pub(crate) fn now() -> Timestamp {
    "2026-11-22T09:00:00Z".parse().unwrap()
}

pub(crate) fn term(seconds: u64) -> Term {
    Term { boot: "boot".into(), until: Duration::from_secs(seconds) }
}

/// Claims the one job that is due.
pub(crate) fn claim_one(conn: &Connection) -> Claimed {
    claim(conn, now(), &term(60), &[], 1).unwrap().remove(0)
}

/// Runs `f` in one transaction on a new database.
pub(crate) async fn with_db<T: Send + 'static>(f: impl Fn(&Connection) -> T + Send + 'static) -> T {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("assistant.db")).unwrap();
    store.write(move |tx| Ok(f(tx))).await.unwrap()
}

#[tokio::test]
async fn a_job_is_claimed_written_to_and_completed() {
    with_db(|conn| {
        let job = insert(conn, now(), &creation("first")).unwrap();
        let claimed = claim_one(conn);
        assert_eq!((claimed.job.id, claimed.job.status, claimed.job.attempts), (job.id, JobStatus::Running, 1));
        let step = NewStep {
            kind: StepKind::Prompt,
            body: serde_json::json!({ "n": 1 }),
            text: Some("prompt".into()),
            origin: Origin::Owner,
        };
        assert_eq!(steps::append(conn, now(), &claimed.lease, &[step.clone(), step]).unwrap(), 2);
        let stored = steps::load(conn, job.id, claimed.epoch).unwrap();
        assert_eq!(stored.iter().map(|step| step.seq).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(stored[0].text.as_deref(), Some("prompt"));

        let done = Outcome::Completed { summary: "did it".into(), response: "here".into() };
        assert_eq!(apply(conn, now(), &claimed.lease, &done, &BACKOFF).unwrap(), Some(JobStatus::Completed));
        assert_eq!(apply(conn, now(), &claimed.lease, &done, &BACKOFF).unwrap(), None, "the lease is gone");
        let job = row::get(conn, job.id).unwrap();
        assert_eq!(job.status, JobStatus::Completed);
        assert_eq!(job.metadata["final_response"], "here");
        assert_eq!(job.task_summary, "did it");
        assert_eq!(job.completed_at, Some(now()));
        let logs = log::before(conn, job.id, None, 10).unwrap();
        assert_eq!(logs.iter().map(|row| row.sequence).collect::<Vec<_>>(), [1, 2]);
    })
    .await;
}

mod plans;
mod property;
mod transitions;

#[tokio::test]
async fn rows_that_are_written_together_share_an_event() {
    with_db(|conn| {
        let id = insert(conn, now(), &creation("logs")).unwrap().id;
        let row = |event_type| log::NewLog { event_type, ..log::NewLog::default() };
        let later = now() + jiff::SignedDuration::from_micros(1);
        for (at, event_type) in [(now(), "llm_response"), (now(), "tool_call"), (later, "tool_result")] {
            log::append(conn, at, id, &row(event_type)).unwrap();
        }
        let events = crate::events::after(conn, assistant_api::EventId(0), Some(id), 10).unwrap();
        let data: Vec<_> = events.iter().filter(|event| event.kind == "job.log").map(|event| &*event.data).collect();
        assert_eq!(
            data,
            [r#"{"sequence":2,"event_type":"tool_call"}"#, r#"{"sequence":3,"event_type":"tool_result"}"#]
        );
        assert_eq!(log::before(conn, id, None, 10).unwrap().len(), 3);
    })
    .await;
}
