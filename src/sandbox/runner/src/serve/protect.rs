//! Paths in the workspace that no command writes: `.assistant/`, the hooks and the configuration of every repository that
//! was there when the command began, and what the arguments add.
//!
//! Each is bound read-only on itself, and each directory above it is bound on itself: a mount point cannot be renamed or
//! removed, so nobody can move a protected path away or put another in its place. What is missing is made, empty: a mount
//! needs something to stand on, and a path that is not there could be made by the command.
//!
//! A symbolic link is bound on itself like anything else, and what it points to inside the workspace is protected with it.
//!
//! A repository that a command makes is protected from the next command on. The search goes breadth first and stops at
//! [`MAX_DEPTH`] and [`MAX_DIRECTORIES`]; what lies beyond is not protected, and the command's start says so.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::{CStr, CString},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::ffi::OsStrExt as _,
    },
};

use nix::{
    dir::{Dir, Entry, Type},
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, readlinkat},
    sys::stat::{Mode, SFlag, fstatat, mkdirat},
};

use super::{
    beneath,
    fault::{At as _, Fault},
    kernel::{self, attr},
};

/// Directories below the workspace in which repositories are looked for.
const MAX_DEPTH: usize = 8;

/// Directories that are looked into before each command.
const MAX_DIRECTORIES: usize = 20_000;

/// Repositories in one workspace.
const MAX_REPOSITORIES: usize = 200;

/// The host's own directory in a workspace.
const OWN: &CStr = c".assistant";
pub(crate) const OWN_NAME: &str = ".assistant";

/// What a mount on a path does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hold {
    /// It stays where it is.
    Pin,
    /// It stays, and nothing in it is written.
    ReadOnly,
}

/// The mounts to make, parents before children.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) holds: Vec<(CString, Hold)>,
    /// What the search did not reach.
    pub(crate) note: Option<String>,
}

/// Whether a path leads to something below the workspace, by its parts alone.
pub(crate) fn is_inside(path: &str) -> bool {
    let parts = path.strip_suffix('/').unwrap_or(path);
    parts.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains(['\0', '\n'])
}

/// Finds what is to be protected and makes what is missing.
pub(crate) fn plan(workspace: BorrowedFd<'_>, extra: &[String]) -> Result<Plan, Fault> {
    let mut holds = BTreeMap::new();
    let mut hold = |path: &[u8]| {
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            holds.entry(path[..at].to_vec()).or_insert(Hold::Pin);
        }
        holds.insert(path.to_vec(), Hold::ReadOnly);
    };
    let mut make_and_hold = |path: &[u8], directory: bool| -> nix::Result<()> {
        if let Some(target) = make(workspace, path, directory)? {
            hold(&target);
        }
        hold(path);
        Ok(())
    };
    make_and_hold(OWN.to_bytes(), true).map_err(|errno| cannot(OWN.to_bytes(), errno))?;
    for path in extra {
        let name = path.trim_end_matches('/');
        make_and_hold(name.as_bytes(), name != path).map_err(|errno| cannot(name.as_bytes(), errno))?;
    }
    let found = search(workspace)?;
    for repository in &found.repositories {
        for (name, directory) in [("/hooks", true), ("/config", false)] {
            let path = [repository, name.as_bytes()].concat();
            match make_and_hold(&path, directory) {
                // Another session removed the repository, or nobody of our uid can write there.
                Ok(()) | Err(Errno::ENOENT | Errno::EACCES | Errno::EROFS) => {}
                Err(errno) => return Err(cannot(&path, errno)),
            }
        }
    }
    for path in &found.links {
        hold(path);
    }
    let holds = holds.into_iter().map(|(path, hold)| Ok((CString::new(path)?, hold)));
    let holds: Result<_, std::ffi::NulError> = holds.collect();
    Ok(Plan { holds: holds.map_err(|err| Fault::new("protected paths", err))?, note: found.note })
}

fn cannot(path: &[u8], errno: Errno) -> Fault {
    Fault::new(format!("protecting `{}`", String::from_utf8_lossy(path)), errno.desc())
}

