//! `email_send`

use std::time::Duration;

use assistant_api::{
    JobId,
    effects::{Effect, EffectState},
};
use lettre::{Address, message::Mailbox};
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::GROUP;
use crate::{
    agent::tools::{Call, Tool},
    config::Config,
    cx::Cx,
    error::{Error, ErrorKind, Result},
    jobs, ledger,
    mail::{
        compose::{self, Attached, Draft, Target, recipients},
        outbox::{self, Asked, Kind, Purpose, Stands},
    },
    policy::Access,
};

/// How long a call waits for the server; the mail itself is tried for longer.
const WAIT: Duration = Duration::from_secs(45);
/// Mails of the thread that are looked at for one to answer.
const NEWEST: i64 = 50;

/// Send a mail. The answer to whoever asked for this job needs no call: `task_complete` sends its `response` to them as a
/// reply. `sent` means that the mail server has taken it, `queued` that it is tried again for a while, `blocked` that it
/// was not sent and will not be, `failed` that the server refused it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailSend {
    /// Recipients, one address each: `name@example.org` or `Name <name@example.org>`.
    to: Vec<String>,
    /// One line.
    subject: String,
    /// The text, in Markdown.
    body: String,
    /// Further recipients, who see each other.
    #[serde(default)]
    cc: Vec<String>,
    /// Message id of the mail that this one answers; unless given, the newest mail of this thread by one of the recipients.
    #[serde(default)]
    in_reply_to: Option<String>,
    /// Begins a new conversation instead of answering.
    #[serde(default)]
    new_thread: bool,
    /// Files that go with it.
    #[serde(default)]
    attachments: Vec<Attached>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names that the model sees")]
pub(super) struct Sent {
    /// `sent`, `queued`, `blocked`, `failed` or `unknown`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// Its number in the outbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_reply_to: Option<String>,
    attachments: Vec<Value>,
    disclosure_added: bool,
    /// Recipients that the server did not take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Value>,
    /// Whether a copy lies in the folder of sent mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_folder: Option<Value>,
}

impl Tool for EmailSend {
    const NAME: &'static str = outbox::TOOL;
    const ACCESS: Access = Access::Send;
    const GROUP: &'static str = GROUP;
    const LASTING: bool = true;
    const ABSENT: Option<&'static str> =
        Some("no server for sending mail is configured (email.smtp_host): nothing can be mailed");
    type Output = Sent;

    fn exists(cx: &Cx) -> bool {
        outbox::configured(&cx.config.load())
    }

    async fn run(self, cx: &Cx, call: &Call) -> Result<Sent> {
        let (job, key) = (call.job_id, call.key.clone());
        let begun = cx.store.read(move |conn| ledger::by_call(conn, job, &key)).await?;
        if let Some(effect) = begun {
            // A run before this one has put it into the outbox.
            return result(cx, &effect).await;
        }
        let queued = match self.put(cx, call).await {
            Ok(queued) => queued,
            Err(err) if matches!(err.kind(), ErrorKind::RateLimited | ErrorKind::Forbidden) => {
                return Ok(blocked(&err));
            }
            Err(err) => return Err(err),
        };
        let effect = cx.store.read(move |conn| ledger::get(conn, queued.effect_id)).await?;
        result(cx, &effect).await
    }

    async fn reconcile(_cx: &Cx, effect: &Effect) -> Result<EffectState> {
        // The outbox brings it to its end; nobody asks here.
        Ok(effect.state)
    }
}

impl EmailSend {
    /// Checks it, makes the message and puts it into the outbox.
    async fn put(self, cx: &Cx, call: &Call) -> Result<outbox::Queued> {
        let config = cx.config.load_full();
        let to = recipients::parse_all("to", &self.to)?;
        let cc: Vec<Mailbox> = recipients::parse_all("cc", &self.cc)?
            .into_iter()
            .filter(|cc| !to.iter().any(|to| recipients::same(&to.email, &cc.email)))
            .collect();
        if self.body.trim().is_empty() {
            return Err(Error::validation("the body is empty").field("body"));
        }
        let everybody = [to.as_slice(), &cc].concat();
        let job = call.job_id;
        let requester = cx.store.read(move |conn| jobs::requester(conn, job)).await?;
        let requester = requester.and_then(|requester| requester.address.parse::<Address>().ok());
        recipients::allowed(&config, requester.as_ref(), &everybody)?;
        let (wanted, new_thread) = (self.in_reply_to.clone(), self.new_thread);
        let addresses: Vec<Address> = everybody.iter().map(|mailbox| mailbox.email.clone()).collect();
        let (thread_id, target) =
            cx.store.read(move |conn| target(conn, job, wanted.as_deref(), new_thread, &addresses)).await?;
        let attachments = compose::attach(cx, call, &self.attachments).await?;
        let draft = Draft { to, cc, subject: self.subject, body: self.body, target, attachments };
        let letter = compose::made(cx, &config, draft).await?;
        let purpose = Purpose {
            kind: Kind::Agent,
            job_id: Some(job),
            thread_id: Some(thread_id),
            once: None,
            call: Some(Asked {
                lease: call.lease,
                key: call.key.as_ref().to_owned(),
                args_hash: call.args_hash.as_ref().to_owned(),
                origin: call.origin,
                rule: call.rule.as_ref().to_owned(),
            }),
        };
        outbox::send(cx, purpose, letter).await
    }
}

