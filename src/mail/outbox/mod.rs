//! The only way out for mail: written down first, handed over by one loop, never twice.
//!
//! ```text
//!  prepare ─▶ prepared ─ the server wants the message ─▶ dispatched ─ it has taken it ─▶ confirmed ─▶ copy to Sent
//!                ▲   │                                      │  │ nobody knows ─▶ Sent is looked at ─▶ confirmed | unknown
//!                │   └─ refused for good ─▶ failed ◀────────┤
//!                └───── refused for now, or cut off before the end: later ─┘
//! ```
//!
//! A mail is `dispatched` only between the server's "go ahead" and its answer, so a crash leaves hardly any in doubt.

mod copies;
mod deliver;
mod files;
mod smtp;
mod store;
mod tell;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use assistant_api::{EffectId, JobId, effects::EffectState};
use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub(super) use self::{
    deliver::Outbox,
    smtp::reach,
    store::{Stands, send_again, stands},
    tell::Tell,
};
pub use self::{files::sweep, store::purge};
use super::{compose::Letter, net};
use crate::{
    config::Config,
    crashpoint::{self, Point},
    cx::Cx,
    error::{Error, ErrorKind, Result},
    jobs::{self, Lease},
    ledger::{self, NewEffect},
    policy::Origin,
};

/// The tool under whose name all mail stands in the ledger.
pub const TOOL: &str = "email_send";

/// What a mail is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A job's own.
    Agent,
    /// The answer to who asked.
    Result,
    /// What a job asks a person.
    Question,
    /// What a job may do only with a person's word.
    Approval,
    /// What the owner has to know.
    Notice,
    /// How far a job has come.
    Progress,
    /// To see whether mail arrives.
    Test,
}

impl Kind {
    /// As it stands in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Result => "result",
            Self::Question => "question",
            Self::Approval => "approval",
            Self::Notice => "notice",
            Self::Progress => "progress",
            Self::Test => "test",
        }
    }
}

/// What stands behind a mail.
#[derive(Clone, Debug)]
pub struct Purpose {
    pub kind: Kind,
    pub job_id: Option<JobId>,
    /// An answer to it belongs to this thread.
    pub thread_id: Option<String>,
    /// What is told once is told once; such as job, status and reason.
    pub once: Option<String>,
    /// The model's call, for a job's own mail.
    pub call: Option<Asked>,
}

/// A model's call.
#[derive(Clone, Debug)]
pub struct Asked {
    pub lease: Lease,
    pub key: String,
    pub args_hash: String,
    pub origin: Origin,
    pub rule: String,
}

/// A mail that is in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    pub id: i64,
    pub effect_id: EffectId,
}

/// Mails that jobs may send.
#[derive(Clone, Copy, Debug)]
struct Limits {
    per_hour: u32,
    per_day: u32,
}

/// Whether mail can be sent under this configuration: there is a server, and an address to send from.
pub fn configured(config: &Config) -> bool {
    config.email.smtp_host.is_some() && super::compose::sender(config).is_ok()
}

/// Puts a letter into the outbox: the message is on disk, its effect in the ledger and counted, before this returns; what
/// is told once and was told before is only looked up.
///
/// # Errors
/// `rate_limited` over `limits.max_emails_per_hour` or `max_emails_per_day`; `conflict` when the job's lease is lost;
/// `storage_full`.
pub async fn send(cx: &Cx, purpose: Purpose, letter: Letter) -> Result<Queued> {
    let with = |_: &Connection, _: &Queued| Ok(());
    send_with(cx, purpose, letter, with).await
}

/// Sends a mail again of which nobody knows whether it arrived; a person said so.
///
/// # Errors
/// `not_found`; `conflict` when that is known, or the message is not kept any more.
pub async fn resend(cx: &Cx, id: i64, by: &str) -> Result<()> {
    let (now, by) = (cx.clock.now(), by.to_owned());
    cx.store.write(move |tx| send_again(tx, now, id, &by)).await?;
    cx.wake.outbox.notify_one();
    cx.wake.announce();
    Ok(())
}

