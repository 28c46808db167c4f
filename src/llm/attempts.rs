//! Counts the attempts of one request that a provider may charge for without anybody hearing what they cost.
//!
//! An attempt begins when a request goes out to a model that may cost something, and it is known when the model has
//! answered, or when it certainly cost nothing: nobody was reached, or a status refused it before an answer began.
//! Everything else is lost: an answer that broke off, stalled, or ended in an error of the provider's, a connection that
//! was cut while the answer was awaited, an attempt that a deadline ended.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// The lost attempts of one request. Its clones count together, so that the count is there however the request ends, even
/// if its future is dropped.
#[derive(Clone, Debug, Default)]
pub struct Attempts(Arc<AtomicU32>);

/// One attempt; dropped before it is [known](Attempt::known), it stays lost.
#[derive(Debug)]
pub(crate) struct Attempt<'a>(Option<&'a Attempts>);

impl Attempts {
    /// How many were made so far whose cost nobody knows. Each may have cost what was reserved for the request.
    pub fn lost(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// An attempt is made; one that is `free` is not counted.
    pub(crate) fn begin(&self, free: bool) -> Attempt<'_> {
        if free {
            return Attempt(None);
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Attempt(Some(self))
    }
}

impl Attempt<'_> {
    /// What it cost is known.
    pub(crate) fn known(self) {
        if let Some(attempts) = self.0 {
            attempts.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
