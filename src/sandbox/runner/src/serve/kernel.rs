//! System calls that no crate wraps, or only with memory from the heap, which a child between fork and exec must not take.

#![expect(unsafe_code, reason = "this file is the one place of raw system calls; each is a few lines around one call")]

use std::{
    ffi::CStr,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

use libc::{c_char, c_int, c_long, c_ulong, c_void};
use nix::{Result, errno::Errno};

/// `MOUNT_ATTR_*` of `linux/mount.h`.
pub(crate) mod attr {
    pub(crate) const RDONLY: u64 = 0x1;
    pub(crate) const NOSUID: u64 = 0x2;
    pub(crate) const NODEV: u64 = 0x4;
    pub(crate) const NOEXEC: u64 = 0x8;
}

const LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON: c_int = 1 << 1;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
const OPEN_TREE_CLONE: c_int = 1;
const AT_RECURSIVE: c_int = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: c_int = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: c_int = 0x40;
const FSOPEN_CLOEXEC: c_int = 1;
const FSMOUNT_CLOEXEC: c_int = 1;
const FSCONFIG_SET_STRING: c_int = 1;
const FSCONFIG_CMD_CREATE: c_int = 6;

fn check(answer: c_long) -> Result<c_long> {
    Errno::result(answer)
}

fn descriptor(answer: c_long) -> Result<OwnedFd> {
    let fd = RawFd::try_from(check(answer)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just given it to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A detached copy of the mount at `path` below `dir`, with what is mounted below it. An empty path is `dir` itself.
pub(crate) fn clone_tree(dir: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | AT_RECURSIVE | libc::AT_EMPTY_PATH;
    // SAFETY: the path lives until the call is over.
    descriptor(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })
}

/// Adds mount attributes to a mount and, if asked, to all below it; never takes any away.
pub(crate) fn add_attributes(mount: BorrowedFd<'_>, attributes: u64, recursive: bool) -> Result<()> {
    set_attributes(mount, [attributes, 0, 0, 0], recursive)
}

/// Has a detached mount that nobody has used yet show owners by the maps of a user namespace, and take them back by the
/// same (Linux 5.12, and a file system that can).
pub(crate) fn map_owners(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<()> {
    let namespace = u64::try_from(namespace.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    set_attributes(mount, [MOUNT_ATTR_IDMAP, 0, 0, namespace], true)
}

/// Has nothing that is mounted in this tree appear elsewhere, or the other way round.
pub(crate) fn make_private(mount: BorrowedFd<'_>) -> Result<()> {
    set_attributes(mount, [0, 0, libc::MS_PRIVATE, 0], true)
}

/// To set, to clear, propagation, user namespace.
fn set_attributes(mount: BorrowedFd<'_>, attributes: [u64; 4], recursive: bool) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the structure is four numbers of 64 bits, and its size goes with it.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    })
    .map(drop)
}

/// Attaches a detached mount at `path` below `dir`; an empty path is `dir` itself.
pub(crate) fn attach(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths live until the call is over.
    check(unsafe {
        libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), c"".as_ptr(), dir.as_raw_fd(), path.as_ptr(), flags)
    })
    .map(drop)
}

/// A new, detached file system with these options.
pub(crate) fn new_mount(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> Result<OwnedFd> {
    // SAFETY: names and values live until the calls are over.
    let context = descriptor(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    let configure = |command: c_int, key: *const c_char, value: *const c_char| {
        // SAFETY: as above; null pointers are what the command without key and value takes.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0) })
    };
    for (key, value) in options {
        configure(FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr())?;
    }
    configure(FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())?;
    // SAFETY: numbers only.
    descriptor(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) })
}

/// Forks with further `CLONE_*` flags; gives the process number and a descriptor of the process, or `None` in the child.
/// The child has a copy of one thread: nothing but plain system calls until it execs or exits.
pub(crate) fn fork_with(flags: c_int) -> Result<Option<(i32, OwnedFd)>> {
    let flags = c_ulong::try_from(flags | libc::CLONE_PIDFD | libc::SIGCHLD).map_err(|_| Errno::EINVAL)?;
    let mut pidfd: c_int = -1;
    // SAFETY: without CLONE_VM the child goes on with its own copy of the stack; the kernel writes one number.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, &raw mut pidfd, 0_usize, 0_usize) })?;
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: the kernel has just given it to us alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Some((i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?, pidfd)))
}

/// Runs `child` in a new process that shares our memory, on a stack of its own, and waits until it has exec'ed or exited.
/// Cheap, because no page is copied. `child` returns only to exit.
pub(crate) fn spawn_shared<F: FnMut()>(stack: &mut [u8], child: &mut F) -> Result<i32> {
    extern "C" fn enter<F: FnMut()>(child: *mut c_void) -> c_int {
        // SAFETY: the pointer is the closure below, whose owner is suspended until we exit.
        let child = unsafe { &mut *child.cast::<F>() };
        child();
        127
    }
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let top = stack.as_mut_ptr_range().end.map_addr(|address| address & !63);
    // SAFETY: the stack outlives the child's use of it because CLONE_VFORK suspends us; it grows down from its aligned end.
    let pid = unsafe { libc::clone(enter::<F>, top.cast(), flags, (&raw mut *child).cast()) };
    Errno::result(pid)
}

/// Replaces the program; returns only on failure. Both lists end with a null pointer.
pub(crate) fn exec(program: &CStr, argv: &[*const c_char], envp: &[*const c_char]) -> Errno {
    debug_assert!(argv.last().is_some_and(|last| last.is_null()) && envp.last().is_some_and(|last| last.is_null()));
    // SAFETY: both lists end with null, and what they point to lives in the plan of the command.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Errno::last()
}

/// Closes every descriptor from this one on.
pub(crate) fn close_from(first: RawFd) -> Result<()> {
    // SAFETY: whoever calls owns what is there and uses it no more.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Has every descriptor from this one on closed by the next exec.
pub(crate) fn close_on_exec_from(first: RawFd) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: numbers only; nothing is closed yet.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Puts a Landlock ruleset on this thread for ever. If `logged`, which takes version 7, the kernel's audit is told what it
/// refuses to the programs that the thread will exec.
pub(crate) fn landlock_restrict(ruleset: BorrowedFd<'_>, logged: bool) -> Result<()> {
    let flags = if logged { LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON } else { 0 };
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), flags) }).map(drop)
}

