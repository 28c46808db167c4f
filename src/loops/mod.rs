//! Background loops: each runs when its next work is due and whenever somebody wakes it; an idle one sleeps.

mod driver;

use std::{future::Future, time::Duration};

use jiff::Timestamp;
use tokio::sync::Notify;

pub use self::driver::spawn;
use crate::{
    cx::{Cx, Wake},
    error::Result,
    llm::BoxFuture,
};

/// One loop.
pub trait Loop: Send + 'static {
    const NAME: &'static str;
    /// What wakes it.
    fn wake(wake: &Wake) -> &Notify;
    /// Does all the work there is, and takes no input: what to do is read from the store.
    fn tick(cx: &Cx) -> impl Future<Output = Result<Next>> + Send;
}

/// When a loop wants to run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When woken.
    Woken,
    /// When woken, or after this time.
    After(Duration),
    /// When woken, or when the wall clock shows this, suspends and steps of the clock included.
    At(Timestamp),
}

/// A loop with its type erased.
pub struct LoopDef {
    pub name: &'static str,
    pub wake: fn(&Wake) -> &Notify,
    pub tick: for<'a> fn(&'a Cx) -> BoxFuture<'a, Result<Next>>,
}

impl LoopDef {
    /// Erases the type of a loop.
    pub const fn of<L: Loop>() -> Self {
        Self { name: L::NAME, wake: L::wake, tick: |cx| Box::pin(L::tick(cx)) }
    }
}
