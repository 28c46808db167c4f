//! `Idempotency-Key`: a POST that is sent again does its work once.
//!
//! Before the handler runs, "started" is on disk; after it, its answer is. A repetition gets the stored answer. If the
//! daemon dies in between, nobody knows whether the work was done: a repetition is told so, and never does it again.
//! An answer that says that nothing was done (a refusal) frees the key instead.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use assistant_api::ErrorKind;
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, Response, StatusCode, header},
};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

pub use super::store::purge;
use super::{
    guard::Gate,
    pace,
    route::{BodyLimit, Incoming, Route},
    store::{self, Answer, Begin},
};
use crate::error::{Error, Result};

/// How long a key and its answer are kept.
pub const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Characters of a key.
const LONGEST_KEY: usize = 255;
/// Bytes of an answer that is kept.
const LARGEST_ANSWER: usize = 4 << 20;

static KEY: HeaderName = HeaderName::from_static("idempotency-key");
static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The time before which keys are no longer kept.
pub fn horizon(now: Timestamp) -> Timestamp {
    now.checked_sub(KEPT).unwrap_or(Timestamp::MIN)
}

/// Keys whose first request runs in this process, by caller.
#[derive(Default)]
pub(super) struct Repeats(Arc<Mutex<HashSet<(String, String)>>>);

impl Repeats {
    fn enter(&self, caller: &str, key: &str) -> Option<Running> {
        let entry = (caller.to_owned(), key.to_owned());
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone());
        fresh.then(|| Running { entry, all: Arc::clone(&self.0) })
    }
}

struct Running {
    entry: (String, String),
    all: Arc<Mutex<HashSet<(String, String)>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.entry);
    }
}

/// The key of a POST, if it has one.
pub(super) fn key(incoming: &Incoming) -> Result<Option<String>> {
    let Some(value) = incoming.parts.headers.get(&KEY).filter(|_| incoming.parts.method == Method::POST) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > LONGEST_KEY || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::validation(format!(
            "Idempotency-Key has to be 1 to {LONGEST_KEY} printable characters without spaces"
        ))
        .field("header.Idempotency-Key"));
    }
    Ok(Some(text.to_owned()))
}

/// Runs the handler unless a request with this key has been here before.
pub(super) async fn once(
    gate: Arc<Gate>,
    route: Arc<Route>,
    key: String,
    mut incoming: Incoming,
) -> Result<Response<Body>> {
    let BodyLimit::Bytes(limit) = route.body else {
        return (route.handler)(gate.cx.clone(), incoming).await;
    };
    let Some(_running) = gate.repeats.enter(&incoming.peer.label(), &key) else {
        return Err(Error::conflict("a request with this Idempotency-Key is being worked on")
            .hint("send it again to get its answer")
            .retry_after(Duration::from_secs(1)));
    };
    let body = axum::body::to_bytes(incoming.body, limit).await.map_err(|err| pace::explain(err, limit))?;
    let hash = {
        let mut hash = Sha256::new();
        hash.update(incoming.parts.method.as_str());
        hash.update("\n");
        hash.update(incoming.parts.uri.path_and_query().map_or("", |target| target.as_str()));
        hash.update("\n");
        hash.update(&body);
        <[u8; 32]>::from(hash.finalize())
    };
    incoming.body = Body::from(body);

    let (caller, now) = (incoming.peer.label(), gate.cx.clock.now());
    let begun = {
        let (caller, key) = (caller.clone(), key.clone());
        gate.cx.store.write(move |tx| store::begin(tx, now, horizon(now), &caller, &key, &hash)).await?
    };
    match begun {
        Begin::Fresh => {}
        Begin::Answered(answer) => return Ok(replay(answer)),
        Begin::Unknown => {
            return Err(Error::conflict(
                "the daemon stopped while it worked on a request with this Idempotency-Key; whether it was done is \
                 not known",
            )
            .hint("look whether it was done (assistantctl jobs); if not, send it with a new key"));
        }
        Begin::Other => {
            return Err(Error::validation("this Idempotency-Key was used for another request")
                .field("header.Idempotency-Key")
                .hint("use a new key for every request that is not a repetition"));
        }
    }

    match (route.handler)(gate.cx.clone(), incoming).await {
        Ok(response) => keep(&gate, caller, key, response).await,
        Err(err) => {
            if is_refusal(err.kind()) {
                gate.cx.store.write(move |tx| store::forget(tx, &caller, &key)).await?;
            }
            Err(err)
        }
    }
}

/// Whether an error of this kind means that nothing was done: a verb is one transaction, and these come before its
/// commit. For the others it is not known.
const fn is_refusal(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Internal | ErrorKind::Timeout | ErrorKind::Unavailable)
}

async fn keep(gate: &Gate, caller: String, key: String, response: Response<Body>) -> Result<Response<Body>> {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, LARGEST_ANSWER).await.map_err(Error::internal)?;
    let answer = Answer {
        status: parts.status.as_u16(),
        content_type: parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned),
        body: body.clone(),
    };
    // The work is done: if its answer cannot be kept, a repetition is refused, and this caller still hears of it.
    if let Err(err) = gate.cx.store.write(move |tx| store::answer(tx, &caller, &key, &answer)).await {
        tracing::warn!(error = err.chain(), "the answer to a request with an Idempotency-Key could not be kept");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    if let Some(content_type) = answer.content_type.and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response.headers_mut().insert(&REPLAYED, HeaderValue::from_static("true"));
    response
}
