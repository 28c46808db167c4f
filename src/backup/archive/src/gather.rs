//! Reads a tree that others write in meanwhile, and may have written for us to stumble over.
//!
//! Directories are opened one below the other and links are never followed. A pipe is not opened. What cannot be read,
//! or changed while it was, is named in the archive.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::Path,
    vec,
};

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::{
    ambient_authority,
    fs::{Dir, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt as _},
};
use nix::{
    fcntl::{AT_FDCWD, OFlag, openat},
    libc,
    sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, fstat},
    unistd::geteuid,
};

use crate::{
    manifest::Kind,
    tape::{Entry, Writer},
};

/// Directories below each other.
const MAX_DEPTH: usize = 200;
/// Files up to this size are read into memory first, again if they changed meanwhile.
const SMALL: u64 = 4 << 20;
/// Bytes of holes that a file may have.
const MAX_HOLES: u64 = 64 << 30;
/// How often a small file is read until it stays the same.
const TRIES: usize = 3;

/// A directory that is being read.
struct Level {
    dir: Dir,
    path: Vec<u8>,
    names: vec::IntoIter<std::ffi::OsString>,
    /// The mode that it had before it could be read.
    mend: Option<Mode>,
}

impl Drop for Level {
    fn drop(&mut self) {
        if let Some(mode) = self.mend {
            let _ = fchmod(&self.dir, mode);
        }
    }
}

/// Bytes that a tree takes on its disk, as far as it can be read.
pub fn allocated(path: &Path) -> u64 {
    let mut sum = 0;
    let mut left = vec![path.to_owned()];
    while let Some(next) = left.pop() {
        let Ok(entries) = std::fs::read_dir(next) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            sum += meta.blocks() * 512;
            if meta.is_dir() {
                left.push(entry.path());
            }
        }
    }
    sum
}

/// Adds what is in the directory at `path`, and it itself, under `name`; one that is not there is added empty. At its
/// top, what `leave` says is left out.
///
/// # Errors
/// When the directory itself cannot be read, or the archive not written.
pub fn tree<W: io::Write>(
    writer: &mut Writer<W>,
    path: &Path,
    name: &str,
    leave: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    let entry = Entry { kind: Kind::Dir, mode: 0o700, ..Entry::own(name, 0) };
    writer.add(&entry, &mut io::empty())?;
    let dir = match Dir::open_ambient_dir(path, ambient_authority()) {
        Ok(dir) => dir,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err),
    };
    let mut links = HashMap::new();
    let mut names = names(&dir)?;
    names.retain(|name| !leave(name.as_bytes()));
    let mut stack = vec![Level { dir, path: name.into(), names: names.into_iter(), mend: None }];
    while let Some(level) = stack.last_mut() {
        let Some(name) = level.names.next() else {
            stack.pop();
            continue;
        };
        let path = [&level.path, b"/".as_slice(), name.as_bytes()].concat();
        let depth = stack.len();
        let Some(Level { dir, .. }) = stack.last() else { break };
        if let Some(below) = one(writer, dir, &name, path, depth, &mut links)? {
            stack.push(below);
        }
    }
    Ok(())
}

fn names(dir: &Dir) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names: Vec<_> = dir.entries()?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    Ok(names)
}

/// Adds one name of a directory; the level below it if it is a directory itself.
fn one<W: io::Write>(
    writer: &mut Writer<W>,
    dir: &Dir,
    name: &std::ffi::OsStr,
    path: Vec<u8>,
    depth: usize,
    links: &mut HashMap<(u64, u64), Vec<u8>>,
) -> io::Result<Option<Level>> {
    let meta = match dir.symlink_metadata(name) {
        Ok(meta) => meta,
        // Gone since the directory was read.
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return writer.skip(&path, &told(&err)).map(|()| None),
    };
    let entry = |kind, size| Entry {
        path: path.clone(),
        kind,
        mode: meta.mode() & 0o777,
        mtime: u64::try_from(meta.mtime()).unwrap_or(0),
        size,
        target: Vec::new(),
    };
    let kind = meta.file_type();
    if kind.is_symlink() {
        match dir.read_link_contents(name) {
            Ok(target) => {
                let target = target.as_os_str().as_bytes().to_vec();
                writer.add(&Entry { target, ..entry(Kind::Symlink, 0) }, &mut io::empty())?;
            }
            Err(err) => writer.skip(&path, &told(&err))?,
        }
        Ok(None)
    } else if kind.is_dir() {
        if depth >= MAX_DEPTH {
            return writer.skip(&path, "it lies too deep").map(|()| None);
        }
        // Neither listed nor entered without these.
        let closed = meta.mode() & 0o500 != 0o500 && !geteuid().is_root();
        let opened = if closed { mended_dir(dir, name) } else { dir.open_dir_nofollow(name).map(|dir| (dir, None)) };
        match opened.and_then(|(dir, mend)| Ok((names(&dir)?, dir, mend))) {
            Ok((names, dir, mend)) => {
                writer.add(&entry(Kind::Dir, 0), &mut io::empty())?;
                Ok(Some(Level { dir, path, names: names.into_iter(), mend }))
            }
            Err(err) => writer.skip(&path, &told(&err)).map(|()| None),
        }
    } else if kind.is_file() {
        let id = (meta.dev(), meta.ino());
        if let Some(first) = links.get(&id) {
            let target = first.clone();
            writer.add(&Entry { target, ..entry(Kind::Link, 0) }, &mut io::empty())?;
            return Ok(None);
        }
        if file(writer, dir, name, &meta, &entry(Kind::File, 0))? && meta.nlink() > 1 {
            links.insert(id, path);
        }
        Ok(None)
    } else {
        writer.skip(&path, "it is a pipe, a socket or a device").map(|()| None)
    }
}

