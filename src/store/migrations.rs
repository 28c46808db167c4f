//! Numbered SQL files, forward only: all pending ones in one transaction, after a backup of what was there.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Error, Result};

/// The files of `migrations/`, in order; the position of the last one is the schema version.
const MIGRATIONS: &[(&str, &str)] = &[("0001_jobs", include_str!("../../migrations/0001_jobs.sql"))];

/// The schema version that this build writes.
pub fn current() -> usize {
    MIGRATIONS.len()
}

/// Brings the database to the current schema version (`PRAGMA user_version`).
///
/// # Errors
/// `unavailable` when the database is from a newer version of the program, or is damaged.
pub(super) fn run(conn: &mut Connection, path: &Path) -> Result<()> {
    let done: usize = conn.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).map(to_usize)?;
    if done > current() {
        return Err(Error::unavailable(format!(
            "the database {} has schema version {done}, this program knows {}",
            path.display(),
            current()
        ))
        .hint("install the newer version again, or restore the copy that its upgrade left in the backups folder"));
    }
    if done == current() {
        return Ok(());
    }
    if done > 0 {
        back_up(conn, path, done)?;
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (name, sql) in &MIGRATIONS[done..] {
        tx.execute_batch(sql)
            .map_err(|err| Error::unavailable(format!("migrating the database: {name}: {err}")).source(err))?;
    }
    tx.pragma_update(None, "user_version", i64::try_from(current()).unwrap_or(i64::MAX))?;
    tx.commit()?;
    tracing::info!(from = done, to = current(), "migrated the database");
    Ok(())
}

fn to_usize(version: i64) -> usize {
    usize::try_from(version).unwrap_or(usize::MAX)
}

/// `VACUUM INTO` makes a whole, consistent copy (<https://sqlite.org/lang_vacuum.html>).
fn back_up(conn: &Connection, path: &Path, version: usize) -> Result<()> {
    let dir = path.with_file_name("backups");
    std::fs::create_dir_all(&dir)
        .map_err(|err| Error::unavailable(format!("making {}: {err}", dir.display())).source(err))?;
    let target = dir.join(format!("before-v{}-from-v{version}.db", current()));
    let _ = std::fs::remove_file(&target); // left by an upgrade that was cut short
    conn.execute("VACUUM INTO ?1", [target.to_string_lossy()])?;
    tracing::info!(backup = %target.display(), "copied the database before the upgrade");
    Ok(())
}
