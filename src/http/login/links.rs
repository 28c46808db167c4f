//! Links that log a browser in once, for whoever is an administrator on the socket. They are kept in memory: none
//! outlives the daemon.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::secret::Hash;

/// How long a link is good: long enough to start a browser.
const LIFETIME: SignedDuration = SignedDuration::from_mins(5);
/// Links that are open at the same time; beyond that, the one that ends first goes.
const OPEN: usize = 16;

/// The links that nobody has used yet, by the hash of their token, with when they end.
#[derive(Default)]
pub struct Links(Mutex<HashMap<Hash, Timestamp>>);

impl Links {
    /// Makes a link good; says until when.
    pub(super) fn open(&self, token: Hash, now: Timestamp) -> Timestamp {
        let until = now + LIFETIME;
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, end| *end > now);
        if open.len() >= OPEN
            && let Some(first) = open.iter().min_by_key(|(_, end)| **end).map(|(hash, _)| *hash)
        {
            open.remove(&first);
        }
        open.insert(token, until);
        until
    }

    /// Uses a link up; says whether it was good.
    pub(super) fn take(&self, token: &Hash, now: Timestamp) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(token).is_some_and(|end| end > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_once_and_for_a_short_time() {
        let links = Links::default();
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let until = links.open([1; 32], now);
        assert!(!links.take(&[2; 32], now));
        assert!(links.take(&[1; 32], now));
        assert!(!links.take(&[1; 32], now), "used up");
        links.open([3; 32], now);
        assert!(!links.take(&[3; 32], until), "too late");
        for byte in 0..=u8::try_from(OPEN).unwrap() {
            links.open([byte; 32], now + SignedDuration::from_secs(byte.into()));
        }
        assert_eq!(links.0.lock().unwrap().len(), OPEN);
        assert!(!links.take(&[0; 32], now), "the one that would have ended first went");
    }
}
