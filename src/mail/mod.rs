//! The mailbox: what comes is decided about exactly once, what goes out goes out once.
//!
//! ```text
//!            imap/ + receive/            intake/                            outbox/
//!  server ── a file, one at a time ──▶ reader, verification, thread ──▶ job ──▶ prepared ─▶ dispatched ─▶ confirmed
//!                 │                          │ one transaction                     │ SMTP, Sent folder
//!                 ◀── archive ───────── decision + cursor                          ◀── a bounce tells its job
//! ```
//!
//! No message is parsed in the daemon: `reader/` is a program of its own that can reach nothing but the message.

mod api;
pub mod artifacts;
mod check;
pub mod compose;
pub mod config;
pub mod imap;
pub mod intake;
mod live;
pub mod net;
pub mod outbox;
mod reach;
pub mod receive;
mod store;
#[cfg(test)]
mod tests;
mod tools;
mod trial;

use std::path::{Path, PathBuf};

use assistant_api::mail::MailStatus;
use jiff::Timestamp;

pub use self::{
    live::{Live, Times},
    reach::{lacking, reach},
    store::{codes, told},
    trial::test,
};
use crate::{cx::Cx, error::Result, loops::LoopDef, subsystems::Subsystem};

/// What mail adds to the daemon.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "mail", routes: api::routes, tools: tools::TOOLS, loops: LOOPS };

const LOOPS: &[LoopDef] = &[
    LoopDef::of::<artifacts::Artifacts>(),
    LoopDef::of::<receive::Receiving>(),
    LoopDef::of::<outbox::Outbox>(),
    LoopDef::of::<outbox::Tell>(),
];

/// How it stands with the mailbox.
///
/// # Errors
/// When the database cannot be read.
pub async fn status(cx: &Cx) -> Result<MailStatus> {
    let [due, unknown, set_aside, to_archive] = cx.store.read(store::counts).await?;
    let config = cx.config.load();
    let sender = config.email.smtp_from.is_some() || config.identity.email.is_some();
    let sends = config.email.smtp_host.is_some() && sender;
    Ok(MailStatus { inbox: cx.process.mail.inbox(), sends, due, unknown, set_aside, to_archive })
}

/// Where messages and attachments lie, below the state directory; private to the daemon.
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("mail")
}

/// A place in a mailbox; no two messages ever have the same one (RFC 9051, section 2.3.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `user@host/folder`
    pub mailbox: String,
    pub uid_validity: u32,
    pub uid: u32,
}

/// A message that the server has handed over.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub place: Place,
    /// When the server got it.
    pub received_at: Timestamp,
    pub size_bytes: u64,
    /// Name of the file in [`folder`].
    pub raw_name: String,
    pub content_hash: [u8; 32],
}
