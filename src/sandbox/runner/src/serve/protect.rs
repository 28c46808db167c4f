//! Paths in the workspace that no command writes: `.assistant/`, the hooks and the configuration of every repository that
//! was there when the command began, and what the arguments add.
//!
//! Each is bound read-only on itself, and each directory above it is bound on itself: a mount point cannot be renamed or
//! removed, so nobody can move a protected path away or put another in its place. What is missing is made, empty: a mount
//! needs something to stand on, and a path that is not there could be made by the command.
//!
//! A repository that a command makes is protected from the next command on. The search goes breadth first and stops at
//! [`MAX_DEPTH`] and [`MAX_DIRECTORIES`]; what lies beyond is not protected, and the command's start says so.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::{CStr, CString},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2},
    sys::stat::{Mode, SFlag, fstatat, mkdirat},
};

use super::{
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
const OWN: &str = ".assistant";

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

/// Finds what is to be protected and makes what is missing.
pub(crate) fn plan(workspace: BorrowedFd<'_>, extra: &[String]) -> Result<Plan, Fault> {
    let mut holds = BTreeMap::new();
    let mut hold = |path: &str| {
        for (at, _) in path.match_indices('/') {
            holds.entry(path[..at].to_owned()).or_insert(Hold::Pin);
        }
        holds.insert(path.to_owned(), Hold::ReadOnly);
    };
    make(workspace, OWN, true).at(OWN)?;
    hold(OWN);
    for path in extra {
        let name = path.trim_end_matches('/');
        make(workspace, name, name != path).at(name)?;
        hold(name);
    }
    let found = search(workspace)?;
    for path in &found.links {
        hold(path);
    }
    for repository in &found.repositories {
        for (name, directory) in [("hooks", true), ("config", false)] {
            let path = format!("{repository}/{name}");
            match make(workspace, &path, directory) {
                Ok(()) => hold(&path),
                // Another session removed the repository, or nobody of our uid can write there.
                Err(Errno::ENOENT | Errno::EACCES) => {}
                Err(errno) => return Err(Fault::new(path, errno.desc())),
            }
        }
    }
    let holds = holds.into_iter().map(|(path, hold)| Ok((CString::new(path)?, hold)));
    let holds: Result<_, std::ffi::NulError> = holds.collect();
    Ok(Plan { holds: holds.map_err(|err| Fault::new("protected paths", err))?, note: found.note })
}

/// Makes an empty directory or file unless there is one.
fn make(workspace: BorrowedFd<'_>, path: &str, directory: bool) -> nix::Result<()> {
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let parent = open_beneath(workspace, &CString::new(parent).map_err(|_| Errno::EINVAL)?)?;
    let made = if directory {
        mkdirat(&parent, name, Mode::from_bits_truncate(0o755))
    } else {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        openat(&parent, name, flags, Mode::from_bits_truncate(0o644)).map(drop)
    };
    match made {
        Err(Errno::EEXIST) => {
            let kind = SFlag::from_bits_truncate(fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_mode);
            if kind & SFlag::S_IFMT == SFlag::S_IFLNK { Err(Errno::ELOOP) } else { Ok(()) }
        }
        made => made,
    }
}

/// Opens a path in the workspace to stand on it, through no symbolic link.
pub(crate) fn open_beneath(workspace: BorrowedFd<'_>, path: &CStr) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(workspace, path, how)
}

/// Makes one mount of the plan, in the mount namespace of the command. Takes no memory.
pub(crate) fn apply(workspace: BorrowedFd<'_>, path: &CStr, hold: Hold) -> nix::Result<()> {
    let there = open_beneath(workspace, path)?;
    let tree = kernel::clone_tree(there.as_fd(), c"")?;
    if hold == Hold::ReadOnly {
        kernel::add_attributes(tree.as_fd(), attr::RDONLY, true)?;
    }
    kernel::attach(tree.as_fd(), there.as_fd(), c"")
}

#[derive(Default)]
struct Found {
    /// `.git` directories.
    repositories: Vec<String>,
    /// `.git` files, which name the directory elsewhere.
    links: Vec<String>,
    note: Option<String>,
}

/// Looks for repositories, nearest first. Directories that cannot be read hold nothing that a command could write.
fn search(workspace: BorrowedFd<'_>) -> Result<Found, Fault> {
    let mut found = Found::default();
    let mut queue = VecDeque::from([(String::from("."), 0)]);
    let mut seen = 0;
    while let Some((path, depth)) = queue.pop_front() {
        seen += 1;
        if seen > MAX_DIRECTORIES {
            found.note = Some(format!(
                "the search for repositories stopped at {MAX_DIRECTORIES} directories: hooks of deeper ones are not protected"
            ));
            break;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let Ok(name) = CString::new(path.as_str()) else { continue };
        let dir = openat2(workspace, name.as_c_str(), how).and_then(Dir::from_fd);
        let mut dir = match dir {
            Ok(dir) => dir,
            Err(errno) if depth == 0 => return Err(Fault::new("workspace", errno.desc())),
            Err(_) => continue,
        };
        for entry in dir.iter().filter_map(Result::ok) {
            let Ok(name) = entry.file_name().to_str() else { continue };
            let inside = if depth == 0 { name.to_owned() } else { format!("{path}/{name}") };
            match (name, entry.file_type()) {
                ("." | "..", _) => {}
                (".git", Some(Type::Directory)) => found.repositories.push(inside),
                (".git", Some(Type::File)) => found.links.push(inside),
                (_, Some(Type::Directory)) if depth + 1 < MAX_DEPTH && inside != OWN => {
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
