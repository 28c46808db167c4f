//! The loop that follows the event stream.

use tokio::sync::Notify;

use super::PAUSES;
use crate::{
    cx::{Cx, Wake},
    error::Result,
    loops::{Loop, LoopDef, Next},
};

pub(super) const LOOPS: &[LoopDef] = &[LoopDef::of::<Announcements>()];

struct Announcements;

impl Loop for Announcements {
    const NAME: &'static str = "notify";

    fn wake(wake: &Wake) -> &Notify {
        &wake.notify
    }

    async fn tick(cx: &Cx) -> Result<Next> {
        super::catch_up(cx, PAUSES).await.map(|()| Next::Woken)
    }
}
