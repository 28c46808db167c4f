//! Text keeps its origin when it goes through a file: a job that was told something by a stranger writes a file, and
//! whoever reads it is told by a stranger. What is trusted no less than the result of a tool is not written down.
//!
//! An origin is there before the content is, and goes after it: a crash in between makes a file less trusted, never
//! more. A file that was changed by other hands keeps its origin until a verb of the workspace replaces its content.

use rusqlite::Connection;

use super::{change::Change, store};
use crate::{cx::Cx, error::Result, policy::Origin};

/// A change begins; in the transaction that writes it into the ledger.
pub(super) fn begin(conn: &Connection, change: &Change, by: Origin) -> Result<()> {
    match change {
        Change::Write { path, .. } => store::set_origin(conn, path, store::origin_of(conn, path)?.least(by)),
        Change::Move { from, path, .. } | Change::Copy { from, path, .. } => store::copy_origins(conn, from, path),
        Change::Trash { path, trash_path, .. } => store::copy_origins(conn, path, trash_path),
        Change::Restore { trash_path, path, .. } => store::copy_origins(conn, trash_path, path),
        Change::Folder { .. } | Change::Purge { .. } => Ok(()),
    }
}

/// A change was made; in the transaction that settles it.
pub(super) fn made(conn: &Connection, change: &Change, by: Origin) -> Result<()> {
    match change {
        // What was appended to is as little trusted as the least of its parts.
        Change::Write { path, append: false, .. } => store::set_origin(conn, path, by),
        Change::Move { from: gone, .. }
        | Change::Trash { path: gone, .. }
        | Change::Restore { trash_path: gone, .. }
        | Change::Purge { path: gone, .. } => store::forget_origins(conn, gone),
        Change::Write { append: true, .. } | Change::Copy { .. } | Change::Folder { .. } => Ok(()),
    }
}

/// Where the content of a file came from, by its real path.
///
/// # Errors
/// What the database says.
pub(super) async fn of(cx: &Cx, path: &str) -> Result<Origin> {
    let path = path.to_owned();
    cx.store.read(move |conn| store::origin_of(conn, &path)).await
}
