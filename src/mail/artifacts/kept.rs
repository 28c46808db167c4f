//! The messages themselves, which are kept only while something of them is still to be read: until their attachments are
//! settled, and of mail that nobody acted on for a time and up to a size, because a person may accept it yet.

use jiff::Timestamp;

use super::store;
use crate::{cx::Cx, error::Result, mail};

/// Files that one transaction gives up.
const BATCH: u32 = 200;

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
        let names = cx.store.write(move |tx| store::kept::give_up(tx, before, most, BATCH)).await?;
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
