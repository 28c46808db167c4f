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
    fs,
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    process::Command,
};

use assistant_sandbox::protocol::{Limits, Wishes, tasks_of};
use nix::{
    fcntl::{OFlag, open, openat},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns},
    sys::stat::{FileStat, Mode, fstat, mkdirat, umask},
    unistd::{Gid, Uid, setegid, seteuid, setgroups},
};

use crate::{
    reclaim::Deed,
    serve::{
        fault::{At as _, Fault},
        kernel::{self, attr},
        protect, root,
    },
    userdb,
};

/// Longest file of wishes, in bytes.
const LONGEST: u64 = 256 << 10;

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

/// Where mounts are everybody's: systemd gives the commands before and after a service some of its mounts, too.
fn leave_namespace() -> Result<(), Fault> {
    let host = fs::File::open("/proc/1/ns/mnt").at("mounts of the host")?;
    setns(host, CloneFlags::CLONE_NEWNS).at("mounts of the host")
}

/// Before the session.
pub(crate) fn begin(place: &Place) -> Result<(), Fault> {
    leave_namespace()?;
    umask(Mode::empty());
    let uid = place.uid()?.ok_or_else(|| Fault::new("user", format!("systemd knows no {}", place.user)))?;
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
    kernel::attach(shared.as_fd(), session.as_fd(), c"workspace").at("workspace")?;
    protect_all(shared.as_fd(), owner, &all)?;
    match &place.unit {
        Some(unit) => adjust(unit, &wishes),
        None => Ok(()),
    }
}

/// After it: nothing of it stays mounted, and what its commands left is the workspace's owner's.
pub(crate) fn end(place: &Place) -> Result<(), Fault> {
    leave_namespace()?;
    let _ = umount2(&place.session, MntFlags::MNT_DETACH);
    let _ = fs::remove_dir(&place.session);
    // A session that never began has no user.
    let Some(uid) = place.uid()? else { return Ok(()) };
    let (workspace, found) = place.open()?;
    let tally = Deed { of: uid, to: (found.st_uid, found.st_gid) }.below(workspace.as_fd()).at("workspace")?;
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
    for (name, content) in root::etc_files(uid, gid) {
        write(session, &format!("etc/{name}"), content.as_bytes())?;
    }
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
    let mut changes = Vec::new();
    if let Some(limits) = &wishes.limits {
        let shown = Command::new("/usr/bin/systemctl")
            .args(["show", "--property=MemoryMax,TasksMax,CPUQuotaPerSecUSec", unit])
            .output()
            .at("systemctl show")?;
        changes = lowered(&String::from_utf8_lossy(&shown.stdout), limits);
    }
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

/// The properties to set, given what `systemctl show` says of them.
fn lowered(shown: &str, limits: &Limits) -> Vec<String> {
    let value = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(u64::MAX);
    let mut changes = Vec::new();
    if limits.memory_bytes < number("MemoryMax") {
        changes.push(format!("MemoryMax={}", limits.memory_bytes));
    }
    let tasks = tasks_of(limits.processes);
    if tasks < number("TasksMax") {
        changes.push(format!("TasksMax={tasks}"));
    }
    let quota = value("CPUQuotaPerSecUSec").and_then(processor_millis).unwrap_or(u64::MAX);
    if limits.cpu_millis < quota {
        // Tenths of a percent are what systemd takes.
        changes.push(format!("CPUQuota={}.{}%", limits.cpu_millis / 10, limits.cpu_millis % 10));
    }
    changes
}

/// Thousandths of a processor, of a time per second as systemd prints it: `2s`, `500ms`, `1.250s`.
fn processor_millis(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|letter: char| letter.is_ascii_alphabetic())?);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let part: u64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    match unit {
        "s" => Some(whole * 1000 + part),
        "ms" => Some(whole),
        "us" => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_only_lowered() {
        let shown = "CPUQuotaPerSecUSec=2s\nMemoryMax=2147483648\nTasksMax=549\n";
        let limits = Limits::default();
        assert_eq!(lowered(shown, &limits), Vec::<String>::new());
        let more = Limits { memory_bytes: 3 << 30, processes: 1000, cpu_millis: 4000, ..limits };
        assert_eq!(lowered(shown, &more), Vec::<String>::new());
        let less = Limits { memory_bytes: 1 << 20, processes: 10, cpu_millis: 755, ..limits };
        assert_eq!(lowered(shown, &less), ["MemoryMax=1048576", "TasksMax=15", "CPUQuota=75.5%"]);
        let none = "CPUQuotaPerSecUSec=infinity\nMemoryMax=infinity\nTasksMax=infinity\n";
        assert_eq!(lowered(none, &less).len(), 3);
    }

    #[test]
    fn times_are_read_as_systemd_prints_them() {
        for (text, millis) in [("2s", Some(2000)), ("500ms", Some(500)), ("1.25s", Some(1250)), ("1.5s", Some(1500))] {
            assert_eq!(processor_millis(text), millis, "{text}");
        }
        assert_eq!(processor_millis("infinity"), None);
    }
}
