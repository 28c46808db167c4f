//! The first process of a command's pid namespace. It makes the command's mounts, starts the command, reaps whatever the
//! command leaves, and when the command ends it ends the rest. When it ends itself, the kernel ends all of the namespace.
//!
//! It is a fork of the runner, takes no memory, and has given up all its capabilities when the command begins.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use nix::{
    errno::Errno,
    fcntl::AT_FDCWD,
    mount::{MntFlags, umount2},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        socket::{MsgFlags, recv},
    },
    unistd::Pid,
};

use super::{
    confine::{self, Failure},
    kernel::{self, Usage, attr},
    processors::Processors,
    report::{Report, Step},
    setup::Setup,
};

/// Runs in the child of the fork, for ever.
pub(crate) fn run(setup: &Setup, stack: &mut [u8]) -> ! {
    let channel = setup.confinement.channel.as_fd();
    let code = match start(setup, stack) {
        Ok(command) => look_after(setup, command, channel),
        Err((step, index, errno)) => {
            let _ = Report::Failed { step, index, errno: errno as i32 }.send(channel);
            1
        }
    };
    kernel::exit_now(code)
}

fn start(setup: &Setup, stack: &mut [u8]) -> Result<i32, Failure> {
    let orphaned = |errno| (Step::Orphaned, 0, errno);
    SigSet::all().thread_block().map_err(orphaned)?;

    renew_proc(setup.proc).map_err(|errno| (Step::Proc, 0, errno))?;
    let working_directory = setup.enter_workspace()?;
    confine::drop_privileges()?;

    // From here on the end of the runner is the end of this namespace; the socket tells if that has been already.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(orphaned)?;
    let mut alive = [PollFd::new(setup.confinement.channel.as_fd(), PollFlags::empty())];
    if poll(&mut alive, PollTimeout::ZERO) != Ok(0) {
        return Err(orphaned(Errno::EPIPE));
    }

    Processors::stay();
    let mut failure = None;
    let mut child = || failure = Some(confine::become_command(&setup.confinement, working_directory.as_fd()));
    let command = kernel::spawn_shared(stack, &mut child).map_err(|errno| (Step::Spawn, 0, errno))?;
    match failure {
        Some(failure) => Err(failure),
        None => Ok(command),
    }
}

/// Puts a `/proc` of this pid namespace over the one that the session kept for it. What is covered cannot be reached:
/// nobody here may unmount. (To take it away first would wait for all processors.)
fn renew_proc(visible: bool) -> nix::Result<()> {
    if !visible {
        return Ok(());
    }
    let options = [(c"subset", c"pid"), (c"hidepid", c"invisible")];
    match kernel::new_mount(c"proc", &options, attr::NOSUID | attr::NODEV | attr::NOEXEC) {
        Ok(fresh) => kernel::attach(fresh.as_fd(), AT_FDCWD, c"/proc"),
        // Parts of the host's are covered, as in a container: then the kernel gives no new one, and there is none.
        Err(_) => umount2(c"/proc", MntFlags::MNT_DETACH),
    }
}

/// Reaps until the command ends, passes on signals, then ends what is left. Gives the code to exit with.
fn look_after(setup: &Setup, command: i32, channel: BorrowedFd<'_>) -> i32 {
    let _ = Report::Started { pid: command }.send(channel);
    // Nothing else of the runner's stays open here, above all neither end of the command's streams.
    let Ok(channel) = kernel::keep_only(channel) else { return 1 };
    setup.confinement.processors.roam();
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let Ok(children) = SignalFd::with_flags(&mask, flags) else { return 1 };
    let status = loop {
        let mut ready = [PollFd::new(channel, PollFlags::POLLIN), PollFd::new(children.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return 1,
        }
        let mut number = [0];
        match recv(channel.as_raw_fd(), &mut number, MsgFlags::MSG_DONTWAIT) {
            Ok(1) => {
                if let Ok(signal) = Signal::try_from(i32::from(number[0])) {
                    let _ = kill(Pid::from_raw(command), signal);
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(_) | Err(_) => return 1,
        }
        let _ = children.read_signal();
        if let Some(status) = reap(command) {
            break status;
        }
    };
    loop {
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        if kernel::wait_child(-1, true).is_err() {
            break;
        }
    }
    let _ = Report::Ended { status, usage: Usage::of_children() }.send(channel);
    0
}

/// Takes all that have ended; gives the wait status of the command if it is among them.
fn reap(command: i32) -> Option<i32> {
    while let Ok(Some((pid, status, _))) = kernel::wait_child(-1, false) {
        if pid == command {
            return Some(status);
        }
    }
    None
}
