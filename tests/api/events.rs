//! The event stream over a socket.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use assistant_api::JobId;
use assistantd::{cx::Cx, events};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest, Lines};
use tokio::net::UnixStream;

use super::served::{Served, request};
use crate::support::until;

async fn emit(cx: &Cx, job: i64) -> i64 {
    let now = cx.clock.now();
    let id = cx
        .store
        .write(move |tx| events::emit(tx, now, "job.status", Some(JobId(job)), &json!({ "to": "running" })))
        .await;
    cx.wake.announce();
    id.unwrap().0
}

/// A client of the stream: gives `(id, kind, data)` of one event after the other.
struct Client(Lines<BufReader<UnixStream>>);

impl Client {
    async fn open(served: &Served, query: &str, headers: &str) -> Self {
        let mut stream = served.connect().await;
        stream.write_all(request("GET", &format!("/api/events{query}"), headers, "").as_bytes()).await.unwrap();
        Self(BufReader::new(stream).lines())
    }

    async fn next(&mut self) -> Option<(Option<i64>, String, Value)> {
        let (mut id, mut kind) = (None, String::new());
        loop {
            let line = tokio::time::timeout(Duration::from_secs(10), self.0.next_line()).await.unwrap().ok()??;
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse().ok();
            } else if let Some(text) = line.strip_prefix("event: ") {
                text.clone_into(&mut kind);
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some((id, kind, serde_json::from_str(text).unwrap()));
            }
        }
    }
}

#[tokio::test]
async fn a_stream_starts_with_what_comes_next_or_after_a_given_id() {
    let served = Served::start();
    for job in [1, 2, 1] {
        emit(&served.cx, job).await;
    }
    let mut live = Client::open(&served, "", "").await;
    let mut all = Client::open(&served, "?last_event_id=0", "").await;
    let mut header = Client::open(&served, "?last_event_id=0", "last-event-id: 2\r\n").await;
    let mut of_one = Client::open(&served, "?last_event_id=0&job=1", "").await;
    for id in 1..=3 {
        let (seen, kind, data) = all.next().await.unwrap();
        assert_eq!(
            (seen, kind.as_str(), &data["id"], &data["data"]["to"]),
            (Some(id), "job.status", &id.into(), &"running".into())
        );
    }
    assert_eq!(header.next().await.unwrap().0, Some(3));
    assert_eq!((of_one.next().await.unwrap().0, of_one.next().await.unwrap().0), (Some(1), Some(3)));
    // The head of the live stream has been answered once the others were, so this comes after its start.
    assert!(live.0.next_line().await.unwrap().unwrap().contains("200"));
    assert_eq!(emit(&served.cx, 1).await, 4);
    assert_eq!(live.next().await.unwrap().0, Some(4));
    assert_eq!(of_one.next().await.unwrap().0, Some(4));
}

