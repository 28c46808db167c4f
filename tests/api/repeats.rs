//! `Idempotency-Key`: the work of a repeated POST is done once.

use assistantd::http::idempotency;

use super::served::Served;

const KEY: &str = "idempotency-key: one\r\n";

#[tokio::test]
async fn a_repetition_gets_the_first_answer() {
    let served = Served::start();
    let first = served.call("POST", "/test/work", KEY, r#"{"pause_ms":0}"#).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None), "{first:?}");
    let again = served.call("POST", "/test/work", KEY, r#"{"pause_ms":0}"#).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")), "{again:?}");
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("content-type"), Some("application/json"));
    assert_eq!(served.work_done().await, 1);

    let other = served.call("POST", "/test/work", KEY, r#"{"pause_ms":1}"#).await;
    assert_eq!((other.status, other.kind().as_str()), (422, "validation"), "{other:?}");
    assert_eq!(other.json()["detail"][0]["loc"], serde_json::json!(["header", "Idempotency-Key"]));
    let fresh = served.call("POST", "/test/work", "idempotency-key: two\r\n", r#"{"pause_ms":0}"#).await;
    assert_eq!(fresh.status, 200);
    assert_eq!(served.work_done().await, 2);

    let far = served.cx.clock.now() + jiff::SignedDuration::from_hours(25);
    let purged = served.cx.store.write(move |tx| idempotency::purge(tx, idempotency::horizon(far), 10)).await.unwrap();
    assert_eq!(purged, 2);
}

#[tokio::test]
async fn a_repetition_of_what_still_runs_is_told_so() {
    let served = Served::start();
    let slow = served.call("POST", "/test/work", KEY, r#"{"pause_ms":400}"#);
    let early = async {
        while served.work_done().await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        served.call("POST", "/test/work", KEY, r#"{"pause_ms":400}"#).await
    };
    let (slow, early) = tokio::join!(slow, early);
    assert_eq!((slow.status, early.status, early.kind().as_str()), (200, 409, "conflict"));
    assert_eq!(early.header("retry-after"), Some("1"));
    assert_eq!(served.work_done().await, 1);
}

#[tokio::test]
async fn a_caller_who_hangs_up_still_has_the_work_done_once_and_its_answer_kept() {
    let served = Served::start();
    let request = super::served::request("POST", "/test/work", KEY, r#"{"pause_ms":200}"#);
    let mut stream = served.connect().await;
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    while served.work_done().await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    drop(stream);
    let reply = loop {
        let reply = served.call("POST", "/test/work", KEY, r#"{"pause_ms":200}"#).await;
        if reply.status != 409 {
            break reply;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!((reply.status, reply.header("idempotency-replayed")), (200, Some("true")), "{reply:?}");
    assert_eq!(served.work_done().await, 1);
}

#[tokio::test]
async fn a_refusal_frees_the_key_and_an_unknown_outcome_does_not() {
    let served = Served::start();
    let refused = served.call("POST", "/test/work", KEY, r#"{"fail":"conflict"}"#).await;
    assert_eq!((refused.status, refused.json()["title"].as_str()), (409, Some("not now")));
    let other = served.call("POST", "/test/work", KEY, "{}").await;
    assert_eq!(other.status, 200, "nothing was done under this key before: {other:?}");

    // As after a crash: the work was begun, and there is no answer.
    let key = "idempotency-key: lost\r\n";
    assert_eq!(served.call("POST", "/test/work", key, r#"{"fail":"after"}"#).await.status, 500);
    let again = served.call("POST", "/test/work", key, r#"{"fail":"after"}"#).await;
    assert_eq!((again.status, again.kind().as_str()), (409, "conflict"), "{again:?}");
    assert!(again.json()["hint"].as_str().unwrap().contains("new key"), "{again:?}");
    assert_eq!(served.work_done().await, 2);
}

#[tokio::test]
async fn a_key_has_a_form() {
    let served = Served::start();
    for key in ["", "two words", &"x".repeat(256)] {
        let reply = served.call("POST", "/test/work", &format!("idempotency-key: {key}\r\n"), "{}").await;
        assert_eq!(reply.status, 422, "{key:?}: {reply:?}");
    }
    assert_eq!(served.work_done().await, 0);
}
