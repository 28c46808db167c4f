//! What a confined command must not manage, and what it must: each probe is one attempt in a process of its own.
//!
//! A must-fail probe is written so that its own mistakes do not count as the sandbox's success: what an attempt needs
//! beforehand fails it as `broken`, and a kernel that looks at bad arguments has let the call in. Those that harm nobody
//! also run unconfined (`--baseline`), where they show that they can succeed.

mod arguments;
mod calls;
mod cell;
mod conduct;
mod environment;
mod files;
mod limits;
mod network;
mod place;
mod plants;
mod processes;
mod processors;
mod programs;
mod protected;
mod report;
mod run;
mod works;

pub use arguments::main;
pub use cell::Cell;
pub use conduct::{Conducted, Conductor, alone};
pub use place::{Outside, Place};
pub use plants::Plants;
pub use report::{Outcome, Report};

use std::{fmt::Display, io, time::Duration};

use serde::{Deserialize, Serialize};

use crate::protocol::{Guarantee, Level};

/// How an attempt should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    Denied,
    Works,
}

/// At which levels an attempt should end how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    MustFail,
    MustWork,
    /// Must fail at level `read`, must work elsewhere.
    NeedsWrite,
    /// Must work at level `work-net`, must fail elsewhere.
    NeedsNet,
}

impl Rule {
    fn at(self, level: Level) -> Expect {
        let works = match self {
            Self::MustFail => false,
            Self::MustWork => true,
            Self::NeedsWrite => level != Level::Read,
            Self::NeedsNet => level == Level::WorkNet,
        };
        if works { Expect::Works } else { Expect::Denied }
    }
}

/// Why an attempt did not do what it tried.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stop {
    /// Somebody said no.
    Refused(String),
    /// What the attempt is about is not there: the program is not installed, nothing was planted outside.
    Absent(String),
    /// The attempt itself went wrong before it could show anything.
    Broken(String),
}

/// What was done, or why not.
type Tried = Result<String, Stop>;

/// An error outside of the attempt proper.
impl From<io::Error> for Stop {
    fn from(err: io::Error) -> Self {
        Self::Broken(err.to_string())
    }
}

/// The attempt proper: its error is a refusal, unless it says that the attempt was not put right.
fn attempt<T>(result: io::Result<T>, done: impl Display) -> Tried {
    match result {
        Ok(_) => Ok(done.to_string()),
        Err(err) => match err.raw_os_error() {
            Some(libc::EINVAL | libc::EFAULT | libc::EBADF) => Err(Stop::Broken(format!("{done}: {err}"))),
            _ => Err(Stop::Refused(err.to_string())),
        },
    }
}

/// Done if one of them is.
fn any(attempts: impl IntoIterator<Item = Tried>) -> Tried {
    let (mut refused, mut last, mut absent) = (0, String::new(), "nothing to try".to_owned());
    for tried in attempts {
        match tried {
            Ok(done) => return Ok(done),
            Err(Stop::Refused(reason)) => {
                refused += 1;
                last = reason;
            }
            Err(Stop::Absent(reason)) => absent = reason,
            Err(broken @ Stop::Broken(_)) => return Err(broken),
        }
    }
    if refused == 0 { Err(Stop::Absent(absent)) } else { Err(Stop::Refused(format!("{refused} refused; {last}"))) }
}

/// Something that a must-work probe insists on.
fn ensure(holds: bool, otherwise: impl Display) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::Broken(otherwise.to_string())) }
}

/// One attempt.
#[derive(Clone, Copy)]
struct Probe {
    name: &'static str,
    rule: Rule,
    /// What a refusal shows to hold; none where it must work at every level.
    guarantee: Option<Guarantee>,
    /// Does no harm where nothing confines it.
    safe: bool,
    /// Wants a command for itself: to end all of that command is a refusal as well.
    alone: bool,
    /// Longest time that it may take.
    limit: Duration,
    deed: Deed,
}

#[derive(Clone, Copy)]
enum Deed {
    Here(fn(&Place) -> Tried),
    Call(&'static calls::Call),
    Program(programs::Program),
}

const LIMIT: Duration = Duration::from_secs(5);

impl Probe {
    const fn new(name: &'static str, rule: Rule, guarantee: Option<Guarantee>, deed: fn(&Place) -> Tried) -> Self {
        Self { name, rule, guarantee, safe: true, alone: false, limit: LIMIT, deed: Deed::Here(deed) }
    }

    const fn must_fail(guarantee: Guarantee, name: &'static str, deed: fn(&Place) -> Tried) -> Self {
        Self::new(name, Rule::MustFail, Some(guarantee), deed)
    }

    const fn must_work(name: &'static str, deed: fn(&Place) -> Tried) -> Self {
        Self::new(name, Rule::MustWork, None, deed)
    }

    /// The guarantee that it tries at this level, where it must fail.
    fn proves(&self, level: Level) -> Option<Guarantee> {
        self.guarantee.filter(|_| self.rule.at(level) == Expect::Denied)
    }

    /// Never to be run where nothing confines it.
    const fn harmful(mut self) -> Self {
        self.safe = false;
        self
    }

    /// Wants a command for itself.
    const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    const fn slow(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    fn go(&self, place: &Place) -> Tried {
        match self.deed {
            Deed::Here(deed) => deed(place),
            Deed::Call(call) => call.go(),
            Deed::Program(program) => program.go(place),
        }
    }
}

/// All of them, by theme.
fn all() -> Vec<Probe> {
    let mut all = Vec::new();
    for part in [
        files::PROBES,
        protected::PROBES,
        processes::PROBES,
        network::PROBES,
        environment::PROBES,
        limits::PROBES,
        processors::PROBES,
        works::PROBES,
    ] {
        all.extend_from_slice(part);
    }
    all.extend(calls::CALLS.iter().map(|call| Probe {
        name: call.name,
        rule: Rule::MustFail,
        guarantee: Some(Guarantee::Syscalls),
        safe: call.safe,
        alone: false,
        limit: LIMIT,
        deed: Deed::Call(call),
    }));
    all.extend(programs::all().map(|program| Probe {
        name: program.name,
        rule: Rule::MustWork,
        guarantee: None,
        safe: true,
        alone: false,
        limit: Duration::from_secs(30),
        deed: Deed::Program(program),
    }));
    all
}

#[cfg(test)]
mod tests;
