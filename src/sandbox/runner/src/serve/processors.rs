//! Which processors we run on. A forked process is put on an idle processor, which must wake first; where that takes
//! longer than a start itself, as on virtual machines, it is better to stay until the command is about to begin.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

/// The processors that this process was given.
#[derive(Clone, Copy)]
pub(crate) struct Processors {
    given: Option<CpuSet>,
}

impl Processors {
    pub(crate) fn of_this_process() -> Self {
        Self { given: sched_getaffinity(Pid::from_raw(0)).ok() }
    }

    /// Stays on the processor that it is on.
    pub(crate) fn stay(&self) {
        let mut here = CpuSet::new();
        if self.given.is_some() && sched_getcpu().is_ok_and(|cpu| here.set(cpu).is_ok()) {
            let _ = sched_setaffinity(Pid::from_raw(0), &here);
        }
    }

    /// Runs on any of them again.
    pub(crate) fn roam(&self) {
        if let Some(given) = &self.given {
            let _ = sched_setaffinity(Pid::from_raw(0), given);
        }
    }
}
