//! What a session of a unit needs before its walls stand, made as root and outside of them; and its end.
//!
//! systemd makes the walls; what it cannot make is made here, below one file system in memory of the session's own, which
//! the unit binds: temporary files within their bound, names for the session's user, and the workspace with its protected
//! paths mounted read-only. So the runner in the unit needs neither user namespaces nor mounts.
//!
//! The daemon may wish for more protected paths and lower bounds, in a file of its own. It cannot wish for anything that
//! takes a wall away: what is read is a list of paths inside the workspace, numbers of which only lower ones count, and
//! whether the session may use its own loopback.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    process::Command,
};

use assistant_sandbox::protocol::{Frame, Kind, Limits, Over, Refused, Wishes, tasks_of};
use nix::{
    fcntl::{OFlag, open, openat},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns},
    sys::{
        socket::{MsgFlags, send},
        stat::{FileStat, Mode, fstat, mkdirat, umask},
    },
    unistd::{Gid, Uid, setegid, seteuid, setgroups, symlinkat},
};

use crate::{
    reclaim::Deed,
    serve::{
        bounds::Bounds,
        etc::{self, Part},
        fault::{At as _, Fault},
        kernel::{self, attr},
        protect, root,
        unit::Outside,
    },
    userdb,
};

/// Longest file of wishes, in bytes.
const LONGEST: u64 = 256 << 10;

/// Longest file of the host's `/etc` that a session gets, in bytes. All of them are copied: systemd reads the whole table
/// of mounts once for each that it makes read-only.
const COPIED: u64 = 4 << 20;

/// How often the protected paths are looked for anew because somebody moved them meanwhile.
const ATTEMPTS: u32 = 8;

/// The arguments of both commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) workspace: PathBuf,
    /// The session's own directory, which is there while it lasts.
    pub(crate) session: PathBuf,
    /// The name of the session's user.
    pub(crate) user: String,
    /// What the daemon wishes for; need not be there.
    pub(crate) wishes: Option<PathBuf>,
    /// The unit whose bounds the wishes lower.
    pub(crate) unit: Option<String>,
    pub(crate) tmp_bytes: Option<u64>,
    pub(crate) protect: Vec<String>,
}

impl Place {
    fn uid(&self) -> Result<Option<u32>, Fault> {
        userdb::uid_of(&self.user).at(format!("the user {}", self.user))
    }

    /// The workspace and what is known of it.
    fn open(&self) -> Result<(OwnedFd, FileStat), Fault> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let workspace = open(&self.workspace, flags, Mode::empty()).at("workspace")?;
        let found = fstat(&workspace).at("workspace")?;
        if found.st_uid == 0 || found.st_gid == 0 {
            let reason = format!("{} belongs to root: give it to the daemon's user", self.workspace.display());
            return Err(Fault::new("workspace", reason));
        }
        Ok((workspace, found))
    }
}

/// Where mounts are everybody's: systemd gives the commands before and after a service its root and its mounts, too, and
/// no `/proc`.
fn leave_namespace() -> Result<(), Fault> {
    let host = kernel::process(1).at("mounts of the host")?;
    setns(host, CloneFlags::CLONE_NEWNS).at("mounts of the host")
}

/// Before the session. The daemon, which waits at the other end of standard input, hears why there will be none.
pub(crate) fn begin(place: &Place) -> Result<(), Fault> {
    let begun = make(place);
    if let Err(fault) = &begun {
        tell(Kind::Refused, &Refused { message: fault.to_string(), kind: "unavailable".to_owned() });
    }
    begun
}

