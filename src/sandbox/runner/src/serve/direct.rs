//! A command without a pid namespace of its own, where a unit, a container or nobody built the walls around the session:
//! the fork becomes the command itself.

use std::os::fd::AsFd as _;

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{prctl, signal::Signal},
};

use super::{
    confine::{self, Failure},
    kernel,
    report::{Report, Step},
    setup::Setup,
};

/// Runs in the child of the fork; what remains of the runner in it ends with the exec.
pub(crate) fn run(setup: &Setup) -> ! {
    let channel = setup.confinement.channel.as_fd();
    let (step, index, errno) = match start(setup) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let _ = Report::Failed { step, index, errno: errno as i32 }.send(channel);
    kernel::exit_now(1)
}

fn start(setup: &Setup) -> Result<std::convert::Infallible, Failure> {
    let working_directory = setup.enter_workspace()?;
    confine::drop_privileges()?;
    let orphaned = |errno| (Step::Orphaned, 0, errno);
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(orphaned)?;
    let mut alive = [PollFd::new(setup.confinement.channel.as_fd(), PollFlags::empty())];
    if poll(&mut alive, PollTimeout::ZERO) != Ok(0) {
        return Err(orphaned(Errno::EPIPE));
    }
    Err(confine::become_command(&setup.confinement, working_directory.as_fd()))
}
