//! Reading, looking and writing outside.

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::OsStrExt as _,
            fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink},
        },
    },
    path::{Path, PathBuf},
};

use super::{Place, Probe, Stop, Tried, any, attempt, run::check};
use crate::protocol::Guarantee::{Read, Write};

pub(super) const PROBES: &[Probe] = &[
    Probe::must_fail(Read, "read-file-outside", |place| read(place.outside("file")?)),
    Probe::must_fail(Read, "read-other-session-tmp", |place| read(place.outside("tmp")?)),
    Probe::must_fail(Read, "read-other-session-dev-shm", |place| read(place.outside("dev-shm")?)),
    Probe::must_fail(Read, "read-secrets-of-the-host", |_| any(lines(SECRETS).map(read))),
    Probe::must_fail(Read, "list-directories-of-the-host", |_| any(lines(HIDDEN).map(list))),
    Probe::must_fail(Read, "read-through-proc-1-root", |place| read(&under("/proc/1/root", place.outside("file")?))),
    Probe::must_fail(Read, "read-through-proc-1-cwd", |place| {
        read(&format!("/proc/1/cwd/{}{}", "../".repeat(32), place.outside("file")?))
    }),
    Probe::must_fail(Read, "read-through-proc-self-root", |place| {
        read(&under("/proc/self/root", place.outside("file")?))
    }),
    Probe::must_fail(Read, "read-through-dot-dot", |place| {
        read(&format!("{}/{}{}", place.workspace.display(), "../".repeat(32), place.outside("file")?))
    }),
    Probe::must_fail(Read, "read-through-symlink", through_symlink),
    Probe::must_fail(Write, "hard-link-from-outside", hard_link),
    Probe::must_fail(Write, "rename-to-outside", rename_out),
    Probe::must_fail(Read, "stat-file-outside", |place| {
        attempt(fs::metadata(place.outside("file")?), "its metadata was read")
    }),
    Probe::must_fail(Write, "chmod-file-outside", chmod),
    Probe::must_fail(Write, "touch-file-outside", touch),
    Probe::must_fail(Write, "set-attribute-of-file-outside", set_attribute),
    Probe::must_fail(Write, "append-to-file-outside", |place| append(place.outside("file")?)),
    Probe::must_fail(Write, "write-beside-file-outside", |place| {
        let beside = Path::new(place.outside("file")?).with_file_name("probe-was-here");
        let tried = attempt(fs::write(&beside, "x"), "a file was made");
        let _ = fs::remove_file(beside);
        tried
    }),
    Probe::must_fail(Write, "write-system-directories", |_| any(lines(SYSTEM).map(make_in))),
    Probe::must_fail(Write, "write-kernel-settings", |_| any(lines(SETTINGS).map(open_to_write))).harmful(),
    Probe::must_fail(Write, "cve-2025-52881-write-proc-attributes", |_| {
        any(["/proc/self/attr/exec", "/proc/self/attr/current", "/proc/thread-self/attr/exec"].map(relabel))
    }),
    Probe::must_fail(Read, "read-raw-disks", |_| {
        any(block_devices().into_iter().map(|path| read(&path.to_string_lossy())))
    }),
    Probe::must_fail(Read, "read-kernel-memory", |_| {
        any(["/dev/mem", "/dev/kmem", "/dev/port", "/proc/kcore"].map(read))
    }),
    Probe::must_fail(Read, "read-kernel-log", |_| any(["/dev/kmsg", "/proc/kmsg"].map(open))),
    Probe::must_fail(Write, "make-device-file", make_device),
    Probe::must_fail(Write, "cve-2025-31133-replace-dev-null", |_| replace("/dev/null")).harmful(),
    Probe::must_fail(Write, "cve-2025-52565-replace-dev-console", |_| {
        any(["/dev/console", "/dev/pts/0"].map(|path| {
            attempt(symlink("/proc/sys/kernel/core_pattern", path), format!("{path} was made"))
                .or_else(|refused| if Path::new(path).exists() { replace(path) } else { Err(refused) })
        }))
    })
    .harmful(),
    Probe::must_fail(Read, "cve-2024-21626-inherited-descriptor", inherited),
    Probe::must_fail(Read, "cve-2024-21626-working-directory-outside", working_directory),
    Probe::must_fail(Write, "cve-2019-5736-write-the-runner", runner),
    Probe::must_fail(Write, "cve-2022-0847-write-through-a-pipe", dirty_pipe),
];

