//! The namespaces of a session, made once: user, mount, network, ipc, uts and, where it can be had, cgroup. Each command
//! gets a pid and a mount namespace of its own besides.

use std::{
    fs,
    os::fd::{AsFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{prctl, signal::Signal},
    unistd::{self, Gid, Uid},
};

use super::{
    fault::{At as _, Fault},
    kernel,
};

const NAME: &str = "sandbox";

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

/// Leaves the host's namespaces. The working directory stays what it was.
pub(crate) fn enter() -> Result<(), Fault> {
    let (uid, gid) = (unistd::getuid(), unistd::getgid());
    // A process that changed its user is not dumpable, and its own maps are then not its own to write.
    prctl::set_dumpable(true).at("dumpable")?;
    let flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if let Err(errno) = unshare(flags | CloneFlags::CLONE_NEWCGROUP).or_else(|_| unshare(flags)) {
        return Err(Fault::new("namespaces", format!("{}{}", errno.desc(), way_out(errno))));
    }
    map_ourselves(uid, gid)?;
    prctl::set_dumpable(false).at("dumpable")?;
    unistd::sethostname(NAME).map_err(|errno| Fault::new("hostname", format!("{}{}", errno.desc(), way_out(errno))))
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
        return " (kernel.apparmor_restrict_unprivileged_userns=1: load the AppArmor profile of the package, or run as a \
                service with the backend `unit`)"
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
