//! What a process gives up before it becomes the command, in this order: capabilities, new privileges, its streams, limits,
//! Landlock, the filter of system calls, every other descriptor. All of it was prepared before the fork; here nothing
//! takes memory.

use std::{
    ffi::CString,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    rc::Rc,
};

use assistant_sandbox::seccomp::{self, Program};
use libc::c_char;
use nix::{
    errno::Errno,
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        stat::{Mode, umask},
    },
    unistd::{fchdir, setsid},
};

use super::{kernel, processors::Processors, report::Step, shortage};

/// A command as the kernel takes it.
pub(crate) struct Image {
    /// Paths to try, first to last.
    pub(crate) programs: Vec<CString>,
    argv: Vec<CString>,
    envp: Vec<CString>,
}

impl Image {
    pub(crate) fn new(programs: Vec<CString>, argv: Vec<CString>, envp: Vec<CString>) -> Self {
        Self { programs, argv, envp }
    }

    /// The lists that `execve` wants. They point into this image.
    pub(crate) fn pointers(&self) -> Pointers {
        let list = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Pointers { argv: list(&self.argv), envp: list(&self.envp) }
    }
}

/// Null-terminated lists.
pub(crate) struct Pointers {
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
}

/// Everything that the child needs.
pub(crate) struct Confinement {
    pub(crate) image: Image,
    pub(crate) pointers: Pointers,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// To the runner: takes the filter's listener.
    pub(crate) channel: OwnedFd,
    pub(crate) rlimits: Vec<(Resource, u64)>,
    pub(crate) walls: Rc<Walls>,
    /// Whether the kernel's audit is to be told what Landlock refuses.
    pub(crate) logged: bool,
    pub(crate) processors: Processors,
    /// Whether it goes before the runner when memory runs out.
    pub(crate) goes_first: bool,
}

/// What is the same for all commands of one level.
pub(crate) struct Walls {
    /// Of Landlock.
    pub(crate) ruleset: OwnedFd,
    /// Of system calls.
    pub(crate) filter: Program,
    /// The same without notices, for a runner that is below a filter with a listener itself.
    pub(crate) silent: Program,
}

/// A step that failed.
pub(crate) type Failure = (Step, usize, Errno);

const SECBITS: u64 = 0b1110_1111; // noroot, no_setuid_fixup, keep_caps off, no_cap_ambient_raise; each locked
const LAST_CAPABILITY: u64 = 63;

/// Takes from this process and all that it will start every way to get capabilities by a program's file or by being uid 0,
/// and reads back that it is so. What it holds itself stays.
pub(crate) fn lock_capabilities() -> nix::Result<()> {
    for capability in 0..=LAST_CAPABILITY {
        match kernel::prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            // The kernel knows no more.
            Err(Errno::EINVAL) => break,
            dropped => dropped?,
        };
        if kernel::prctl(libc::PR_CAPBSET_READ, capability, 0) != Ok(0) {
            return Err(Errno::EPERM);
        }
    }
    kernel::prctl(libc::PR_CAP_AMBIENT, u64::from(libc::PR_CAP_AMBIENT_CLEAR_ALL.cast_unsigned()), 0)?;
    kernel::prctl(libc::PR_SET_SECUREBITS, SECBITS, 0)?;
    match kernel::prctl(libc::PR_GET_SECUREBITS, 0, 0)? {
        bits if u64::from(bits.cast_unsigned()) == SECBITS => Ok(()),
        _ => Err(Errno::EPERM),
    }
}

/// Gives up every capability and new privileges, and reads back that it is so.
pub(crate) fn drop_privileges() -> Result<(), Failure> {
    let at = |errno| (Step::Capabilities, 0, errno);
    // The filter of a unit, which never had any, leaves no way to set them.
    if !kernel::no_capabilities().map_err(at)? {
        kernel::clear_capabilities().map_err(at)?;
    }
    if !kernel::no_capabilities().map_err(at)? {
        return Err((Step::Capabilities, 1, Errno::EPERM));
    }
    prctl::set_no_new_privs().map_err(|errno| (Step::NoNewPrivileges, 0, errno))?;
    if prctl::get_no_new_privs() == Ok(true) { Ok(()) } else { Err((Step::NoNewPrivileges, 1, Errno::EPERM)) }
}

/// The rest, in the process that becomes the command; returns only if it fails.
pub(crate) fn become_command(of: &Confinement, working_directory: BorrowedFd<'_>) -> Failure {
    match confine(of, working_directory) {
        Err(failure) => failure,
        Ok(()) => exec(of),
    }
}

fn confine(of: &Confinement, working_directory: BorrowedFd<'_>) -> Result<(), Failure> {
    of.processors.settle().map_err(|errno| (Step::Processors, 0, errno))?;
    if of.goes_first {
        shortage::first_to_go();
    }
    setsid().map_err(|errno| (Step::Session, 0, errno))?;
    kernel::reset_signals();
    for (index, (stream, number)) in [(&of.stdin, 0), (&of.stdout, 1), (&of.stderr, 2)].into_iter().enumerate() {
        kernel::duplicate(stream.as_raw_fd(), number).map_err(|errno| (Step::Streams, index, errno))?;
    }
    fchdir(working_directory).map_err(|errno| (Step::WorkingDirectory, 0, errno))?;
    let _ = kernel::be_nice(5);
    umask(Mode::from_bits_truncate(0o002));
    for (index, (resource, limit)) in of.rlimits.iter().enumerate() {
        setrlimit(*resource, *limit, *limit).map_err(|errno| (Step::Limits, index, errno))?;
    }
    kernel::landlock_restrict(of.walls.ruleset.as_fd(), of.logged).map_err(|errno| (Step::Landlock, 0, errno))?;
    let filtered = match of.walls.filter.install() {
        Ok(listener) => seccomp::send_fd(of.channel.as_fd(), listener.as_fd()),
        Err(err) if err.raw_os_error() == Some(libc::EBUSY) => of.walls.silent.install_silent(),
        Err(err) => Err(err),
    };
    filtered.map_err(|err| (Step::Filter, 0, Errno::from_raw(err.raw_os_error().unwrap_or(0))))?;
    kernel::close_on_exec_from(3).map_err(|errno| (Step::Descriptors, 0, errno))
}

/// As `execvp` tries them: one that may not be run is remembered while a later one might be.
fn exec(of: &Confinement) -> Failure {
    let mut worst = Errno::ENOENT;
    for program in &of.image.programs {
        match kernel::exec(program, &of.pointers.argv, &of.pointers.envp) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => worst = Errno::EACCES,
            errno => return (Step::Exec, 0, errno),
        }
    }
    (Step::Exec, 0, worst)
}
