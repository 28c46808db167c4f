//! Copying: a file by new content, a directory as a whole that appears at once.

use std::{ffi::OsStr, io};

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use nix::{
    fcntl::AtFlags,
    libc,
    sys::stat::{Mode, fchmod, mkdirat},
    unistd::linkat,
};

use super::{
    Kind, MAX_DEPTH, Meta, Put, RelPath, Root, Spot,
    failure::{acting, explain},
    stage::{readable, rename_new, sync_dir},
};
use crate::error::{Error, Result};

/// Says of a path whether it is to be left out.
type LeftOut<'a> = &'a dyn Fn(&RelPath) -> bool;

struct Tree<'a> {
    root: &'a Root,
    left_out: LeftOut<'a>,
    max: usize,
    entries: usize,
    /// What errors are said to be about.
    path: &'a RelPath,
}

impl Root {
    /// Copies a file, or a directory with all that is in it but what `left_out` names, to a place where nothing is.
    /// `temporary` is the name under which a copy is made before it gets its own. Links in a directory are copied as
    /// links if they are relative, never followed; pipes and devices are passed over.
    ///
    /// # Errors
    /// `conflict` when something is there, `too_large` for more than `max` entries, and what the system says; then
    /// nothing is left.
    pub fn copy(&self, from: &Spot, to: &Spot, temporary: &str, max: usize, left_out: LeftOut<'_>) -> Result<()> {
        if from.existing()?.is_dir() {
            return self.copy_tree(from, to, temporary, max, left_out);
        }
        let mut staged = self.stage(to, temporary)?;
        let meta = from.each_block(|block| staged.write(block))?;
        staged.set_mode(meta.mode | 0o200);
        staged.commit(to, Put::New).map(drop)
    }

    fn copy_tree(&self, from: &Spot, to: &Spot, temporary: &str, max: usize, left_out: LeftOut<'_>) -> Result<()> {
        let fail = |err: io::Error| explain(err, "copying to", &to.path);
        let source = from.open_dir()?;
        mkdirat(&*to.dir, temporary, Mode::from_bits_truncate(0o700)).map_err(|err| fail(err.into()))?;
        let mut tree = Tree { root: self, left_out, max, entries: 0, path: &to.path };
        let result = to
            .dir
            .open_dir_nofollow(temporary)
            .map_err(fail)
            .and_then(|target| tree.copy(&source, &from.path, &target, 0))
            .and_then(|()| {
                rename_new(&to.dir, temporary, &to.dir, &to.name).map_err(|err| match err.raw_os_error() {
                    Some(libc::EEXIST) => Error::conflict(format!("{} already exists", to.path)),
                    _ => acting(fail(err)),
                })
            })
            .and_then(|()| sync_dir(&to.dir, &to.path).map_err(Error::in_doubt));
        if result.is_err() {
            let _ = to.dir.remove_dir_all(temporary);
        }
        result
    }
}

impl Spot {
    /// Gives the file's present content a second home in another directory: by a hard link where this is its only
    /// name (it is never written in place), else by a copy.
    ///
    /// # Errors
    /// `conflict` when the file is no longer what was looked up.
    pub fn keep(&self, home: &Root, name: &str) -> Result<()> {
        let expected = self.existing()?;
        let to = home.locate(&home.rel(name)?)?;
        let linked = expected.links == 1
            && linkat(&*self.dir, self.name.as_str(), &*to.dir, to.name.as_str(), AtFlags::empty()).is_ok();
        if !linked {
            let mut staged = home.stage(&to, &Root::temporary_name())?;
            self.each_block(|block| staged.write(block))?;
            staged.commit(&to, Put::New)?;
        }
        let kept = if linked { to.look()? } else { self.look()? };
        if !kept.is_some_and(|kept| kept.same(expected)) {
            let _ = to.dir.remove_file(&to.name);
            return Err(Error::conflict(format!("{} has changed since it was read", self.path)));
        }
        sync_dir(&to.dir, &self.path)
    }
}

impl Tree<'_> {
    fn copy(&mut self, from: &Dir, from_path: &RelPath, to: &Dir, depth: usize) -> Result<()> {
        let path = self.path;
        let fail = |err| explain(err, "copying to", path);
        if depth >= MAX_DEPTH {
            return Err(Error::invalid(format!("the directory is more than {MAX_DEPTH} deep")));
        }
        for entry in from.entries().map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            // A name that is not UTF-8 cannot be protected by a rule, which is text.
            let below = name.to_str().and_then(|name| from_path.join(name).ok());
            if below.as_ref().is_some_and(|below| (self.left_out)(below)) {
                continue;
            }
            self.entries += 1;
            if self.entries > self.max {
                return Err(Error::too_large(format!("more than {} entries to copy", self.max))
                    .field("filesystem.max_walk_entries"));
            }
            let Ok(meta) = entry.metadata() else { continue };
            match Meta::of(&meta).kind {
                Kind::Dir => {
                    let source = from.open_dir_nofollow(&name).map_err(|err| self.swapped(err))?;
                    mkdirat(to, name.as_os_str(), Mode::from_bits_truncate(0o700)).map_err(|err| fail(err.into()))?;
                    let target = to.open_dir_nofollow(&name).map_err(fail)?;
                    let below = below.unwrap_or_else(|| from_path.clone());
                    self.copy(&source, &below, &target, depth + 1)?;
                }
                Kind::File => self.copy_file(from, &name, to)?,
                Kind::Symlink => {
                    let target = from.read_link_contents(&name).map_err(|err| self.swapped(err))?;
                    if target.is_relative() {
                        to.symlink(&target, &name).map_err(fail)?;
                    }
                }
                Kind::Special => {}
            }
        }
        fchmod(readable(to).map_err(fail)?, Mode::from_bits_truncate(self.root.dir_mode()))
            .map_err(|err| fail(err.into()))?;
        sync_dir(to, path)
    }

    /// An entry that is no longer what the directory said a moment ago.
    fn swapped(&self, err: io::Error) -> Error {
        match err.raw_os_error() {
            Some(libc::EINVAL | libc::ELOOP | libc::ENOTDIR | libc::ENOENT | libc::ENXIO) => {
                Error::conflict("the directory has changed while it was copied").hint("try again")
            }
            _ => explain(err, "copying to", self.path),
        }
    }

    fn copy_file(&self, from: &Dir, name: &OsStr, to: &Dir) -> Result<()> {
        let fail = |err| explain(err, "copying to", self.path);
        let mut options = OpenOptions::new();
        options.read(true).follow(FollowSymlinks::No).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let mut source = from.open_with(name, &options).map_err(|err| self.swapped(err))?;
        let meta = Meta::of(&source.metadata().map_err(fail)?);
        if meta.kind != Kind::File {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).follow(FollowSymlinks::No);
        let mut target = to.open_with(name, &options).map_err(fail)?;
        io::copy(&mut source, &mut target).map_err(fail)?;
        fchmod(&target, Mode::from_bits_truncate(meta.mode | 0o200)).map_err(|err| fail(err.into()))?;
        target.sync_all().map_err(fail)
    }
}
