//! Texts that many rows share (prompts, tool schemas), stored once by hash.

use rusqlite::{Connection, OptionalExtension as _};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// SHA-256 of a text.
pub type Hash = [u8; 32];

/// Stores `text` unless it is there already, and returns its hash.
pub fn put(conn: &Connection, text: &str) -> Result<Hash> {
    let hash: Hash = Sha256::digest(text.as_bytes()).into();
    conn.prepare_cached("INSERT OR IGNORE INTO texts (hash, body) VALUES (?1, ?2)")?.execute((hash, text))?;
    Ok(hash)
}

/// The text with this hash.
pub fn get(conn: &Connection, hash: &Hash) -> Result<String> {
    conn.prepare_cached("SELECT body FROM texts WHERE hash = ?1")?
        .query_row([hash], |row| row.get(0))
        .optional()?
        .ok_or_else(|| Error::internal("a stored text is missing"))
}
