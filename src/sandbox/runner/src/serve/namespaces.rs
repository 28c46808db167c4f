//! The namespaces of a session, made once: user, mount, network, ipc, uts and, where it can be had, cgroup. Each command
//! gets a pid and a mount namespace of its own besides.

use std::{
    fs,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::{prctl, signal::Signal, stat::Mode},
    unistd::{self, Gid, Uid, gettid, sethostname},
};

use super::{
    fault::{At as _, Fault},
    kernel,
};

const NAME: &str = "sandbox";

/// Bytes of stack for the thread that makes the network namespace.
const STACK: usize = 64 << 10;

/// Gives up root for this user, for ever; then nothing is left to give up.
pub(crate) fn become_user(uid: u32, gid: u32) -> Result<(), Fault> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    unistd::setgroups(&[]).at("setgroups")?;
    unistd::setresgid(gid, gid, gid).at("setresgid")?;
    unistd::setresuid(uid, uid, uid).at("setresuid")
}

/// A user namespace, for a mount, in which what belongs to `owner` on disk belongs to `user`. As root.
pub(crate) fn owner_as_user(owner: (u32, u32), user: (u32, u32)) -> Result<OwnedFd, Fault> {
    let Some((pid, pidfd)) = kernel::fork_with(CloneFlags::CLONE_NEWUSER.bits()).at("user namespace")? else {
        // A namespace lives as long as somebody is in it, or has it open.
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
        loop {
            unistd::pause();
        }
    };
    let map = |name: &str, inside: u32, outside: u32| {
        fs::write(format!("/proc/{pid}/{name}"), format!("{inside} {outside} 1")).at("owners of the workspace")
    };
    let made = map("uid_map", owner.0, user.0)
        .and_then(|()| map("gid_map", owner.1, user.1))
        .and_then(|()| fs::File::open(format!("/proc/{pid}/ns/user")).at("owners of the workspace"));
    kernel::signal_process(pidfd.as_fd(), libc::SIGKILL).at("user namespace")?;
    kernel::wait_child(pid, true).at("user namespace")?;
    made.map(OwnedFd::from)
}

/// Leaves the host's namespaces, and does `meanwhile` there while a thread leaves that of the network, which takes the
/// kernel longer than all others together. The working directory stays what it was.
pub(crate) fn enter<T>(meanwhile: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let (uid, gid) = (unistd::getuid(), unistd::getgid());
    // A process that changed its user is not dumpable, and its own maps are then not its own to write.
    prctl::set_dumpable(true).at("dumpable")?;
    let flags =
        CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    unshare(flags | CloneFlags::CLONE_NEWCGROUP).or_else(|_| unshare(flags)).map_err(refused)?;
    map_ourselves(uid, gid)?;
    prctl::set_dumpable(false).at("dumpable")?;
    sethostname(NAME).map_err(|errno| Fault::new("hostname", format!("{}{}", errno.desc(), way_out(errno))))?;
    // Kept open, as `meanwhile` may put another root in place of this one.
    let threads = open("/proc/self/task", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).at("network namespace")?;
    thread::scope(|scope| {
        let network = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || new_network(threads.as_fd()));
        let network = network.at("network namespace")?;
        let done = meanwhile()?;
        let network = network.join().map_err(|_| Fault::new("network namespace", "its thread has failed"))??;
        setns(network, CloneFlags::CLONE_NEWNET).at("network namespace")?;
        Ok(done)
    })
}

/// A network namespace with nothing in it, which this thread is in; `threads` are ours in `/proc`.
fn new_network(threads: BorrowedFd<'_>) -> Result<OwnedFd, Fault> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(refused)?;
    let name = format!("{}/ns/net", gettid());
    openat(threads, name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).at("network namespace")
}

fn refused(errno: Errno) -> Fault {
    Fault::new("namespaces", format!("{}{}", errno.desc(), way_out(errno)))
}

/// Leaves the host's mounts alone, for a session whose other walls stand already: each command then gets mounts of its own.
/// False where user namespaces are not to be had.
pub(crate) fn enter_mounts() -> Result<bool, Fault> {
    let (uid, gid) = (unistd::getuid(), unistd::getgid());
    prctl::set_dumpable(true).at("dumpable")?;
    if unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).is_err() {
        return Ok(false);
    }
    map_ourselves(uid, gid)?;
    // Where AppArmor gives the namespace but no right in it, there are no mounts either.
    Ok(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).is_ok())
}

/// The one user of the new namespace is the one that we were.
fn map_ourselves(uid: Uid, gid: Gid) -> Result<(), Fault> {
    fs::write("/proc/self/setgroups", "deny").at("setgroups")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).at("uid map")?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).at("gid map")
}

/// The usual reasons why an ordinary user gets no namespaces, each with what mends it.
fn way_out(errno: Errno) -> String {
    let is = |name: &str, value: &str| fs::read_to_string(name).is_ok_and(|text| text.trim() == value);
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return " (kernel.apparmor_restrict_unprivileged_userns=1: load the AppArmor profile of the package with \
                apparmor_parser -r /etc/apparmor.d/assistant-sandbox, or run as a service with the backend `unit`)"
            .to_owned();
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return " (kernel.unprivileged_userns_clone=0: set it to 1, or run as a service with the backend `unit`)"
            .to_owned();
    }
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return " (user.max_user_namespaces=0: raise it, or run as a service with the backend `unit`)".to_owned();
    }
    match errno {
        Errno::EPERM => " (a container or a filter of system calls around the runner forbids them: run as a service \
                         with the backend `unit`)"
            .to_owned(),
        _ => String::new(),
    }
}
