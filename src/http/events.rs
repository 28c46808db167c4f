//! `GET /api/events`: the event stream as server-sent events (html.spec.whatwg.org, "Server-sent events").
//!
//! A listener is a position in the `events` table. It reads on from there whenever somebody announces news, so that
//! nothing can be lost between two reads, and a slow listener holds nothing but its place; one that does not read at
//! all is cut off by its connection (`api.stream_idle_timeout`) and comes back with the last id it saw.

use std::time::Duration;

use assistant_api::{EventId, JobId, Role, events::Event};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Response, header},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use jiff::Timestamp;
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tokio::sync::watch;

use super::route::{Raw, Req, Route};
use crate::{
    cx::Cx,
    error::{Error, Result},
    events::{self, Stored},
};

/// Time without an event after which a comment shows that the stream lives.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events that are read at once.
const BATCH: u32 = 256;
/// What a client waits before it connects again, in milliseconds.
pub(super) const RETRY: &str = "retry: 2000\n\n";

pub(super) fn route() -> Route {
    Route::new(Method::GET, "/api/events", Role::Viewer, "The event stream, as server-sent events.", listen)
        .stream()
        .produces("text/event-stream")
}

#[derive(Deserialize, JsonSchema)]
struct Query {
    /// Only events of this job.
    #[serde(default)]
    job: Option<JobId>,
    /// Start after this event; the header `Last-Event-ID` wins. Without either the stream starts with what comes next.
    #[serde(default)]
    last_event_id: Option<i64>,
}

async fn listen(req: Req<(), Query>) -> Result<Raw> {
    let cx = req.cx;
    let last = last_seen(&req.headers, req.query.last_event_id)?;
    let news = cx.wake.events.subscribe();
    let (oldest, newest) = cx.store.read(events::bounds).await?;
    let mut first = BytesMut::from(RETRY);
    let position = match last.map(EventId) {
        None => newest,
        // Its database is not this one (restored, or made anew): what it has seen says nothing.
        Some(last) if last > newest => {
            gap(&mut first, cx.clock.now(), None, newest)?;
            newest
        }
        Some(last) if last.0 + 1 < oldest.0 => {
            let missing = EventId(oldest.0 - 1);
            gap(&mut first, cx.clock.now(), Some(EventId(last.0 + 1)), missing)?;
            missing
        }
        Some(last) => last,
    };
    // Whoever loses the connection before the first event goes on from here.
    first.put_slice(format!("id: {position}\n\n").as_bytes());
    cx.process.counters.listeners.enter();
    let listener = Listener { cx, news, position, job: req.query.job, first: Some(first.freeze()), done: false };
    Ok(server_sent(Body::from_stream(stream::unfold(listener, Listener::next))))
}

/// What a client saw last: the header `Last-Event-ID`, else what its query says.
pub(super) fn last_seen(headers: &HeaderMap, query: Option<i64>) -> Result<Option<i64>> {
    let last = match headers.get("last-event-id").filter(|value| !value.is_empty()) {
        None => query,
        Some(value) => Some(value.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
            Error::validation("Last-Event-ID has to be the number of an event").field("header.Last-Event-ID")
        })?),
    };
    if last.is_some_and(|last| last < 0) {
        return Err(Error::validation("last_event_id has to be 0 or more").field("query.last_event_id"));
    }
    Ok(last)
}

/// An answer that is a stream of events.
pub(super) fn server_sent(body: Body) -> Raw {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Raw(response)
}

struct Listener {
    cx: Cx,
    news: watch::Receiver<u64>,
    /// Everything up to here has been sent.
    position: EventId,
    job: Option<JobId>,
    first: Option<Bytes>,
    done: bool,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.cx.process.counters.listeners.leave();
    }
}

impl Listener {
    async fn next(mut self) -> Option<(Result<Bytes>, Self)> {
        if let Some(first) = self.first.take() {
            return Some((Ok(first), self));
        }
        if self.done {
            return None;
        }
        let sent = self.wait().await;
        if let Err(err) = &sent {
            tracing::warn!(error = err.chain(), "an event stream ended");
        }
        Some((sent, self))
    }

    async fn wait(&mut self) -> Result<Bytes> {
        loop {
            // Asked before the table is read: what is announced during the read counts as news.
            let stopping = self.cx.stop.is_cancelled();
            self.news.mark_unchanged();
            let (position, job) = (self.position, self.job);
            // Events first and bounds then: what is removed between the two is told as missing, never passed over.
            let read = move |conn: &Connection| Ok((events::after(conn, position, job, BATCH)?, events::bounds(conn)?));
            let (mut found, (oldest, _)) = self.cx.store.read(read).await?;
            let mut text = BytesMut::with_capacity(found.len() * 256);
            if position.0 + 1 < oldest.0 {
                // So slow that the next events are no longer kept.
                let missing = EventId(oldest.0 - 1);
                gap(&mut text, self.cx.clock.now(), Some(EventId(position.0 + 1)), missing)?;
                found.retain(|event| event.id > missing);
                self.position = missing;
            }
            if let Some(newest) = found.last() {
                self.position = newest.id;
                for event in &found {
                    frame_stored(&mut text, event)?;
                }
            }
            if !text.is_empty() {
                return Ok(text.freeze());
            }
            if stopping {
                self.done = true;
                let mut text = BytesMut::new();
                let at = self.cx.clock.now();
                let bye = Event { id: position, kind: "shutdown".into(), job_id: None, data: json!({}), at };
                frame(&mut text, None, "shutdown", &bye)?;
                return Ok(text.freeze());
            }
            tokio::select! {
                changed = self.news.changed() => changed.map_err(Error::internal)?,
                () = self.cx.stop.cancelled() => {}
                () = tokio::time::sleep(HEARTBEAT) => return Ok(Bytes::from_static(b": alive\n\n")),
            }
        }
    }
}

/// [`Event`] with data that is JSON text already.
#[derive(Serialize)]
struct Line<'a> {
    id: EventId,
    kind: &'a str,
    job_id: Option<JobId>,
    data: &'a RawValue,
    at: Timestamp,
}

fn frame_stored(text: &mut BytesMut, event: &Stored) -> Result<()> {
    let data: &RawValue = serde_json::from_str(&event.data)?;
    let line = Line { id: event.id, kind: &event.kind, job_id: event.job_id, data, at: event.at };
    frame(text, Some(event.id), &event.kind, &line)
}

/// Says which events are missing: `from` (unknown if the client's id is of another database) to `to`.
fn gap(text: &mut BytesMut, now: Timestamp, from: Option<EventId>, to: EventId) -> Result<()> {
    let data = json!({ "from": from, "to": to });
    frame(text, Some(to), "gap", &Event { id: to, kind: "gap".into(), job_id: None, data, at: now })
}

pub(super) fn frame(text: &mut BytesMut, id: Option<EventId>, kind: &str, data: &impl Serialize) -> Result<()> {
    if let Some(id) = id {
        text.put_slice(format!("id: {id}\n").as_bytes());
    }
    text.put_slice(format!("event: {kind}\ndata: ").as_bytes());
    serde_json::to_writer(text.writer(), data)?; // JSON holds no line break
    text.put_slice(b"\n\n");
    Ok(())
}
