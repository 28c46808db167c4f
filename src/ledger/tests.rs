use assistant_api::{
    EffectId, ErrorKind, JobId,
    effects::EffectState::{self, Confirmed, Dispatched, Failed, Prepared, Unknown},
};
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::store::Store;

fn now() -> Timestamp {
    "2026-11-22T09:00:00Z".parse().unwrap()
}

fn new(call_key: Option<&str>) -> NewEffect {
    NewEffect {
        job_id: None,
        call_key: call_key.map(str::to_owned),
        tool: "file_write".into(),
        target: "a/b.txt".into(),
        args_hash: "00".into(),
        origin: Origin::Owner,
        rule: "write-trusted".into(),
        detail: json!({ "before": "aa" }),
    }
}

async fn with_db(f: impl Fn(&Connection) + Send + 'static) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("assistant.db")).unwrap();
    store
        .write(move |tx| {
            f(tx);
            Ok(())
        })
        .await
        .unwrap();
}

/// An effect in this state.
fn effect_in(conn: &Connection, state: EffectState) -> EffectId {
    let id = prepare(conn, now(), &new(None)).unwrap();
    if state != Prepared {
        dispatch(conn, now(), id).unwrap();
    }
    if !matches!(state, Prepared | Dispatched) {
        settle(conn, now(), id, state, None).unwrap();
    }
    id
}

#[tokio::test]
async fn every_change_of_state_is_allowed_or_refused() {
    with_db(|conn| {
        for from in EffectState::ALL {
            for to in [Dispatched, Confirmed, Failed, Unknown] {
                let id = effect_in(conn, from);
                let result = if to == Dispatched {
                    dispatch(conn, now(), id)
                } else {
                    settle(conn, now(), id, to, Some(&json!({ "after": "bb" })))
                };
                let allowed = match to {
                    Dispatched => from == Prepared,
                    _ => matches!(from, Prepared | Dispatched | Unknown),
                };
                let effect = get(conn, id).unwrap();
                if allowed {
                    result.unwrap();
                    assert_eq!(effect.state, to);
                    assert_eq!(effect.settled_at.is_some(), to != Dispatched);
                    if to != Dispatched {
                        assert_eq!(effect.detail, json!({ "before": "aa", "after": "bb" }), "added, not replaced");
                    }
                } else {
                    let err = result.unwrap_err();
                    assert_eq!(err.kind(), ErrorKind::Conflict);
                    assert!(err.message().contains(from.as_str()), "{err}");
                    assert_eq!(effect.state, from);
                }
            }
            let err = settle(conn, now(), effect_in(conn, Prepared), Prepared, None).unwrap_err();
            assert_eq!(err.kind(), ErrorKind::Invalid);
        }
        assert_eq!(dispatch(conn, now(), EffectId(999)).unwrap_err().kind(), ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_person_resolves_only_what_is_unknown() {
    with_db(|conn| {
        for from in EffectState::ALL {
            let id = effect_in(conn, from);
            match store::resolve(conn, now(), id, Confirmed, "me") {
                Ok(effect) => {
                    assert_eq!((from, effect.state), (Unknown, Confirmed));
                    assert_eq!(effect.detail["resolved_by"], "me");
                }
                Err(err) => {
                    assert_ne!(from, Unknown);
                    assert_eq!(err.kind(), ErrorKind::Conflict);
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_of_a_job_is_in_the_ledger_once_and_is_found_again() {
    with_db(|conn| {
        let job = crate::jobs::store::tests::creation("ledger");
        let job = crate::jobs::store::create::insert(conn, now(), &job).unwrap().id;
        let of_job = NewEffect { job_id: Some(job), ..new(Some("3:0")) };
        let id = prepare(conn, now(), &of_job).unwrap();
        assert_eq!(prepare(conn, now(), &of_job).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(by_call(conn, job, "3:0").unwrap().unwrap().id, id);
        assert!(by_call(conn, job, "3:1").unwrap().is_none());
        assert!(by_call(conn, JobId(99), "3:0").unwrap().is_none());

        let second = prepare(conn, now(), &NewEffect { call_key: Some("3:1".into()), ..of_job }).unwrap();
        effect_in(conn, Unknown);
        let ids = |effects: Vec<Effect>| effects.into_iter().map(|effect| effect.id).collect::<Vec<_>>();
        assert_eq!(ids(for_job(conn, job, 10).unwrap()), [second, id], "newest first");
        assert_eq!(ids(for_job(conn, job, 1).unwrap()), [second]);
        let filter = Filter { state: Some(Prepared), before: Some(second), limit: 10, ..Filter::default() };
        assert_eq!(ids(list(conn, &filter).unwrap()), [id]);
        let filter = Filter { job_id: Some(job), state: Some(Confirmed), limit: 10, ..Filter::default() };
        assert!(list(conn, &filter).unwrap().is_empty());
        assert_eq!(open_effects(conn, Some(job)).unwrap().len(), 2);
        assert_eq!(open_effects(conn, None).unwrap().len(), 2, "what is unknown waits for a person");
        settle(conn, now(), id, Confirmed, None).unwrap();
        settle(conn, now(), second, Confirmed, Some(&json!({ "written": ["x", "a/b.txt"] }))).unwrap();
        assert_eq!(written_paths(conn, job).unwrap(), ["x", "a/b.txt"]);
    })
    .await;
}
