//! Other processes, shared memory and queues; namespaces; privileges.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
};

use super::{
    Place, Probe, Stop, Tried, any, attempt,
    files::{c_path, read},
    run::{self, check},
};
use crate::protocol::Guarantee::{Ipc, Read, Signals, Syscalls};

pub(super) const PROBES: &[Probe] = &[
    Probe::must_fail(Signals, "signal-process-outside", |place| {
        let pid: i32 = place.outside_number("pid")?;
        #[expect(unsafe_code, reason = "a plain system call; signal 0 only asks")]
        let answer = unsafe { libc::kill(pid, 0) };
        attempt(check(answer), "it can be signalled")
    }),
    Probe::must_fail(Signals, "read-process-outside", |place| {
        let pid = place.outside("pid")?;
        any(["environ", "cmdline", "maps", "mem", "status"].map(|name| read(&format!("/proc/{pid}/{name}"))))
    }),
    Probe::must_fail(Signals, "limit-process-outside", |place| {
        let pid: i32 = place.outside_number("pid")?;
        let null = std::ptr::null();
        let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        #[expect(unsafe_code, reason = "a structure that lives; nothing is set")]
        let answer = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, null, &raw mut limits) };
        attempt(check(answer), "its limits were read")
    }),
    Probe::must_fail(Signals, "write-memory-of-pid-1", |_| {
        attempt(OpenOptions::new().write(true).open("/proc/1/mem"), "/proc/1/mem was opened for writing")
    }),
    Probe::must_fail(Read, "reach-files-through-pid-1", descriptors_of_init),
    Probe::must_fail(Syscalls, "cve-2022-31214-enter-namespaces-of-pid-1", |_| {
        any(["mnt", "net", "user", "pid"].map(|kind| enter(&format!("/proc/1/ns/{kind}"))))
    }),
    Probe::must_fail(Signals, "trace-parent", |_| {
        let parent = libc::c_long::from(std::os::unix::process::parent_id().cast_signed());
        #[expect(unsafe_code, reason = "PTRACE_SEIZE stops nothing; what was seized is let go with this process")]
        let answer = unsafe { libc::syscall(libc::SYS_ptrace, 0x4206, parent, 0, 0) };
        attempt(long(answer), "the parent was seized")
    }),
    Probe::must_fail(Ipc, "shared-memory-of-others", |place| {
        let key: i32 = place.outside_number("shm-key")?;
        #[expect(unsafe_code, reason = "a plain system call that makes nothing")]
        let answer = unsafe { libc::shmget(key, 1, 0) };
        attempt(check(answer), "it was found")
    }),
    Probe::must_fail(Ipc, "queue-of-others", |place| {
        let name = c_path(place.outside("queue")?)?;
        #[expect(unsafe_code, reason = "a name that lives; the call makes nothing")]
        let answer = unsafe { libc::syscall(libc::SYS_mq_open, name.as_ptr(), libc::O_RDONLY, 0, 0) };
        attempt(long(answer), "it was opened")
    }),
    Probe::must_fail(Syscalls, "cve-2024-1086-new-user-namespace", |_| unshare(libc::CLONE_NEWUSER, "user")),
    Probe::must_fail(Syscalls, "new-mount-namespace", |_| unshare(libc::CLONE_NEWNS, "mount")),
    Probe::must_fail(Syscalls, "new-network-namespace", |_| {
        unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET, "network")
    }),
    Probe::must_fail(Syscalls, "new-time-namespace", |_| unshare(libc::CLONE_NEWUSER | 0x80, "time")),
    Probe::must_fail(Syscalls, "clone-new-user-namespace", clone_user),
    Probe::must_fail(Syscalls, "clone3-new-user-namespace", clone3_user),
    Probe::must_fail(Syscalls, "cve-2020-5291-set-user-id-program", set_user_id),
    Probe::must_fail(Syscalls, "make-set-user-id-file", |place| set_id(place, 0o4755)),
    Probe::must_fail(Syscalls, "make-set-group-id-file", |place| set_id(place, 0o2755)),
    Probe::must_fail(Syscalls, "make-set-user-id-file-when-opening", |place| {
        let scratch = place.scratch()?;
        let made = OpenOptions::new().write(true).create_new(true).mode(0o4755).open(scratch.join("file"));
        attempt(made, "it was made")
    }),
    Probe::must_fail(Syscalls, "make-set-user-id-file-by-openat2", openat2_set_id),
    Probe::must_fail(Syscalls, "set-file-capabilities", file_capabilities),
    Probe::must_fail(Syscalls, "become-root", |_| {
        #[expect(unsafe_code, reason = "plain system calls in a process of their own")]
        let answer = unsafe {
            match libc::setgroups(0, std::ptr::null()) {
                0 if libc::geteuid() != 0 || libc::getegid() != 0 => 0,
                _ => libc::syscall(libc::SYS_setresuid, 0, 0, 0),
            }
        };
        // Root of a user namespace of one may say that it is; it is somebody without capabilities all the same.
        match long(answer) {
            Ok(_) if capabilities()?.iter().all(|set| *set == 0) => {
                Err(Stop::Refused("uid 0 without capabilities".to_owned()))
            }
            // There is no such uid in the user namespace.
            Err(err) if err.raw_os_error() == Some(libc::EINVAL) => Err(Stop::Refused(err.to_string())),
            answer => attempt(answer, "uid 0"),
        }
    }),
    Probe::must_fail(Syscalls, "keep-capabilities", |_| {
        let sets = capabilities()?;
        let bounding = (0..=40).filter(|cap| bounded(*cap)).count();
        if sets.iter().all(|set| *set == 0) && bounding == 0 {
            return Err(Stop::Refused("none, and none in the bounding set".to_owned()));
        }
        Ok(format!("effective, permitted, inheritable: {sets:x?}; {bounding} in the bounding set"))
    }),
    Probe::must_fail(Syscalls, "gain-privileges-by-exec", |_| {
        #[expect(unsafe_code, reason = "a question about this process")]
        let set = unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) };
        if set == 1 { Err(Stop::Refused("no_new_privs".to_owned())) } else { Ok("no_new_privs is not set".to_owned()) }
    }),
    Probe::must_fail(Syscalls, "x32-call", x32),
    Probe::must_fail(Syscalls, "i386-call", i386),
];