const SECRETS: &str = include_str!("lists/secrets.txt");
const HIDDEN: &str = include_str!("lists/hidden.txt");
const SYSTEM: &str = include_str!("lists/system.txt");
const SETTINGS: &str = include_str!("lists/settings.txt");

/// The lines of a list.
pub(super) fn lines(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A path's own bytes for a system call.
pub(super) fn c_path(path: impl AsRef<Path>) -> Result<CString, Stop> {
    CString::new(path.as_ref().as_os_str().as_bytes()).map_err(|err| Stop::Broken(err.to_string()))
}

pub(super) fn read(path: &str) -> Tried {
    let mut bytes = [0; 64];
    attempt(File::open(path).and_then(|mut file| file.read(&mut bytes)), format!("{path} was read"))
}

fn open(path: &str) -> Tried {
    attempt(File::open(path), format!("{path} was opened"))
}

/// A directory that shows entries. An empty one in the place of the host's shows nothing.
fn list(path: &str) -> Tried {
    match fs::read_dir(path).map(Iterator::count) {
        Ok(0) => Err(Stop::Refused(format!("{path} is empty"))),
        Ok(entries) => Ok(format!("{path} has {entries} entries")),
        Err(err) => Err(Stop::Refused(err.to_string())),
    }
}

fn under(root: &str, path: &str) -> String {
    format!("{root}/{}", path.trim_start_matches('/'))
}

fn through_symlink(place: &Place) -> Tried {
    let scratch = place.scratch()?;
    let link = scratch.join("link");
    symlink(place.outside("file")?, &link)?;
    read(&link.to_string_lossy())
}

fn hard_link(place: &Place) -> Tried {
    let scratch = place.scratch()?;
    let outside = place.outside("file")?;
    // Links do not cross file systems anywhere: what shows the wall is that the name is not there at all.
    match fs::hard_link(outside, scratch.join("linked")) {
        Err(err) if err.raw_os_error() == Some(libc::EXDEV) => Ok(format!("{outside} was found")),
        linked => attempt(linked, "it was linked"),
    }
}

fn rename_out(place: &Place) -> Tried {
    let scratch = place.scratch()?;
    let ours = scratch.join("ours");
    fs::write(&ours, "x")?;
    let target = format!("{}.probe", place.outside("file")?);
    match fs::rename(&ours, &target) {
        Err(err) if err.raw_os_error() == Some(libc::EXDEV) => Ok("the directory outside was found".to_owned()),
        done => {
            let tried = attempt(done, "it was moved outside");
            let _ = fs::remove_file(target);
            tried
        }
    }
}

fn chmod(place: &Place) -> Tried {
    let path = place.outside("file")?;
    let mode = fs::metadata(path).map_or(0o644, |found| found.permissions().mode());
    attempt(fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777)), "its mode was set")
}

fn touch(place: &Place) -> Tried {
    let path = c_path(place.outside("file")?)?;
    #[expect(unsafe_code, reason = "a path that lives, and no times: now")]
    let answer = unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), std::ptr::null(), 0) };
    attempt(check(answer), "its times were set")
}

fn set_attribute(place: &Place) -> Tried {
    let path = c_path(place.outside("file")?)?;
    #[expect(unsafe_code, reason = "texts that live, and the value's own length")]
    let answer = unsafe { libc::setxattr(path.as_ptr(), c"user.assistant-probe".as_ptr(), b"x".as_ptr().cast(), 1, 0) };
    attempt(check(answer), "an attribute was set")
}

fn append(path: &str) -> Tried {
    attempt(OpenOptions::new().append(true).open(path).and_then(|mut file| file.write_all(b"x")), "it was written to")
}

/// Makes a file in a directory and takes it away again.
fn make_in(directory: &str) -> Tried {
    let path = Path::new(directory).join("assistant-probe");
    let tried = attempt(fs::write(&path, "x"), format!("{} was made", path.display()));
    let _ = fs::remove_file(path);
    tried
}

fn open_to_write(path: &str) -> Tried {
    attempt(OpenOptions::new().write(true).open(path), format!("{path} was opened for writing"))
}

