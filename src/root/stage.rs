//! New content on its way in: a temporary file beside its place, synced, then put there in one step.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt as _};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, RenameFlags, renameat2},
    sys::stat::{Mode, fchmod},
    unistd::{fsync, linkat},
};
use sha2::{Digest as _, Sha256};

use super::{
    Kind, Meta, RelPath, Root, Spot,
    failure::{acting, explain},
};
use crate::{
    crashpoint::{self, Point},
    error::{Error, Result},
};

const PREFIX: &str = ".~assistant-";

/// Whether a name is one of a temporary file; such names are never listed.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// What may be in the place that new content goes to.
#[derive(Clone, Copy, Debug)]
pub enum Put {
    /// Nothing.
    New,
    /// Exactly this.
    Over(Meta),
    /// Anything but a directory.
    Any,
}

/// A temporary file; removed when it is dropped without having been put in place.
pub struct Staged {
    dir: Arc<Dir>,
    name: String,
    /// What errors are said to be about.
    path: RelPath,
    file: File,
    /// Permission bits of a new file.
    mode: u32,
    hash: Sha256,
    size: u64,
    left: bool,
}

impl Root {
    /// A name for a temporary file or directory.
    pub fn temporary_name() -> String {
        format!("{PREFIX}{:016x}", fastrand::u64(..))
    }

    /// Begins new content, in the directory of `near`. `name` is that of the temporary file, from
    /// [`Root::temporary_name`].
    ///
    /// # Errors
    /// What the operating system says.
    pub fn stage(&self, near: &Spot, name: &str) -> Result<Staged> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).follow(FollowSymlinks::No);
        let file = near.dir.open_with(name, &options).map_err(|err| explain(err, "writing", &near.path))?;
        Ok(Staged {
            dir: Arc::clone(&near.dir),
            name: name.to_owned(),
            path: near.path.clone(),
            file,
            mode: self.file_mode(),
            hash: Sha256::new(),
            size: 0,
            left: true,
        })
    }
}

impl Staged {
    /// Adds bytes.
    ///
    /// # Errors
    /// `storage_full` and the like.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|err| self.fail(err))?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Permission bits for a new file, other than the umask's.
    pub(super) fn set_mode(&mut self, mode: u32) {
        self.mode = mode;
    }

    /// The name that it has until it is put in place.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// SHA-256 of the bytes so far, hexadecimal.
    pub fn sha256(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// Puts the file into its place; when this returns, it is on disk there. A file that it replaces hands its
    /// permission bits on.
    ///
    /// # Errors
    /// `conflict` when something else is in the place than `put` says; the place is then as it was.
    pub fn commit(mut self, place: &Spot, put: Put) -> Result<Meta> {
        self.path = place.path.clone();
        let mode = match (put, place.meta) {
            (_, Some(Meta { kind: Kind::Dir, .. })) => {
                return Err(Error::invalid(format!("{} is a directory", place.path)));
            }
            (_, Some(Meta { kind: Kind::Special, .. })) => return Err(super::failure::special(&place.path)),
            (Put::Over(Meta { mode, .. }), _) | (Put::Any, Some(Meta { kind: Kind::File, mode, .. })) => mode,
            _ => self.mode,
        };
        fchmod(&self.file, Mode::from_bits_truncate(mode)).map_err(|err| self.fail(err.into()))?;
        self.file.sync_all().map_err(|err| self.fail(err))?;
        crashpoint::hit(Point::FileWritten);
        match put {
            Put::New => {
                rename_new(&self.dir, &self.name, &place.dir, &place.name).map_err(|err| acting(self.fail(err)))?;
                self.left = false;
            }
            Put::Any => {
                self.dir.rename(&self.name, &place.dir, &place.name).map_err(|err| acting(self.fail(err)))?;
                self.left = false;
            }
            Put::Over(expected) => self.replace(place, &expected)?,
        }
        sync_dir(&place.dir, &place.path).map_err(Error::in_doubt)?;
        crashpoint::hit(Point::FileRenamed);
        let meta = self.file.metadata().map_err(|err| self.fail(err).in_doubt())?;
        Ok(Meta::of(&meta))
    }

    /// Swaps the two names, looks at what came out, and swaps back if it is not what was expected: nothing that
    /// somebody else wrote in between is lost.
    fn replace(&mut self, place: &Spot, expected: &Meta) -> Result<()> {
        let swap = || {
            let (own, its) = (self.name.as_str(), place.name.as_str());
            renameat2(&*self.dir, own, &*place.dir, its, RenameFlags::RENAME_EXCHANGE)
        };
        match swap() {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                if !place.look()?.is_some_and(|found| found.same(expected)) {
                    return Err(changed(&place.path));
                }
                self.dir.rename(&self.name, &place.dir, &place.name).map_err(|err| acting(self.fail(err)))?;
                self.left = false;
                return Ok(());
            }
            Err(Errno::ENOENT) => return Err(changed(&place.path)),
            Err(err) => return Err(acting(self.fail(err.into()))),
        }
        let found = Meta::at(&self.dir, &self.name, &place.path);
        if matches!(&found, Ok(Some(found)) if found.same(expected)) {
            return Ok(()); // the old file has the temporary name now and goes with it
        }
        let err = found.err().unwrap_or_else(|| changed(&place.path));
        if swap().is_err() {
            // What came out is somebody's work: it goes back under its name, or stays under the temporary one.
            self.left = false;
            let _ = rename_new(&self.dir, &self.name, &place.dir, &place.name);
            return Err(err.in_doubt());
        }
        Err(err)
    }

    fn fail(&self, err: io::Error) -> Error {
        explain(err, "writing", &self.path)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.left {
            let _ = self.dir.remove_file(&self.name);
        }
    }
}

fn changed(path: &RelPath) -> Error {
    Error::conflict(format!("{path} has changed since it was read")).hint("read it again, then repeat the change")
}

/// Renames, unless something has the new name.
pub(super) fn rename_new(from: &Dir, old: &str, to: &Dir, new: &str) -> io::Result<()> {
    match renameat2(from, old, to, new, RenameFlags::RENAME_NOREPLACE) {
        Err(Errno::EINVAL | Errno::ENOSYS) => {}
        result => return result.map_err(Into::into),
    }
    // The file system does not know the flag. For files a hard link does the same; directories are checked first.
    let meta = from.symlink_metadata(old)?;
    if meta.is_dir() {
        return match to.symlink_metadata(new) {
            Ok(_) => Err(io::Error::from_raw_os_error(nix::libc::EEXIST)),
            Err(_) => from.rename(old, to, new),
        };
    }
    linkat(from, old, to, new, AtFlags::empty())?;
    from.remove_file(old).map_err(|err| match to.remove_file(new) {
        Ok(()) => err,
        Err(_) => Errno::EIO.into(), // it has both names: neither done nor not done
    })
}

/// Brings the names in a directory to disk.
pub(super) fn sync_dir(dir: &Dir, path: &RelPath) -> Result<()> {
    readable(dir).and_then(|dir| fsync(dir).map_err(Into::into)).map_err(|err| explain(err, "writing", path))
}

/// Opens a directory again: `Dir` holds an `O_PATH` descriptor, which can be neither synced nor given a mode.
pub(super) fn readable(dir: &Dir) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(nix::libc::O_DIRECTORY).follow(FollowSymlinks::No);
    dir.open_with(".", &options)
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
