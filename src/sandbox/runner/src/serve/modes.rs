//! What a command leaves can be read and removed by whoever the workspace is for, whatever modes the command gave it.
//!
//! After each command the workspace is gone through. Files of our own become readable to us, and directories readable,
//! writable and searchable; where the daemon is another user, its group gets what we have. Nothing is taken away.

use std::{
    collections::VecDeque,
    ffi::CString,
    fs,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt as _,
    },
    time::{Duration, Instant},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat},
    unistd::getuid,
};

use super::{beneath, kernel};

/// How long it may take. What it does not come to stays as it is until the next command.
const TIME: Duration = Duration::from_secs(2);

/// Goes through a directory. `group`: whoever it is for has only the rights of its group.
pub(crate) fn mend(top: BorrowedFd<'_>, group: bool) {
    let begun = Instant::now();
    let _ = fstat(top).map(|found| adjust(top, &found, group));
    let mut queue = VecDeque::from([Vec::new()]);
    while let Some(path) = queue.pop_front() {
        if begun.elapsed() > TIME {
            break;
        }
        let Ok(mut dir) = open(top, &path) else { continue };
        let Ok(at) = dir.as_fd().try_clone_to_owned() else { continue };
        for entry in dir.iter().filter_map(Result::ok) {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(found) = fstatat(&at, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
            if wanted(&found, group).is_some()
                && let Ok(there) =
                    openat(&at, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
                && let Ok(found) = fstat(&there)
            {
                adjust(there.as_fd(), &found, group);
            }
            if kind(&found) == SFlag::S_IFDIR {
                let parent = if path.is_empty() { Vec::new() } else { [&path, &b"/"[..]].concat() };
                queue.push_back([&parent, name.to_bytes()].concat());
            }
        }
    }
}

fn open(top: BorrowedFd<'_>, path: &[u8]) -> nix::Result<Dir> {
    let path = CString::new(if path.is_empty() { b"." } else { path }).map_err(|_| Errno::EINVAL)?;
    let opened: OwnedFd = beneath::without_links(top, &path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    Dir::from_fd(opened)
}

fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT
}

/// The mode that it should have, if it is ours and has another.
fn wanted(found: &FileStat, group: bool) -> Option<u32> {
    let own = match kind(found) {
        SFlag::S_IFDIR => 0o700,
        SFlag::S_IFREG => 0o400,
        _ => return None,
    };
    let mode = found.st_mode & 0o7777;
    let mut wanted = mode | own;
    if group {
        wanted |= (wanted & 0o700) >> 3;
    }
    (found.st_uid == getuid().as_raw() && wanted != mode).then_some(wanted)
}

/// By the descriptor: the name may stand for something else by now.
fn adjust(there: BorrowedFd<'_>, found: &FileStat, group: bool) {
    let Some(mode) = wanted(found, group) else { return };
    let path = format!("/proc/self/fd/{}", there.as_raw_fd());
    let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode));
    if set(mode).is_err() && kernel::change_mode(there, mode).is_err() {
        // A unit forbids the set-group-id bit, even to directories that have it.
        let _ = set(mode & 0o777);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::symlink};

    use super::*;

    fn mode(path: impl AsRef<std::path::Path>) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_ours_becomes_readable_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, "x").unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("closed/below")).unwrap();
        fs::write(top.join("closed/below/file"), "x").unwrap();
        fs::write(top.join("tool"), "x").unwrap();
        symlink(&outside, top.join("link")).unwrap();
        symlink(dir.path(), top.join("links")).unwrap();
        let set = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&outside, 0o000);
        set(&top.join("tool"), 0o550);
        set(&top.join("closed/below/file"), 0o000);
        set(&top.join("closed/below"), 0o000);
        set(&top.join("closed"), 0o500);
        let opened = File::open(&top).unwrap();
        mend(opened.as_fd(), false);
        assert_eq!(mode(top.join("tool")), 0o550);
        assert_eq!((mode(top.join("closed")), mode(top.join("closed/below"))), (0o700, 0o700));
        assert_eq!(mode(top.join("closed/below/file")), 0o400);
        assert_eq!(mode(&outside), 0, "nothing is done through a link");
        mend(opened.as_fd(), true);
        assert_eq!((mode(top.join("tool")), mode(top.join("closed"))), (0o550, 0o770));
        assert_eq!(mode(top.join("closed/below/file")), 0o440);
    }
}
