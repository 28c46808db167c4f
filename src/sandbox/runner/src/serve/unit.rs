//! What a unit has made of a session before its runner began: looked at, never assumed.

use std::{
    ffi::CString,
    fs,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use assistant_sandbox::protocol::{Limits, processes_of};
use nix::{
    fcntl::OFlag,
    sys::statvfs::{FsFlags, fstatvfs, statvfs},
    unistd::getuid,
};
use serde::{Deserialize, Serialize};

use super::{
    beneath,
    bounds::Bounds,
    fault::{At as _, Fault},
    protect,
};

/// Where the unit shows what [`Outside`] says.
pub(crate) const OUTSIDE: &str = "/etc/outside";

/// What is outside of a unit, as root has seen it there before, and the user that is the session's alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outside {
    ipc: String,
    net: String,
    uid: u32,
}

impl Outside {
    /// The machine's own, for a session of this user.
    pub(crate) fn of_machine(uid: u32) -> Result<Self, Fault> {
        Ok(Self { ipc: namespace("1", "ipc")?, net: namespace("1", "net")?, uid })
    }
}

/// What the unit keeps this process apart from. Where nobody says what is outside, nothing counts as apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Apart {
    pub(crate) ipc: bool,
    pub(crate) net: bool,
    pub(crate) user: bool,
}

impl Apart {
    /// Looks. A user who is not the session's own is an error: every process of that user would be taken for one of a
    /// command's.
    pub(crate) fn look(outside: &Path) -> Result<Self, Fault> {
        // Where nothing was bound, an empty file may stand for a later time.
        let Some(text) = fs::read(outside).ok().filter(|text| !text.is_empty()) else { return Ok(Self::default()) };
        let outside: Outside = serde_json::from_slice(&text).map_err(|err| Fault::new(OUTSIDE, err))?;
        if getuid().as_raw() != outside.uid {
            return Err(Fault::new(
                "user",
                "it is not the session's own: the unit needs DynamicUser=yes and User=as%i",
            ));
        }
        let (ipc, net) = (namespace("self", "ipc")? != outside.ipc, namespace("self", "net")? != outside.net);
        Ok(Self { ipc, net, user: true })
    }
}

fn namespace(of: &str, kind: &str) -> Result<String, Fault> {
    let name = fs::read_link(format!("/proc/{of}/ns/{kind}")).at(format!("the {kind} namespace of {of}"))?;
    Ok(name.to_string_lossy().into_owned())
}

/// The most that a command gets: what the kernel bounds, and where that cannot be seen, what the arguments say.
pub(crate) fn limits(told: Limits, bounds: &Bounds) -> Limits {
    Limits {
        memory_bytes: bounds.memory.unwrap_or(told.memory_bytes),
        processes: bounds.tasks.map_or(told.processes, processes_of),
        cpu_millis: bounds.cpu_millis.unwrap_or(told.cpu_millis),
        tmp_bytes: statvfs("/tmp").map_or(told.tmp_bytes, |found| found.blocks() * found.fragment_size()),
        ..told
    }
}

/// The paths on the list.
pub(crate) fn protected(list: Option<&Path>) -> Vec<String> {
    let text = list.and_then(|list| fs::read_to_string(list).ok()).unwrap_or_default();
    text.lines().filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

/// Why the protected paths of this workspace do not count as such: each has to be on a read-only mount.
pub(crate) fn unprotected(workspace: BorrowedFd<'_>, list: Option<&Path>, paths: &[String]) -> Option<&'static str> {
    if !list.is_some_and(Path::is_file) {
        return Some("nobody has protected paths in the workspace: the unit needs its ExecStartPre= and --protected");
    }
    let held = |path: &str| {
        let path = CString::new(path.trim_end_matches('/')).ok()?;
        let there = beneath::without_links(workspace, &path, OFlag::O_PATH | OFlag::O_NOFOLLOW).ok()?;
        let flags = fstatvfs(there.as_fd()).ok()?.flags();
        flags.contains(FsFlags::ST_RDONLY).then_some(())
    };
    let all = paths.iter().map(String::as_str).chain([protect::OWN_NAME]);
    all.into_iter()
        .any(|path| held(path).is_none())
        .then_some("a protected path in the workspace can be written: the unit's ExecStartPre= has not done its work")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_kernel_where_they_can_be_seen() {
        let told = Limits { memory_bytes: 5, processes: 6, cpu_millis: 7, ..Limits::default() };
        let seen = limits(told, &Bounds::default());
        assert_eq!((seen.memory_bytes, seen.processes, seen.cpu_millis), (5, 6, 7));
        let bounds = Bounds { memory: Some(50), tasks: Some(549), cpu_millis: Some(70), ..Bounds::default() };
        let seen = limits(told, &bounds);
        assert_eq!((seen.memory_bytes, seen.processes, seen.cpu_millis), (50, 512, 70));
    }

    #[test]
    fn nothing_is_apart_unless_it_is_seen_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("outside");
        assert_eq!(Apart::look(&file).unwrap(), Apart::default());
        fs::write(&file, "").unwrap();
        assert_eq!(Apart::look(&file).unwrap(), Apart::default());
        let here = Outside { ipc: namespace("self", "ipc").unwrap(), net: String::new(), uid: getuid().as_raw() };
        fs::write(&file, serde_json::to_vec(&here).unwrap()).unwrap();
        assert_eq!(Apart::look(&file).unwrap(), Apart { ipc: false, net: true, user: true });
        fs::write(&file, serde_json::to_vec(&Outside { uid: here.uid + 1, ..here }).unwrap()).unwrap();
        assert!(Apart::look(&file).unwrap_err().to_string().contains("DynamicUser=yes"));
        fs::write(&file, "{").unwrap();
        assert!(Apart::look(&file).is_err());
    }

    #[test]
    fn what_is_writable_is_not_protected() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".assistant")).unwrap();
        let list = dir.path().join("list");
        let workspace = fs::File::open(dir.path()).unwrap();
        let why = |list: Option<&Path>, paths: &[String]| unprotected(workspace.as_fd(), list, paths);
        assert!(why(None, &[]).is_some_and(|why| why.contains("ExecStartPre=")));
        assert!(why(Some(&list), &[]).is_some(), "the list is not there");
        fs::write(&list, "keys/\n.envrc\n\n").unwrap();
        assert_eq!(protected(Some(&list)), ["keys/", ".envrc"]);
        assert!(why(Some(&list), &[]).is_some_and(|why| why.contains("can be written")));
    }
}
