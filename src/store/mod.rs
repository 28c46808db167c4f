//! `SQLite` behind one writer thread and a few read-only connections.
//!
//! * [`Store::write`] *is* a transaction: it commits on `Ok`, rolls back on `Err`, and answers only after the commit is
//!   on disk (`synchronous=FULL`). Callers that arrive together share one commit (see `writer.rs`).
//! * [`Store::read`] runs on a read-only connection; a write there fails.
//! * There is no way to hold a transaction across an await.

pub mod health;
mod lock;
pub mod migrations;
pub mod snapshot;
pub mod space;
pub mod texts;
pub mod types;
mod writer;

use std::{
    fs::{self, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, oneshot};

pub use self::{
    health::{Health, is_locked},
    lock::StateLock,
};
use crate::error::{Error, Result};

const READERS: usize = 4;

/// A handle to the database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    writer: writer::Handle,
    readers: Arc<Readers>,
    health: Health,
    path: Arc<Path>,
}

struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
    path: PathBuf,
}

impl Store {
    /// Opens `path`, migrates it and starts the writer thread.
    ///
    /// # Errors
    /// `unavailable` when the file is corrupt, from a newer version, or cannot be opened; the message says which.
    pub fn open(path: &Path) -> Result<Self> {
        let health = Health::default();
        let fail = |err: &dyn std::fmt::Display| {
            Error::unavailable(format!("opening the database {}: {err}", path.display()))
                .hint("check owner and mode of the state directory and how its file system is mounted")
        };
        make_private(path).map_err(|err| fail(&err))?;
        let mut conn = connect(path, false)?.map_err(|err| fail(&err))?;
        migrations::run(&mut conn, path)?;
        let writer = writer::Handle::start(conn, health.clone())?;
        let readers =
            Arc::new(Readers { idle: Mutex::default(), permits: Semaphore::new(READERS), path: path.to_owned() });
        Ok(Self { writer, readers, health, path: path.into() })
    }

    /// Runs `f` in a transaction and answers when it is on disk.
    ///
    /// `f` may run more than once (when another caller of the same group breaks the transaction), so it must have no
    /// effect but on `tx`.
    pub async fn write<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        self.writer.send(Box::new(writer::Typed::new(f, reply))).await?;
        result.await.unwrap_or_else(|_| Err(Error::unavailable("the database is closing")))
    }

    /// Runs `f` on a read-only connection.
    pub async fn read<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let _permit =
            self.readers.permits.acquire().await.map_err(|_| Error::unavailable("the database is closing"))?;
        let readers = Arc::clone(&self.readers);
        let health = self.health.clone();
        tokio::task::spawn_blocking(move || {
            let conn = readers.take()?;
            let result = f(&conn);
            readers.put(conn);
            if let Err(err) = &result {
                health.note(err);
            }
            result
        })
        .await
        .map_err(Error::internal)?
    }

    /// A round trip through the writer thread that touches no disk: whether the writer is alive.
    pub async fn ping(&self) -> Result<()> {
        self.write(|_| Ok(())).await
    }

    /// Commits one small row, and so finds out whether the database takes writes (again); clears [`Health`] if it does.
    pub async fn probe(&self, now: jiff::Timestamp) -> Result<()> {
        self.write(move |tx| {
            tx.prepare_cached(
                "INSERT INTO runtime_state (key, value, updated_at) VALUES ('probe', '', ?1)
                 ON CONFLICT DO UPDATE SET updated_at = ?1",
            )?
            .execute([types::micros(now)])?;
            Ok(())
        })
        .await
    }

    /// Whether the database can be used, and if not, why.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the writer thread after what is queued; later calls fail with `unavailable`.
    pub async fn close(&self) {
        self.readers.permits.close();
        self.writer.close().await;
        self.readers.lock().clear();
    }
}

impl Readers {
    /// Connections are opened when they are first needed: an idle daemon holds one or none.
    fn take(&self) -> Result<Connection> {
        let idle = self.lock().pop();
        if let Some(conn) = idle {
            return Ok(conn);
        }
        // Callers may be shown this one: where the file lies is for the journal.
        connect(&self.path, true)?.map_err(|err| {
            Error::unavailable("the database cannot be opened for reading now")
                .hint("try again; the daemon's log has the reason")
                .source(format!("{}: {err}", self.path.display()))
        })
    }

    fn put(&self, conn: Connection) {
        self.lock().push(conn);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the database, or what is there of it, the daemon's alone, whatever the mode of its directory. `SQLite` gives
/// the files beside it the mode of the database (<https://sqlite.org/wal.html>).
fn make_private(path: &Path) -> io::Result<()> {
    // An existing file is not opened: closing it would release the locks of another connection (fcntl(2)).
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => return Ok(()),
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
        Err(err) => return Err(err),
    }
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        let open_to_others = fs::metadata(&file).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0);
        if open_to_others {
            fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// The one place where a connection is opened and its pragmas are set. The inner error is that of the opening, which
/// only the caller can tell in words that fit.
#[expect(clippy::disallowed_methods, reason = "the one place that opens a connection")]
fn connect(path: &Path, read_only: bool) -> Result<rusqlite::Result<Connection>> {
    let flags = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX
    };
    let conn = match Connection::open_with_flags(path, flags) {
        Ok(conn) => conn,
        Err(err) => return Ok(Err(err)),
    };
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.pragma_update(None, "cache_size", -1024)?; // KiB: an idle daemon stays small
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    if !read_only {
        // One statement that fails on a file that is not a database, before anything is written.
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "foreign_keys", "ON")?;
        conn.pragma_update(None, "wal_autocheckpoint", 1000)?;
        conn.pragma_update(None, "journal_size_limit", 8 << 20)?;
    }
    Ok(Ok(conn))
}

/// A connection to a database of its own that is gone with it.
#[expect(clippy::disallowed_methods, reason = "nothing of a database in memory is shared or lasts")]
fn in_memory() -> Result<Connection> {
    Ok(Connection::open(":memory:")?)
}

#[cfg(test)]
mod tests;
