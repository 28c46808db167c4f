//! What a refused call was, for the person and the model.

use std::collections::BTreeMap;

use super::{
    program::{Arch, X32},
    table::{self, Verdict},
};
use crate::protocol::Denial;

/// One refused call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Its number.
    pub nr: u32,
    /// The kernel's number of the calling convention, `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Its arguments as they were given; pointers are not followed.
    pub args: [u64; 6],
}

impl Denied {
    pub(super) fn new(data: &libc::seccomp_data) -> Self {
        Self { nr: data.nr.cast_unsigned(), arch: data.arch, args: data.args }
    }

    /// The call's name.
    pub fn name(&self) -> String {
        match table::row(Arch::NATIVE, self.nr & !X32) {
            Some(row) if self.nr < X32 => row.name().to_owned(),
            _ => format!("call {:#x}", self.nr),
        }
    }

    /// The rule that refused it, and what would allow it.
    fn reason(&self) -> (String, Option<String>) {
        if self.nr >= X32 {
            return ("the x32 calling convention is not allowed".to_owned(), None);
        }
        let text = match table::row(Arch::NATIVE, self.nr).map(|row| row.verdict) {
            Some(Verdict::Check(check)) => return check.reason(&self.args),
            Some(Verdict::Refuse(text)) => text,
            Some(Verdict::Settle) if self.args[0].trailing_zeros() >= 32 => {
                let way = "a whole machine's worth of sandbox.cpus, or a control group of the session's own";
                return ("a command stays on the processors that bound its time".to_owned(), Some(way.to_owned()));
            }
            Some(Verdict::Own(_) | Verdict::Settle) => "other processes are left as they are",
            Some(Verdict::Apart) => "shared memory, queues and semaphores are the host's here",
            Some(Verdict::Allow | Verdict::Absent) | None => "not on the list of allowed calls",
        };
        let way =
            matches!(table::row(Arch::NATIVE, self.nr).map(|row| row.verdict), Some(Verdict::Apart | Verdict::Own(_)))
                .then(|| "the backend unit or namespace, which separates them".to_owned());
        (text.to_owned(), way)
    }
}

/// Refused calls of one command, counted by call and rule.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: BTreeMap<(String, String), (Option<String>, u64)>,
}

/// Different kinds that are kept apart; there are fewer, unless a command tries odd numbers on purpose.
const KINDS: usize = 256;

impl Tally {
    /// Counts one.
    pub fn add(&mut self, denied: &Denied) {
        let (rule, way) = denied.reason();
        let mut key = (denied.name(), rule);
        if self.counts.len() >= KINDS && !self.counts.contains_key(&key) {
            key = ("other calls".to_owned(), "not on the list of allowed calls".to_owned());
        }
        self.counts.entry(key).or_insert((way, 0)).1 += 1;
    }

    /// All of them, as the protocol says it.
    pub fn denials(&self) -> Vec<Denial> {
        let denial = |((target, rule), (suggestion, count)): (&(String, String), &(Option<String>, u64))| Denial {
            layer: "seccomp".to_owned(),
            target: target.clone(),
            rule: rule.clone(),
            suggestion: suggestion.clone(),
            count: *count,
        };
        self.counts.iter().map(denial).collect()
    }
}
