//! Numbered SQL files, forward only: all pending ones in one transaction, after a backup of what was there.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use rusqlite::{Connection, TransactionBehavior};

use crate::{
    crashpoint::{self, Point},
    error::{Error, Result},
    logging::catalog,
};

/// The name and the text of one file.
type Migration = (&'static str, &'static str);

/// The files of `migrations/`, in order; the position of the last one is the schema version.
const MIGRATIONS: &[Migration] = &[
    ("0001_jobs", include_str!("../../migrations/0001_jobs.sql")),
    ("0002_mail", include_str!("../../migrations/0002_mail.sql")),
    ("0003_ages", include_str!("../../migrations/0003_ages.sql")),
];

/// Has a build for tests be an older one, which knows only so many of the files.
#[cfg(debug_assertions)]
const OLDER: &str = "ASSISTANT_TEST_SCHEMA";

/// The files that this program knows.
fn known() -> &'static [Migration] {
    #[cfg(debug_assertions)]
    if let Some(older) = std::env::var(OLDER).ok().and_then(|count| MIGRATIONS.get(..count.parse().ok()?)) {
        return older;
    }
    MIGRATIONS
}

/// The schema version that this build writes.
pub fn current() -> usize {
    known().len()
}

/// An empty database of the current version, in memory.
pub(super) fn fresh() -> Result<Connection> {
    let mut conn = super::in_memory()?;
    run(&mut conn, Path::new(":memory:"))?;
    Ok(conn)
}

/// Brings the database to the current schema version (`PRAGMA user_version`).
///
/// # Errors
/// `unavailable` when the database is from a newer version of the program, or is damaged.
pub(super) fn run(conn: &mut Connection, path: &Path) -> Result<()> {
    run_list(conn, path, known())
}

fn run_list(conn: &mut Connection, path: &Path, migrations: &[Migration]) -> Result<()> {
    let current = migrations.len();
    let done: usize = conn.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).map(to_usize)?;
    let pending = match migrations.get(done..) {
        Some([]) => return Ok(()),
        Some(pending) => pending,
        None => {
            return Err(Error::unavailable(format!(
                "the database {} has schema version {done}, this program knows {current}",
                path.display(),
            ))
            .hint(
                "install the newer version again, or go back with: assistantctl backup restore FILE --force, with the \
                 before-v*.db that its upgrade left (assistantctl backup list)",
            ));
        }
    };
    if done > 0 {
        back_up(conn, path, done, current)?;
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (name, sql) in pending {
        tx.execute_batch(sql).map_err(|err| failed(name, &err).source(err))?;
    }
    tx.pragma_update(None, "user_version", i64::try_from(current).unwrap_or(i64::MAX))?;
    crashpoint::hit(Point::Migrated);
    tx.commit()?;
    crashpoint::hit(Point::Committed);
    tracing::info!(target: catalog::DB_MIGRATED, from = done, to = current, "migrated the database");
    Ok(())
}

fn failed(name: &str, err: &rusqlite::Error) -> Error {
    Error::unavailable(format!("migrating the database: {name}: {err}")).hint(
        "the database is as it was before: install the version of the package that ran until now, and it goes on; the \
         copy made of it is in assistantctl backup list",
    )
}

fn to_usize(version: i64) -> usize {
    usize::try_from(version).unwrap_or(usize::MAX)
}

/// `VACUUM INTO` makes a whole, consistent copy (<https://sqlite.org/lang_vacuum.html>), as private as the database.
fn back_up(conn: &Connection, path: &Path, from: usize, to: usize) -> Result<()> {
    let dir = path.with_file_name("backups");
    let target = dir.join(format!("before-v{to}-from-v{from}.db"));
    let fail = |err: io::Error| {
        Error::unavailable(format!("copying the database to {}: {err}", target.display()))
            .hint("the database is as it was; make room for the copy and start again")
            .source(err)
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(fail)?;
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).map_err(fail)?;
    // Beside it, so that a copy of that name is a whole one.
    let partial = dir.join(format!(".before-v{to}.db"));
    let _ = fs::remove_file(&partial); // left by an upgrade that was cut short
    // SQLite takes an empty file for the copy, which so never has another mode.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).map_err(fail)?;
    conn.execute("VACUUM INTO ?1", [partial.to_string_lossy()])?;
    File::open(&partial).and_then(|file| file.sync_all()).map_err(fail)?;
    crashpoint::hit(Point::CopyWritten);
    fs::rename(&partial, &target).and_then(|()| File::open(&dir)?.sync_all()).map_err(fail)?;
    crashpoint::hit(Point::CopyKept);
    tracing::info!(backup = %target.display(), "copied the database before the upgrade");
    Ok(())
}

#[cfg(test)]
mod tests;