/// Sends a frame to the daemon, if it is there and has room for one.
fn tell(kind: Kind, body: &impl serde::Serialize) {
    let Ok(frame) = Frame::json(kind, body).and_then(|frame| frame.bytes()) else { return };
    let _ = send(std::io::stdin().as_raw_fd(), &frame, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
}

fn make(place: &Place) -> Result<(), Fault> {
    leave_namespace()?;
    umask(Mode::empty());
    let uid = place.uid()?.ok_or_else(|| {
        let reason = format!("systemd knows no {}: the unit needs DynamicUser=yes and User=as%i", place.user);
        Fault::new("user", reason)
    })?;
    let (workspace, found) = place.open()?;
    let owner = Owner { uid: Uid::from_raw(found.st_uid), gid: Gid::from_raw(found.st_gid) };
    let wishes = match &place.wishes {
        Some(path) => owner.act(|| read(path))?,
        None => Wishes::default(),
    };
    let mut all = place.protect.clone();
    all.extend(wishes.protect.iter().filter(|path| !place.protect.contains(path)).cloned());
    if let Some(path) = all.iter().find(|path| !protect::is_inside(path)) {
        return Err(Fault::new("protected paths", format!("`{path}` is not a path inside the workspace")));
    }

    let most = place.tmp_bytes.unwrap_or(Limits::default().tmp_bytes);
    let session = own_memory(&place.session, wishes.limits.map_or(most, |limits| limits.tmp_bytes.min(most)))?;
    furnish(session.as_fd(), uid, owner.gid.as_raw(), &all)?;
    let shared = kernel::clone_tree(workspace.as_fd(), c"").at("workspace")?;
    kernel::add_attributes(shared.as_fd(), attr::NOSUID | attr::NODEV, true).at("workspace")?;
    // Else what is mounted on its paths would be mounted on those of the host as well.
    kernel::make_private(shared.as_fd()).at("workspace")?;
    kernel::attach(shared.as_fd(), session.as_fd(), c"workspace").at("workspace")?;
    protect_all(shared.as_fd(), owner, &all)?;
    match &place.unit {
        Some(unit) => adjust(unit, &wishes),
        None => Ok(()),
    }
}

/// After it: nothing of it stays mounted, and what its commands left is the workspace's owner's.
pub(crate) fn end(place: &Place) -> Result<(), Fault> {
    // What systemd says of the unit, which the runner cannot say if it was ended, too.
    let variable = |name| std::env::var(name).unwrap_or_default();
    let over = Over { result: variable("SERVICE_RESULT"), status: variable("EXIT_STATUS") };
    if !matches!(over.result.as_str(), "" | "success") {
        tell(Kind::Over, &over);
    }
    leave_namespace()?;
    let _ = umount2(&place.session, MntFlags::MNT_DETACH);
    let _ = fs::remove_dir(&place.session);
    // Nor do its own bounds, which systemd keeps for a unit of this name.
    if let Some(unit) = place.unit.as_ref().filter(|unit| !unit.contains('/')) {
        let _ = fs::remove_dir_all(Path::new("/run/systemd/system.control").join(format!("{unit}.d")));
    }
    // A session that never began has no user.
    let Some(uid) = place.uid()? else { return Ok(()) };
    let (workspace, found) = place.open()?;
    // What is left of sessions that nobody could clear up after goes the same way. Each number is asked for once.
    let known = RefCell::new(BTreeMap::from([(uid, true)]));
    let of = |uid| *known.borrow_mut().entry(uid).or_insert_with(|| userdb::is_left(uid));
    let deed = Deed { of: &of, to: (found.st_uid, found.st_gid) };
    let tally = deed.below(workspace.as_fd()).at("workspace")?;
    if tally.failed > 0 {
        let message = format!("{} files of the session could not be given to the workspace's owner", tally.failed);
        return Err(Fault::new("workspace", message));
    }
    Ok(())
}

/// Whose the workspace is.
#[derive(Clone, Copy)]
struct Owner {
    uid: Uid,
    gid: Gid,
}

impl Owner {
    /// Does something with no more rights than the owner has.
    fn act<T>(self, deed: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        setgroups(&[]).at("groups")?;
        setegid(self.gid).at("group")?;
        seteuid(self.uid).at("user")?;
        let done = deed();
        seteuid(Uid::from_raw(0)).at("user")?;
        setegid(Gid::from_raw(0)).at("group")?;
        done
    }
}

fn read(path: &Path) -> Result<Wishes, Fault> {
    let named = || path.display().to_string();
    let mut open = fs::OpenOptions::new();
    let file = match open.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Wishes::default()),
        Err(err) => return Err(err).at(named()),
    };
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).at(named())?;
    serde_json::from_slice(&text).map_err(|err| Fault::new(named(), err))
}

/// A file system in memory at this path, open.
fn own_memory(path: &Path, bytes: u64) -> Result<OwnedFd, Fault> {
    let named = || path.display().to_string();
    let _ = umount2(path, MntFlags::MNT_DETACH);
    fs::DirBuilder::new().mode(0o700).recursive(true).create(path).at(named())?;
    let memory = root::memory(bytes, c"0755").at(named())?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let there = open(path, flags, Mode::empty()).at(named())?;
    kernel::attach(memory.as_fd(), there.as_fd(), c"").at(named())?;
    // What is mounted below is nobody else's.
    mount(None::<&str>, path, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>).at(named())?;
    Ok(memory)
}

