//! Lists by words, origin and time: complete, without doubles, and in pages of bounded work.

use assistant_api::{ErrorKind, JobId, jobs::JobStatus};
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::{
    jobs::store::filter::{Filter, LOOKED_AT},
    policy::Origin,
    store::types::micros,
};

/// What a list gives, over all of its pages of this size.
async fn all(cx: &Cx, filter: &Filter, limit: i64) -> Vec<i64> {
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let page = jobs::list(cx, filter.clone(), cursor.as_deref(), limit).await.unwrap();
        assert!(i64::try_from(page.jobs.len()).unwrap() <= limit);
        ids.extend(page.jobs.iter().map(|item| item.job.id.0));
        let Some(next) = page.next_cursor else { return ids };
        assert_ne!(Some(&next), cursor.as_ref(), "the list does not go on");
        cursor = Some(next);
    }
}

fn words(text: &str) -> Filter {
    Filter { words: text.split_whitespace().map(str::to_owned).collect(), ..Filter::default() }
}

/// Sets when a job was made.
async fn made(cx: &Cx, id: JobId, at: Timestamp) {
    let changed =
        cx.store.write(move |tx| Ok(tx.execute("UPDATE jobs SET created_at = ?2 WHERE id = ?1", (id.0, micros(at)))?));
    assert_eq!(changed.await.unwrap(), 1);
}

#[tokio::test]
async fn words_are_found_in_subject_sender_and_answer_and_all_must_be_there() {
    let (cx, _dir) = cx();
    let invoice = submit(&cx, "Pay the Invoice of März").await;
    let sender = jobs::create(&cx, NewJob { from_address: Some("ann@example.org".into()), ..new("hello") }, "me").await;
    let sender = sender.unwrap().id;
    let answer = submit(&cx, "a question").await;
    let told = cx.store.write(move |tx| {
        let metadata = r#"{"final_response":"The invoice was found"}"#;
        Ok(tx.execute("UPDATE jobs SET metadata = ?2 WHERE id = ?1", (answer.0, metadata))?)
    });
    assert_eq!(told.await.unwrap(), 1);
    for (text, wanted) in [
        ("invoice", vec![answer, invoice]),
        ("invoice märz", vec![invoice]),
        ("ann@example", vec![sender]),
        ("found invoice", vec![answer]),
        ("invoice ann@example", vec![]),
        ("%", vec![]),
    ] {
        let wanted: Vec<i64> = wanted.into_iter().map(|id| id.0).collect();
        for limit in [1, 50] {
            assert_eq!(all(&cx, &words(text), limit).await, wanted, "{text}, {limit} a page");
        }
    }
}

#[tokio::test]
async fn origins_states_and_words_are_asked_together() {
    let (cx, _dir) = cx();
    let (own, other) = (submit(&cx, "same words").await, submit(&cx, "same words").await);
    let stranger = cx.store.write(move |tx| {
        let sql = "UPDATE emails SET origin = 'stranger' \
                   WHERE id = (SELECT trigger_email_id FROM jobs WHERE id = ?1)";
        Ok(tx.execute(sql, [other.0])?)
    });
    assert_eq!(stranger.await.unwrap(), 1);
    jobs::cancel(&cx, own, "me").await.unwrap();
    let of = |origin, status: Option<JobStatus>| Filter {
        origins: vec![origin],
        statuses: status.into_iter().collect(),
        ..words("words")
    };
    assert_eq!(all(&cx, &of(Origin::Stranger, None), 50).await, [other.0]);
    assert_eq!(all(&cx, &of(Origin::Owner, None), 50).await, [own.0]);
    assert_eq!(all(&cx, &of(Origin::Owner, Some(JobStatus::Cancelled)), 50).await, [own.0]);
    assert_eq!(all(&cx, &of(Origin::Owner, Some(JobStatus::Queued)), 50).await, [] as [i64; 0]);
}

#[tokio::test]
async fn lists_by_time_are_complete_though_the_clock_went_back() {
    let (cx, _dir) = cx();
    let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let hour = |hours: i64| noon + SignedDuration::from_hours(hours);
    let mut ids = Vec::new();
    // The third was made after the clock had been set back, the fourth in the same instant as the second.
    for hours in [0, 5, -2, 5, 7] {
        let id = submit(&cx, "a job").await;
        made(&cx, id, hour(hours)).await;
        ids.push(id.0);
    }
    let between = |since: Option<i64>, until: Option<i64>| Filter {
        since: since.map(hour),
        until: until.map(hour),
        ..Filter::default()
    };
    for limit in [1, 2, 50] {
        assert_eq!(all(&cx, &between(Some(0), None), limit).await, [ids[4], ids[3], ids[1], ids[0]]);
        assert_eq!(all(&cx, &between(None, Some(5)), limit).await, [ids[0], ids[2]]);
        assert_eq!(all(&cx, &between(Some(-2), Some(7)), limit).await, [ids[3], ids[1], ids[0], ids[2]]);
        assert_eq!(all(&cx, &between(Some(6), Some(7)), limit).await, [] as [i64; 0]);
    }
    let page = jobs::list(&cx, between(Some(0), None), None, 1).await.unwrap();
    let foreign = jobs::list(&cx, Filter::default(), page.next_cursor.as_deref(), 1).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::Validation);
}

#[tokio::test]
async fn a_page_looks_at_a_bounded_number_of_jobs_and_goes_on() {
    let (cx, _dir) = cx();
    let first = submit(&cx, "the needle").await;
    let copies = cx.store.write(move |tx| {
        Ok(tx.execute(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n <= ?1) \
             INSERT INTO jobs (thread_id, status, run_at, created_at, updated_at) \
             SELECT 'copy-' || n, 'completed', 0, 0, 0 FROM n",
            [LOOKED_AT],
        )?)
    });
    assert_eq!(i64::try_from(copies.await.unwrap()).unwrap(), LOOKED_AT + 1);
    let page = jobs::list(&cx, words("needle"), None, 50).await.unwrap();
    assert!(page.jobs.is_empty() && page.next_cursor.is_some(), "{page:?}");
    assert_eq!(all(&cx, &words("needle"), 50).await, [first.0]);
    let done = Filter { statuses: vec![JobStatus::Completed], ..words("needle") };
    assert_eq!(all(&cx, &done, 50).await, [] as [i64; 0]);
}
