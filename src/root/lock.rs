//! Changes of one path happen one after the other: the daemon's own writers never race each other.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::Arc,
};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{RelPath, Root};

const STRIPES: usize = 64;

/// Held while paths are changed; released when dropped.
pub struct Guards(#[expect(dead_code, reason = "held, not used")] Vec<OwnedMutexGuard<()>>);

pub(super) struct Locks([Arc<Mutex<()>>; STRIPES]);

impl Default for Locks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Arc::default()))
    }
}

impl Root {
    /// Waits until nobody else changes these paths. Taken in one order by all, so that two callers cannot block each
    /// other.
    pub async fn lock(&self, paths: &[&RelPath]) -> Guards {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let stripes: BTreeSet<usize> = paths
            .iter()
            .map(|path| usize::try_from(hasher.hash_one(path) % STRIPES as u64).unwrap_or_default())
            .collect();
        let mut guards = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            guards.push(Arc::clone(&self.locks.0[stripe]).lock_owned().await);
        }
        Guards(guards)
    }
}
