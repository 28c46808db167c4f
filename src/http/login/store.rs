//! SQL of the password, of sessions and of tokens. Of what a caller sends only a hash is kept.

use assistant_api::{
    Role,
    login::{Token, TokenRequest, WebStatus},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::secret::Hash;
use crate::{
    error::{Error, Result},
    store::types::{RowExt as _, micros, timestamp},
};

/// The hash of the password, if there is one.
pub(super) fn password(conn: &Connection) -> Result<Option<String>> {
    Ok(conn.prepare_cached("SELECT hash FROM web_password")?.query_row((), |row| row.get(0)).optional()?)
}

/// Sets or takes away the password; nobody stays logged in by the old one.
pub(super) fn set_password(conn: &Connection, now: Timestamp, hash: Option<&str>) -> Result<()> {
    conn.execute("DELETE FROM web_password", ())?;
    conn.execute("DELETE FROM web_sessions", ())?;
    if let Some(hash) = hash {
        conn.execute("INSERT INTO web_password (id, hash, set_at) VALUES (1, ?1, ?2)", (hash, micros(now)))?;
    }
    Ok(())
}

/// Begins a session, and forgets those that are over.
pub(super) fn begin(
    conn: &Connection,
    now: Timestamp,
    until: Timestamp,
    hash: &Hash,
    address: Option<&str>,
) -> Result<i64> {
    conn.prepare_cached("DELETE FROM web_sessions WHERE expires_at <= ?1")?.execute([micros(now)])?;
    conn.prepare_cached("INSERT INTO web_sessions (hash, address, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((hash, address, micros(now), micros(until)))?;
    Ok(conn.last_insert_rowid())
}

/// The session with this hash, and when it ends.
pub(super) fn session(conn: &Connection, now: Timestamp, hash: &Hash) -> Result<Option<(i64, Timestamp)>> {
    Ok(conn
        .prepare_cached("SELECT id, expires_at FROM web_sessions WHERE hash = ?1 AND expires_at > ?2")?
        .query_row((hash, micros(now)), |row| Ok((row.get(0)?, row.time("expires_at")?)))
        .optional()?)
}

/// Ends a session, or all of them.
pub(super) fn end(conn: &Connection, id: Option<i64>) -> Result<()> {
    conn.prepare_cached("DELETE FROM web_sessions WHERE ?1 IS NULL OR id = ?1")?.execute([id])?;
    Ok(())
}

/// The token with this hash, if it is still good.
pub(super) fn token(conn: &Connection, now: Timestamp, hash: &Hash) -> Result<Option<Token>> {
    Ok(conn
        .prepare_cached("SELECT * FROM web_tokens WHERE hash = ?1 AND (expires_at IS NULL OR expires_at > ?2)")?
        .query_row((hash, micros(now)), read_token)
        .optional()?)
}

/// Notes that a token was used.
pub(super) fn used(conn: &Connection, now: Timestamp, id: i64) -> Result<()> {
    conn.prepare_cached("UPDATE web_tokens SET last_used_at = ?2 WHERE id = ?1")?.execute((id, micros(now)))?;
    Ok(())
}

/// Every token, the newest first.
pub(super) fn tokens(conn: &Connection) -> Result<Vec<Token>> {
    let mut statement = conn.prepare_cached("SELECT * FROM web_tokens ORDER BY id DESC")?;
    let tokens = statement.query_map((), read_token)?.collect::<rusqlite::Result<_>>()?;
    Ok(tokens)
}

/// Makes a token.
pub(super) fn create(
    conn: &Connection,
    now: Timestamp,
    request: &TokenRequest,
    role: Role,
    hash: &Hash,
) -> Result<Token> {
    let taken: bool = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM web_tokens WHERE name = ?1)")?
        .query_row([&request.name], |row| row.get(0))?;
    if taken {
        return Err(Error::conflict(format!("there is a token {:?} already", request.name))
            .field("name")
            .hint("give another name, or revoke that one first"));
    }
    conn.execute(
        "INSERT INTO web_tokens (name, hash, role, allow, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            &request.name,
            hash,
            role.as_str(),
            serde_json::to_string(&request.allow)?,
            micros(now),
            request.expires_at.map(micros),
        ),
    )?;
    Ok(Token {
        id: conn.last_insert_rowid(),
        name: request.name.clone(),
        role,
        allow: request.allow.clone(),
        created_at: now,
        expires_at: request.expires_at,
        last_used_at: None,
    })
}

/// Revokes a token, by its number or its name.
pub(super) fn revoke(conn: &Connection, which: &str) -> Result<()> {
    let gone = conn.execute("DELETE FROM web_tokens WHERE name = ?1 OR CAST(id AS TEXT) = ?1", [which])?;
    if gone == 0 { Err(Error::not_found("token", which)) } else { Ok(()) }
}

/// What there is to log in with.
pub(super) fn status(conn: &Connection, now: Timestamp) -> Result<WebStatus> {
    Ok(conn
        .prepare_cached(
            "SELECT (SELECT set_at FROM web_password),
                 (SELECT count(*) FROM web_sessions WHERE expires_at > ?1),
                 (SELECT count(*) FROM web_tokens WHERE expires_at IS NULL OR expires_at > ?1)",
        )?
        .query_row([micros(now)], |row| {
            let set_at: Option<i64> = row.get(0)?;
            Ok(WebStatus {
                password_set_at: set_at.map(timestamp).transpose()?,
                sessions: row.get(1)?,
                tokens: row.get(2)?,
            })
        })?)
}

fn read_token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let role: String = row.col("role")?;
    Ok(Token {
        id: row.col("id")?,
        name: row.col("name")?,
        // What is not known gives the least.
        role: Role::ALL.into_iter().find(|known| known.as_str() == role).unwrap_or(Role::Viewer),
        allow: row.json("allow")?,
        created_at: row.time("created_at")?,
        expires_at: row.opt_time("expires_at")?,
        last_used_at: row.opt_time("last_used_at")?,
    })
}
