//! The writer thread: group commit with a savepoint per caller.
//!
//! Whoever is waiting when the thread looks joins the group: `BEGIN IMMEDIATE`, a savepoint per closure, one `COMMIT`,
//! then all answers. After each closure the thread asks whether the transaction still stands; a full disk, an I/O
//! error or `OR ROLLBACK` ends it silently. Then nobody of the group is answered, the culprit gets its error, and the
//! others run again, each alone. That is why closures are `Fn`.

use std::{any::Any, panic::AssertUnwindSafe, thread};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::health::Health;
use crate::error::{Error, Result};

/// Callers that may wait before `write` itself waits.
const QUEUE: usize = 1024;
/// Callers that share one commit: a bound for how long the first of them waits.
const GROUP: usize = 256;

/// A closure with its way to answer, its type erased.
pub(super) trait Task: Send {
    /// Runs the closure and keeps its outcome; `false` when it returned an error or panicked.
    fn run(&mut self, conn: &Connection) -> bool;
    /// Sends the kept outcome, or `failure` in place of a success: what did not commit did not happen.
    fn answer(self: Box<Self>, failure: Option<Error>, health: &Health);
}

pub(super) struct Typed<T, F> {
    f: F,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F: Fn(&Connection) -> Result<T>> Typed<T, F> {
    pub(super) fn new(f: F, reply: oneshot::Sender<Result<T>>) -> Self {
        Self { f, outcome: None, reply }
    }
}

impl<T: Send, F: Fn(&Connection) -> Result<T> + Send> Task for Typed<T, F> {
    fn run(&mut self, conn: &Connection) -> bool {
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| (self.f)(conn)))
            .unwrap_or_else(|panic| Err(Error::internal(panic_text(&*panic))));
        let ok = result.is_ok();
        self.outcome = Some(result);
        ok
    }

    fn answer(self: Box<Self>, failure: Option<Error>, health: &Health) {
        let result = match (failure, self.outcome) {
            (_, Some(Err(own))) => Err(own),
            (Some(err), _) => Err(err),
            (None, Some(outcome)) => outcome,
            (None, None) => Err(Error::internal("a write was answered before it ran")),
        };
        if let Err(err) = &result {
            health.note(err);
        }
        let _ = self.reply.send(result);
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a write panicked: {}", text.unwrap_or_default())
}

enum Message {
    Task(Box<dyn Task>),
    Close(oneshot::Sender<()>),
}

#[derive(Clone)]
pub(super) struct Handle(mpsc::Sender<Message>);

impl Handle {
    pub(super) fn start(conn: Connection, health: Health) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || serve(conn, receiver, &health))
            .map_err(Error::internal)?;
        Ok(Self(sender))
    }

    pub(super) async fn send(&self, task: Box<dyn Task>) -> Result<()> {
        self.0.send(Message::Task(task)).await.map_err(|_| Error::unavailable("the database is closing"))
    }

    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.0.send(Message::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

fn serve(conn: Connection, mut queue: mpsc::Receiver<Message>, health: &Health) {
    let mut group: Vec<Box<dyn Task>> = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        let mut closing = None;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Task(task) => group.push(task),
                Message::Close(done) => {
                    queue.close();
                    closing = Some(done);
                }
            }
            next = if group.len() < GROUP { queue.try_recv().ok() } else { None };
        }
        commit_together(&conn, std::mem::take(&mut group), health);
        if let Some(done) = closing {
            while let Some(Message::Task(task)) = queue.blocking_recv() {
                commit_together(&conn, vec![task], health);
            }
            // Leaves no WAL behind that a reader with another SQLite would have to recover.
            let _ = conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
            // Closing takes files away, so whoever hears that it is closed may move what is left.
            drop(conn);
            let _ = done.send(());
            return;
        }
    }
}

/// Runs a group in one transaction; if the transaction breaks, runs everyone but the culprit again alone.
fn commit_together(conn: &Connection, mut group: Vec<Box<dyn Task>>, health: &Health) {
    if group.is_empty() {
        return;
    }
    match run_group(conn, &mut group) {
        Ok(wrote) => {
            // A group without a change proves nothing about the disk.
            if wrote {
                health.note_success();
            }
            for task in group {
                task.answer(None, health);
            }
        }
        Err(Broken { culprit, error }) => {
            let _ = conn.execute_batch("ROLLBACK"); // fails when the transaction is already gone
            let alone = group.len() == 1;
            let mut error = Some(error);
            for (index, task) in group.into_iter().enumerate() {
                if alone || Some(index) == culprit {
                    task.answer(error.take(), health);
                } else {
                    commit_together(conn, vec![task], health);
                }
            }
        }
    }
}

struct Broken {
    culprit: Option<usize>,
    error: Error,
}

/// Runs and commits a group; returns whether it changed anything.
fn run_group(conn: &Connection, group: &mut [Box<dyn Task>]) -> Result<bool, Broken> {
    let before = conn.total_changes();
    let broken = |error: rusqlite::Error| Broken { culprit: None, error: error.into() };
    let statement = |sql| conn.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    statement("BEGIN IMMEDIATE").map_err(broken)?;
    for (index, task) in group.iter_mut().enumerate() {
        statement("SAVEPOINT caller").map_err(broken)?;
        let ok = task.run(conn);
        if conn.is_autocommit() {
            let error = Error::storage_full("the database ended the transaction")
                .hint("free space on the state directory's disk; see assistantctl status");
            return Err(Broken { culprit: Some(index), error });
        }
        if !ok {
            statement("ROLLBACK TO caller").map_err(broken)?;
        }
        statement("RELEASE caller").map_err(broken)?;
    }
    statement("COMMIT").map_err(broken)?;
    Ok(conn.total_changes() != before)
}
