//! What the process knows of the mailbox beside the database: passwords, tokens, the state of the connection.

use std::{
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use assistant_api::mail::{Inbox, Watching};
use jiff::Timestamp;

use super::{
    Place,
    intake::Names,
    net::{Passwords, oauth::Tokens},
    receive::Stuck,
};

/// One per daemon.
#[derive(Default)]
pub struct Live {
    /// Replaced with the configuration.
    pub passwords: ArcSwap<Passwords>,
    pub tokens: Tokens,
    /// How long servers are waited for.
    pub times: ArcSwap<Times>,
    /// What the DNS said a short while ago.
    pub names: Names,
    /// What a former process left lying about is gone.
    pub(super) swept: AtomicBool,
    inbox: Mutex<Inbox>,
    stuck: Mutex<Option<Stuck>>,
}

/// How long mail servers are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For a connection and for TLS, each.
    pub connect: Duration,
    /// For each answer.
    pub answer: Duration,
    /// IDLE is said anew after this time: a server may end it after 30 minutes (RFC 2177), and a peer that is gone is
    /// noticed by it.
    pub idle: Duration,
    /// Between two attempts to connect, at first; it doubles.
    pub back_off: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            answer: Duration::from_secs(60),
            idle: Duration::from_mins(5),
            back_off: Duration::from_secs(1),
        }
    }
}

impl Live {
    /// Nothing has happened yet.
    pub fn of(secrets: &crate::config::Secrets) -> Self {
        Self { passwords: ArcSwap::from_pointee(secrets.into()), ..Self::default() }
    }

    /// How it stands with receiving, as people are told.
    pub fn inbox(&self) -> Inbox {
        self.lock().clone()
    }

    /// What is being done now.
    pub(super) fn watching(&self, now: Timestamp, mailbox: &str, watching: Watching) {
        let mut inbox = self.lock();
        if inbox.watching != watching || inbox.mailbox.as_deref() != Some(mailbox) {
            inbox.since = Some(now);
        }
        (inbox.watching, inbox.mailbox) = (watching, Some(mailbox.to_owned()));
        if matches!(watching, Watching::Idle | Watching::Polling) {
            (inbox.error, inbox.hint, inbox.failures) = (None, None, 0);
        }
    }

    /// Why there is no connection.
    pub(super) fn failed(&self, now: Timestamp, error: &crate::error::Error) -> u32 {
        let mut inbox = self.lock();
        if inbox.watching != Watching::Failing {
            inbox.since = Some(now);
        }
        inbox.watching = Watching::Failing;
        inbox.error = Some(error.message().to_owned());
        inbox.hint = error.hint_text().map(str::to_owned);
        inbox.error_at = Some(now);
        inbox.failures = inbox.failures.saturating_add(1);
        inbox.failures
    }

    /// Mail is not received.
    pub(super) fn off(&self) {
        *self.lock() = Inbox::default();
    }

    /// The message with which it went wrong last.
    pub(super) fn stuck(&self) -> Option<Stuck> {
        self.lock_stuck().clone()
    }

    /// It went wrong with a message, once more or for the first time.
    pub(super) fn note_stuck(&self, place: Place, why: String) {
        let mut stuck = self.lock_stuck();
        let before = stuck.as_ref().filter(|stuck| stuck.place == place).map_or(0, |stuck| stuck.attempts);
        *stuck = Some(Stuck { place, attempts: before + 1, why });
    }

    /// It went well with a message.
    pub(super) fn not_stuck(&self, place: &Place) {
        self.lock_stuck().take_if(|stuck| stuck.place == *place);
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_stuck(&self) -> MutexGuard<'_, Option<Stuck>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