/// Sets the loopback device of this network namespace up, which a new one has down.
pub(crate) fn loopback_up() -> Result<()> {
    // SAFETY: plain numbers; the descriptor goes into its owner at once.
    let socket = descriptor(unsafe {
        libc::syscall(libc::SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
    })?;
    // SAFETY: a structure of a name and numbers, for which zeros are a value.
    let mut device: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in device.ifr_name.iter_mut().zip(c"lo".to_bytes_with_nul()) {
        *to = c_char::from_ne_bytes([*from]);
    }
    device.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: the kernel reads name and flags of the structure, which lives until the call is over.
    unsafe { set_device_flags(socket.as_raw_fd(), &raw const device) }.map(drop)
}

// C libraries differ in the type of a request's number.
nix::ioctl_write_ptr_bad!(set_device_flags, libc::SIOCSIFFLAGS, libc::ifreq);

/// The Landlock version of this kernel; 0 if it has none.
pub(crate) fn landlock_abi() -> i32 {
    // SAFETY: null and zero with flag 1 ask for the version.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<c_void>(), 0_usize, 1) };
    i32::try_from(answer).unwrap_or(0).max(0)
}

/// `prctl` with number arguments.
pub(crate) fn prctl(option: c_int, first: u64, second: u64) -> Result<c_int> {
    // SAFETY: only options whose arguments are numbers are used here.
    Errno::result(unsafe { libc::prctl(option, first, second, 0_u64, 0_u64) })
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Takes every capability from this thread: effective, permitted and inheritable.
pub(crate) fn clear_capabilities() -> Result<()> {
    let header = [CAPABILITY_VERSION_3, 0];
    let none = [0_u32; 6];
    // SAFETY: version 3 takes a header of two numbers and data of six.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) }).map(drop)
}

/// Whether this thread has no capability of any kind.
pub(crate) fn no_capabilities() -> Result<bool> {
    let mut header = [CAPABILITY_VERSION_3, 0];
    let mut sets = [u32::MAX; 6];
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) })?;
    Ok(sets == [0; 6])
}

/// Sets the mode of what is behind a descriptor that need not be open for reading (Linux 6.6).
pub(crate) fn change_mode(there: BorrowedFd<'_>, mode: u32) -> Result<()> {
    const FCHMODAT2: c_long = 452;
    // SAFETY: an empty path that lives.
    check(unsafe { libc::syscall(FCHMODAT2, there.as_raw_fd(), c"".as_ptr(), mode, libc::AT_EMPTY_PATH) }).map(drop)
}

/// An extended attribute of a few bytes.
pub(crate) fn attribute(path: &std::path::Path, name: &CStr) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut value = vec![0; 16];
    // SAFETY: texts that live, and room for as many bytes as are told.
    let length = check(
        unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) } as c_long
    );
    value.truncate(usize::try_from(length.ok()?).ok()?);
    Some(value)
}

