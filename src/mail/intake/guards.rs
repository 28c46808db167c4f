//! What keeps two robots from writing to each other for ever.

use assistant_mail::protocol::Message;
use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::store;
use crate::{error::Result, mail::config::Mail};

/// Why nobody is to act on it: a program wrote it.
pub(super) fn automatic(message: &Message) -> Option<String> {
    let automatic = &message.automatic;
    let said =
        |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("a program wrote it: {name}: {value}"));
    if automatic.own_mark.is_some() {
        return Some("it carries the mark of an assistant".into());
    }
    said("Auto-Submitted", &automatic.auto_submitted)
        .or_else(|| said("Precedence", &automatic.precedence))
        .or_else(|| said("List-Id", &automatic.list_id))
        .or_else(|| automatic.no_return_path.then(|| "a program sent it: its envelope has no sender".into()))
}

/// Why there were too many.
pub(super) fn too_many(
    conn: &Connection,
    now: Timestamp,
    limits: &Mail,
    thread: Option<&str>,
) -> Result<Option<String>> {
    let since = now - SignedDuration::from_hours(24);
    let day = store::acted_since(conn, since, None)?;
    if day >= i64::from(limits.max_per_day) {
        return Ok(Some(format!("{day} mails went to jobs within a day; mail.max_per_day is {}", limits.max_per_day)));
    }
    let Some(thread) = thread else { return Ok(None) };
    let count = store::acted_since(conn, since, Some(thread))?;
    let most = limits.max_per_thread_per_day;
    Ok((count >= i64::from(most)).then(|| {
        format!("{count} mails of this thread went to jobs within a day; mail.max_per_thread_per_day is {most}")
    }))
}
