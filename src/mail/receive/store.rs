//! SQL of the cursor and of what is to be archived.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::{
    error::Result,
    mail::Place,
    store::types::{RowExt as _, micros},
};

/// The last message of a folder that is decided about; `None` before the first one.
pub fn cursor(conn: &Connection, mailbox: &str) -> Result<Option<Place>> {
    let place = conn
        .prepare_cached("SELECT uid_validity, last_uid FROM mail_cursors WHERE mailbox = ?1")?
        .query_row([mailbox], |row| {
            Ok(Place { mailbox: mailbox.to_owned(), uid_validity: row.col("uid_validity")?, uid: row.col("last_uid")? })
        })
        .optional()?;
    Ok(place)
}

/// Moves the cursor to a message, in the transaction that stores the decision about it: forward, or to wherever it is
/// when the server has given its messages other numbers since.
pub fn advance(tx: &Connection, now: Timestamp, to: &Place) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO mail_cursors (mailbox, uid_validity, last_uid, updated_at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO UPDATE SET uid_validity = excluded.uid_validity, last_uid = excluded.last_uid, \
         updated_at = excluded.updated_at \
         WHERE uid_validity <> excluded.uid_validity OR last_uid < excluded.last_uid",
    )?
    .execute((&to.mailbox, to.uid_validity, to.uid, micros(now)))?;
    Ok(())
}

/// A message that is to be moved to the archive folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) id: i64,
    pub(super) uid: u32,
}

/// The oldest messages of a folder that are to be archived.
pub(super) fn due(conn: &Connection, mailbox: &str, uid_validity: u32, limit: u32) -> Result<Vec<Due>> {
    let due = conn
        .prepare_cached(
            "SELECT id, uid FROM mail_received WHERE archive = 'due' AND mailbox = ?1 AND uid_validity = ?2 \
             ORDER BY id LIMIT ?3",
        )?
        .query_map((mailbox, uid_validity, limit), |row| Ok(Due { id: row.col("id")?, uid: row.col("uid")? }))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(due)
}

/// They lie in the archive folder, or are gone from where they were.
pub(super) fn archived(tx: &Connection, ids: &[i64]) -> Result<()> {
    let mut update =
        tx.prepare_cached("UPDATE mail_received SET archive = 'done', archive_error = NULL WHERE id = ?1")?;
    ids.iter().try_for_each(|id| update.execute([id]).map(drop))?;
    Ok(())
}

/// Why they could not be archived; they stay due.
pub(super) fn not_archived(tx: &Connection, ids: &[i64], error: &str) -> Result<()> {
    let mut update = tx.prepare_cached(
        "UPDATE mail_received SET archive_error = ?2 WHERE id = ?1 AND archive = 'due' \
         AND archive_error IS NOT ?2",
    )?;
    ids.iter().try_for_each(|id| update.execute((id, error)).map(drop))?;
    Ok(())
}

/// What had to be archived in a folder whose messages have other numbers now cannot be found any more.
pub(super) fn forget_due(tx: &Connection, mailbox: &str, uid_validity: u32) -> Result<usize> {
    let changed = tx
        .prepare_cached(
            "UPDATE mail_received SET archive = 'failed', \
             archive_error = 'the server has given its messages other numbers' \
             WHERE archive = 'due' AND mailbox = ?1 AND uid_validity <> ?2",
        )?
        .execute((mailbox, uid_validity))?;
    Ok(changed)
}

/// Whether a file of a message belongs to a row.
pub(super) fn is_known(conn: &Connection, raw_name: &str) -> Result<bool> {
    let known = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM mail_received WHERE raw_name = ?1)")?
        .query_row([raw_name], |row| row.get(0))?;
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, config::Config, daemon};

    fn place(uid_validity: u32, uid: u32) -> Place {
        Place { mailbox: "me@mail/INBOX".into(), uid_validity, uid }
    }

    #[tokio::test]
    async fn the_cursor_moves_forward_and_to_other_numbers_and_never_back() {
        let dir = tempfile::tempdir().unwrap();
        let cx = daemon::idle(dir.path(), Config::default(), Clock::System);
        let now = cx.clock.now();
        cx.store
            .write(move |tx| {
                assert_eq!(cursor(tx, "me@mail/INBOX")?, None);
                for (to, then) in [
                    (place(7, 3), place(7, 3)),
                    (place(7, 2), place(7, 3)),
                    (place(7, 4), place(7, 4)),
                    (place(8, 1), place(8, 1)),
                    (place(8, 4_000_000_000), place(8, 4_000_000_000)),
                ] {
                    advance(tx, now, &to)?;
                    assert_eq!(cursor(tx, "me@mail/INBOX")?, Some(then));
                }
                assert_eq!(cursor(tx, "me@mail/Other")?, None);
                Ok(())
            })
            .await
            .unwrap();
        cx.store.close().await;
    }
}
