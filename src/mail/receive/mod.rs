//! Receiving: one connection to the mailbox, messages in their order, each into a file and then to be decided about.
//!
//! ```text
//!  list from the cursor ──▶ fetch, part by part, into files ──▶ read, two at once ──▶ decide, one by one ──▶ archive ──▶ wait (IDLE, poll)
//!          ▲                                                   moves the cursor                        │
//!          └───────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Everything is lost with the connection but the cursor, the files and what is to be archived, and the next connection
//! goes on from there.

mod batch;
mod files;
mod session;
mod store;
#[cfg(test)]
mod tests;

use std::{sync::atomic::Ordering, time::Duration};

use assistant_api::status::Warning;
use jiff::Timestamp;
use tokio::sync::Notify;

pub use self::store::{advance, cursor};
use super::{Arrived, Place, config::Email, intake, net::Server};
use crate::{
    cx::{Cx, Wake},
    error::{Error, Result},
    logging::catalog,
    loops::{Loop, Next},
};

/// Longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The loop of the mailbox.
pub(super) struct Receiving;

impl Loop for Receiving {
    const NAME: &'static str = "mailbox";

    fn wake(wake: &Wake) -> &Notify {
        &wake.mailbox
    }

    async fn tick(cx: &Cx) -> Result<Next> {
        receive(cx, &Intake).await
    }
}

/// Who decides about messages; stores the decision and moves the cursor in one transaction.
pub(super) trait Deciding: Sync {
    /// What is found out about a message by itself, whatever came before it.
    type Read: Send;
    /// Reads the file of a message, while those before it are decided about.
    fn read(&self, cx: &Cx, raw_name: &str) -> impl Future<Output = Result<Self::Read>> + Send;
    /// Decides about a message that was read.
    fn take(&self, cx: &Cx, arrived: Arrived, read: &Self::Read) -> impl Future<Output = Result<()>> + Send;
    /// Writes down that nobody can decide about one, and why.
    fn set_aside(
        &self,
        cx: &Cx,
        place: &Place,
        received_at: Timestamp,
        size_bytes: u64,
        why: &str,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// The daemon's own decisions.
struct Intake;

impl Deciding for Intake {
    type Read = intake::Read;

    async fn read(&self, cx: &Cx, raw_name: &str) -> Result<intake::Read> {
        intake::read(cx, raw_name).await
    }

    async fn take(&self, cx: &Cx, arrived: Arrived, read: &intake::Read) -> Result<()> {
        intake::take(cx, arrived, read).await.map(drop)
    }

    async fn set_aside(&self, cx: &Cx, place: &Place, received_at: Timestamp, size: u64, why: &str) -> Result<()> {
        intake::set_aside(cx, place, received_at, size, why).await
    }
}

/// A message with which it went wrong.
#[derive(Clone, Debug)]
pub(super) struct Stuck {
    pub(super) place: Place,
    pub(super) attempts: u32,
    pub(super) why: String,
}

/// What has to be known of the configuration; another one means another connection.
#[derive(Clone, Debug, PartialEq)]
struct Settings {
    server: Server,
    folder: String,
    archive: String,
    poll: Duration,
    /// `user@host/folder`
    mailbox: String,
}

impl Settings {
    fn of(email: &Email) -> Option<Self> {
        let server = Server::imap(email)?;
        let user = server.username.as_deref().unwrap_or_default();
        Some(Self {
            mailbox: format!("{user}@{}/{}", server.host, email.imap_folder),
            folder: email.imap_folder.clone(),
            archive: email.imap_archive_folder.clone(),
            poll: email.imap_poll_interval_seconds.0,
            server,
        })
    }
}

/// One connection from its beginning to its end.
async fn receive(cx: &Cx, deciding: &impl Deciding) -> Result<Next> {
    let live = &cx.process.mail;
    let Some(settings) = Settings::of(&cx.config.load().email) else {
        live.off();
        return Ok(Next::Woken);
    };
    if !live.swept.swap(true, Ordering::Relaxed) {
        let removed = files::sweep(cx).await?;
        if removed > 0 {
            tracing::info!(removed, "removed messages that were fetched and not decided about");
        }
    }
    let ended = session::serve(cx, &settings, deciding).await;
    let Err(err) = ended else { return Ok(Next::After(Duration::ZERO)) };
    let before = live.inbox();
    let failures = live.failed(cx.clock.now(), &err);
    if before.error.as_deref() != Some(err.message()) {
        tracing::warn!(
            target: catalog::MAILBOX,
            mailbox = settings.mailbox,
            error = err.chain(),
            hint = err.hint_text().unwrap_or_default(),
            "no mail is received, it is tried again"
        );
    }
    Ok(Next::After(pause(live.times.load().back_off, failures)))
}

/// Doubles with each failure; a little by chance, so that many do not come back at once.
fn pause(first: Duration, failures: u32) -> Duration {
    let pause = first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(LONGEST_PAUSE);
    pause.mul_f64(0.75 + fastrand::f64() / 2.0)
}

/// What people should know: no mail is received though it should be.
pub fn warning(cx: &Cx) -> Option<Warning> {
    let inbox = cx.process.mail.inbox();
    let error = inbox.error?;
    let hint = inbox.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    Some(Warning {
        name: "mailbox".into(),
        text: format!("no mail is received: {error}{hint}"),
        mend: "assistantctl mail test".into(),
    })
}

/// A refusal that concerns a folder of the configuration.
fn folder_refused(settings: &Settings, why: &str) -> Error {
    Error::unavailable(format!("{} does not open the folder {:?}: {why}", settings.server.address(), settings.folder))
        .field("email.imap_folder")
        .hint("set email.imap_folder to a folder of this mailbox")
}
