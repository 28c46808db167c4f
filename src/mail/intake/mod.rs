//! Intake: what is done about a message that came; exactly one decision each, in one transaction, with its reason.
//!
//! The message is read by `assistant-mail`, a process that can reach nothing; here its words are only words. Who sent it is
//! who the mail system proves it to be (`sender`).

mod bounce;
mod by_hand;
mod decide;
mod guards;
mod names;
mod reader;
mod reply;
mod sender;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use assistant_api::{JobId, mail::Decision};
use jiff::Timestamp;

use self::sender::Sender;
pub use self::{by_hand::decide_by_hand, names::Names, reader::Read};
use super::{Arrived, Place, folder};
use crate::{
    cx::Cx,
    error::{Error, Result},
};

/// What was done about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether it is to be moved to the archive folder.
    pub archive: bool,
    pub job_id: Option<JobId>,
    pub decision: Decision,
}

/// Reads the file of a message.
///
/// # Errors
/// For want of the program or of memory: then it may be tried again.
pub async fn read(cx: &Cx, raw_name: &str) -> Result<Read> {
    reader::read(cx, &folder(&cx.state_dir).join(raw_name)).await
}

/// Finds out who sent a message, and decides about it; moves the cursor to it in the same transaction.
///
/// # Errors
/// Only when it could not be stored, or nobody can look up just now who sent it: then it may be tried again.
pub async fn take(cx: &Cx, arrived: Arrived, read: &Read) -> Result<Taken> {
    let message = match read {
        Read::Message(message) => Arc::clone(message),
        Read::Unreadable(why) => return kept_unread(cx, arrived, why.clone()).await,
    };
    let sender = sender::judge(&cx.config.load(), &message);
    if let Some(domain) = &sender.doubtful
        && cx.process.mail.names.is_worth_waiting(cx.clock.monotonic(), &arrived.place)
    {
        return Err(Error::unavailable(format!(
            "nobody answers for the keys of {domain}, which prove who sent a message"
        ))
        .hint("mend the name server of this host or set mail.dns_server; after ten minutes it counts as unverified"));
    }
    if sender.verified {
        cx.process.mail.names.was_worth_waiting(&arrived.place);
    }
    let (now, config, place) = (cx.clock.now(), cx.config.load_full(), arrived.place.clone());
    let raw_name = arrived.raw_name.clone();
    let (taken, keeps) = cx
        .store
        .write(move |tx| {
            let done = decide::decide(tx, now, &config, &arrived, &message, &sender)?;
            super::receive::advance(tx, now, &place)?;
            Ok(done)
        })
        .await?;
    if !keeps {
        forget(cx, &raw_name).await;
    }
    woken(cx);
    tracing::info!(
        decision = taken.decision.as_str(),
        job_id = taken.job_id.map(|id| id.0),
        "a message was decided about"
    );
    Ok(taken)
}

/// Writes down that a message cannot be taken, and why, and moves the cursor past it.
///
/// # Errors
/// When it could not be stored.
pub async fn set_aside(cx: &Cx, place: &Place, received_at: Timestamp, size_bytes: u64, why: &str) -> Result<()> {
    let (now, place, why) = (cx.clock.now(), place.clone(), why.to_owned());
    tracing::warn!(uid = place.uid, why, "a message was set aside");
    cx.store
        .write(move |tx| {
            store::insert_set_aside(tx, now, &place, received_at, size_bytes, &why, None)?;
            super::receive::advance(tx, now, &place)
        })
        .await?;
    cx.wake.announce();
    Ok(())
}

/// A message that was fetched and cannot be read: its file stays, for who wants to look.
async fn kept_unread(cx: &Cx, arrived: Arrived, why: String) -> Result<Taken> {
    let now = cx.clock.now();
    tracing::warn!(uid = arrived.place.uid, why, "a message was set aside");
    cx.store
        .write(move |tx| {
            let Arrived { place, received_at, size_bytes, raw_name, content_hash } = &arrived;
            let kept = Some((raw_name.as_str(), content_hash));
            store::insert_set_aside(tx, now, place, *received_at, *size_bytes, &why, kept)?;
            super::receive::advance(tx, now, place)
        })
        .await?;
    cx.wake.announce();
    Ok(Taken { archive: false, job_id: None, decision: Decision::SetAside })
}

/// Everybody who may have something to do now.
fn woken(cx: &Cx) {
    cx.wake.announce();
    cx.wake.jobs.notify_one();
    cx.wake.artifacts.notify_one();
}

async fn forget(cx: &Cx, raw_name: &str) {
    let path = folder(&cx.state_dir).join(raw_name);
    if let Err(err) = tokio::fs::remove_file(&path).await
        && err.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(error = %err, "the file of a message could not be removed");
    }
}

/// The addresses that are the assistant's own, in lower case.
fn own_addresses(config: &crate::config::Config) -> Vec<String> {
    let from = config.email.smtp_from.as_deref().and_then(|from| from.parse::<lettre::message::Mailbox>().ok());
    [
        config.identity.email.clone(),
        from.map(|mailbox| mailbox.email.to_string()),
        config.email.imap_username.clone(),
        config.email.smtp_username.clone(),
    ]
    .into_iter()
    .flatten()
    .map(|address| address.to_lowercase())
    .filter(|address| address.contains('@'))
    .collect()
}

/// The domain of message ids that are made here.
fn own_domain(config: &crate::config::Config) -> String {
    let named = config.identity.message_id_domain.clone();
    let own =
        || own_addresses(config).first().and_then(|own| own.rsplit_once('@').map(|(_, domain)| domain.to_owned()));
    named.or_else(own).unwrap_or_else(|| "local".into())
}

/// What cannot be done for want of a program or of memory may go another time.
fn unready(err: std::io::Error) -> Error {
    Error::unavailable("the reader of mail cannot be started").source(err)
}
