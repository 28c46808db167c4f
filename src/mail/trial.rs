//! What the mailbox can do: every step from the certificate to a message that comes back.

use std::time::{Duration, Instant};

use assistant_api::{
    effects::EffectState,
    mail::{TestResult, TestStep},
};
use lettre::message::Mailbox;

use super::{
    compose::{self, Draft},
    imap::{Connection, Fault},
    net::Server,
    outbox::{self, Kind, Purpose},
};
use crate::{
    cx::Cx,
    error::{Error, Result},
};

/// How long the message may take to be handed over, and again to come back.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
/// Where the folder is only looked at now and then, it is looked at so often meanwhile.
const NUDGE: Duration = Duration::from_secs(3);

/// Tries everything that the configuration names; a step that needs a failed one is left out.
pub async fn test(cx: &Cx) -> TestResult {
    let mut steps = Steps::default();
    let receives = imap(cx, &mut steps).await;
    let sends = steps.add("smtp_login", outbox::log_in(cx)).await.is_some();
    if sends
        && let Some(message_id) = steps.add("send", send(cx)).await
        && receives
    {
        steps.add("arrival", arrival(cx, &message_id)).await;
    }
    TestResult { ok: steps.0.iter().all(|step| step.ok), steps: steps.0 }
}

#[derive(Default)]
struct Steps(Vec<TestStep>);

impl Steps {
    /// Does one step and writes down what came of it; what it found, if it went well.
    async fn add(&mut self, name: &str, step: impl Future<Output = Result<String>>) -> Option<String> {
        let began = Instant::now();
        let outcome = step.await;
        let detail = match &outcome {
            Ok(found) => found.clone(),
            Err(err) => {
                err.hint_text().map_or_else(|| err.message().to_owned(), |hint| format!("{}: {hint}", err.message()))
            }
        };
        let duration_ms = began.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        self.0.push(TestStep { step: name.into(), ok: outcome.is_ok(), detail, duration_ms });
        outcome.ok()
    }
}

/// Whether mail can be received.
async fn imap(cx: &Cx, steps: &mut Steps) -> bool {
    let email = cx.config.load().email.clone();
    let server = Server::imap(&email)
        .ok_or_else(|| Error::unavailable("no mail is received").hint("set email.imap_host").field("email.imap_host"));
    let server = match server {
        Ok(server) => server,
        Err(err) => {
            steps.add("imap_tls", async { Err(err) }).await;
            return false;
        }
    };
    let encrypted = async {
        Connection::encrypted(cx, &server).await?.close().await;
        Ok(format!("{}, the certificate is good", server.address()))
    };
    if steps.add("imap_tls", encrypted).await.is_none() {
        return false;
    }
    let mut connection = None;
    let login = async {
        connection = Some(Connection::open(cx, &server).await?);
        Ok(format!("as {}", server.username.as_deref().unwrap_or_default()))
    };
    steps.add("imap_login", login).await;
    let Some(mut connection) = connection else { return false };
    let explain = |fault: Fault| fault.explain(&server);
    let folders = async {
        connection.examine(&email.imap_folder).await.map_err(explain)?;
        let mut found = format!("{} is there", email.imap_folder);
        for name in [&email.imap_archive_folder, &email.imap_sent_folder] {
            let there = connection.has_folder(name).await.map_err(explain)?;
            found += &[", ", name, if there { " too" } else { " will be made" }].concat();
        }
        Ok(found)
    };
    if steps.add("folders", folders).await.is_none() {
        return false;
    }
    let idle = async {
        let poll = email.imap_poll_interval_seconds.0.as_secs();
        let polls = format!("the server does not tell of new mail; it is looked for every {poll} s");
        if !connection.can("IDLE") {
            return Ok(polls);
        }
        match connection.idle(async {}, || {}).await {
            Ok(_) => Ok("the server tells of new mail at once".into()),
            Err(Fault::Refused(_)) => Ok(polls),
            Err(fault) => Err(explain(fault)),
        }
    };
    let waits = steps.add("idle", idle).await.is_some();
    connection.close().await;
    waits
}

/// Sends a message to itself; its id.
async fn send(cx: &Cx) -> Result<String> {
    let config = cx.config.load_full();
    let own = compose::sender(&config)?;
    let draft = Draft {
        to: vec![Mailbox::new(None, own.email)],
        cc: Vec::new(),
        subject: "Test of the mailbox".into(),
        body: "This message was sent to see whether mail arrives. Nothing has to be done about it.".into(),
        target: None,
        attachments: Vec::new(),
    };
    let letter = compose::made(cx, &config, draft).await?;
    let message_id = letter.message_id.clone();
    let purpose = Purpose { kind: Kind::Test, job_id: None, thread_id: None, once: None, call: None };
    let queued = outbox::send(cx, purpose, letter).await?;
    let began = Instant::now();
    loop {
        let effect_id = queued.effect_id;
        let stands = cx.store.read(move |conn| outbox::stands(conn, effect_id)).await?;
        let (state, answer) = stands.map(|stands| (stands.state, stands.answer)).unzip();
        let answer = answer.flatten().unwrap_or_default();
        match state {
            Some(EffectState::Confirmed) => return Ok(message_id),
            Some(state) if outbox::is_settled(state) => {
                return Err(Error::unavailable(format!("the message was not sent: {answer}")));
            }
            _ if began.elapsed() > PATIENCE => {
                return Err(Error::timeout(format!("the message is still in the outbox: {answer}"))
                    .hint("see assistantctl mail outbox"));
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Waits until the message has come in and was decided about.
async fn arrival(cx: &Cx, message_id: &str) -> Result<String> {
    let began = Instant::now();
    let mut nudged = began;
    loop {
        let id = message_id.to_owned();
        let decision: Option<String> = cx.store.read(move |conn| super::store::decision_about(conn, &id)).await?;
        if let Some(decision) = decision {
            return Ok(format!("it came back, and was taken for what it is ({decision})"));
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::timeout(format!("the message did not come back in {} s", PATIENCE.as_secs()))
                .hint("look for it in the folder for unwanted mail, and whether email.smtp_from is this mailbox"));
        }
        if nudged.elapsed() > NUDGE {
            nudged = Instant::now();
            cx.wake.mailbox.notify_one();
        }
        tokio::time::sleep(LOOK).await;
    }
}
