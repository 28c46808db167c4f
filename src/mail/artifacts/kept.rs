//! The messages themselves, which are kept only while something of them is still to be read: until their attachments are
//! settled, and of mail that nobody acted on for a time and up to a size, because a person may accept it yet.

use jiff::Timestamp;
use rusqlite::Connection;

use super::register::NOT_ACTED_ON;
use crate::{cx::Cx, error::Result, mail, store::types::micros};

/// Files that one transaction gives up.
const BATCH: u32 = 200;

/// Mail that nobody acts on.
const UNUSED: &str = "decision IN ('stored', 'loop', 'ignored', 'duplicate', 'own', 'bounce', 'set_aside')";

/// Removes the messages that nothing needs any more; how many.
///
/// # Errors
/// When the database cannot be used.
pub async fn tidy(cx: &Cx) -> Result<u64> {
    let keep = cx.config.load().retention.clone();
    let before = cx.clock.now().checked_sub(keep.unused_mail_days.0).unwrap_or(Timestamp::MIN);
    let most = keep.unused_mail_bytes.0;
    let mut removed = 0;
    loop {
        let names = cx.store.write(move |tx| give_up(tx, before, most, BATCH)).await?;
        let folder = mail::folder(&cx.state_dir);
        for name in &names {
            // A crash before this leaves a file that no row names, which the next start removes.
            let _ = tokio::fs::remove_file(folder.join(name)).await;
        }
        removed += names.len() as u64;
        if names.len() < BATCH as usize {
            return Ok(removed);
        }
    }
}

/// Lets go of the files of messages that nothing needs: those whose attachments are settled, those of mail that was
/// erased, and of mail that nobody acted on the ones from before `before` and the oldest above `most` bytes together.
/// Their names.
fn give_up(tx: &Connection, before: Timestamp, most: u64, limit: u32) -> Result<Vec<String>> {
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
