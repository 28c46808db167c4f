//! Changing: write, append, make directories, rename, remove.

use std::{io::Read as _, sync::Arc};

use cap_fs_ext::DirExt as _;
use cap_std::fs::Dir;
use nix::{
    errno::Errno,
    sys::stat::{Mode as Bits, fchmod, mkdirat},
};
use sha2::{Digest as _, Sha256};

use super::{
    Kind, MAX_DEPTH, Meta, Put, RelPath, Root, Spot,
    failure::{acting, explain},
    path::outside,
    stage::{hex, readable, rename_new, sync_dir},
};
use crate::error::{Error, Result};

const BUFFER: usize = 128 << 10;

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    CreateOnly,
    /// Anything that a file may replace.
    Replace,
    /// A file with this time of change, nanoseconds since 1970.
    Unchanged(i64),
}

impl Root {
    /// Writes a whole file; its directory must exist. Afterwards either the old or the new content is there.
    ///
    /// # Errors
    /// `conflict` when `mode` does not hold, `storage_full`, `forbidden` and the like.
    pub fn write_atomic(&self, path: &RelPath, bytes: &[u8], mode: Mode) -> Result<Meta> {
        let spot = self.resolve(path)?;
        let put = spot.put(mode)?;
        let mut staged = self.stage(&spot, &Self::temporary_name())?;
        staged.write(bytes)?;
        staged.commit(&spot, put)
    }

    /// Adds to the end of a file, or makes it. The result is a new file that takes the old one's name.
    ///
    /// # Errors
    /// As [`Root::write_atomic`].
    pub fn append(&self, path: &RelPath, bytes: &[u8]) -> Result<Meta> {
        let spot = self.resolve(path)?;
        let put = spot.put(Mode::Replace)?;
        let mut staged = self.stage(&spot, &Self::temporary_name())?;
        if spot.meta.is_some() {
            spot.each_block(|block| staged.write(block))?;
        }
        staged.write(bytes)?;
        staged.commit(&spot, put)
    }

    /// Makes a directory and those above it; links inside are followed. Gives back whether it made any.
    ///
    /// # Errors
    /// `invalid` when something else has the name.
    pub fn create_dir_all(&self, path: &RelPath) -> Result<bool> {
        let mut made = false;
        let mut so_far = RelPath::default();
        for name in path.names() {
            so_far = so_far.join(name)?;
            let spot = self.resolve(&so_far)?;
            match spot.meta {
                Some(meta) if meta.is_dir() => {}
                Some(_) => return Err(Error::invalid(format!("{so_far} exists and is not a directory"))),
                None => made |= self.create_dir(&spot)?,
            }
        }
        Ok(made)
    }

    /// Makes one directory; `false`: it was there already.
    pub(super) fn create_dir(&self, spot: &Spot) -> Result<bool> {
        let fail = |err: Errno| explain(err.into(), "making the directory", &spot.path);
        let bits = Bits::from_bits_truncate(self.dir_mode());
        match mkdirat(&*spot.dir, spot.name.as_str(), bits) {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Ok(false),
            Err(err) => return Err(acting(fail(err))),
        }
        set_up(spot, bits).map_err(Error::in_doubt)?;
        Ok(true)
    }

    /// Renames a file, directory or link, unless something has the new name.
    ///
    /// # Errors
    /// `conflict` when something has it; `invalid` across file systems.
    pub fn rename_noreplace(&self, from: &Spot, to: &Spot) -> Result<()> {
        if from.path.is_root() || to.path.is_root() {
            return Err(outside());
        }
        rename_new(&from.dir, &from.name, &to.dir, &to.name).map_err(|err| {
            match Errno::from_raw(err.raw_os_error().unwrap_or_default()) {
                Errno::EEXIST => Error::conflict(format!("{} already exists", to.path)),
                Errno::EINVAL => Error::invalid(format!("{} cannot be moved into itself", from.path)),
                _ => acting(explain(err, "moving", &from.path)),
            }
        })?;
        sync_dir(&to.dir, &to.path).and_then(|()| sync_dir(&from.dir, &from.path)).map_err(Error::in_doubt)
    }

    /// Removes a file, a link, or a directory with everything in it.
    ///
    /// # Errors
    /// What the operating system says; `not_found` when nothing is there.
    pub fn remove(&self, spot: &Spot) -> Result<()> {
        if spot.path.is_root() {
            return Err(outside());
        }
        if spot.existing()?.is_dir() {
            remove_tree(&spot.dir, &spot.name, &spot.path, 0).map_err(Error::in_doubt)?;
        } else {
            spot.dir.remove_file(&spot.name).map_err(|err| acting(explain(err, "removing", &spot.path)))?;
        }
        sync_dir(&spot.dir, &spot.path).map_err(Error::in_doubt)
    }
}

