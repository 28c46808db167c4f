//! Attachments and links: scanned, made readable, and shown to the job that the mail belongs to.
//!
//! ```text
//! a decision ── register ──▶ pending ── extract ─▶ scan ─▶ convert ──▶ ready | infected | unsupported | skipped | failed
//!                │ its job is held                                        │ the last one lets the job go
//! ```
//!
//! The rows are written in the transaction that decides about the message, so that none is forgotten and none is made
//! twice. An attachment is never a file of its own: it is read out of the message into one without a name, which is gone
//! when it is closed, also after a crash.

mod clamd;
mod kept;
mod process;
mod register;
mod store;
#[cfg(test)]
mod tests;
mod youtube;

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;

pub(super) use self::register::{register, take_up};
pub use self::{kept::tidy, store::kept::purge};
use crate::{
    cx::{Cx, Wake},
    error::Result,
    loops::{Loop, Next},
};

/// Attachments that are worked on at a time.
const AT_ONCE: usize = 2;
/// Rows that are read at once.
const BATCH: u32 = 16;
/// How long a job waits for the attachments of its mail.
const PATIENCE: Duration = Duration::from_mins(10);
/// How often the loop looks for jobs that have waited too long, while there are any.
const LOOK: Duration = Duration::from_secs(30);

/// Works through what waits, oldest first.
pub(super) struct Artifacts;

impl Loop for Artifacts {
    const NAME: &'static str = "artifacts";

    fn wake(wake: &Wake) -> &Notify {
        &wake.artifacts
    }

    async fn tick(cx: &Cx) -> Result<Next> {
        loop {
            let waiting = release(cx).await?;
            let pending = cx.store.read(|conn| store::pending(conn, BATCH)).await?;
            if pending.is_empty() {
                tidy(cx).await?;
                return Ok(if waiting { Next::After(LOOK) } else { Next::Woken });
            }
            let mut done = stream::iter(pending).map(|row| process::take(cx, row)).buffer_unordered(AT_ONCE);
            while let Some(outcome) = done.next().await {
                outcome?;
                release(cx).await?;
            }
        }
    }
}

/// Lets jobs go whose attachments are done, or that have waited long enough; whether others still wait.
pub(super) async fn release(cx: &Cx) -> Result<bool> {
    let now = cx.clock.now();
    let (released, waiting) = cx.store.write(move |tx| store::release(tx, now, PATIENCE)).await?;
    if released {
        cx.wake.announce();
        cx.wake.jobs.notify_one();
    }
    Ok(waiting)
}