/// A label that no security module knows; a module that looks at it says `EINVAL`.
fn relabel(path: &str) -> Tried {
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(b"assistant-probe"));
    match written {
        Err(err) if err.raw_os_error() == Some(libc::EINVAL) => Err(Stop::Refused(err.to_string())),
        written => attempt(written, format!("{path} was written")),
    }
}

fn block_devices() -> Vec<PathBuf> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_block_device()))
        .map(|entry| entry.path())
        .collect();
    found.extend(["/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/dm-0", "/dev/loop0"].map(PathBuf::from));
    found
}

fn make_device(place: &Place) -> Tried {
    let scratch = place.scratch()?;
    let path = c_path(scratch.join("null"))?;
    #[expect(unsafe_code, reason = "a path that lives")]
    let answer = unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 3)) };
    attempt(check(answer), "a device was made")
}

/// Puts a link where a device is, as a container did to have the next mount follow it.
fn replace(path: &str) -> Tried {
    let aside = format!("{path}.probe");
    any([
        attempt(fs::rename(path, &aside).and_then(|()| fs::rename(&aside, path)), format!("{path} was moved")),
        attempt(symlink("/proc/sysrq-trigger", &aside).and_then(|()| fs::rename(&aside, path)), "it was replaced"),
        attempt(fs::remove_file(path), format!("{path} was removed")),
    ])
}

fn inherited(place: &Place) -> Tried {
    if place.inherited.is_empty() {
        return Err(Stop::Refused("0 to 2 alone are open".to_owned()));
    }
    let name = |fd: &i32| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default().display().to_string();
    Ok(place.inherited.iter().map(|fd| format!("{fd}: {}", name(fd))).collect::<Vec<_>>().join(", "))
}

/// The working directory is below the root that this process sees, and so is everything above it.
fn working_directory(_: &Place) -> Tried {
    let root = fs::metadata("/")?;
    let mut at = PathBuf::from(".");
    for _ in 0..64 {
        let here = match fs::metadata(&at) {
            Ok(here) => here,
            Err(err) => return Err(Stop::Refused(err.to_string())),
        };
        if (here.dev(), here.ino()) == (root.dev(), root.ino()) {
            return match std::env::current_dir() {
                Ok(path) if path.is_absolute() => Err(Stop::Refused("it ends at this root".to_owned())),
                other => Ok(format!("a working directory without a name: {other:?}")),
            };
        }
        at.push("..");
    }
    Ok("64 steps up the root was not met".to_owned())
}

/// The programs of all processes that can be seen, but for the probe's own.
fn runner(_: &Place) -> Tried {
    let own = fs::read_link("/proc/self/exe").ok();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let programs = processes
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .map(|entry| entry.path().join("exe"))
        .filter(|path| own.is_none() || fs::read_link(path).ok() != own);
    any(programs.chain([PathBuf::from("/proc/1/exe")]).map(|path| match OpenOptions::new().write(true).open(&path) {
        // It runs, but its file could have been opened otherwise: waiting until it ends is the whole attack.
        Err(err) if err.raw_os_error() == Some(libc::ETXTBSY) => Ok(format!("{} is only busy", path.display())),
        opened => attempt(opened, format!("{} was opened for writing", path.display())),
    }))
}

/// A page of a file open for reading, spliced into a pipe that was full before, is not written by a write to the pipe.
fn dirty_pipe(place: &Place) -> Tried {
    const PAGE: usize = 4096;
    let scratch = place.scratch()?;
    let path = scratch.join("page");
    fs::write(&path, vec![b'a'; PAGE])?;
    let file = File::open(&path)?;
    let (mut from, mut to) = io::pipe()?;
    let mut full = vec![0; 16 * PAGE];
    to.write_all(&full)?;
    from.read_exact(&mut full)?;
    let mut offset = 0;
    #[expect(unsafe_code, reason = "descriptors and an offset that live")]
    let spliced =
        unsafe { libc::splice(file.as_raw_fd(), &raw mut offset, to.as_raw_fd(), std::ptr::null_mut(), 1, 0) };
    if spliced != 1 {
        return Err(Stop::Broken(format!("splice: {}", io::Error::last_os_error())));
    }
    to.write_all(b"bcd")?;
    if fs::read(&path)?.starts_with(b"aaaa") {
        Err(Stop::Refused("the file is as it was".to_owned()))
    } else {
        Ok("a file open for reading was written".to_owned())
    }
}
