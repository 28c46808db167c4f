//! Which processors we run on, and a command: where no cgroup counts its time, so many as the session may use.
//!
//! A forked process is put on an idle processor, which must wake first; where that takes longer than a start itself, as on
//! virtual machines, it is better to stay until the command is about to begin.

use std::hash::{BuildHasher as _, RandomState};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

use super::{
    fault::{At as _, Fault},
    kernel,
};

/// Thousandths of a processor.
const WHOLE: u64 = 1000;

/// The processors that this process was given, and those that a command gets.
#[derive(Clone, Copy)]
pub(crate) struct Processors {
    given: CpuSet,
    /// How many there are, whether they were given to us or not.
    online: u64,
    /// None: as many as there are.
    bound: Option<CpuSet>,
    /// Whether the bound is what was asked for, and not the next whole number above it.
    pub(crate) exact: bool,
}

impl Processors {
    /// All that there are. To be asked while the machine's `/sys` can still be seen.
    pub(crate) fn all() -> Result<Self, Fault> {
        let given = sched_getaffinity(Pid::from_raw(0)).at("processors")?;
        let online = kernel::processors_online().at("processors")?;
        Ok(Self { given, online, bound: None, exact: true })
    }

    /// So many thousandths of a processor of these. Which ones is drawn, so that sessions spread over all of them.
    pub(crate) fn within(&self, millis: u64) -> Result<Self, Fault> {
        if millis >= self.online * WHOLE {
            return Ok(*self);
        }
        let wanted = usize::try_from(millis.div_ceil(WHOLE)).unwrap_or(usize::MAX);
        let from = self.bound.as_ref().unwrap_or(&self.given);
        let bound = some_of(from, wanted, RandomState::new().hash_one(std::process::id()))?;
        // Where we were given fewer, that is a bound as well.
        let exact = millis.is_multiple_of(WHOLE) || millis / WHOLE >= members(&bound).len() as u64;
        Ok(Self { bound: Some(bound), exact, ..*self })
    }

    /// Whether commands are held on some processors, and must not choose others.
    pub(crate) fn hold(&self) -> bool {
        self.bound.is_some()
    }

    /// Stays on the processor that it is on.
    pub(crate) fn stay() {
        let mut here = CpuSet::new();
        if sched_getcpu().is_ok_and(|cpu| here.set(cpu).is_ok()) {
            let _ = sched_setaffinity(Pid::from_raw(0), &here);
        }
    }

    /// Runs on any of them again.
    pub(crate) fn roam(&self) {
        let _ = sched_setaffinity(Pid::from_raw(0), &self.given);
    }

    /// Runs on those of a command. Takes no memory.
    pub(crate) fn settle(&self) -> nix::Result<()> {
        let Some(bound) = &self.bound else {
            // Wherever it runs it is not bound. A unit forbids to choose.
            self.roam();
            return Ok(());
        };
        sched_setaffinity(Pid::from_raw(0), bound)
    }
}

fn members(set: &CpuSet) -> Vec<usize> {
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).collect()
}

/// So many of a set, beginning at a place drawn by chance, or all if there are no more.
fn some_of(set: &CpuSet, wanted: usize, draw: u64) -> Result<CpuSet, Fault> {
    let members = members(set);
    let first = usize::try_from(draw % members.len().max(1) as u64).unwrap_or(0);
    let mut some = CpuSet::new();
    for cpu in members.iter().cycle().skip(first).take(wanted.clamp(1, members.len().max(1))) {
        some.set(*cpu).at("processors")?;
    }
    Ok(some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cpus: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        for cpu in cpus {
            set.set(*cpu).unwrap();
        }
        set
    }

    #[test]
    fn a_session_gets_as_many_as_it_may_of_those_that_are_given() {
        let given = set(&[1, 4, 5, 7]);
        for (wanted, draw, expected) in [
            (1, 0, &[1][..]),
            (1, 3, &[7]),
            (2, 3, &[1, 7]),
            (3, 6, &[1, 5, 7]),
            (4, 1, &[1, 4, 5, 7]),
            (9, 2, &[1, 4, 5, 7]),
        ] {
            assert_eq!(members(&some_of(&given, wanted, draw).unwrap()), expected, "{wanted} {draw}");
        }
        let drawn: std::collections::BTreeSet<_> =
            (0..100).map(|draw| members(&some_of(&given, 1, draw).unwrap())).collect();
        assert_eq!(drawn.len(), 4, "every one of them has its turn");
    }

    #[test]
    fn a_fraction_is_no_bound_that_processors_keep() {
        let machine = Processors { given: set(&[0, 2, 3]), online: 4, bound: None, exact: true };
        for (millis, expected) in [
            (1, (1, false)),
            (1000, (1, true)),
            (1500, (2, false)),
            (2000, (2, true)),
            (3000, (3, true)),
            (3500, (3, true)), // of four that there are it was given three
        ] {
            let some = machine.within(millis).unwrap();
            assert_eq!((members(&some.bound.unwrap()).len(), some.exact), expected, "{millis}");
            assert!(some.hold());
        }
        for millis in [4000, 4001, 9000] {
            let all = machine.within(millis).unwrap();
            assert!(!all.hold() && all.exact, "{millis}");
        }
        let two = machine.within(2000).unwrap();
        let one = members(&two.within(1000).unwrap().bound.unwrap());
        assert!(one.len() == 1 && members(&two.bound.unwrap()).contains(&one[0]), "one of the two");
    }
}
