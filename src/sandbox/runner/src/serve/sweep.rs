//! How every process of a command is ended where no pid namespace does it.

use std::{
    io,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    family,
    kernel::{self, Usage},
};

/// How long processes may take to go before the session is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whose processes are a command's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// Those of its pid namespace; the kernel sees to them.
    Namespace,
    /// Every process of our uid but ourselves: the uid is the session's own.
    Uid,
    /// Our descendants. We adopt those whose parents are gone.
    Descendants,
}

impl Sweep {
    /// Ends all that are there now.
    pub(crate) fn strike(self) {
        match self {
            Self::Namespace => {}
            Self::Uid => {
                let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
            }
            Self::Descendants => {
                let all = stopped_descendants();
                for pid in all {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
    }

    /// Ends all and waits until none is left; says what those used that were waited for here.
    pub(crate) fn finish(self) -> io::Result<Usage> {
        let mut used = Usage::default();
        if self == Self::Namespace {
            return Ok(used);
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            self.strike();
            loop {
                match kernel::wait_child(-1, false) {
                    Ok(Some((_, _, usage))) => used = used.with(usage),
                    Ok(None) => break,
                    Err(Errno::ECHILD) => return Ok(used),
                    Err(errno) => return Err(errno.into()),
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(io::Error::other("processes of the command do not end"))
    }
}

/// Our descendants. Each is stopped before its children are looked for, so that it has no further ones; what slips
/// through becomes our child when its parent ends, and is found the next time.
fn stopped_descendants() -> Vec<i32> {
    family::below(std::process::id().cast_signed(), |pid| {
        let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
    })
}