impl Spot {
    /// Removes an empty directory.
    ///
    /// # Errors
    /// `conflict` when something is in it.
    pub fn remove_empty(&self) -> Result<()> {
        self.dir.remove_dir(&self.name).map_err(|err| match err.kind() {
            std::io::ErrorKind::DirectoryNotEmpty => Error::conflict(format!("{} is not empty", self.path)),
            _ => acting(explain(err, "removing", &self.path)),
        })
    }

    /// What may be replaced here, by what is here now.
    ///
    /// # Errors
    /// `conflict` when `mode` does not hold already.
    pub fn put(&self, mode: Mode) -> Result<Put> {
        match (mode, self.meta) {
            (Mode::CreateOnly, Some(_)) => Err(Error::conflict(format!("{} already exists", self.path))),
            (Mode::CreateOnly | Mode::Replace, None) => Ok(Put::New),
            (Mode::Replace, Some(meta)) => Ok(Put::Over(meta)),
            (Mode::Unchanged(_), None) => {
                Err(Error::conflict(format!("{} has been deleted since it was read", self.path)))
            }
            (Mode::Unchanged(expected), Some(meta)) if meta.mtime_ns == expected => Ok(Put::Over(meta)),
            (Mode::Unchanged(_), Some(_)) => {
                Err(Error::conflict(format!("{} has changed since it was read", self.path))
                    .hint("read it again, then repeat the change"))
            }
        }
    }

    /// Hands the file's content to `take`, block by block.
    ///
    /// # Errors
    /// As [`Spot::open`], or what `take` says.
    pub fn each_block(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<Meta> {
        let (mut file, meta) = self.open()?;
        let mut block = vec![0; BUFFER];
        loop {
            match file.read(&mut block) {
                Ok(0) => return Ok(meta),
                Ok(count) => take(&block[..count])?,
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
                Err(err) => return Err(explain(err, "reading", &self.path)),
            }
        }
    }

    /// SHA-256 of the file's content, hexadecimal.
    ///
    /// # Errors
    /// As [`Spot::open`].
    pub fn sha256(&self) -> Result<String> {
        let mut hash = Sha256::new();
        self.each_block(|block| {
            hash.update(block);
            Ok(())
        })?;
        Ok(hex(&hash.finalize()))
    }
}

/// Gives a directory that was just made its permission bits, and brings it to disk.
fn set_up(spot: &Spot, bits: Bits) -> Result<()> {
    let fail = |err: Errno| explain(err.into(), "making the directory", &spot.path);
    let made =
        spot.dir.open_dir_nofollow(&spot.name).map_err(|err| explain(err, "making the directory", &spot.path))?;
    // The process's own umask must not count; the set-group-id bit that the directory above gave must stay.
    let found = nix::sys::stat::fstat(&made).map_err(fail)?;
    let inherited = Bits::from_bits_truncate(found.st_mode) & Bits::S_ISGID;
    if Bits::from_bits_truncate(found.st_mode & 0o777) != bits {
        let made = readable(&made).map_err(|err| explain(err, "making the directory", &spot.path))?;
        let set = |bits| fchmod(&made, bits);
        // A service may not name that bit, even where it is there; its own group is then the workspace's.
        set(bits | inherited)
            .or_else(|errno| if errno == Errno::EPERM { set(bits) } else { Err(errno) })
            .map_err(fail)?;
    }
    sync_dir(&spot.dir, &spot.path)
}

fn remove_tree(parent: &Arc<Dir>, name: &str, path: &RelPath, depth: usize) -> Result<()> {
    let fail = |err| explain(err, "removing", path);
    if depth >= MAX_DEPTH {
        return Err(Error::invalid(format!("{path} has directories more than {MAX_DEPTH} deep")));
    }
    let dir = Arc::new(parent.open_dir_nofollow(name).map_err(fail)?);
    for entry in dir.entries().map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let below = entry.file_name();
        let kind = Meta::of(&entry.metadata().map_err(fail)?).kind;
        match (kind, below.to_str()) {
            (Kind::Dir, Some(below)) => remove_tree(&dir, below, path, depth + 1)?,
            (Kind::Dir, None) => dir.remove_dir_all(&below).map_err(fail)?,
            (_, _) => dir.remove_file(&below).map_err(fail)?,
        }
    }
    drop(dir);
    match parent.remove_dir(name) {
        Err(err) if err.raw_os_error() == Some(nix::libc::ENOENT) => Ok(()),
        result => result.map_err(fail),
    }
}