/// Removes a System V segment when nobody is attached to it any more.
pub(crate) fn remove_segment(id: i32) -> Result<()> {
    // SAFETY: this command of the call takes no structure.
    Errno::result(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }).map(drop)
}

/// Makes this process yield to others.
pub(crate) fn be_nice(value: c_int) -> Result<()> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) }).map(drop)
}

/// How many processors run, whether we may use them or not.
pub(crate) fn processors_online() -> Result<u64> {
    // SAFETY: a question with a number for an answer.
    let count = Errno::result(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) })?;
    u64::try_from(count).map_err(|_| Errno::ERANGE)
}

/// A process by its number, without a file system that shows processes.
pub(crate) fn process(pid: i32) -> Result<OwnedFd> {
    // SAFETY: it takes two numbers.
    descriptor(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Sends a signal to the process behind a descriptor, which is never another process by mistake.
pub(crate) fn signal_process(pidfd: BorrowedFd<'_>, number: c_int) -> Result<()> {
    // SAFETY: a null information structure means that the kernel fills it in.
    check(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, std::ptr::null::<c_void>(), 0)
    })
    .map(drop)
}

/// What a process and its children that were waited for have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_ms: u64,
    pub(crate) peak_bytes: u64,
}

impl Usage {
    fn of(usage: &libc::rusage) -> Self {
        let millis = |time: libc::timeval| u64::try_from(time.tv_sec * 1000 + time.tv_usec / 1000).unwrap_or(0);
        Self {
            cpu_ms: millis(usage.ru_utime) + millis(usage.ru_stime),
            peak_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        }
    }

    /// Both together: times add up, the larger peak counts.
    pub(crate) fn with(self, other: Self) -> Self {
        Self { cpu_ms: self.cpu_ms + other.cpu_ms, peak_bytes: self.peak_bytes.max(other.peak_bytes) }
    }

    /// Of all children of this process that were waited for.
    pub(crate) fn of_children() -> Self {
        // SAFETY: a structure of numbers, which the kernel fills.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: it lives on the stack.
        unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
        Self::of(&usage)
    }
}

/// Waits for a child (-1: any); gives its number, its wait status and what it used, or `None` if none has ended yet.
pub(crate) fn wait_child(pid: i32, block: bool) -> Result<Option<(i32, c_int, Usage)>> {
    // SAFETY: a structure of numbers, which the kernel fills.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    let flags = if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: both live on the stack.
        let answer = unsafe { libc::wait4(pid, &raw mut status, flags | libc::__WALL, &raw mut usage) };
        match Errno::result(answer) {
            Ok(0) => return Ok(None),
            Ok(pid) => return Ok(Some((pid, status, Usage::of(&usage)))),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Gives the signals that were changed back their usual meaning and blocks none, as a new program expects it.
pub(crate) fn reset_signals() {
    // SAFETY: the set is filled before use, and no handler is installed.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Ends this process at once, without what the runtime does at an end.
pub(crate) fn exit_now(code: c_int) -> ! {
    // SAFETY: no destructor of ours must run here.
    unsafe { libc::_exit(code) }
}

/// Makes `to` another number of `from` that stays open over an exec.
pub(crate) fn duplicate(from: RawFd, to: RawFd) -> Result<()> {
    // SAFETY: numbers only; what was `to` before is a stream of the runner's that the child never uses.
    Errno::result(unsafe { libc::dup2(from, to) }).map(drop)
}

/// Closes every descriptor but this one, which becomes number 0.
pub(crate) fn keep_only(fd: BorrowedFd<'_>) -> Result<BorrowedFd<'static>> {
    duplicate(fd.as_raw_fd(), 0)?;
    close_from(1)?;
    // SAFETY: number 0 is open and nobody closes it: the caller never returns to the runner's own code.
    Ok(unsafe { BorrowedFd::borrow_raw(0) })
}

/// Gives every signal that whoever started us ignores its usual meaning again, the C library's own two included, which
/// it would not let us change. Only `SIGPIPE` stays ignored.
pub(crate) fn stop_ignoring_signals() {
    for signal in (1..=64).filter(|signal| *signal != libc::SIGPIPE) {
        let mut now = [0_u64; 4]; // handler, flags, restorer, mask
        let size = size_of::<u64>();
        // SAFETY: the kernel's structure is these four words; its mask is one word, and its size goes with it.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, std::ptr::null::<u64>(), now.as_mut_ptr(), size);
            if now[0] == libc::SIG_IGN as u64 {
                let usual = [0_u64; 4];
                libc::syscall(libc::SYS_rt_sigaction, signal, usual.as_ptr(), std::ptr::null::<u64>(), size);
            }
        }
    }
}