/// What the unit binds.
fn furnish(session: BorrowedFd<'_>, uid: u32, gid: u32, protected: &[String]) -> Result<(), Fault> {
    for (name, mode) in [("tmp", 0o1777), ("shm", 0o1777), ("etc", 0o755), ("workspace", 0o755)] {
        mkdirat(session, name, Mode::from_bits_truncate(mode)).at(name)?;
    }
    for name in etc::SHARED {
        let target = format!("etc/{name}");
        match Part::of(&Path::new("/etc").join(name), COPIED)? {
            Some(Part::Link(to)) => symlinkat(to.as_c_str(), session, target.as_str()).at(target)?,
            Some(Part::Copy(content)) => write(session, &target, &content)?,
            // The unit mounts it there.
            Some(Part::Mount { directory: true }) => {
                mkdirat(session, target.as_str(), Mode::from_bits_truncate(0o755)).at(target)?;
            }
            Some(Part::Mount { directory: false }) | None => {}
        }
    }
    for (name, content) in etc::own(uid, gid) {
        write(session, &format!("etc/{name}"), content.as_bytes())?;
    }
    let outside = serde_json::to_vec(&Outside::of_machine(uid)?).map_err(|err| Fault::new("outside", err))?;
    write(session, "etc/outside", &outside)?;
    write(session, "etc/protected", protected.join("\n").as_bytes())
}

fn write(session: BorrowedFd<'_>, path: &str, content: &[u8]) -> Result<(), Fault> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = openat(session, path, flags, Mode::from_bits_truncate(0o644)).at(path)?;
    fs::File::from(file).write_all(content).at(path)
}

/// Looks and makes with the owner's rights, mounts with root's.
fn protect_all(workspace: BorrowedFd<'_>, owner: Owner, extra: &[String]) -> Result<(), Fault> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let plan = owner.act(|| protect::plan(workspace, extra))?;
        let mut holds = plan.holds.iter();
        match holds.try_for_each(|(path, hold)| protect::apply(workspace, path, *hold)) {
            Ok(()) => return Ok(()),
            Err(_) if attempts < ATTEMPTS => {}
            Err(errno) => return Err(errno).at("protected paths"),
        }
    }
}

/// Lowers the bounds of the unit to those that are wished for, where they are higher.
fn adjust(unit: &str, wishes: &Wishes) -> Result<(), Fault> {
    // This is in the unit already, outside of its walls.
    let bounds = Bounds::of_this_process(Path::new("/sys/fs/cgroup"));
    let mut changes = wishes.limits.as_ref().map(|limits| lowered(&bounds, limits)).unwrap_or_default();
    if wishes.net {
        changes.push("IPAddressAllow=localhost".to_owned());
    }
    if changes.is_empty() {
        return Ok(());
    }
    let set = Command::new("/usr/bin/systemctl").args(["set-property", "--runtime", unit]).args(changes).status();
    match set.at("systemctl set-property")? {
        status if status.success() => Ok(()),
        status => Err(Fault::new("systemctl set-property", status)),
    }
}

/// The properties to set. What is not bounded is lowered, too.
fn lowered(bounds: &Bounds, limits: &Limits) -> Vec<String> {
    let above = |bound: Option<u64>, wished: u64| bound.is_none_or(|bound| wished < bound);
    let mut changes = Vec::new();
    if above(bounds.memory, limits.memory_bytes) {
        changes.push(format!("MemoryMax={}", limits.memory_bytes));
    }
    if above(bounds.tasks, tasks_of(limits.processes)) {
        changes.push(format!("TasksMax={}", tasks_of(limits.processes)));
    }
    if above(bounds.cpu_millis, limits.cpu_millis) {
        // Tenths of a percent are what systemd takes.
        changes.push(format!("CPUQuota={}.{}%", limits.cpu_millis / 10, limits.cpu_millis % 10));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_only_lowered() {
        let bounds = Bounds { memory: Some(2 << 30), tasks: Some(549), cpu_millis: Some(2000), ..Bounds::default() };
        let limits = Limits::default();
        assert_eq!(lowered(&bounds, &limits), Vec::<String>::new());
        let more = Limits { memory_bytes: 3 << 30, processes: 1000, cpu_millis: 4000, ..limits };
        assert_eq!(lowered(&bounds, &more), Vec::<String>::new());
        let less = Limits { memory_bytes: 1 << 20, processes: 10, cpu_millis: 755, ..limits };
        assert_eq!(lowered(&bounds, &less), ["MemoryMax=1048576", "TasksMax=15", "CPUQuota=75.5%"]);
        assert_eq!(lowered(&Bounds::default(), &less).len(), 3);
    }
}