/// As [`send`]; `also` is written in the same transaction, if the mail is a new one.
///
/// # Errors
/// As [`send`], and those of `also`.
pub(super) async fn send_with<F>(cx: &Cx, purpose: Purpose, letter: Letter, also: F) -> Result<Queued>
where
    F: Fn(&Connection, &Queued) -> Result<()> + Send + 'static,
{
    cx.check_space()?;
    let config = cx.config.load();
    let limits = Limits { per_hour: config.limits.max_emails_per_hour, per_day: config.limits.max_emails_per_day };
    let copy = config.email.save_to_sent && config.email.imap_host.is_some();
    let raw_name = files::keep(cx, letter.bytes.clone()).await?;
    let (now, letter, name) = (cx.clock.now(), Arc::new(letter), raw_name.clone());
    let written = cx
        .store
        .write(move |tx| {
            let (queued, new) = prepare(tx, now, limits, &purpose, &letter, &name, copy)?;
            if new {
                also(tx, &queued)?;
            }
            Ok((queued, new))
        })
        .await;
    match written {
        Ok((queued, new)) => {
            crashpoint::hit(Point::MailPrepared);
            if !new {
                files::remove(cx, &raw_name).await;
            }
            cx.wake.announce();
            cx.wake.outbox.notify_one();
            Ok(queued)
        }
        Err(err) => {
            files::remove(cx, &raw_name).await;
            Err(err)
        }
    }
}

/// Writes a mail down in the caller's transaction; whether it is a new one.
fn prepare(
    conn: &Connection,
    now: Timestamp,
    limits: Limits,
    purpose: &Purpose,
    letter: &Letter,
    raw_name: &str,
    copy: bool,
) -> Result<(Queued, bool)> {
    if let Some(known) = purpose.once.as_deref().map(|once| store::by_once(conn, once)).transpose()?.flatten() {
        return Ok((known, false));
    }
    let counted = purpose.kind == Kind::Agent;
    if let Some(asked) = &purpose.call {
        jobs::held(conn, &asked.lease)?;
    }
    if counted {
        within(conn, now, SignedDuration::from_hours(1), limits.per_hour, "hour")?;
        within(conn, now, SignedDuration::from_hours(24), limits.per_day, "day")?;
    }
    let everybody: Vec<String> = letter.to.iter().chain(&letter.cc).map(ToString::to_string).collect();
    let call = purpose.call.as_ref();
    let effect = NewEffect {
        job_id: purpose.job_id,
        call_key: call.map(|call| call.key.clone()),
        tool: TOOL.to_owned(),
        target: target(purpose.kind, &everybody),
        args_hash: call.map_or_else(|| format!("{:x}", Sha256::digest(&letter.bytes)), |call| call.args_hash.clone()),
        origin: call.map_or(Origin::Host, |call| call.origin),
        rule: call.map_or_else(|| purpose.kind.as_str().to_owned(), |call| call.rule.clone()),
        detail: json!({
            "kind": purpose.kind.as_str(),
            "message_id": letter.message_id,
            "subject": letter.subject,
            "to": letter.to.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "cc": letter.cc.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "attachments": letter.attachments,
            // Nothing of the workspace is changed by it.
            "written": [],
        }),
    };
    let effect_id = ledger::prepare(conn, now, &effect)?;
    let id = store::insert(conn, now, effect_id, purpose, letter, raw_name, copy, counted)?;
    Ok((Queued { id, effect_id }, true))
}

/// Refuses a mail above the limit of a span of time.
fn within(conn: &Connection, now: Timestamp, span: SignedDuration, most: u32, name: &str) -> Result<()> {
    let since = now.checked_sub(span).unwrap_or(Timestamp::MIN);
    let sent = store::counted_since(conn, since)?;
    if sent < i64::from(most) {
        return Ok(());
    }
    let message =
        format!("email rate limit exceeded: {sent} mails in the last {name} (limits.max_emails_per_{name} = {most})");
    Err(Error::new(ErrorKind::RateLimited, message)
        .hint("do not try again now; hand over the result with task_complete, which is not counted"))
}

/// Who gets it, for lists.
fn target(kind: Kind, everybody: &[String]) -> String {
    let text: String = everybody.join(", ").chars().take(180).collect();
    if kind == Kind::Agent { text } else { format!("{text} ({})", kind.as_str()) }
}

/// The server that mail is handed to.
///
/// # Errors
/// `unavailable` when none is configured.
fn server(cx: &Cx) -> Result<net::Server> {
    let with_password = net::passwords(cx).smtp.is_some();
    net::Server::smtp(&cx.config.load().email, with_password)
        .ok_or_else(|| Error::unavailable("no server for sending mail is configured").field("email.smtp_host"))
}

/// Connects to the server that mail is handed to, and logs in; what is said of it.
///
/// # Errors
/// `unavailable`, with the setting that is to be looked at.
pub(super) async fn log_in(cx: &Cx) -> Result<String> {
    let server = server(cx)?;
    let from = super::compose::sender(&cx.config.load())?;
    smtp::Session::open(cx, &server, from.email.domain()).await?.close().await;
    let login = server.username.as_deref().map_or_else(|| "without a login".into(), |name| format!("as {name}"));
    Ok(format!("{}, {login}", server.address()))
}

/// Whether nothing more can become of it by itself.
pub(super) fn is_settled(state: EffectState) -> bool {
    !matches!(state, EffectState::Prepared | EffectState::Dispatched)
}
