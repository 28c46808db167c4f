//! SQL about what a backup must bring together: names in the database and files beside it.

use rusqlite::Connection;

use crate::error::Result;

/// The old contents that the database names: id and file name.
pub(super) fn kept(conn: &Connection) -> Result<Vec<(i64, String)>> {
    let rows = conn
        .prepare("SELECT id, name FROM kept_files")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

/// Forgets an old content that is not there.
pub(super) fn forget_kept(conn: &Connection, id: i64) -> Result<()> {
    conn.prepare_cached("DELETE FROM kept_files WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Where contents of the workspace came from.
pub(super) fn origins(conn: &Connection) -> Result<Vec<(String, String)>> {
    let rows = conn
        .prepare("SELECT path, origin FROM file_origins")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

/// Notes where a content came from.
pub(super) fn set_origin(conn: &Connection, path: &str, origin: &str) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO file_origins (path, origin) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET origin = excluded.origin",
    )?
    .execute([path, origin])?;
    Ok(())
}