#[tokio::test]
async fn a_client_hears_of_events_that_are_no_longer_kept() {
    let served = Served::start();
    for _ in 0..5 {
        emit(&served.cx, 1).await;
    }
    let now = served.cx.clock.now() + jiff::SignedDuration::from_secs(1);
    served.cx.store.write(move |tx| events::purge(tx, now, 3)).await.unwrap();
    let mut behind = Client::open(&served, "?last_event_id=1", "").await;
    let (id, kind, data) = behind.next().await.unwrap();
    assert_eq!((id, kind.as_str(), &data["data"]), (Some(3), "gap", &json!({ "from": 2, "to": 3 })));
    assert_eq!(behind.next().await.unwrap().0, Some(4));
    let mut close = Client::open(&served, "?last_event_id=3", "").await;
    assert_eq!(close.next().await.unwrap().1, "job.status", "nothing is missing after 3");
    // An id that was never given out: another database.
    let mut foreign = Client::open(&served, "?last_event_id=900", "").await;
    let (id, kind, data) = foreign.next().await.unwrap();
    assert_eq!((id, kind.as_str(), &data["data"]["from"]), (Some(5), "gap", &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_id_is_lost_or_seen_twice_over_reconnects_under_concurrent_writers() {
    const WRITERS: i64 = 8;
    const EACH: i64 = 150;
    let served = Arc::new(Served::start());
    let writing = Arc::new(AtomicBool::new(true));
    let reader = {
        let (served, writing) = (Arc::clone(&served), Arc::clone(&writing));
        served.cx.tasks.clone().spawn(async move {
            let (mut seen, mut connections) = (Vec::new(), 0);
            while seen.len() < usize::try_from(WRITERS * EACH).unwrap() {
                let last = seen.last().copied().unwrap_or(0);
                let mut client = Client::open(&served, "", &format!("last-event-id: {last}\r\n")).await;
                connections += 1;
                // Hangs up in the middle of what is under way, more often while events come in.
                let most = if writing.load(Ordering::Relaxed) { fastrand::usize(1..40) } else { 400 };
                for _ in 0..most {
                    let Some((Some(id), kind, _)) = client.next().await else { break };
                    assert_eq!(kind, "job.status");
                    seen.push(id);
                    if id == WRITERS * EACH {
                        break;
                    }
                }
            }
            (seen, connections)
        })
    };
    let writers = (0..WRITERS).map(|job| {
        let cx = served.cx.clone();
        cx.tasks.clone().spawn(async move {
            for _ in 0..EACH {
                emit(&cx, job).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    writing.store(false, Ordering::Relaxed);
    let (seen, connections) = reader.await.unwrap();
    assert_eq!(seen, (1..=WRITERS * EACH).collect::<Vec<_>>(), "every id once, in order");
    assert!(connections > 10, "{connections} connections");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let served = Served::with(|config| {
        config.api.stream_idle_timeout = assistantd::config::value::Seconds(Duration::from_millis(200));
    });
    let mut stream = served.connect().await;
    stream.write_all(request("GET", "/api/events?last_event_id=0", "", "").as_bytes()).await.unwrap();
    let now = served.cx.clock.now();
    let filler = "x".repeat(64 << 10);
    served
        .cx
        .store
        .write(move |tx| {
            for _ in 0..100 {
                events::emit(tx, now, "job.log", None, &filler)?;
            }
            Ok(())
        })
        .await
        .unwrap();
    served.cx.wake.announce();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.expect("an end");
    assert!(rest.len() < 100 * (64 << 10), "it was cut before the end: {} bytes, {end:?}", rest.len());
}

/// Numbers of the events that a client hears, up to `last`; nothing but events of jobs among them.
async fn heard(client: &mut Client, last: i64) -> Vec<i64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        let Some((id, kind, _)) = client.next().await else { break };
        assert_eq!(kind, "job.status", "after {:?}", seen.last());
        seen.push(id.unwrap());
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_hear_every_event_and_a_slow_one_catches_up_by_replay() {
    const CLIENTS: usize = 24;
    const EVENTS: i64 = 300;
    let served = Served::with(|config| {
        config.api.stream_idle_timeout = assistantd::config::value::Seconds(Duration::from_secs(3));
    });
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::open(&served, "?last_event_id=0", "").await);
    }
    // Reads the beginning, and then nothing until it is cut off.
    let mut slow = served.connect().await;
    slow.write_all(request("GET", "/api/events?last_event_id=0", "", "").as_bytes()).await.unwrap();
    let listening =
        clients.into_iter().map(|mut client| served.cx.tasks.spawn(async move { heard(&mut client, EVENTS).await }));
    let listening: Vec<_> = listening.collect();
    let filler = "x".repeat(16 << 10);
    for _ in 0..EVENTS {
        let (now, filler) = (served.cx.clock.now(), filler.clone());
        let event = json!({ "to": "running", "filler": filler });
        served.cx.store.write(move |tx| events::emit(tx, now, "job.status", Some(JobId(1)), &event)).await.unwrap();
        served.cx.wake.announce();
    }
    let all: Vec<i64> = (1..=EVENTS).collect();
    for client in listening {
        assert_eq!(client.await.unwrap(), all, "every id once, in order");
    }
    // Nothing is read of it for longer than the bound; what the kernel holds of it is what it got.
    until("the slow client is cut off", 20, async || {
        slow.ready(Interest::READABLE).await.unwrap().is_read_closed().then_some(())
    })
    .await;
    let mut begin = Client(BufReader::new(slow).lines());
    let mut seen = Vec::new();
    while let Ok(Ok(Some(line))) = tokio::time::timeout(Duration::from_secs(10), begin.0.next_line()).await {
        if let Some(id) = line.strip_prefix("id: ").and_then(|id| id.parse::<i64>().ok()).filter(|id| *id > 0) {
            seen.push(id);
        }
    }
    let last = *seen.last().unwrap();
    assert!(last < EVENTS, "it was cut off before the end");
    // The last one may have been cut within: its client goes on after the one before.
    let mut again = Client::open(&served, "", &format!("last-event-id: {}\r\n", last - 1)).await;
    assert_eq!(heard(&mut again, EVENTS).await, all[usize::try_from(last - 1).unwrap()..], "and nothing is missing");
}

#[tokio::test]
async fn a_client_that_listens_hears_of_events_that_were_removed_before_it_got_them() {
    let served = Served::start();
    emit(&served.cx, 1).await;
    let mut client = Client::open(&served, "?last_event_id=0", "").await;
    assert_eq!(client.next().await.unwrap().0, Some(1));
    // Written and partly removed again before the stream looks.
    let now = served.cx.clock.now();
    let later = now + jiff::SignedDuration::from_secs(1);
    let write = move |tx: &rusqlite::Connection| {
        for _ in 0..6 {
            events::emit(tx, now, "job.status", Some(JobId(1)), &json!({}))?;
        }
        events::purge(tx, later, 4)
    };
    assert_eq!(served.cx.store.write(write).await.unwrap(), 4);
    served.cx.wake.announce();
    let (id, kind, data) = client.next().await.unwrap();
    assert_eq!((id, kind.as_str(), &data["data"]), (Some(4), "gap", &json!({ "from": 2, "to": 4 })));
    assert_eq!(heard(&mut client, 7).await, [5, 6, 7]);
}
