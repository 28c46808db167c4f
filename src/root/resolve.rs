//! From a path to an open directory and one plain name in it.

use std::{collections::VecDeque, io, path::Component, sync::Arc};

use cap_fs_ext::DirExt as _;
use cap_std::fs::Dir;

use super::{Kind, MAX_DEPTH, Meta, RelPath, Root, failure::explain, path::outside};
use crate::error::{Error, ErrorKind, Result};

/// Symbolic links followed in one path (`MAXSYMLINKS` of the kernel).
const MAX_LINKS: usize = 40;

/// A place below the root: an open directory and a name in it, which may or may not exist.
#[derive(Clone)]
pub struct Spot {
    pub(super) dir: Arc<Dir>,
    /// `.` for the root itself.
    pub(super) name: String,
    /// Where it really is: no part of it is a symbolic link.
    pub path: RelPath,
    /// What was there when it was looked up; `None`: nothing.
    pub meta: Option<Meta>,
}

impl Spot {
    /// What is there.
    ///
    /// # Errors
    /// `not_found` when nothing is.
    pub fn existing(&self) -> Result<&Meta> {
        self.meta.as_ref().ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{} does not exist", self.path)))
    }

    /// Looks again.
    pub fn look(&self) -> Result<Option<Meta>> {
        Meta::at(&self.dir, &self.name, &self.path)
    }

    /// Another name in the same directory.
    pub fn sibling(&self, name: &str) -> Result<Self> {
        let path = self.path.parent().ok_or_else(outside)?.join(name)?;
        let meta = Meta::at(&self.dir, name, &path)?;
        Ok(Self { dir: Arc::clone(&self.dir), name: name.to_owned(), path, meta })
    }
}

impl Root {
    /// Finds a path without following a link in its last component: for moving and deleting the link itself.
    ///
    /// # Errors
    /// `not_found` when a directory on the way is missing, `invalid` when the path leads out of the root.
    pub fn locate(&self, path: &RelPath) -> Result<Spot> {
        self.descend(path, false)
    }

    /// Finds a path, following links as long as they stay inside: for reading and writing.
    ///
    /// # Errors
    /// As [`Root::locate`].
    pub fn resolve(&self, path: &RelPath) -> Result<Spot> {
        self.descend(path, true)
    }

    /// Where a path really leads, even when it, or directories above it, do not exist yet.
    ///
    /// # Errors
    /// `invalid` when the path leads out of the root.
    pub fn real_path(&self, path: &RelPath) -> Result<RelPath> {
        let found = match self.resolve(path) {
            Err(err) if err.kind() == ErrorKind::NotFound => None,
            result => Some(result?.path),
        };
        match (found, path.parent(), path.name()) {
            (Some(found), ..) => Ok(found),
            (None, Some(parent), Some(name)) => self.real_path(&parent)?.join(name),
            (None, ..) => Ok(RelPath::default()),
        }
    }

    fn descend(&self, path: &RelPath, follow_last: bool) -> Result<Spot> {
        let mut todo: VecDeque<String> = path.names().map(str::to_owned).collect();
        let mut done: Vec<(String, Arc<Dir>)> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                done.pop().ok_or_else(outside)?;
                continue;
            }
            let dir = done.last().map_or(&self.dir, |(_, dir)| dir);
            let here = RelPath::from_names(done.iter().map(|(name, _)| name.as_str()).chain([name.as_str()]));
            let meta = Meta::at(dir, &name, &here)?;
            let last = todo.is_empty();
            match meta.map(|meta| meta.kind) {
                Some(Kind::Symlink) if follow_last || !last => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::invalid(format!("{path}: too many symbolic links")));
                    }
                    let target = read_link(dir, &name, &here)?;
                    for part in target.into_iter().rev() {
                        todo.push_front(part);
                    }
                }
                _ if last => return Ok(Spot { dir: Arc::clone(dir), name, path: here, meta }),
                Some(Kind::Dir) if done.len() < MAX_DEPTH => {
                    let next = dir.open_dir_nofollow(&name).map_err(|err| explain(err, "opening", &here))?;
                    done.push((name, Arc::new(next)));
                }
                Some(_) => return Err(Error::invalid(format!("{here} is not a directory"))),
                None => return Err(explain(io::Error::from_raw_os_error(nix::libc::ENOENT), "opening", &here)),
            }
        }
        // The path ended in a directory that is open already: the root, or the target of a link that ends in `..`.
        let Some((name, _)) = done.pop() else {
            let meta = Meta::at(&self.dir, ".", &RelPath::default())?;
            return Ok(Spot { dir: Arc::clone(&self.dir), name: ".".into(), path: RelPath::default(), meta });
        };
        let here = RelPath::from_names(done.iter().map(|(name, _)| name.as_str()).chain([name.as_str()]));
        let dir = done.pop().map_or_else(|| Arc::clone(&self.dir), |(_, dir)| dir);
        let meta = Meta::at(&dir, &name, &here)?;
        Ok(Spot { dir, name, path: here, meta })
    }
}

/// The target of a link as names; absolute ones lead out.
fn read_link(dir: &Dir, name: &str, here: &RelPath) -> Result<Vec<String>> {
    let target = dir.read_link_contents(name).map_err(|err| match err.raw_os_error() {
        Some(nix::libc::EINVAL) => Error::conflict(format!("{here} has changed meanwhile")), // no link any more
        _ => explain(err, "reading the link", here),
    })?;
    let mut parts = Vec::new();
    for component in target.components() {
        match component {
            Component::Normal(part) => {
                let part = part.to_str().ok_or_else(|| Error::invalid(format!("{here}: its target is not UTF-8")))?;
                parts.push(part.to_owned());
            }
            Component::ParentDir => parts.push("..".into()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => {
                return Err(Error::invalid(format!("{here} is a symbolic link that leads out of the workspace")));
            }
        }
    }
    Ok(parts)
}
