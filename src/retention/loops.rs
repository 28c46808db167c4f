//! The loop that runs the pass.

use std::time::Duration;

use tokio::sync::Notify;

use crate::{
    cx::{Cx, Wake},
    error::Result,
    loops::{Loop, LoopDef, Next},
};

pub(super) const LOOPS: &[LoopDef] = &[LoopDef::of::<Retention>()];

/// When a pass that could not remove everything is tried again.
const AGAIN: Duration = Duration::from_hours(1);

struct Retention;

impl Loop for Retention {
    const NAME: &'static str = "retention";

    fn wake(wake: &Wake) -> &Notify {
        &wake.retention
    }

    async fn tick(cx: &Cx) -> Result<Next> {
        let (removed, fine) = super::pass(cx).await;
        if !removed.is_empty() {
            let removed: Vec<_> = removed.iter().map(|(what, count)| format!("{count} {what}")).collect();
            tracing::info!(removed = removed.join(", "), "removed what is no longer kept");
        }
        let config = cx.config.load();
        let now = cx.clock.now();
        let due = super::next_pass(now, config.retention.interval_hours.0, &config.app.timezone);
        Ok(Next::At(if fine { due } else { due.min(now.checked_add(AGAIN).unwrap_or(due)) }))
    }
}
