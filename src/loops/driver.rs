//! Runs one loop until the daemon stops: panics and errors are caught, logged, and followed by a growing pause.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;

use super::{LoopDef, Next};
use crate::{cx::Cx, error::Error};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Spawns the loop on the daemon's tracker.
pub fn spawn(cx: &Cx, def: &'static LoopDef) {
    let cx = cx.clone();
    cx.clone().tasks.spawn(async move {
        let mut pause = FIRST_PAUSE;
        loop {
            let tick = AssertUnwindSafe((def.tick)(&cx)).catch_unwind();
            let outcome = tokio::select! {
                () = cx.stop.cancelled() => return,
                outcome = tick => outcome.unwrap_or_else(|_| Err(Error::internal("the loop panicked"))),
            };
            let next = match outcome {
                Ok(next) => {
                    pause = FIRST_PAUSE;
                    next
                }
                Err(err) => {
                    tracing::warn!(loop_name = def.name, error = err.chain(), "a loop failed");
                    let now = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    Next::After(now)
                }
            };
            let sleep = async {
                match next {
                    Next::Woken => std::future::pending().await,
                    Next::After(delay) => tokio::time::sleep(delay).await,
                    Next::At(at) => cx.clock.sleep_until(at).await,
                }
            };
            tokio::select! {
                () = cx.stop.cancelled() => return,
                () = (def.wake)(&cx.wake).notified() => {}
                () = sleep => {}
            }
        }
    });
}
