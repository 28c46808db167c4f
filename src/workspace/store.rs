//! SQL of the trash, of kept file contents, and of where contents came from.

use assistant_api::{
    EffectId, JobId,
    workspace::{OldVersion, Trashed},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::{
    error::Result,
    policy::Origin,
    store::types::{RowExt as _, micros},
};

/// An old content, in the directory `kept` under `name`.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub id: i64,
    pub name: String,
    pub size: u64,
}

/// A content that is about to be replaced. It keeps the origin that the file has now.
pub(super) fn add_kept(
    conn: &Connection,
    now: Timestamp,
    effect: EffectId,
    path: &str,
    name: &str,
    sha256: &str,
    size: u64,
) -> Result<()> {
    let origin = origin_of(conn, path)?;
    conn.prepare_cached(
        "INSERT INTO kept_files (effect_id, path, name, sha256, size_bytes, origin, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        effect.0,
        path,
        name,
        sha256,
        i64::try_from(size).unwrap_or(i64::MAX),
        origin.as_str(),
        micros(now),
    ))?;
    Ok(())
}

/// The old contents of a path, the newest first: a page, with the job that replaced each.
pub(super) fn history(conn: &Connection, path: &str, before: Option<i64>, limit: u32) -> Result<Vec<OldVersion>> {
    let row = |row: &Row<'_>| {
        let size: i64 = row.col("size_bytes")?;
        Ok(OldVersion {
            id: row.col("id")?,
            size_bytes: size.try_into().unwrap_or(0),
            sha256: row.col("sha256")?,
            replaced_at: row.time("created_at")?,
            job_id: row.col::<Option<i64>>("job_id")?.map(JobId),
        })
    };
    Ok(conn
        .prepare_cached(
            "SELECT kept_files.id, size_bytes, sha256, created_at, effects.job_id FROM kept_files \
             LEFT JOIN effects ON effects.id = effect_id \
             WHERE path = ?1 AND kept_files.id < ?2 ORDER BY kept_files.id DESC LIMIT ?3",
        )?
        .query_map((path, before.unwrap_or(i64::MAX), limit), row)?
        .collect::<rusqlite::Result<_>>()?)
}

/// The path, the name in `kept` and the origin of an old content.
pub(super) fn kept_at(conn: &Connection, id: i64) -> Result<Option<(String, String, Origin)>> {
    Ok(conn
        .prepare_cached("SELECT path, name, origin FROM kept_files WHERE id = ?1")?
        .query_row([id], |row| {
            let origin: String = row.get(2)?;
            Ok((row.get(0)?, row.get(1)?, origin.parse().unwrap_or(Origin::Stranger)))
        })
        .optional()?)
}

