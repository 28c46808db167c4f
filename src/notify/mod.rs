//! Tells somebody outside when a job needs a person, fails, or money runs out: a program or a webhook.
//!
//! It reads the event stream behind a cursor in the database, so nothing is lost while the daemon is down. A message is
//! in the ledger before it leaves; the cursor moves when its end is known. After a crash in between the ledger says
//! `unknown` for the one that was under way, and it is sent once more: `event_id` tells the receiver that it is the same.

mod api;
mod command;
pub mod config;
mod loops;
mod store;
#[cfg(test)]
mod tests;
mod told;
mod webhook;

use std::time::Duration;

use assistant_api::{
    EffectId, EventId, JobId,
    effects::EffectState,
    jobs::{JobStatus, Needs},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub use self::told::{told, untold};
use crate::{
    config::Config,
    cx::Cx,
    error::{ErrorKind, Result},
    events::{self, Follower, Stored},
    ledger::{self, NewEffect},
    policy::Origin,
    subsystems::Subsystem,
};

/// This subsystem.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "notify", routes: api::routes, tools: &[], loops: loops::LOOPS };

/// Pauses between the attempts of one message.
const PAUSES: &[Duration] =
    &[Duration::from_secs(2), Duration::from_secs(15), Duration::from_mins(1), Duration::from_mins(5)];

/// What is sent, as JSON.
#[derive(Clone, Debug, Serialize)]
struct Message {
    /// The same when a message is sent again.
    event_id: EventId,
    /// `needs_review`, `failed` or `budget`.
    kind: &'static str,
    job_id: JobId,
    status: JobStatus,
    subject: String,
    reason: String,
    /// What a person has to do, with the command to type.
    needs: Option<Needs>,
    at: Timestamp,
}

/// The part of a `job.status` event that matters here.
#[derive(Deserialize)]
struct StatusEvent {
    status: JobStatus,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    needs: Option<Needs>,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Receiver {
    Command(Vec<String>),
    Webhook(String),
}

/// Why a message did not arrive.
#[derive(Debug)]
struct Failure {
    reason: String,
    /// Whether another attempt may help.
    temporary: bool,
}

impl Receiver {
    fn all(config: &Config) -> Vec<Self> {
        let command = &config.notify.command;
        let command = (!command.is_empty()).then(|| Self::Command(command.clone()));
        command.into_iter().chain(config.notify.webhook_url.clone().map(Self::Webhook)).collect()
    }

    fn tool(&self) -> &'static str {
        match self {
            Self::Command(_) => "notify.command",
            Self::Webhook(_) => "notify.webhook",
        }
    }

    /// For people; of an address only the host, because its path is often a secret.
    fn target(&self) -> String {
        match self {
            Self::Command(argv) => argv.first().cloned().unwrap_or_default(),
            Self::Webhook(url) => webhook::host(url),
        }
    }

    async fn send(&self, cx: &Cx, body: &[u8]) -> Result<(), Failure> {
        let limit = cx.config.load().notify.timeout.0;
        match self {
            Self::Command(argv) => command::run(argv, body, limit).await,
            Self::Webhook(url) => webhook::post(cx, url, body).await,
        }
    }
}

/// Sends what happened since the last time.
async fn catch_up(cx: &Cx, pauses: &[Duration]) -> Result<()> {
    let receivers = Receiver::all(&cx.config.load());
    if receivers.is_empty() {
        // Whoever is named later is told what happens from then on.
        return events::unfollow::<Sending<'_>>(cx).await;
    }
    events::follow(cx, &Sending { receivers, pauses }).await
}

struct Sending<'a> {
    receivers: Vec<Receiver>,
    pauses: &'a [Duration],
}

impl Follower for Sending<'_> {
    const NAME: &'static str = "notify.cursor";

    async fn event(&self, cx: &Cx, event: &Stored) -> Result<bool> {
        let Some(message) = message(cx, event).await? else { return Ok(false) };
        for receiver in &self.receivers {
            deliver(cx, receiver, &message, self.pauses).await?;
        }
        Ok(true)
    }
}

/// The message that an event is worth, if any.
async fn message(cx: &Cx, event: &Stored) -> Result<Option<Message>> {
    let (Some(job_id), "job.status") = (event.job_id, event.kind.as_str()) else { return Ok(None) };
    let Ok(data) = serde_json::from_str::<StatusEvent>(&event.data) else { return Ok(None) };
    let kind = match (data.status, &data.needs) {
        (JobStatus::NeedsReview, Some(needs)) if needs.what == "budget" => "budget",
        (JobStatus::NeedsReview, _) => "needs_review",
        (JobStatus::Failed, _) => "failed",
        _ => return Ok(None),
    };
    let subject = cx.store.read(move |conn| store::subject(conn, job_id)).await?;
    // Erased in the meantime: there is nothing to tell.
    let Some(subject) = subject else { return Ok(None) };
    let StatusEvent { status, reason, needs } = data;
    Ok(Some(Message { event_id: event.id, kind, job_id, status, subject, reason, needs, at: event.at }))
}

/// Sends one message to one receiver: ledger, attempts with pauses, ledger.
async fn deliver(cx: &Cx, receiver: &Receiver, message: &Message, pauses: &[Duration]) -> Result<()> {
    let body = serde_json::to_vec(message)?;
    let effect = NewEffect {
        job_id: Some(message.job_id),
        call_key: None,
        tool: receiver.tool().to_owned(),
        target: receiver.target(),
        args_hash: format!("{:x}", Sha256::digest(&body)),
        origin: Origin::Host,
        rule: "notify".to_owned(),
        detail: json!({ "event_id": message.event_id, "kind": message.kind }),
    };
    let now = cx.clock.now();
    let id = cx
        .store
        .write(move |tx| {
            let id = ledger::prepare(tx, now, &effect)?;
            ledger::dispatch(tx, now, id)?;
            Ok(id)
        })
        .await?;

    let mut pauses = pauses.iter();
    let mut attempts = 1;
    let failure = loop {
        let Err(failure) = receiver.send(cx, &body).await else { break None };
        tracing::warn!(job_id = message.job_id.0, effect_id = id.0, attempts, reason = failure.reason, "not delivered");
        match pauses.next().filter(|_| failure.temporary) {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => break Some(failure),
        }
        attempts += 1;
    };
    settle(cx, id, attempts, failure).await
}

async fn settle(cx: &Cx, id: EffectId, attempts: u32, failure: Option<Failure>) -> Result<()> {
    let state = if failure.is_none() { EffectState::Confirmed } else { EffectState::Failed };
    let reason = failure.map(|failure| failure.reason);
    let detail = json!({ "attempts": attempts, "reason": reason });
    let now = cx.clock.now();
    let settled = cx.store.write(move |tx| ledger::settle(tx, now, id, state, Some(&detail))).await;
    cx.wake.announce();
    match settled {
        // The job was erased, and its effects with it.
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
