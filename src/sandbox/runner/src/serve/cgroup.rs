//! A control group for one session, where one can be had: below the runner's own if systemd has delegated that
//! (`Delegate=yes`), or below the directory that `--cgroup` names. It bounds memory, processors and processes of everything
//! in the session, the runner included, and it counts what the kernel ended for memory.
//!
//! It is made and entered before anything is given up, and removed by a process that waits outside of it for the runner's
//! end, however the runner ends: nobody can remove a group that he is in.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::AsFd as _,
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use assistant_sandbox::protocol::{Limits, hard_bound};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{UnlinkatFlags, getuid, pipe2, unlinkat},
};

use super::{
    fault::{At as _, Fault},
    kernel,
};

/// What has to be bounded.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Where the processes go that are in a delegated group itself: one with controllers for its children has none.
const LEAF: &str = "daemon";

/// The runner and the first process of a pid namespace.
const OURS: u64 = 2;

/// Microseconds in which processor time is counted.
const PERIOD: u64 = 100_000;

/// Where to make it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// Below the runner's own group, if that is ours to divide.
    #[default]
    Delegated,
    /// Below this directory.
    Below(PathBuf),
    Nowhere,
}

/// Where the kernel counts what it ended in the group of a container that we are in, with either version of groups.
const AROUND: [&str; 2] = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];

/// The group that the runner is in, and that bounds its session.
#[derive(Debug)]
pub(crate) struct Group {
    events: File,
    /// Whoever removes the group waits for its end; nobody does that is not ours.
    _alive: Option<std::os::fd::OwnedFd>,
}

impl Group {
    /// Makes it and enters it; none where there is no place for one, and the session then promises what it has without.
    pub(crate) fn enter(place: &Place, limits: &Limits) -> Result<Option<Self>, Fault> {
        match place {
            Place::Nowhere => Ok(None),
            Place::Delegated => Ok(delegated().and_then(|base| Self::below(&base, true, limits).ok())),
            Place::Below(base) => Self::below(base, false, limits).map(Some),
        }
    }

    /// The one that a container engine made around us, if its counts can be seen.
    pub(crate) fn around() -> Option<Self> {
        let group = AROUND.iter().find_map(|path| Some(Self { events: File::open(path).ok()?, _alive: None }))?;
        group.count().map(|_| group)
    }

    fn below(base: &Path, ours: bool, limits: &Limits) -> Result<Self, Fault> {
        enable(base, ours).at(format!("control group {}", base.display()))?;
        let path = base.join(format!("session-{}", std::process::id()));
        let made = make(&path, limits).and_then(|()| {
            let events = File::open(path.join("memory.events"))?;
            let alive = remove_after_us(&path)?;
            fs::write(path.join("cgroup.procs"), "0")?;
            Ok(Self { events, _alive: Some(alive) })
        });
        made.map_err(|err: io::Error| {
            let _ = fs::remove_dir(&path);
            Fault::new(format!("control group {}", path.display()), err)
        })
    }

    /// How many of its processes the kernel has ended for want of memory.
    pub(crate) fn shortages(&self) -> u64 {
        self.count().unwrap_or(0)
    }

    fn count(&self) -> Option<u64> {
        let mut text = [0; 256];
        let length = self.events.read_at(&mut text, 0).ok()?;
        let lines = String::from_utf8_lossy(&text[..length]);
        lines.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
    }
}

/// The group below which ours may be, if it is there to be divided.
fn delegated() -> Option<PathBuf> {
    let own = own()?;
    let parent = own.parent().filter(|_| own.ends_with(LEAF));
    let base = [parent, Some(own.as_path())].into_iter().flatten().find(|dir| is_ours(dir))?;
    has_all(&base.join("cgroup.controllers")).then(|| base.to_path_buf())
}

/// Whether systemd says so; or there is no systemd, and root has divided it already.
fn is_ours(dir: &Path) -> bool {
    let said = |name| kernel::attribute(dir, name).is_some_and(|value| value == b"1");
    let alone = getuid().is_root() && !Path::new("/run/systemd/system").exists();
    said(c"user.delegate") || said(c"trusted.delegate") || (alone && has_all(&dir.join("cgroup.subtree_control")))
}

