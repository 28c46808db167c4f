//! Which jobs run in this process, so that a cancel reaches them at once and none is run a second time while its former
//! run has not ended.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use assistant_api::JobId;
use tokio_util::sync::CancellationToken;

use super::Lease;

/// The runs of this process.
#[derive(Default)]
pub struct Running(Mutex<HashMap<Lease, Run>>);

struct Run {
    cancel: CancellationToken,
    /// Its lease ran out: it hangs, and no longer keeps others from the job or from the worker's place.
    expired: bool,
    /// It has ended, and its outcome waits for a database that can be written.
    ended: bool,
}

impl Running {
    /// A run begins; the token that ends it is returned.
    pub(super) fn begin(&self, lease: Lease) -> CancellationToken {
        let cancel = CancellationToken::new();
        self.lock().insert(lease, Run { cancel: cancel.clone(), expired: false, ended: false });
        cancel
    }

    /// A run has ended.
    pub(super) fn end(&self, lease: &Lease) {
        self.lock().remove(lease);
    }

    /// A run has ended, and its outcome cannot be stored yet.
    pub(super) fn waits(&self, lease: Lease) {
        let run = Run { cancel: CancellationToken::new(), expired: false, ended: true };
        self.lock().insert(lease, run);
    }

    /// Leases of runs that have ended and whose outcome is still to be stored.
    pub(super) fn waiting(&self) -> Vec<Lease> {
        self.lock().iter().filter(|(_, run)| run.ended).map(|(lease, _)| *lease).collect()
    }

    /// Ends the runs of these jobs.
    pub(super) fn cancel(&self, jobs: &[JobId]) {
        for (lease, run) in self.lock().iter() {
            if jobs.contains(&lease.job_id) {
                run.cancel.cancel();
            }
        }
    }

    /// Ends every run.
    pub(super) fn cancel_all(&self) {
        self.lock().values().for_each(|run| run.cancel.cancel());
    }

    /// Gives up on runs whose leases were taken back.
    pub(super) fn expire(&self, leases: &[Lease]) {
        let mut runs = self.lock();
        for lease in leases {
            if let Some(run) = runs.get_mut(lease) {
                run.expired = true;
                run.cancel.cancel();
            }
        }
    }

    /// Jobs that must not be claimed now.
    pub(super) fn busy(&self) -> Vec<JobId> {
        self.lock().iter().filter(|(_, run)| !run.expired).map(|(lease, _)| lease.job_id).collect()
    }

    /// Runs that hang.
    pub(super) fn hanging(&self) -> usize {
        self.lock().values().filter(|run| run.expired).count()
    }

    /// Jobs that run.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Lease, Run>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
