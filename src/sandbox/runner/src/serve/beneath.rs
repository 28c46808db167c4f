//! Opening what lies in the workspace and nowhere else. Takes no memory.

use std::{
    ffi::CStr,
    os::fd::{BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2},
    sys::stat::{Mode, SFlag, fstatat},
};

/// A directory to work in; links may be on the way, as long as they stay inside.
pub(crate) fn directory(workspace: BorrowedFd<'_>, path: &CStr) -> nix::Result<OwnedFd> {
    open(workspace, path, OFlag::O_PATH | OFlag::O_DIRECTORY, ResolveFlag::empty())
}

/// Whatever is there, through no link; with `O_NOFOLLOW` it may be one itself.
pub(crate) fn without_links(workspace: BorrowedFd<'_>, path: &CStr, flags: OFlag) -> nix::Result<OwnedFd> {
    open(workspace, path, flags, ResolveFlag::RESOLVE_NO_SYMLINKS)
}

fn open(workspace: BorrowedFd<'_>, path: &CStr, flags: OFlag, resolve: ResolveFlag) -> nix::Result<OwnedFd> {
    let resolve = resolve | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let flags = flags | OFlag::O_CLOEXEC;
    match openat2(workspace, path, OpenHow::new().flags(flags).resolve(resolve)) {
        // A unit with RestrictSUIDSGID= has no openat2.
        Err(Errno::ENOSYS) => walk(workspace, path, flags),
        opened => opened,
    }
}

/// Part by part, through no link at all.
fn walk(workspace: BorrowedFd<'_>, path: &CStr, flags: OFlag) -> nix::Result<OwnedFd> {
    let mut parts = path.to_bytes().split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let step = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut next = parts.next();
    let mut at = openat(workspace, ".", step, Mode::empty())?;
    while let Some(part) = next {
        if part == b".." {
            return Err(Errno::EXDEV);
        }
        let mut name = [0_u8; 256];
        name.get_mut(..part.len()).ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(part);
        let name = CStr::from_bytes_until_nul(&name).map_err(|_| Errno::ENAMETOOLONG)?;
        next = parts.next();
        if next.is_none() {
            let kind = SFlag::from_bits_truncate(fstatat(&at, name, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_mode);
            if kind & SFlag::S_IFMT == SFlag::S_IFLNK && !flags.contains(OFlag::O_NOFOLLOW) {
                return Err(Errno::ELOOP);
            }
            return openat(&at, name, flags | OFlag::O_NOFOLLOW, Mode::empty());
        }
        at = openat(&at, name, step, Mode::empty())?;
    }
    openat(&at, ".", flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::{fd::AsFd as _, unix::fs::symlink},
    };

    use super::*;

    #[test]
    fn nothing_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        fs::create_dir_all(inside.join("a/b")).unwrap();
        symlink("..", inside.join("up")).unwrap();
        symlink("/etc", inside.join("etc")).unwrap();
        symlink("a", inside.join("link")).unwrap();
        let root = fs::File::open(&inside).unwrap();
        for path in [c"a/b", c".", c"./a//b/", c""] {
            assert_eq!(walk(root.as_fd(), path, OFlag::O_PATH).err(), None, "{path:?}");
        }
        for path in [c"..", c"a/../..", c"up", c"up/inside", c"etc", c"link", c"link/b", c"none"] {
            assert!(walk(root.as_fd(), path, OFlag::O_PATH).is_err(), "{path:?}");
            assert!(without_links(root.as_fd(), path, OFlag::O_PATH).is_err(), "{path:?}");
        }
        assert!(directory(root.as_fd(), c"link/b").is_ok());
        for path in [c"..", c"up/inside", c"etc"] {
            assert!(directory(root.as_fd(), path).is_err(), "{path:?}");
        }
    }
}