/// The directory of our group in the unified hierarchy.
fn own() -> Option<PathBuf> {
    find(&read("/proc/self/cgroup").ok()?, &read("/proc/self/mountinfo").ok()?)
}

/// A file that does not tell its size, in as few steps as it takes.
fn read(path: &str) -> io::Result<String> {
    let mut text = String::with_capacity(16 << 10);
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

fn find(groups: &str, mounts: &str) -> Option<PathBuf> {
    let path = Path::new(groups.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = place.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        Some(Path::new(point).join(path.strip_prefix(root).ok()?))
    })
}

fn has_all(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    CONTROLLERS.iter().all(|controller| text.split_whitespace().any(|word| word == *controller))
}

/// Gives its children all controllers; if that is ours to do, what is in it goes into a group of its own before.
fn enable(base: &Path, ours: bool) -> io::Result<()> {
    let file = base.join("cgroup.subtree_control");
    if has_all(&file) {
        return Ok(());
    }
    let wanted = CONTROLLERS.map(|controller| format!("+{controller}")).join(" ");
    match fs::write(&file, &wanted) {
        Err(err) if ours && err.raw_os_error() == Some(libc::EBUSY) => {}
        written => return written,
    }
    let leaf = base.join(LEAF);
    match fs::create_dir(&leaf) {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
        _ => {}
    }
    for pid in fs::read_to_string(base.join("cgroup.procs"))?.split_whitespace() {
        match fs::write(leaf.join("cgroup.procs"), pid) {
            // It has ended.
            Err(err) if err.raw_os_error() == Some(libc::ESRCH) => {}
            moved => moved?,
        }
    }
    fs::write(file, wanted)
}

fn make(path: &Path, limits: &Limits) -> io::Result<()> {
    fs::create_dir(path)?;
    let set = |name: &str, value: String| fs::write(path.join(name), value);
    set("memory.max", limits.memory_bytes.to_string())?;
    match set("memory.swap.max", "0".to_owned()) {
        // A kernel that does not count swap.
        Err(err) if err.kind() == io::ErrorKind::NotFound => {}
        written => written?,
    }
    set("cpu.max", format!("{} {PERIOD}", limits.cpu_millis.saturating_mul(PERIOD / 1000)))?;
    // Commands come to their own bound before.
    set("pids.max", (hard_bound(limits.processes) + OURS).to_string())
}

/// Starts who removes it after the end of the runner, which is when the given descriptor closes.
fn remove_after_us(path: &Path) -> io::Result<std::os::fd::OwnedFd> {
    const OFTEN: u32 = 1000;
    let name = CString::new(path.as_os_str().as_bytes())?;
    let (end, alive) = pipe2(OFlag::O_CLOEXEC)?;
    if kernel::fork_with(0)?.is_some() {
        return Ok(alive);
    }
    // Nothing else of the runner's stays open here, above all not its socket.
    if let Ok(end) = kernel::keep_only(end.as_fd()) {
        while poll(&mut [PollFd::new(end, PollFlags::POLLIN)], PollTimeout::NONE) == Err(Errno::EINTR) {}
    }
    for _ in 0..OFTEN {
        match unlinkat(AT_FDCWD, name.as_c_str(), UnlinkatFlags::RemoveDir) {
            Err(Errno::EBUSY) => std::thread::sleep(Duration::from_millis(5)),
            _ => break,
        }
    }
    kernel::exit_now(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_in_each_kind_of_hierarchy() {
        let unified = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let hybrid = "31 25 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      32 31 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      33 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        let container = "40 39 0:26 /system.slice/c.scope /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let unit = "0::/system.slice/assistantd.service\n";
        for (groups, mounts, expected) in [
            (unit, unified, Some("/sys/fs/cgroup/system.slice/assistantd.service")),
            ("4:memory:/a\n0::/\n", hybrid, Some("/sys/fs/cgroup/unified")),
            ("0::/system.slice/c.scope/x\n", container, Some("/sys/fs/cgroup/x")),
            (unit, container, None),
            ("4:memory:/a\n", unified, None),
            (unit, "", None),
        ] {
            let found = find(groups, mounts);
            assert_eq!(found.as_deref().map(|path| path.to_str().unwrap().trim_end_matches('/')), expected, "{groups}");
        }
    }
}
