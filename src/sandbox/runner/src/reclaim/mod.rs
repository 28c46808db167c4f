//! What commands leave in the workspace becomes the daemon's: when a session of a unit has ended, everything that belongs
//! to the session's user is given to the workspace's owner, by root.
//!
//! The tree is hostile: other sessions may be at work in it. So nothing is reached by a path of more than one part: every
//! inode is opened without following a link, looked at, and changed through that descriptor. Only inodes of the users that
//! are meant are changed, wherever their names have been moved or linked to; file systems mounted below are left alone.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use nix::{
    dir::Dir,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, fstatat},
    unistd::{Gid, Uid, fchownat},
};

#[cfg(test)]
mod tests;

/// How often a walk begins anew because somebody moved a directory away from under it.
const ATTEMPTS: u32 = 64;

/// What is done to the inodes of some users.
#[derive(Clone, Copy)]
pub(crate) struct Deed<'a> {
    /// Whose they are.
    pub(crate) of: &'a dyn Fn(u32) -> bool,
    /// Who gets them: user and group.
    pub(crate) to: (u32, u32),
}

/// What was found and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Inodes that were changed.
    pub(crate) changed: u64,
    /// Inodes that should have been and could not.
    pub(crate) failed: u64,
}

/// A directory on the way to where the walk is, with those below it that are still to be looked into.
struct Level {
    identity: (u64, u64),
    left: Vec<CString>,
}

impl Deed<'_> {
    /// Does it to everything below this directory, and to the directory itself.
    pub(crate) fn below(self, root: BorrowedFd<'_>) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let device = fstat(root)?.st_dev;
        self.to_inode(root, &fstat(root)?, &mut tally);
        for _ in 0..ATTEMPTS {
            if self.walk(root, device, &mut tally)? {
                return Ok(tally);
            }
        }
        Err(io::Error::other("the directories of the workspace were moved about all the time"))
    }

    /// Goes through all of it with one open directory at a time, however deep it is. False when the way back was not
    /// where it was on the way down.
    fn walk(self, root: BorrowedFd<'_>, device: u64, tally: &mut Tally) -> io::Result<bool> {
        let mut at = openat(root, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut levels = vec![self.level(at.as_fd(), tally)?];
        while let Some(level) = levels.last_mut() {
            if let Some(name) = level.left.pop() {
                let Some(below) = open_directory(at.as_fd(), &name) else { continue };
                // Another file system is not the workspace's own.
                if fstat(&below)?.st_dev != device {
                    continue;
                }
                match self.level(below.as_fd(), tally) {
                    Ok(level) => levels.push(level),
                    Err(_) => continue,
                }
                at = below;
                continue;
            }
            levels.pop();
            let Some(above) = levels.last() else { break };
            let Some(parent) = open_directory(at.as_fd(), c"..") else { return Ok(false) };
            if identity(&fstat(&parent)?) != above.identity {
                return Ok(false);
            }
            at = parent;
        }
        Ok(true)
    }

    /// Does it to each entry of a directory; which of them are directories.
    fn level(self, directory: BorrowedFd<'_>, tally: &mut Tally) -> io::Result<Level> {
        let mut left = Vec::new();
        let mut list = Dir::from_fd(directory.try_clone_to_owned()?)?;
        for entry in list.iter() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(seen) = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
            if (self.of)(seen.st_uid) {
                // By this name there may be something else by now: what counts is what was opened.
                let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                if let Ok(inode) = openat(directory, name, flags, Mode::empty())
                    && let Ok(found) = fstat(&inode)
                {
                    self.to_inode(inode.as_fd(), &found, tally);
                }
            }
            if kind(&seen) == SFlag::S_IFDIR {
                left.push(name.to_owned());
            }
        }
        Ok(Level { identity: identity(&fstat(directory)?), left })
    }

    fn to_inode(self, inode: BorrowedFd<'_>, found: &FileStat, tally: &mut Tally) {
        if !(self.of)(found.st_uid) {
            return;
        }
        let (uid, gid) = (Uid::from_raw(self.to.0), Gid::from_raw(self.to.1));
        let given = fchownat(inode, c"", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH);
        let opened = given.and_then(|()| mode(found).map_or(Ok(()), |mode| change_mode(inode, mode)));
        match opened {
            Ok(()) => tally.changed += 1,
            Err(_) => tally.failed += 1,
        }
    }
}

/// The mode with which owner and group can use it; links have none. Set-user-id, set-group-id and the sticky bit stay
/// nowhere: everybody who makes files here has the workspace's group anyway.
fn mode(found: &FileStat) -> Option<Mode> {
    let bits = match kind(found) {
        SFlag::S_IFLNK => return None,
        SFlag::S_IFDIR => (found.st_mode & 0o777) | 0o770,
        // Who may run it as its owner may run it as its group.
        _ => (found.st_mode & 0o777) | 0o660 | ((found.st_mode & 0o100) >> 3),
    };
    Some(Mode::from_bits_truncate(bits))
}

/// By the name that the kernel gives to a descriptor, which leads to the inode itself.
fn change_mode(inode: BorrowedFd<'_>, mode: Mode) -> nix::Result<()> {
    let name = format!("/proc/self/fd/{}", inode.as_raw_fd());
    fchmodat(nix::fcntl::AT_FDCWD, name.as_str(), mode, FchmodatFlags::FollowSymlink)
}

fn open_directory(at: BorrowedFd<'_>, name: &CStr) -> Option<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(at, name, flags, Mode::empty()).ok()
}

fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}
