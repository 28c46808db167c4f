//! Ctrl-C: a part of a command that can end well on the first one says so; everything else ends at once with 130.

use std::cell::Cell;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

use crate::exit::{Code, Failure, Result};

/// Who gets the next Ctrl-C.
#[derive(Default)]
pub struct Interrupts {
    /// Whether a part of the command ends well on the next one.
    expected: Cell<bool>,
    /// Told when the first such part begins: until then the system's default holds, which also ends blocking reads.
    armed: Notify,
}

/// Resolves on Ctrl-C as long as it lives.
pub struct Expected<'a> {
    interrupts: &'a Interrupts,
    signal: Signal,
}

impl Interrupts {
    /// From now on the next Ctrl-C is for the caller.
    pub fn expect(&self) -> Result<Expected<'_>> {
        let signal = listen()?;
        self.expected.set(true);
        self.armed.notify_one();
        Ok(Expected { interrupts: self, signal })
    }

    /// Resolves when Ctrl-C is pressed and nobody expects it: a second time, or after the part that expected it.
    pub async fn unexpected(&self) -> Code {
        self.armed.notified().await;
        let Ok(mut signal) = listen() else { return std::future::pending().await };
        while signal.recv().await.is_some() {
            if !self.expected.take() {
                return Code::Interrupted;
            }
        }
        std::future::pending().await
    }
}

impl Expected<'_> {
    /// Waits for it. Safe to drop and call again.
    pub async fn pressed(&mut self) {
        self.signal.recv().await;
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.interrupts.expected.set(false);
    }
}

fn listen() -> Result<Signal> {
    signal(SignalKind::interrupt()).map_err(|err| Failure::new(Code::Failed, format!("listening for Ctrl-C: {err}")))
}
