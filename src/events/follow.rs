//! Somebody who deals with every event once, in their order, over restarts too.

use crate::{
    cx::Cx,
    error::Result,
    events::{
        Stored,
        store::{
            after, bounds,
            cursor::{advance, cursor, forget},
        },
    },
};

/// Events that one look reads.
pub(crate) const BATCH: u32 = 200;

/// Who deals with the events.
pub trait Follower: Sync {
    /// Below which the place is kept in the database.
    const NAME: &'static str;

    /// Deals with one event, and says whether it was worth anything.
    ///
    /// # Errors
    /// They stop it at this event, which it is shown again.
    fn event(&self, cx: &Cx, event: &Stored) -> impl Future<Output = Result<bool>> + Send;
}

/// Shows it the events since the last time. Its place moves when it is through with an event of worth, so that a crash in
/// between shows it that one again. The first time it begins with what happens from then on.
///
/// # Errors
/// The follower's and those of the database.
pub async fn follow<F: Follower>(cx: &Cx, follower: &F) -> Result<()> {
    let save = async |place| {
        let now = cx.clock.now();
        cx.store.write(move |tx| advance(tx, now, F::NAME, place)).await
    };
    let Some(mut place) = cx.store.read(|conn| cursor(conn, F::NAME)).await? else {
        return save(cx.store.read(|conn| Ok(bounds(conn)?.1)).await?).await;
    };
    loop {
        let batch = cx.store.read(move |conn| after(conn, place, None, BATCH)).await?;
        let full = batch.len() == BATCH as usize;
        for event in batch {
            place = event.id;
            if follower.event(cx, &event).await? {
                save(place).await?;
            }
        }
        if !full {
            return Ok(());
        }
        // A long stretch without anything of worth is not read again.
        save(place).await?;
    }
}

/// Ends following: who takes it up again begins with what happens from then on.
///
/// # Errors
/// Those of the database.
pub async fn unfollow<F: Follower>(cx: &Cx) -> Result<()> {
    if cx.store.read(|conn| cursor(conn, F::NAME)).await?.is_some() {
        cx.store.write(|tx| forget(tx, F::NAME)).await?;
    }
    Ok(())
}