/// The old content that lies in `kept` under a name.
pub(super) fn kept_named(conn: &Connection, name: &str) -> Result<Option<i64>> {
    let found = conn
        .prepare_cached("SELECT id FROM kept_files WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(found)
}

/// What is at a path now has its old contents too.
pub(super) fn move_kept(conn: &Connection, from: &str, to: &str) -> Result<()> {
    conn.prepare_cached(
        "UPDATE kept_files SET path = ?2 || substr(path, length(?1) + 1) \
         WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0')",
    )?
    .execute((from, to))?;
    Ok(())
}

pub(super) fn forget_kept(conn: &Connection, name: &str) -> Result<()> {
    conn.prepare_cached("DELETE FROM kept_files WHERE name = ?1")?.execute([name])?;
    Ok(())
}

/// Whether a content is known.
pub(super) fn has_kept(conn: &Connection, name: &str) -> Result<bool> {
    Ok(conn.prepare_cached("SELECT 1 FROM kept_files WHERE name = ?1")?.exists([name])?)
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let size: i64 = row.col("size_bytes")?;
    Ok(Kept { id: row.col("id")?, name: row.col("name")?, size: size.try_into().unwrap_or(0) })
}

/// Contents kept since before `before`, oldest first.
pub(super) fn kept_before(conn: &Connection, before: Timestamp, limit: u32) -> Result<Vec<Kept>> {
    Ok(conn
        .prepare_cached(
            "SELECT id, name, size_bytes FROM kept_files WHERE created_at < ?1 ORDER BY created_at LIMIT ?2",
        )?
        .query_map((micros(before), limit), kept)?
        .collect::<rusqlite::Result<_>>()?)
}

/// The oldest contents.
pub(super) fn oldest_kept(conn: &Connection, limit: u32) -> Result<Vec<Kept>> {
    Ok(conn
        .prepare_cached("SELECT id, name, size_bytes FROM kept_files ORDER BY created_at, id LIMIT ?1")?
        .query_map([limit], kept)?
        .collect::<rusqlite::Result<_>>()?)
}

/// Bytes of all contents together.
pub(super) fn kept_bytes(conn: &Connection) -> Result<u64> {
    let total: i64 =
        conn.prepare_cached("SELECT coalesce(sum(size_bytes), 0) FROM kept_files")?.query_row([], |row| row.get(0))?;
    Ok(total.try_into().unwrap_or(0))
}

/// How many there are.
pub(super) fn kept_count(conn: &Connection) -> Result<u64> {
    let count: i64 = conn.prepare_cached("SELECT count(*) FROM kept_files")?.query_row([], |row| row.get(0))?;
    Ok(count.try_into().unwrap_or(0))
}

pub(super) fn remove_kept(conn: &Connection, id: i64) -> Result<()> {
    conn.prepare_cached("DELETE FROM kept_files WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// What is written down of something in the trash.
#[derive(Clone, Debug)]
pub(super) struct NewTrash<'a> {
    pub trash_path: &'a str,
    pub original_path: &'a str,
    pub is_dir: bool,
    pub size: u64,
    pub job_id: Option<JobId>,
}

pub(super) fn add_trash(conn: &Connection, now: Timestamp, new: &NewTrash<'_>) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO trash (trash_path, original_path, is_dir, size_bytes, job_id, deleted_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (trash_path) DO UPDATE SET \
         original_path = excluded.original_path, deleted_at = excluded.deleted_at",
    )?
    .execute((
        new.trash_path,
        new.original_path,
        new.is_dir,
        i64::try_from(new.size).unwrap_or(i64::MAX),
        new.job_id.map(|id| id.0),
        micros(now),
    ))?;
    Ok(())
}

pub(super) fn forget_trash(conn: &Connection, trash_path: &str) -> Result<()> {
    conn.prepare_cached("DELETE FROM trash WHERE trash_path = ?1")?.execute([trash_path])?;
    Ok(())
}

fn trashed(row: &Row<'_>) -> rusqlite::Result<(i64, Trashed)> {
    let size: i64 = row.col("size_bytes")?;
    let entry = Trashed {
        trash_path: row.col("trash_path")?,
        original_path: row.col("original_path")?,
        is_dir: row.col("is_dir")?,
        size_bytes: size.try_into().unwrap_or(0),
        job_id: row.col::<Option<i64>>("job_id")?.map(JobId),
        deleted_at: row.time("deleted_at")?,
    };
    Ok((row.col("id")?, entry))
}

/// What is known of one path in the trash.
pub(super) fn trash_at(conn: &Connection, trash_path: &str) -> Result<Option<Trashed>> {
    Ok(conn
        .prepare_cached(
            "SELECT id, trash_path, original_path, is_dir, size_bytes, job_id, deleted_at FROM trash \
             WHERE trash_path = ?1",
        )?
        .query_row([trash_path], trashed)
        .optional()?
        .map(|(_, entry)| entry))
}

/// A page of the trash, newest first, with row ids.
pub(super) fn trash(conn: &Connection, before: Option<i64>, limit: u32) -> Result<Vec<(i64, Trashed)>> {
    Ok(conn
        .prepare_cached(
            "SELECT id, trash_path, original_path, is_dir, size_bytes, job_id, deleted_at FROM trash \
             WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
        )?
        .query_map((before.unwrap_or(i64::MAX), limit), trashed)?
        .collect::<rusqlite::Result<_>>()?)
}

/// What has been in the trash since before `before`, oldest first.
pub(super) fn trash_before(conn: &Connection, before: Timestamp, limit: u32) -> Result<Vec<Trashed>> {
    Ok(conn
        .prepare_cached(
            "SELECT id, trash_path, original_path, is_dir, size_bytes, job_id, deleted_at FROM trash \
             WHERE deleted_at < ?1 ORDER BY deleted_at LIMIT ?2",
        )?
        .query_map((micros(before), limit), |row| trashed(row).map(|(_, entry)| entry))?
        .collect::<rusqlite::Result<_>>()?)
}

/// The least trusted origin of any file.
pub(super) fn least_origin(conn: &Connection) -> Result<Origin> {
    let found: Vec<String> = conn
        .prepare_cached("SELECT DISTINCT origin FROM file_origins")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    // A word that this program does not know is trusted least.
    let origins = found.iter().map(|origin| origin.parse().unwrap_or(Origin::Stranger));
    Ok(origins.fold(Origin::Tool, Origin::least))
}

/// The least trusted origin of what is at a path, and below it.
pub(super) fn least_below(conn: &Connection, path: &str) -> Result<Origin> {
    if path == "." {
        return least_origin(conn);
    }
    let found: Vec<String> = conn
        .prepare_cached(
            "SELECT DISTINCT origin FROM file_origins WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0')",
        )?
        .query_map([path], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let origins = found.iter().map(|origin| origin.parse().unwrap_or(Origin::Stranger));
    Ok(origins.fold(Origin::Tool, Origin::least))
}

/// Where the content of a file came from; [`Origin::Tool`] unless it is known to be trusted less.
pub(super) fn origin_of(conn: &Connection, path: &str) -> Result<Origin> {
    let found: Option<String> = conn
        .prepare_cached("SELECT origin FROM file_origins WHERE path = ?1")?
        .query_row([path], |row| row.get(0))
        .optional()?;
    Ok(found.map_or(Origin::Tool, |origin| origin.parse().unwrap_or(Origin::Stranger)))
}

/// Sets where the content of a file came from.
pub(super) fn set_origin(conn: &Connection, path: &str, origin: Origin) -> Result<()> {
    if origin <= Origin::Tool {
        conn.prepare_cached("DELETE FROM file_origins WHERE path = ?1")?.execute([path])?;
        return Ok(());
    }
    conn.prepare_cached(
        "INSERT INTO file_origins (path, origin) VALUES (?1, ?2) ON CONFLICT (path) DO UPDATE SET origin = ?2",
    )?
    .execute((path, origin.as_str()))?;
    Ok(())
}

/// What is at `to`, and below it, came from where that at `from` came from.
pub(super) fn copy_origins(conn: &Connection, from: &str, to: &str) -> Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO file_origins (path, origin) \
         SELECT ?2 || substr(path, length(?1) + 1), origin FROM file_origins \
         WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0')",
    )?
    .execute((from, to))?;
    Ok(())
}

/// Nothing is at this path any more, nor below it.
pub(super) fn forget_origins(conn: &Connection, path: &str) -> Result<()> {
    // `0` is the character after `/`.
    conn.prepare_cached("DELETE FROM file_origins WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0')")?
        .execute([path])?;
    Ok(())
}
