//! The confined directory: every workspace path goes through here, and none can lead out of it.
//!
//! A path is first taken apart as text ([`RelPath`]), then walked one component at a time from the open root
//! ([`Spot`]): each directory is opened relative to the one before it and without following links, a symbolic link is
//! read and its target walked in the same way, and `..` beyond the root or an absolute target is refused. What comes
//! out is an open directory and one plain name in it, and everything that is done is done with that pair: no path is
//! looked up twice, so that a link swapped in between changes nothing.
//!
//! * Symbolic links that lead to a place inside are followed, also for writing; links out of the root never are.
//! * Only regular files and directories are opened. A pipe, socket or device is refused before it is opened, and the
//!   open itself does not block, in case it took a file's place in between.
//! * A file changes only by a new file that takes its name: written beside it, synced, renamed, the directory synced.
//! * Messages name paths relative to the root, never the root's own place on the host.
//!
//! It knows nothing of protected directories, trash or jobs: those are rules of the workspace.

mod copy;
mod failure;
mod lock;
mod path;
mod read;
mod resolve;
mod stage;
mod walk;
mod write;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::{ambient_authority, fs::Dir};

pub use self::{
    lock::Guards,
    path::RelPath,
    read::{Chunk, Item, Kind, Meta},
    resolve::Spot,
    stage::{Put, Staged, hex, is_temporary},
    walk::{Step, Walked},
    write::Mode,
};
use crate::error::{Error, Result};

/// Directories below each other that are walked into.
const MAX_DEPTH: usize = 128;

/// A directory, held open, and everything below it.
pub struct Root {
    dir: Arc<Dir>,
    /// Where it lies, for absolute paths that point inside; never shown.
    path: PathBuf,
    umask: u32,
    locks: lock::Locks,
}

impl Root {
    /// Opens the directory at `path`. `umask` is taken from the modes of what is made in it.
    ///
    /// # Errors
    /// `unavailable`, with the operating system's reason.
    pub fn open(path: &Path, umask: u32) -> Result<Self> {
        let fail =
            |err: std::io::Error| Error::unavailable(format!("the directory cannot be opened: {err}")).source(err);
        let path = path.canonicalize().map_err(fail)?;
        let dir = Dir::open_ambient_dir(&path, ambient_authority()).map_err(fail)?;
        Ok(Self { dir: Arc::new(dir), path, umask, locks: lock::Locks::default() })
    }

    /// Reads a path as people and models write it: relative to the root, or absolute and inside it. `.` is the root.
    ///
    /// # Errors
    /// `invalid` for what is empty, leads out, is too long, or has a NUL in it.
    pub fn rel(&self, text: &str) -> Result<RelPath> {
        RelPath::parse(text, &self.path)
    }

    /// Where it lies; for those who hand it on to another process, never to be shown.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root as a descriptor, for `fstatvfs` and the like.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Whether the root lies on another file system than the directory above it.
    pub fn is_mount(&self) -> bool {
        let device = |stat: nix::Result<nix::sys::stat::FileStat>| stat.ok().map(|stat| (stat.st_dev, stat.st_ino));
        let own = device(nix::sys::stat::fstatat(&*self.dir, ".", nix::fcntl::AtFlags::empty()));
        let above = device(nix::sys::stat::fstatat(&*self.dir, "..", nix::fcntl::AtFlags::empty()));
        match (own, above) {
            (Some(own), Some(above)) => own.0 != above.0 || own.1 == above.1,
            _ => false,
        }
    }

    fn file_mode(&self) -> u32 {
        0o666 & !self.umask
    }

    fn dir_mode(&self) -> u32 {
        0o777 & !self.umask
    }
}