/// Makes an empty directory or file unless there is one. Where there is a link, gives what it points to, if that is in the
/// workspace.
fn make(workspace: BorrowedFd<'_>, path: &[u8], directory: bool) -> nix::Result<Option<Vec<u8>>> {
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&b"."[..], path),
    };
    let text = |part: &[u8]| CString::new(part).map_err(|_| Errno::EINVAL);
    let (parent, name) = (text(parent)?, text(name)?);
    let parent = beneath::without_links(workspace, &parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    let made = if directory {
        mkdirat(&parent, name.as_c_str(), Mode::from_bits_truncate(0o755))
    } else {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        openat(&parent, name.as_c_str(), flags, Mode::from_bits_truncate(0o644)).map(drop)
    };
    match made {
        Err(Errno::EEXIST) => {
            let there = fstatat(&parent, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
            if SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT != SFlag::S_IFLNK {
                return Ok(None);
            }
            let target = readlinkat(&parent, name.as_c_str())?;
            let target = inside(path, target.as_bytes());
            let exists = |target: &Vec<u8>| {
                let target = CString::new(target.as_slice()).ok();
                target.is_some_and(|target| beneath::without_links(workspace, &target, OFlag::O_PATH).is_ok())
            };
            Ok(target.filter(exists))
        }
        made => made.map(|()| None),
    }
}

/// Where a relative link leads, if that is below the workspace.
fn inside(link: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let mut parts: Vec<&[u8]> = link.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join(&b'/'))
}

/// Makes one mount of the plan, in the mount namespace of the command. Takes no memory.
pub(crate) fn apply(workspace: BorrowedFd<'_>, path: &CStr, hold: Hold) -> nix::Result<()> {
    let there = beneath::without_links(workspace, path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
    let tree = kernel::clone_tree(there.as_fd(), c"")?;
    if hold == Hold::ReadOnly {
        kernel::add_attributes(tree.as_fd(), attr::RDONLY, true)?;
    }
    kernel::attach(tree.as_fd(), there.as_fd(), c"")
}

#[derive(Default)]
struct Found {
    /// `.git` directories.
    repositories: Vec<Vec<u8>>,
    /// `.git` files and links, which name the directory elsewhere.
    links: Vec<Vec<u8>>,
    note: Option<String>,
}

/// Looks for repositories, nearest first. Directories that cannot be read hold nothing that a command could write.
fn search(workspace: BorrowedFd<'_>) -> Result<Found, Fault> {
    let mut found = Found::default();
    let mut queue = VecDeque::from([(Vec::new(), 0)]);
    let mut seen = 0;
    while let Some((path, depth)) = queue.pop_front() {
        seen += 1;
        if seen > MAX_DIRECTORIES {
            found.note = Some(format!(
                "the search for repositories stopped at {MAX_DIRECTORIES} directories: those that it did not come to are \
                 not protected"
            ));
            break;
        }
        let mut dir = match list(workspace, &path) {
            Ok(dir) => dir,
            Err(errno) if depth == 0 => return Err(Fault::new("workspace", errno.desc())),
            Err(_) => continue,
        };
        let at = dir.as_fd().try_clone_to_owned().at("workspace")?;
        for entry in dir.iter().filter_map(Result::ok) {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let inside =
                if depth == 0 { name.to_bytes().to_vec() } else { [&path, &b"/"[..], name.to_bytes()].concat() };
            match (name.to_bytes(), kind(at.as_fd(), &entry)) {
                (b".git", Some(Type::Directory)) => found.repositories.push(inside),
                (b".git", Some(Type::File | Type::Symlink)) => found.links.push(inside),
                (_, Some(Type::Directory)) if depth + 1 < MAX_DEPTH && inside != OWN.to_bytes() => {
                    queue.push_back((inside, depth + 1));
                }
                _ => {}
            }
        }
        if found.repositories.len() + found.links.len() > MAX_REPOSITORIES {
            return Err(Fault::new(
                "protected paths",
                format!("more than {MAX_REPOSITORIES} git repositories in one workspace: move some elsewhere"),
            ));
        }
    }
    Ok(found)
}

fn list(workspace: BorrowedFd<'_>, path: &[u8]) -> nix::Result<Dir> {
    let path = CString::new(if path.is_empty() { b"." } else { path }).map_err(|_| Errno::EINVAL)?;
    Dir::from_fd(beneath::without_links(workspace, &path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?)
}

/// Some file systems leave the kind of an entry out of its directory.
fn kind(dir: BorrowedFd<'_>, entry: &Entry) -> Option<Type> {
    entry.file_type().or_else(|| {
        let mode = fstatat(dir, entry.file_name(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?.st_mode;
        match SFlag::from_bits_truncate(mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => Some(Type::Directory),
            SFlag::S_IFREG => Some(Type::File),
            SFlag::S_IFLNK => Some(Type::Symlink),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_within_the_workspace_only() {
        for (link, target, expected) in [
            (&b"r/.git/hooks"[..], &b"../githooks"[..], Some(&b"r/githooks"[..])),
            (b"r/.git/hooks", b"x", Some(b"r/.git/x")),
            (b"hooks", b"./a//b", Some(b"a/b")),
            (b"r/hooks", b"../..", None),
            (b"r/hooks", b"..", None),
            (b"r/hooks", b"/etc", None),
        ] {
            assert_eq!(inside(link, target).as_deref(), expected);
        }
    }
}
