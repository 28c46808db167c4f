//! Whole copies of a database, and whether one is sound.

use std::path::Path;

use rusqlite::{Connection, backup::Backup};

use super::{connect, migrations};
use crate::error::{Error, Result};

/// Copies the database at `from`, which may be in use, to the new file `to`: all of it as of one moment
/// (<https://sqlite.org/backup.html>), as one file without a log beside it.
///
/// # Errors
/// `unavailable` when there is none or it cannot be read, `storage_full` when there is no room for the copy.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let source = open(from)?;
    super::make_private(to).map_err(|err| Error::unavailable(format!("making the copy of the database: {err}")))?;
    let mut target = connect(to, false)??;
    // All pages in one step, under one read transaction: between two steps every write of the daemon would begin the
    // copy anew. Readers and the writer go on meanwhile.
    Backup::new(&source, &mut target)?.step(-1)?;
    target.pragma_update(None, "journal_mode", "DELETE")?;
    Ok(())
}

/// Opens a database for reading; one that is not there is not made.
fn open(path: &Path) -> Result<Connection> {
    connect(path, true)?.map_err(|err| {
        Error::unavailable(format!("the database {} cannot be opened", path.display()))
            .hint("give the state directory with --state-dir")
            .source(err)
    })
}

/// Reads from a database that may be in use.
///
/// # Errors
/// When it cannot be opened, and what `f` says.
pub fn read<T>(path: &Path, f: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    f(&open(path)?)
}

/// Changes a copy that nobody uses, in one transaction.
///
/// # Errors
/// When it cannot be opened, and what `f` says.
pub fn change<T>(path: &Path, f: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let mut conn = connect(path, false)??;
    let tx = conn.transaction()?;
    let done = f(&tx)?;
    tx.commit()?;
    conn.pragma_update(None, "journal_mode", "DELETE")?;
    Ok(done)
}

/// What was found in a database that is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Its schema version.
    pub schema: usize,
    /// How many jobs it knows.
    pub jobs: u64,
}

/// Looks at every page and every reference of a database that nobody uses.
///
/// # Errors
/// `invalid` with what is wrong; with a way out when it is of a newer version of the program.
pub fn examine(path: &Path) -> Result<Sound> {
    let damaged = |what: String| Error::invalid(format!("the database in it is damaged: {what}"));
    let conn = open(path)?;
    // What is in the file is data, whoever made it (<https://sqlite.org/security.html>).
    conn.pragma_update(None, "trusted_schema", "OFF")?;
    conn.pragma_update(None, "cell_size_check", "ON")?;
    let look = || -> rusqlite::Result<Result<Sound>> {
        let schema: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let schema = usize::try_from(schema).unwrap_or(usize::MAX);
        if schema == 0 {
            return Ok(Err(Error::invalid("it is not a database of the assistant")));
        }
        if schema > migrations::current() {
            return Ok(Err(Error::conflict(format!(
                "it is of a newer version: its database has schema version {schema}, this program knows {}",
                migrations::current()
            ))
            .hint("install that version of the package first")));
        }
        let verdict: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Ok(Err(damaged(verdict)));
        }
        let dangling: Option<String> =
            conn.prepare("PRAGMA foreign_key_check")?.query_map([], |row| row.get(0))?.next().transpose()?;
        if let Some(table) = dangling {
            return Ok(Err(damaged(format!("a row of {table} refers to one that is not there"))));
        }
        let jobs: i64 = conn.query_row("SELECT count(*) FROM jobs", [], |row| row.get(0))?;
        Ok(Ok(Sound { schema, jobs: u64::try_from(jobs).unwrap_or(0) }))
    };
    let sound = look().map_err(|err| damaged(err.to_string()))??;
    if sound.schema == migrations::current() && described(&conn)? != described(&migrations::fresh()?)? {
        return Err(damaged("its tables are not those of this version".into()));
    }
    Ok(sound)
}

/// Every table, index and trigger as its statement describes it.
fn described(conn: &Connection) -> Result<Vec<String>> {
    let sql = "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema \
               WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1";
    Ok(conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn a_copy_holds_what_was_committed_and_is_sound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("assistant.db");
        let store = Store::open(&path).unwrap();
        store.write(|tx| Ok(tx.execute("INSERT INTO spend_days (day) VALUES ('2026-11-22')", [])?)).await.unwrap();
        let to = dir.path().join("copy.db");
        copy(&path, &to).unwrap();
        store.write(|tx| Ok(tx.execute("INSERT INTO spend_days (day) VALUES ('2026-11-23')", [])?)).await.unwrap();
        assert_eq!(examine(&to).unwrap(), Sound { schema: migrations::current(), jobs: 0 });
        let days: i64 = open(&to).unwrap().query_row("SELECT count(*) FROM spend_days", [], |row| row.get(0)).unwrap();
        assert_eq!(days, 1);
        assert!(!dir.path().join("copy.db-wal").exists());
        assert!(copy(&dir.path().join("missing.db"), &dir.path().join("other.db")).is_err());
    }

    #[tokio::test]
    async fn what_is_not_sound_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, sql: &str| {
            let path = dir.path().join(name);
            let store = Store::open(&path).unwrap();
            drop(store);
            let conn = connect(&path, false).unwrap().unwrap();
            conn.execute_batch(sql).unwrap();
            path
        };
        for (name, sql, kind, says) in [
            ("a", "PRAGMA user_version = 99", "conflict", "newer version"),
            ("b", "PRAGMA user_version = 0", "invalid", "not a database of the assistant"),
            (
                "c",
                "PRAGMA foreign_keys = OFF; INSERT INTO reservations (job_id, day, nanos, created_at) VALUES (7, '', 1, 1)",
                "invalid",
                "a row of reservations",
            ),
            (
                "d",
                "CREATE TRIGGER x AFTER INSERT ON jobs BEGIN DELETE FROM jobs; END",
                "invalid",
                "tables are not those",
            ),
        ] {
            let err = examine(&make(name, sql)).unwrap_err();
            assert_eq!(err.kind().as_str(), kind, "{name}: {err}");
            assert!(err.message().contains(says), "{name}: {err}");
        }
        let path = dir.path().join("e");
        std::fs::write(&path, "a text, and no database; long enough to be taken for one at first".repeat(100)).unwrap();
        assert!(examine(&path).unwrap_err().message().contains("damaged"));
    }
}
