use assistant_api::{EventId, JobId};
use serde_json::json;

use super::*;
use crate::store::Store;

#[tokio::test]
async fn entries_are_numbered_filtered_and_purged_without_reuse_of_ids() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("assistant.db")).unwrap();
    let start: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    store
        .write(move |tx| {
            assert_eq!(bounds(tx)?, (EventId(1), EventId(0)));
            for minute in 0..4 {
                let at = start + jiff::SignedDuration::from_mins(minute);
                emit(tx, at, "job.status", Some(JobId(minute % 2)), &json!({ "minute": minute }))?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let of_one = store.read(|conn| after(conn, EventId(1), Some(JobId(1)), 10)).await.unwrap();
    assert_eq!(of_one.iter().map(|event| event.id.0).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(of_one[0].data, r#"{"minute":1}"#);

    let now = start + jiff::SignedDuration::from_mins(10);
    let seen = store.write(move |tx| Ok((purge(tx, now, 3)?, bounds(tx)?, purge(tx, now, 3)?, bounds(tx)?))).await;
    assert_eq!(seen.unwrap(), (3, (EventId(4), EventId(4)), 1, (EventId(5), EventId(4))));
    let next = store.write(move |tx| emit(tx, now, "stop", None, &json!({}))).await.unwrap();
    assert_eq!(next, EventId(5));
}

#[tokio::test]
async fn an_entry_of_a_transaction_that_fails_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("assistant.db")).unwrap();
    let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let failed = store.write(move |tx| {
        emit(tx, now, "stop", None, &json!({}))?;
        Err::<(), _>(crate::error::Error::conflict("no"))
    });
    assert!(failed.await.is_err());
    assert_eq!(store.read(bounds).await.unwrap(), (EventId(1), EventId(0)));
}
