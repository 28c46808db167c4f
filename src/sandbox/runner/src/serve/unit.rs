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
};

use super::{beneath, bounds::Bounds, protect};

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
