//! Looking and reading.

use std::{
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::Arc,
};

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::fs::{Dir, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use nix::libc;

use super::{
    RelPath, Root, Spot,
    failure::{explain, special},
};
use crate::error::{Error, Result};

/// What kind of thing has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Dir,
    Symlink,
    /// A pipe, socket or device: never opened.
    Special,
}

/// What is known of a file without reading it. Links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    pub kind: Kind,
    /// Bytes; 0 for anything but a file.
    pub size: u64,
    /// Last change, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Last change of it, of its name or of its permissions, which nobody can set (`ctime`, inode(7)); likewise.
    pub ctime_ns: i64,
    pub inode: u64,
    pub device: u64,
    /// Names that the file has.
    pub links: u64,
    /// Permission bits.
    pub mode: u32,
}

impl Meta {
    pub(super) fn of(meta: &Metadata) -> Self {
        let kind = match meta.file_type() {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Dir,
            kind if kind.is_symlink() => Kind::Symlink,
            _ => Kind::Special,
        };
        Self {
            kind,
            size: if kind == Kind::File { meta.size() } else { 0 },
            mtime_ns: meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec()),
            ctime_ns: meta.ctime().saturating_mul(1_000_000_000).saturating_add(meta.ctime_nsec()),
            inode: meta.ino(),
            device: meta.dev(),
            links: meta.nlink(),
            mode: meta.mode() & 0o777,
        }
    }

    pub(super) fn at(dir: &Dir, name: &str, path: &RelPath) -> Result<Option<Self>> {
        match dir.symlink_metadata(name) {
            Ok(meta) => Ok(Some(Self::of(&meta))),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(explain(err, "looking at", path)),
        }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    /// Whether both describe the same content of the same file, as far as can be told without reading it.
    pub fn same(&self, other: &Self) -> bool {
        (self.kind, self.size, self.mtime_ns, self.inode, self.device)
            == (other.kind, other.size, other.mtime_ns, other.inode, other.device)
    }
}

/// One name in a directory.
#[derive(Clone, Debug)]
pub struct Item {
    pub name: String,
    pub path: RelPath,
    pub meta: Meta,
}

impl Item {
    /// Opens the regular file that has this name in `dir`.
    ///
    /// # Errors
    /// As [`Spot::open`].
    pub fn open(&self, dir: &Dir) -> Result<(std::fs::File, Meta)> {
        open(dir, &self.name, &self.path)
    }
}

/// A part of a file.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub bytes: Vec<u8>,
    /// Of the whole file.
    pub meta: Meta,
}

impl Spot {
    /// Opens the regular file that is here for reading.
    ///
    /// # Errors
    /// `not_found`, or `invalid` for anything but a regular file; a pipe or device is not opened.
    pub fn open(&self) -> Result<(std::fs::File, Meta)> {
        self.expect(Kind::File)?;
        open(&self.dir, &self.name, &self.path)
    }

    /// Opens the directory that is here.
    ///
    /// # Errors
    /// `not_found`, or `invalid` for anything but a directory.
    pub fn open_dir(&self) -> Result<Arc<Dir>> {
        self.expect(Kind::Dir)?;
        if self.path.is_root() {
            return Ok(Arc::clone(&self.dir));
        }
        self.dir.open_dir_nofollow(&self.name).map(Arc::new).map_err(|err| explain(err, "opening", &self.path))
    }

    /// Reads up to `max` bytes from `offset`.
    ///
    /// # Errors
    /// As [`Spot::open`].
    pub fn read(&self, offset: u64, max: u64) -> Result<Chunk> {
        let fail = |err| explain(err, "reading", &self.path);
        let (mut file, meta) = self.open()?;
        let mut bytes = Vec::new();
        if offset < meta.size {
            file.seek(SeekFrom::Start(offset)).map_err(fail)?;
            file.take(max).read_to_end(&mut bytes).map_err(fail)?;
        }
        Ok(Chunk { bytes, meta })
    }

    fn expect(&self, wanted: Kind) -> Result<()> {
        match (self.existing()?.kind, wanted) {
            (found, wanted) if found == wanted => Ok(()),
            (Kind::Special | Kind::Symlink, _) => Err(special(&self.path)),
            (_, Kind::File) => Err(Error::invalid(format!("{} is not a file", self.path))),
            (_, _) => Err(Error::invalid("path is not a directory").hint(format!("{} is a file", self.path))),
        }
    }
}

impl Root {
    /// Reads up to `max` bytes of a file from `offset`.
    ///
    /// # Errors
    /// `not_found`, `invalid` or what the operating system says.
    pub fn read(&self, path: &RelPath, offset: u64, max: u64) -> Result<Chunk> {
        self.resolve(path)?.read(offset, max)
    }

    /// What is at a path, links inside followed; `None`: nothing.
    ///
    /// # Errors
    /// `invalid` when the path leads out.
    pub fn metadata(&self, path: &RelPath) -> Result<Option<Meta>> {
        match self.resolve(path) {
            Ok(spot) => Ok(spot.meta),
            Err(err) if err.kind() == crate::error::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// The names in a directory, sorted without regard to case; at most `max`, and whether these are all.
    ///
    /// # Errors
    /// `not_found`, or `invalid` for anything but a directory.
    pub fn list(&self, path: &RelPath, max: usize) -> Result<(Vec<Item>, bool)> {
        let spot = self.resolve(path)?;
        list(&*spot.open_dir()?, &spot.path, max)
    }
}

/// Opens a file for reading. The caller has seen that it is regular; in case it was swapped since, the open does not
/// wait for the other end of a pipe, and what came out is looked at.
fn open(dir: &Dir, name: &str, path: &RelPath) -> Result<(std::fs::File, Meta)> {
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = dir.open_with(name, &options).map_err(|err| explain(err, "opening", path))?;
    let meta = Meta::of(&file.metadata().map_err(|err| explain(err, "looking at", path))?);
    if meta.kind != Kind::File {
        return Err(special(path));
    }
    Ok((file.into_std(), meta))
}

/// The names in an open directory. Names that are not UTF-8 cannot be said in a request and are left out.
pub(super) fn list(dir: &Dir, path: &RelPath, max: usize) -> Result<(Vec<Item>, bool)> {
    let fail = |err| explain(err, "listing", path);
    let mut items = Vec::new();
    let mut complete = true;
    for entry in dir.entries().map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        let Some(name) = Path::new(&name).to_str() else { continue };
        if items.len() >= max {
            complete = false;
            break;
        }
        // Gone since the directory was read, or unreadable: not there.
        let Ok(meta) = entry.metadata() else { continue };
        let Ok(below) = path.join(name) else { continue };
        items.push(Item { name: name.to_owned(), path: below, meta: Meta::of(&meta) });
    }
    items.sort_by_cached_key(|item| (item.name.to_lowercase(), item.name.clone()));
    Ok((items, complete))
}
