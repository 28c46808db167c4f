//! Calls whose arguments decide, compiled by seccompiler.

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// Which arguments of a call decide. All are compared in their low 32 bits: so much of them the kernel reads, and
/// anything above must not lead past the comparison (CVE-2019-10063).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// `clone`: no new namespaces.
    Clone,
    /// `socket`: address family, and type and protocol of internet sockets.
    Family,
    /// `socketpair`: Unix sockets.
    Pair,
    /// `ioctl`: nothing that types into a terminal or changes its line discipline.
    Ioctl,
    /// `prctl`: nothing that moves the process's memory map or goes past the process.
    Prctl,
    /// `personality`: those that weaken nothing.
    Personality,
    /// `seccomp`: no listener, whose answers could override this filter's when the runner's listener is gone.
    Filter,
    /// `prlimit64`: of the caller itself. With somebody else's limits one could end them.
    Limits,
    /// A pid in this argument that means the caller itself, and zeros or, for `ioprio_set`, ones before it.
    Own { arg: u8 },
    /// Mode bits in this argument, without set-user-id and set-group-id; if `flags` names an argument, only where that
    /// one says that a file is made.
    Mode { mode: u8, flags: Option<u8> },
    /// `mknod`: files, pipes and sockets.
    Node { mode: u8 },
}

const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
const TIOCCONS: u64 = 0x541d;
const TIOCSETD: u64 = 0x5423;

const PR_TASK_PERF_EVENTS_DISABLE: u64 = 31;
const PR_TASK_PERF_EVENTS_ENABLE: u64 = 32;
const PR_SET_MM: u64 = 35;
const PR_SET_IO_FLUSHER: u64 = 57;
const PR_SCHED_CORE: u64 = 62;

/// `O_CREAT`, and `O_TMPFILE` without its `O_DIRECTORY`; the same on both architectures.
const MAKES_FILE: u64 = 0o100 | 0o20_000_000;
const SET_ID: u64 = 0o6000;
const FILE_TYPE: u64 = 0o170_000;

/// Masks the difference between `AF_INET` (2) and `AF_INET6` (10) away.
const INET: Op = Op::MaskedEq(!8);

/// One condition: argument, comparison, value.
type Condition = (u8, Op, u64);

impl Check {
    /// What is allowed, or what is refused.
    fn rules(self, net: bool) -> (bool, Vec<Vec<Condition>>) {
        let any_of = |arg: u8, values: &[u64]| values.iter().map(|value| vec![(arg, Op::Eq, *value)]).collect();
        let unix = vec![(0, Op::Eq, 1)];
        match self {
            Self::Clone => (true, vec![vec![(0, Op::MaskedEq(u64::from(NAMESPACES.cast_unsigned())), 0)]]),
            Self::Family if net => {
                let inet = |kind, protocol| vec![(0, INET, 2), (1, Op::MaskedEq(0xf), kind), (2, Op::Eq, protocol)];
                (true, vec![unix, inet(1, 0), inet(1, 6), inet(2, 0), inet(2, 17)])
            }
            Self::Family | Self::Pair => (true, vec![unix]),
            Self::Ioctl => (false, any_of(1, &[TIOCSTI, TIOCLINUX, TIOCCONS, TIOCSETD])),
            Self::Prctl => {
                let perf = [PR_TASK_PERF_EVENTS_DISABLE, PR_TASK_PERF_EVENTS_ENABLE];
                (false, any_of(0, &[perf[0], perf[1], PR_SET_MM, PR_SET_IO_FLUSHER, PR_SCHED_CORE]))
            }
            // asking, Linux, its 32-bit form, and both with the version number of 2.6
            Self::Personality => (true, any_of(0, &[0xffff_ffff, 0, 8, 0x2_0000, 0x2_0008])),
            Self::Filter => (false, vec![vec![(1, Op::MaskedEq(NEW_LISTENER), NEW_LISTENER)]]),
            Self::Limits | Self::Own { arg: 0 } => (true, any_of(0, &[0])),
            // PRIO_PROCESS is 0, IOPRIO_WHO_PROCESS 1, and 1 with pid 0 is PRIO_PGRP of the caller's own.
            Self::Own { arg } => (true, vec![vec![(arg, Op::Eq, 0), (0, Op::Le, 1)]]),
            Self::Mode { mode, flags } => {
                let mut rules = vec![vec![(mode, Op::MaskedEq(SET_ID), 0)]];
                rules.extend(flags.map(|arg| vec![(arg, Op::MaskedEq(MAKES_FILE), 0)]));
                (true, rules)
            }
            Self::Node { mode } => {
                let kinds = [0, 0o100_000, 0o010_000, 0o140_000];
                (true, kinds.iter().map(|kind| vec![(mode, Op::MaskedEq(FILE_TYPE | SET_ID), *kind)]).collect())
            }
        }
    }

    /// A whole filter for this call. Where it refuses it says [`SeccompAction::Trap`], for the caller to replace:
    /// seccompiler knows no notification.
    pub(super) fn compile(self, number: u32, net: bool, arch: TargetArch) -> Result<BpfProgram, BackendError> {
        let (allowed, rules) = self.rules(net);
        let rules = rules.into_iter().map(|conditions| {
            let conditions: Result<_, _> =
                conditions.into_iter().map(|(arg, op, value)| SeccompCondition::new(arg, Dword, op, value)).collect();
            SeccompRule::new(conditions?)
        });
        let chain = [(i64::from(number), rules.collect::<Result<_, _>>()?)].into();
        let (on_match, otherwise) = if allowed {
            (SeccompAction::Allow, SeccompAction::Trap)
        } else {
            (SeccompAction::Trap, SeccompAction::Allow)
        };
        SeccompFilter::new(chain, otherwise, on_match, arch)?.try_into()
    }

    /// Why these arguments are refused, and what would allow them.
    pub(super) fn reason(self, args: &[u64; 6]) -> (String, Option<String>) {
        let low = |arg: u8| args[usize::from(arg)] & 0xffff_ffff;
        let text = match self {
            Self::Clone => "new namespaces cannot be made or entered".to_owned(),
            Self::Family | Self::Pair => return family(low(0)),
            Self::Ioctl => format!("the terminal control {:#x} is not allowed", low(1)),
            Self::Prctl => format!("the process control {} is not allowed", low(0)),
            Self::Personality => format!("the personality {:#x} is not allowed", low(0)),
            Self::Limits | Self::Own { .. } => "other processes are left as they are".to_owned(),
            Self::Filter => "only the runner listens to system calls".to_owned(),
            Self::Node { mode } if low(mode) & SET_ID == 0 => "device files cannot be made".to_owned(),
            Self::Mode { .. } | Self::Node { .. } => "set-user-id and set-group-id files cannot be made".to_owned(),
        };
        (text, None)
    }
}

const NEW_LISTENER: u64 = 8;

fn family(number: u64) -> (String, Option<String>) {
    let name = match number {
        2 | 10 => {
            let way = "the level work+net, for HTTP and HTTPS to allowed hosts through the egress proxy";
            return ("internet sockets beyond those of the level are not allowed".to_owned(), Some(way.to_owned()));
        }
        16 => "netlink",
        17 => "packet",
        38 => "crypto",
        40 => "vsock",
        _ => return (format!("sockets of the family {number} are not allowed"), None),
    };
    (format!("{name} sockets are not allowed"), None)
}