/// The job's thread, and what the mail answers.
fn target(
    conn: &Connection,
    job: JobId,
    wanted: Option<&str>,
    new_thread: bool,
    recipients: &[Address],
) -> Result<(String, Option<Target>)> {
    let thread_id = jobs::thread_of(conn, job)?;
    if new_thread {
        return Ok((thread_id, None));
    }
    let items = jobs::thread(conn, &thread_id, NEWEST)?;
    let target = |message_id: &str, references: &[String]| Target {
        message_id: message_id.to_owned(),
        references: references.to_vec(),
    };
    let found = match wanted.map(str::trim).filter(|wanted| !wanted.is_empty()) {
        Some(wanted) => {
            if !compose::is_message_id(wanted) {
                let message = format!("{wanted:?} is no message id: it looks like <...@...>");
                return Err(Error::validation(message).field("in_reply_to"));
            }
            let known = items.iter().find(|item| item.message_id == wanted);
            Some(target(wanted, known.map(|item| item.references_header.as_slice()).unwrap_or_default()))
        }
        None => items.iter().rev().find_map(|item| {
            let from = recipients::parse(&item.from_address).ok()?;
            let answered = recipients.iter().any(|address| recipients::same(address, &from.email));
            answered.then(|| target(&item.message_id, &item.references_header))
        }),
    };
    Ok((thread_id, found))
}

/// Waits for the server, and says what became of the mail.
async fn result(cx: &Cx, effect: &Effect) -> Result<Sent> {
    let mut events = cx.wake.events.subscribe();
    let deadline = tokio::time::Instant::now() + WAIT;
    let id = effect.id;
    loop {
        events.borrow_and_update();
        let now = cx.store.read(move |conn| outbox::stands(conn, id)).await?;
        let Some(now) = now else { return Err(Error::conflict("the mail is no longer in the outbox")) };
        if outbox::is_settled(now.state) {
            return Ok(told(cx, now));
        }
        // Tried and put off: it may take long.
        let put_off = now.next_attempt_at.is_some() && now.answer.is_some();
        if put_off || tokio::time::timeout_at(deadline, events.changed()).await.is_err() {
            break;
        }
    }
    // From here on the job is told by another way, should the mail fail.
    let stands = cx
        .store
        .write(move |tx| {
            let stands = outbox::stands(tx, id)?;
            if stands.as_ref().is_some_and(|stands| !outbox::is_settled(stands.state)) {
                ledger::mark(tx, id, &json!({ "queued": true }))?;
            }
            Ok(stands)
        })
        .await?;
    stands.map(|stands| told(cx, stands)).ok_or_else(|| Error::conflict("the mail is no longer in the outbox"))
}

fn told(cx: &Cx, stands: Stands) -> Sent {
    let config = cx.config.load();
    let (status, delivery) = match stands.state {
        EffectState::Confirmed => ("sent", Some("smtp_accepted")),
        EffectState::Failed => ("failed", None),
        EffectState::Unknown => ("unknown", None),
        EffectState::Prepared | EffectState::Dispatched => ("queued", None),
    };
    let reason = match stands.state {
        EffectState::Confirmed => None,
        EffectState::Unknown => {
            Some("nobody can tell whether the server has taken it; do not send it again".to_owned())
        }
        EffectState::Failed => stands.answer.clone(),
        _ => stands.answer.clone().or_else(|| Some("the server has not answered yet".into())),
    };
    Sent {
        status,
        reason,
        delivery,
        message_id: Some(stands.message_id),
        log_id: Some(stands.id),
        in_reply_to: stands.in_reply_to,
        attachments: stands.attachments,
        disclosure_added: stands.disclosure_added,
        refused: stands.refused,
        sent_folder: sent_folder(&config, &stands.sent_copy),
    }
}

fn sent_folder(config: &Config, status: &str) -> Option<Value> {
    (status != "none").then(|| json!({ "folder": config.email.imap_sent_folder, "status": status }))
}

fn blocked(err: &Error) -> Sent {
    let hint = err.hint_text().map(|hint| format!("; {hint}")).unwrap_or_default();
    Sent {
        status: "blocked",
        reason: Some(format!("{}{hint}", err.message())),
        delivery: None,
        message_id: None,
        log_id: None,
        in_reply_to: None,
        attachments: Vec::new(),
        disclosure_added: false,
        refused: Vec::new(),
        sent_folder: None,
    }
}
