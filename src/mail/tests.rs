use assistant_api::mail::Decision;
use rusqlite::Connection;

use super::store::{self, Filter};
use crate::store::Store;

const AT: i64 = 1_760_000_000_000_000;

fn fill(conn: &Connection) {
    let decisions = ["job", "stored", "duplicate"];
    for id in 1..=30_i64 {
        let decision = decisions[usize::try_from(id % 3).unwrap()];
        conn.execute(
            "INSERT INTO mail_received (id, mailbox, uid_validity, uid, size_bytes, from_address, subject, decision, \
             reason, received_at, decided_at) VALUES (?1, 'me@h/INBOX', 1, ?1, 10, ?2, ?3, ?4, 'because', ?5, ?5)",
            (id, format!("p{}@example.org", id % 2), format!("Subject {id}"), decision, AT + id),
        )
        .unwrap();
        conn.execute(
            "INSERT INTO effects (id, tool, target, args_hash, origin, rule, state, prepared_at) \
             VALUES (?1, 'email_send', 't', 'h', 'owner', 'r', ?2, ?3)",
            (id, if id % 10 == 0 { "unknown" } else { "confirmed" }, AT),
        )
        .unwrap();
        conn.execute(
            "INSERT INTO outbox (id, effect_id, kind, message_id, from_address, to_addresses, subject, body_text, counted, \
             created_at) VALUES (?1, ?1, 'agent', ?2, 'a@example.org', ?3, 'Result', 'Text', 1, ?4)",
            (id, format!("<{id}@example.org>"), format!("[\"to{id}@example.org\"]"), AT),
        )
        .unwrap();
    }
}

fn with_database(look: impl Fn(&Connection) + Send + 'static) -> crate::error::Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("assistant.db"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store.write(move |tx| {
        fill(tx);
        look(tx);
        Ok(())
    }))
}

/// Every id of a list, page by page.
fn all(mut filter: Filter, mut page: impl FnMut(&Filter) -> (Vec<i64>, Option<i64>)) -> Vec<i64> {
    let mut found = Vec::new();
    for _ in 0..100 {
        let (ids, next) = page(&filter);
        assert!(ids.len() <= filter.limit, "{ids:?}");
        found.extend(ids);
        match next {
            None => return found,
            next => filter.before = next,
        }
    }
    panic!("the pages have no end: {found:?}");
}

#[test]
fn lists_come_in_pages_newest_first_and_are_filtered() {
    with_database(|conn| {
        let received = |filter: Filter| {
            all(filter, |filter| {
                let (found, next) = store::received(conn, filter).unwrap();
                (found.into_iter().map(|one| one.id).collect(), next)
            })
        };
        let backwards = |step: usize, last: i64| (1..=last).rev().step_by(step).collect::<Vec<_>>();
        for limit in [1, 7, 10, 30, 200] {
            let filter = Filter { limit, ..Filter::default() };
            assert_eq!(received(filter.clone()), backwards(1, 30), "{limit}");
            let jobs = Filter { decision: Some(Decision::Job), ..filter.clone() };
            assert_eq!(received(jobs), backwards(3, 30), "{limit}");
            let words = Filter { words: vec!["p1@".into(), "subject 2".into()], ..filter };
            assert_eq!(received(words), [29, 27, 25, 23, 21], "{limit}");
        }
        let sent = |filter: Filter| {
            all(filter, |filter| {
                let (found, next) = store::outbox(conn, filter).unwrap();
                (found.into_iter().map(|one| one.id).collect(), next)
            })
        };
        for limit in [1, 7, 200] {
            let unknown = Some(assistant_api::effects::EffectState::Unknown);
            assert_eq!(sent(Filter { limit, ..Filter::default() }), backwards(1, 30));
            assert_eq!(sent(Filter { limit, state: unknown, ..Filter::default() }), [30, 20, 10]);
            assert_eq!(sent(Filter { limit, words: vec!["to7@".into()], ..Filter::default() }), [7]);
        }
    })
    .unwrap();
}

#[test]
fn what_is_not_there_is_not_found() {
    with_database(|conn| {
        let detail = store::one_received(conn, 7).unwrap();
        assert_eq!(
            (detail.received.subject.as_deref(), detail.received.reason.as_str()),
            (Some("Subject 7"), "because")
        );
        assert!(detail.email.is_none() && detail.artifacts.is_empty());
        assert_eq!(store::one_outgoing(conn, 7).unwrap().body_text, "Text");
        for err in [store::one_received(conn, 99).unwrap_err(), store::one_outgoing(conn, 99).unwrap_err()] {
            assert_eq!(err.kind(), assistant_api::ErrorKind::NotFound, "{err}");
        }
    })
    .unwrap();
}

#[test]
fn no_column_of_the_api_names_a_file_of_the_state_directory() {
    with_database(|conn| {
    conn.execute_batch(
        "INSERT INTO emails (id, message_id, thread_id, from_address, origin, received_at, downloaded_at, created_at) \
         VALUES (1, '<a@b>', '<a@b>', 'p@example.org', 'stranger', 1, 1, 1); \
         INSERT INTO artifacts (email_id, source_type, source_label, raw_name, scan_status, conversion_status, created_at, \
         updated_at) VALUES (1, 'attachment', 'a.pdf', 'canary-file', 'clean', 'pending', 1, 1); \
         UPDATE mail_received SET email_id = 1, raw_name = 'canary-mail' WHERE id = 3; \
         UPDATE outbox SET raw_name = 'canary-out' WHERE id = 3",
    )
    .unwrap();
    let received = serde_json::to_string(&store::one_received(conn, 3).unwrap()).unwrap();
    let sent = serde_json::to_string(&store::one_outgoing(conn, 3).unwrap()).unwrap();
    assert!(received.contains("a.pdf"), "{received}");
    assert!(!received.contains("canary") && !sent.contains("canary"), "{received} {sent}");
    })
    .unwrap();
}

#[test]
fn a_mail_is_sent_again_only_when_nobody_knows_whether_it_arrived() {
    with_database(|conn| {
        let now = "2026-11-22T09:00:00Z".parse().unwrap();
        let resend = |id| super::outbox::send_again(conn, now, id, "ann");
        assert_eq!(resend(99).unwrap_err().kind(), assistant_api::ErrorKind::NotFound);
        let gone = resend(10).unwrap_err();
        assert!(gone.message().contains("not kept"), "{gone}");
        conn.execute_batch("UPDATE outbox SET raw_name = 'out-' || id").unwrap();
        assert_eq!(resend(9).unwrap_err().kind(), assistant_api::ErrorKind::Conflict, "it arrived");
        resend(10).unwrap();
        let again = store::one_outgoing(conn, 10).unwrap().outgoing;
        assert_eq!((again.state.as_str(), again.next_attempt_at), ("prepared", Some(now)));
        assert_eq!(again.message_id, "<10@example.org>", "its receiver could not tell");
        assert_eq!(resend(10).unwrap_err().kind(), assistant_api::ErrorKind::Conflict, "it waits already");
    })
    .unwrap();
}
