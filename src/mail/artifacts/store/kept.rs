//! SQL of the messages themselves, and of what stood in mail that nobody acted on.

use jiff::Timestamp;
use rusqlite::Connection;

use super::super::register::NOT_ACTED_ON;
use crate::{error::Result, store::types::micros};

/// Mail that nobody acts on.
const UNUSED: &str = "decision IN ('stored', 'loop', 'ignored', 'duplicate', 'own', 'bounce', 'set_aside')";

/// Lets go of the files of messages that nothing needs: those whose attachments are settled, those of mail that was
/// erased, and of mail that nobody acted on the ones from before `before` and the oldest above `most` bytes together.
/// Their names.
pub(in crate::mail::artifacts) fn give_up(
    tx: &Connection,
    before: Timestamp,
    most: u64,
    limit: u32,
) -> Result<Vec<String>> {
    let sql = format!(
        "WITH kept AS (SELECT id, raw_name, {UNUSED} AS unused, decided_at, \
         sum(CASE WHEN {UNUSED} THEN size_bytes ELSE 0 END) OVER (ORDER BY id DESC) AS bytes, \
         EXISTS (SELECT 1 FROM artifacts WHERE email_id = received.email_id AND raw_name IS NOT NULL \
         AND (scan_status = 'pending' OR conversion_status = 'pending')) AS pending, \
         EXISTS (SELECT 1 FROM artifacts WHERE email_id = received.email_id AND raw_name IS NOT NULL \
         AND error = ?4) AS waits \
         FROM mail_received AS received WHERE raw_name IS NOT NULL) \
         SELECT id, raw_name FROM kept WHERE NOT pending \
         AND (NOT unused OR NOT waits OR decided_at < ?1 OR bytes > ?2) ORDER BY id LIMIT ?3"
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let found: Vec<(i64, String)> = tx
        .prepare_cached(&sql)?
        .query_map((micros(before), most, limit, NOT_ACTED_ON), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut received = tx.prepare_cached("UPDATE mail_received SET raw_name = NULL WHERE id = ?1")?;
    let mut artifacts = tx.prepare_cached(
        "UPDATE artifacts SET raw_name = NULL WHERE raw_name = ?2 \
         AND email_id = (SELECT email_id FROM mail_received WHERE id = ?1)",
    )?;
    for (id, name) in &found {
        received.execute([id])?;
        artifacts.execute((id, name))?;
    }
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

/// Forgets what stood in mail that nobody has acted on since before `before` and that is in no thread of a job; how many.
/// That it came and what was decided stays, so that it is decided about once.
///
/// # Errors
/// What the database says.
pub fn purge(tx: &Connection, before: Timestamp, limit: u32) -> Result<usize> {
    let found: Vec<(i64, Option<i64>)> = tx
        .prepare_cached(&format!(
            "SELECT id, email_id FROM mail_received WHERE decided_at < ?1 AND subject IS NOT NULL AND {UNUSED} \
             AND NOT EXISTS (SELECT 1 FROM emails JOIN jobs ON jobs.thread_id = emails.thread_id \
             WHERE emails.id = email_id) ORDER BY decided_at LIMIT ?2"
        ))?
        .query_map((micros(before), limit), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut received = tx.prepare_cached(
        "UPDATE mail_received SET subject = NULL, from_address = NULL, headers = '[]', verification = '{}' WHERE id = ?1",
    )?;
    let mut items = tx.prepare_cached("DELETE FROM emails WHERE id = ?1")?;
    for (id, email) in &found {
        received.execute([id])?;
        if let Some(email) = email {
            items.execute([email])?;
        }
    }
    Ok(found.len())
}
