//! How far those have come who follow the stream, over restarts too: a name of `runtime_state` each.

use assistant_api::EventId;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::{error::Result, store::types::micros};

/// The last event that is dealt with; `None` while nobody follows.
pub(crate) fn cursor(conn: &Connection, name: &str) -> Result<Option<EventId>> {
    let value: Option<String> = conn
        .prepare_cached("SELECT value FROM runtime_state WHERE key = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(value.and_then(|id| id.parse().ok()))
}

/// Moves the cursor forward, never back.
pub(crate) fn advance(conn: &Connection, now: Timestamp, name: &str, to: EventId) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO runtime_state (key, value, updated_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at \
         WHERE CAST(value AS INTEGER) < CAST(excluded.value AS INTEGER)",
    )?
    .execute((name, to.to_string(), micros(now)))?;
    Ok(())
}

/// Nobody follows any more.
pub(crate) fn forget(conn: &Connection, name: &str) -> Result<()> {
    conn.prepare_cached("DELETE FROM runtime_state WHERE key = ?1")?.execute([name])?;
    Ok(())
}
