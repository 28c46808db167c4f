//! What is done on one connection.

use std::time::Duration;

use assistant_api::mail::Watching;
use tokio::time::Instant;

use super::{Deciding, Settings, batch::Batch, folder_refused, store};
use crate::{
    crashpoint::{self, Point},
    cx::Cx,
    error::Result,
    mail::imap::{Connection, Fault, Idled},
};

/// Messages that are looked for at once. The list of the rest of a large folder is not asked for again for each few.
const LISTED: usize = 20_000;
/// Messages after which what is decided is archived.
const STRETCH: usize = 256;
/// Messages that are moved with one command.
const MOVED: u32 = 100;
/// A server that refuses to archive is asked again after this time.
const ARCHIVE_AGAIN: Duration = Duration::from_mins(5);

/// Connects and stays, until the settings change.
///
/// # Errors
/// Why the connection ended, in words for a person.
pub(super) async fn serve(cx: &Cx, settings: &Settings, deciding: &impl Deciding) -> Result<()> {
    let live = &cx.process.mail;
    let passwords = live.passwords.load_full();
    live.watching(cx.clock.now(), &settings.mailbox, Watching::Connecting);
    let mut connection = Connection::open(cx, &settings.server).await?;
    let uid_validity = match connection.select(&settings.folder).await {
        Err(Fault::Refused(why)) => return Err(folder_refused(settings, &why)),
        other => other.map_err(|fault| fault.explain(&settings.server))?,
    };
    let mut session = Session {
        batch: Batch { cx, settings, uid_validity, deciding },
        connection,
        polls: false,
        archive_from: Instant::now(),
    };
    session.compare().await?;
    tracing::info!(mailbox = settings.mailbox, "reading the mailbox");
    loop {
        session.work().await.map_err(|fault| fault.explain(&settings.server))?;
        session.wait().await.map_err(|fault| fault.explain(&settings.server))?;
        let same = Settings::of(&cx.config.load().email).as_ref() == Some(settings)
            && std::sync::Arc::ptr_eq(&passwords, &live.passwords.load_full());
        if !same {
            session.connection.close().await;
            return Ok(());
        }
    }
}

struct Session<'a, D> {
    batch: Batch<'a, D>,
    connection: Connection,
    /// The server refused IDLE.
    polls: bool,
    /// When archiving may be tried.
    archive_from: Instant,
}

impl<D: Deciding> Session<'_, D> {
    /// Finds out whether the server has given its messages other numbers.
    async fn compare(&self) -> Result<()> {
        let Batch { cx, settings, uid_validity, .. } = self.batch;
        let mailbox = settings.mailbox.clone();
        let before = cx.store.read(move |conn| store::cursor(conn, &mailbox)).await?;
        // Also what a person accepted since.
        let mailbox = settings.mailbox.clone();
        let lost = cx.store.write(move |tx| store::forget_due(tx, &mailbox, uid_validity)).await?;
        if before.is_some_and(|before| before.uid_validity != uid_validity) {
            tracing::warn!(
                mailbox = settings.mailbox,
                uid_validity,
                not_archived = lost,
                "the server has given its messages other numbers: all of them are looked at again"
            );
        }
        Ok(())
    }

    /// Takes up everything there is, and archives it.
    async fn work(&mut self) -> Result<(), Fault> {
        let Batch { cx, settings, .. } = self.batch;
        self.archive().await?;
        loop {
            let from = self.next_uid().await?;
            let Some(from) = from else { return Ok(()) };
            let listed = self.connection.list(from, LISTED).await?;
            if listed.is_empty() {
                return Ok(());
            }
            cx.process.mail.watching(cx.clock.now(), &settings.mailbox, Watching::Fetching);
            for stretch in listed.chunks(STRETCH) {
                self.batch.take_up(&mut self.connection, stretch).await?;
                self.archive().await?;
            }
            // All of them were there and are gone: nothing moved the cursor, and nothing is left to do.
            if self.next_uid().await? == Some(from) {
                return Ok(());
            }
        }
    }

    /// Where to go on.
    async fn next_uid(&self) -> Result<Option<u32>> {
        let Batch { cx, settings, uid_validity, .. } = self.batch;
        let mailbox = settings.mailbox.clone();
        let cursor = cx.store.read(move |conn| store::cursor(conn, &mailbox)).await?;
        let last = cursor.filter(|cursor| cursor.uid_validity == uid_validity).map_or(0, |cursor| cursor.uid);
        Ok(last.checked_add(1))
    }

    /// Moves what is to be moved. A refusal is written down, and does not end the connection.
    async fn archive(&mut self) -> Result<(), Fault> {
        let Batch { cx, settings, uid_validity, .. } = self.batch;
        while Instant::now() >= self.archive_from {
            let mailbox = settings.mailbox.clone();
            let due = cx.store.read(move |conn| store::due(conn, &mailbox, uid_validity, MOVED)).await?;
            if due.is_empty() {
                return Ok(());
            }
            let ids: Vec<i64> = due.iter().map(|due| due.id).collect();
            let mut uids: Vec<u32> = due.iter().map(|due| due.uid).collect();
            uids.sort_unstable();
            crashpoint::hit(Point::MailArchiving);
            // Moved into itself, each message would come again for ever.
            let moved = if settings.archive == settings.folder {
                Err(Fault::Refused("email.imap_archive_folder is email.imap_folder".into()))
            } else {
                self.connection.archive(&uids, &settings.archive).await
            };
            match moved {
                Ok(()) => {
                    crashpoint::hit(Point::MailArchived);
                    cx.store.write(move |tx| store::archived(tx, &ids)).await?;
                }
                Err(Fault::Refused(why)) => {
                    tracing::warn!(folder = settings.archive, why, "mail cannot be archived, it is tried again");
                    cx.store.write(move |tx| store::not_archived(tx, &ids, &why)).await?;
                    self.archive_from = Instant::now() + ARCHIVE_AGAIN;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) -> Result<(), Fault> {
        let Batch { cx, settings, .. } = self.batch;
        let says = |watching| cx.process.mail.watching(cx.clock.now(), &settings.mailbox, watching);
        let woken = async { cx.wake.mailbox.notified().await };
        if self.connection.can("IDLE") && !self.polls {
            match self.connection.idle(woken, || says(Watching::Idle)).await {
                // Some count what came while IDLE went on only when they are asked.
                Ok(Idled::News | Idled::Woken) => return Ok(()),
                Ok(Idled::Renew) => return self.connection.noop().await,
                Err(Fault::Refused(why)) => {
                    tracing::info!(why, "the server refuses IDLE: the folder is looked at now and then");
                    self.polls = true;
                    return Ok(());
                }
                Err(fault) => return Err(fault),
            }
        }
        says(Watching::Polling);
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep(settings.poll) => {}
        }
        self.connection.noop().await
    }
}
