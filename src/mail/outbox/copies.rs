//! Copies of what was sent, in the folder of sent mail. A copy that cannot be laid there is only a copy: the mail itself
//! is never handed over again for it.

use std::time::Duration;

use jiff::SignedDuration;

use super::store::{self, Copy};
use crate::{
    crashpoint::{self, Point},
    cx::Cx,
    error::{Error, Result},
    mail,
};

/// Copies that one look makes.
const BATCH: u32 = 20;
/// How long one may take.
const WITHIN: Duration = Duration::from_mins(2);
/// How long it is tried.
const GIVE_UP: SignedDuration = SignedDuration::from_hours(24);

/// Makes the copies that are due; whether some are left for later.
pub(super) async fn pass(cx: &Cx) -> Result<bool> {
    let due = cx.store.read(|conn| store::copies(conn, BATCH)).await?;
    let full = due.len() == BATCH as usize;
    for copy in due {
        let id = copy.id;
        if !copy.tried {
            cx.store.write(move |tx| store::copying(tx, id)).await?;
        }
        crashpoint::hit(Point::CopyBegun);
        match tokio::time::timeout(WITHIN, make(cx, &copy)).await.unwrap_or_else(|_| Err(Error::timeout("no answer"))) {
            Ok(()) => {
                crashpoint::hit(Point::CopyLaid);
                cx.store.write(move |tx| store::copied(tx, id)).await?;
            }
            Err(err) => {
                let over = cx.clock.now().duration_since(copy.sent_at) > GIVE_UP;
                tracing::warn!(outbox = id, error = err.chain(), "a copy of a sent mail cannot be made");
                let why = err.message().to_owned();
                cx.store.write(move |tx| store::not_copied(tx, id, &why, over)).await?;
                // What keeps one from its folder keeps all.
                return Ok(true);
            }
        }
        cx.wake.announce();
    }
    Ok(full)
}

async fn make(cx: &Cx, copy: &Copy) -> Result<()> {
    let folder = cx.config.load().email.imap_sent_folder.clone();
    // An attempt before may have come through, or the server keeps copies by itself.
    if copy.tried && mail::imap::contains(cx, &folder, &copy.message_id).await? {
        return Ok(());
    }
    let name = copy.raw_name.as_deref().ok_or_else(|| Error::unavailable("the message is no longer there"))?;
    mail::imap::append(cx, &folder, &mail::folder(&cx.state_dir).join(name)).await
}

/// Whether a mail lies in the folder of sent mail.
///
/// # Errors
/// When nobody can tell at present.
pub(super) async fn lies_there(cx: &Cx, message_id: &str) -> Result<bool> {
    let config = cx.config.load_full();
    if config.email.imap_host.is_none() {
        return Ok(false);
    }
    let looking = mail::imap::contains(cx, &config.email.imap_sent_folder, message_id);
    tokio::time::timeout(WITHIN, looking).await.unwrap_or_else(|_| Err(Error::timeout("the mailbox does not answer")))
}