/// Adds a file; `false` if it was skipped.
fn file<W: io::Write>(
    writer: &mut Writer<W>,
    dir: &Dir,
    name: &std::ffi::OsStr,
    meta: &Metadata,
    entry: &Entry,
) -> io::Result<bool> {
    let skip = |writer: &mut Writer<W>, reason: &str| writer.skip(&entry.path, reason).map(|()| false);
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let opened = dir.open_with(name, &options).map(cap_std::fs::File::into_std);
    let mut file = match opened.or_else(|err| mended_file(dir, name, err)) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(err) => return skip(writer, &told(&err)),
    };
    let before = file.metadata()?;
    // Swapped for something else since it was looked at.
    if !before.is_file() || (before.dev(), before.ino()) != (meta.dev(), meta.ino()) {
        return skip(writer, "it was replaced while it was read");
    }
    if before.len().saturating_sub(before.blocks() * 512) > MAX_HOLES {
        return skip(writer, "it has more than 64 GiB of holes");
    }
    if before.len() <= SMALL {
        let mut changed = true;
        let mut bytes = Vec::new();
        for _ in 0..TRIES {
            let before = file.metadata()?;
            bytes.clear();
            io::Seek::rewind(&mut file)?;
            if let Err(err) = (&file).take(SMALL + 1).read_to_end(&mut bytes) {
                return skip(writer, &told(&err));
            }
            bytes.truncate(usize::try_from(SMALL).unwrap_or(usize::MAX));
            changed = !same(&before, &file.metadata()?);
            if !changed {
                break;
            }
        }
        writer.add(&Entry { size: bytes.len() as u64, ..entry.clone() }, &mut bytes.as_slice())?;
        if changed {
            writer.skip(&entry.path, "it changed while it was read")?;
        }
        return Ok(true);
    }
    let mut input = Tolerant { file, failed: None };
    let read = writer.add(&Entry { size: before.len(), ..entry.clone() }, &mut input)?;
    if let Some(err) = &input.failed {
        writer.skip(&entry.path, &told(err))?;
    } else if read < before.len() || !same(&before, &input.file.metadata()?) {
        writer.skip(&entry.path, "it changed while it was read")?;
    }
    Ok(true)
}

/// A file whose end is where it cannot be read on: its head is in the archive already.
struct Tolerant {
    file: File,
    failed: Option<io::Error>,
}

impl io::Read for Tolerant {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Err(err) if err.kind() != io::ErrorKind::Interrupted => {
                self.failed = Some(err);
                Ok(0)
            }
            other => other,
        }
    }
}

fn same(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    (one.len(), one.mtime(), one.mtime_nsec()) == (other.len(), other.mtime(), other.mtime_nsec())
}

/// The system's words without a number.
fn told(err: &io::Error) -> String {
    let text = err.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Opens what is ours but has a mode that keeps even its owner out; the mode that it had.
fn mended(dir: &Dir, name: &std::ffi::OsStr, err: io::Error, bits: Mode, flags: OFlag) -> io::Result<(OwnedFd, Mode)> {
    if err.kind() != io::ErrorKind::PermissionDenied {
        return Err(err);
    }
    let handle = openat(dir.as_fd(), name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    let stat = fstat(&handle)?;
    let wanted = if flags.contains(OFlag::O_DIRECTORY) { libc::S_IFDIR } else { libc::S_IFREG };
    if stat.st_uid != geteuid().as_raw() || stat.st_mode & libc::S_IFMT != wanted {
        return Err(err);
    }
    let mode = Mode::from_bits_truncate(stat.st_mode);
    // The one way from such a handle to the thing itself (open(2), O_PATH).
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    fchmodat(AT_FDCWD, path.as_str(), mode | bits, FchmodatFlags::FollowSymlink)?;
    match openat(AT_FDCWD, path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC | flags, Mode::empty()) {
        Ok(opened) => Ok((opened, mode)),
        Err(errno) => {
            let _ = fchmodat(AT_FDCWD, path.as_str(), mode, FchmodatFlags::FollowSymlink);
            Err(errno.into())
        }
    }
}

fn mended_file(dir: &Dir, name: &std::ffi::OsStr, err: io::Error) -> io::Result<File> {
    let (file, mode) = mended(dir, name, err, Mode::S_IRUSR, OFlag::O_NONBLOCK)?;
    fchmod(&file, mode)?;
    Ok(file.into())
}

/// A directory must be open to its owner until everything in it is read.
fn mended_dir(dir: &Dir, name: &std::ffi::OsStr) -> io::Result<(Dir, Option<Mode>)> {
    let denied = io::ErrorKind::PermissionDenied.into();
    let (opened, mode) = mended(dir, name, denied, Mode::S_IRUSR | Mode::S_IXUSR, OFlag::O_DIRECTORY)?;
    Ok((Dir::from_std_file(opened.into()), Some(mode)))
}