fn long(answer: libc::c_long) -> io::Result<libc::c_long> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Files and directories that process 1 has open, when it is not the command itself.
fn descriptors_of_init(_: &Place) -> Tried {
    if fs::read("/proc/1/cmdline").is_ok_and(|line| line == fs::read("/proc/self/cmdline").unwrap_or_default()) {
        return Err(Stop::Refused("process 1 is this command".to_owned()));
    }
    let entries = match fs::read_dir("/proc/1/fd") {
        Ok(entries) => entries,
        Err(err) => return Err(Stop::Refused(err.to_string())),
    };
    for entry in entries.flatten() {
        match fs::read_link(entry.path()) {
            Ok(target) if target.is_absolute() && target != std::path::Path::new("/dev/null") => {
                return Ok(format!("{} is {}", entry.path().display(), target.display()));
            }
            _ => {}
        }
    }
    Err(Stop::Refused("no file or directory among them".to_owned()))
}

fn enter(path: &str) -> Tried {
    use std::os::fd::AsRawFd as _;
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(err) => return Err(Stop::Refused(err.to_string())),
    };
    #[expect(unsafe_code, reason = "a descriptor that lives, in a process of its own")]
    let answer = unsafe { libc::setns(file.as_raw_fd(), 0) };
    match check(answer) {
        // Entering the user namespace that one is in is always wrong.
        Err(err) if err.raw_os_error() == Some(libc::EINVAL) => Ok(format!("{path}: the kernel looked at it: {err}")),
        entered => attempt(entered, format!("{path} was entered")),
    }
}

fn unshare(flags: i32, what: &str) -> Tried {
    #[expect(unsafe_code, reason = "a plain system call in a process of its own")]
    let answer = unsafe { libc::unshare(flags) };
    attempt(check(answer), format!("a new {what} namespace"))
}

fn clone_user(_: &Place) -> Tried {
    let flags = libc::c_long::from(libc::CLONE_NEWUSER | libc::SIGCHLD);
    #[expect(unsafe_code, reason = "as a fork: no stack, no pointers")]
    let answer = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if answer == 0 {
        run::leave();
    }
    attempt(long(answer), "a child in a new user namespace")
}

fn clone3_user(_: &Place) -> Tried {
    let mut args = [0_u64; 11];
    args[0] = u64::from(libc::CLONE_NEWUSER.cast_unsigned());
    args[4] = u64::from(libc::SIGCHLD.cast_unsigned());
    #[expect(unsafe_code, reason = "as a fork: a structure that lives, no stack")]
    let answer = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), 64) };
    if answer == 0 {
        run::leave();
    }
    attempt(long(answer), "a child in a new user namespace")
}

/// A program that would gain an identity, looked for where the system has them.
fn set_user_id(_: &Place) -> Tried {
    use std::os::unix::fs::MetadataExt as _;
    let found = ["/usr/bin", "/usr/sbin", "/usr/lib/openssh"]
        .into_iter()
        .flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten())
        .find(|entry| entry.metadata().is_ok_and(|found| found.mode() & 0o4000 != 0 && found.uid() == 0));
    let Some(program) = found else { return Err(Stop::Refused("there is none".to_owned())) };
    let flags = mount_flags(&program.path())?;
    #[expect(unsafe_code, reason = "a question about this process")]
    let set = unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) };
    if flags & libc::ST_NOSUID != 0 || set == 1 {
        return Err(Stop::Refused(format!("{} gains nothing", program.path().display())));
    }
    Ok(format!("{} would run as root", program.path().display()))
}

fn mount_flags(path: &std::path::Path) -> Result<u64, Stop> {
    let path = c_path(path)?;
    #[expect(unsafe_code, reason = "a path that lives, and a structure of numbers that the kernel fills")]
    let (answer, found) = unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &raw mut found), found)
    };
    check(answer)?;
    Ok(found.f_flag)
}

fn set_id(place: &Place, mode: u32) -> Tried {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = place.scratch()?;
    let path = scratch.join("file");
    fs::write(&path, "x")?;
    attempt(fs::set_permissions(&path, fs::Permissions::from_mode(mode)), format!("mode {mode:o}"))
}

fn openat2_set_id(place: &Place) -> Tried {
    let scratch = place.scratch()?;
    let path = c_path(scratch.join("file"))?;
    let how = [u64::from((libc::O_CREAT | libc::O_WRONLY).cast_unsigned()), 0o4755, 0];
    #[expect(unsafe_code, reason = "a path and a structure that live")]
    let answer =
        unsafe { libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), how.as_ptr(), size_of_val(&how)) };
    attempt(long(answer), "it was made")
}

fn file_capabilities(place: &Place) -> Tried {
    let scratch = place.scratch()?;
    let path = scratch.join("file");
    fs::write(&path, "x")?;
    let path = c_path(path)?;
    // VFS_CAP_REVISION_2 with the effective bit, and CAP_NET_ADMIN
    let value = [0x0200_0001_u32, 1 << 12, 0, 0, 0];
    #[expect(unsafe_code, reason = "texts and a value that live")]
    let answer = unsafe {
        let name = c"security.capability".as_ptr();
        libc::setxattr(path.as_ptr(), name, value.as_ptr().cast(), size_of_val(&value), 0)
    };
    attempt(check(answer), "they were set")
}

/// Effective, permitted and inheritable sets, in their two halves.
fn capabilities() -> io::Result<[u32; 6]> {
    let mut head = [0x2008_0522_u32, 0];
    let mut sets = [0; 6];
    #[expect(unsafe_code, reason = "two structures that live")]
    let answer = unsafe { libc::syscall(libc::SYS_capget, head.as_mut_ptr(), sets.as_mut_ptr()) };
    long(answer).map(|_| sets)
}

fn bounded(capability: u64) -> bool {
    #[expect(unsafe_code, reason = "a question about this process")]
    let answer = unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) };
    answer == 1
}

#[cfg(target_arch = "x86_64")]
fn x32(_: &Place) -> Tried {
    #[expect(unsafe_code, reason = "getpid by the x32 convention")]
    let answer = unsafe { libc::syscall(0x4000_0000 | libc::SYS_getpid) };
    attempt(long(answer), "getpid answered")
}

/// `int 0x80`: the kernel takes it by the numbers of i386, where 20 is getpid.
#[cfg(target_arch = "x86_64")]
#[expect(clippy::unnecessary_wraps, reason = "refused, it does not come back to say so")]
fn i386(_: &Place) -> Tried {
    let answer: i64;
    #[expect(unsafe_code, reason = "getpid by the convention of i386, which changes r8 to r11 too")]
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => answer, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    Ok(format!("getpid answered {answer}"))
}

#[cfg(not(target_arch = "x86_64"))]
fn x32(_: &Place) -> Tried {
    Err(Stop::Refused("this architecture has no second convention".to_owned()))
}

#[cfg(not(target_arch = "x86_64"))]
fn i386(_: &Place) -> Tried {
    Err(Stop::Refused("this architecture has no second convention".to_owned()))
}
