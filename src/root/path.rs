//! Paths as text: relative, without `.`, `..`, empty components or NUL.

use std::{fmt, path::Path};

use crate::error::{Error, Result};

/// Bytes of one name (`NAME_MAX`, limits.h).
const MAX_NAME: usize = 255;
/// Bytes of a whole path (`PATH_MAX` without its NUL).
const MAX_PATH: usize = 4095;

/// A path below the root; the root itself is empty and shown as `.`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(String);

impl RelPath {
    pub(super) fn parse(text: &str, root: &Path) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::invalid("path is empty").hint("`.` is the workspace itself"));
        }
        if text.contains('\0') {
            return Err(Error::invalid("path contains a NUL character"));
        }
        if text.len() > MAX_PATH {
            return Err(Error::invalid(format!("path is longer than {MAX_PATH} bytes")));
        }
        let text = if text.starts_with('/') {
            // Compared by components, so that `/srv/workspace2` is not inside `/srv/workspace`.
            Path::new(text).strip_prefix(root).ok().and_then(Path::to_str).ok_or_else(outside)?
        } else {
            text
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or_else(outside)?;
                }
                name if name.len() > MAX_NAME => {
                    return Err(Error::invalid(format!("a name in the path is longer than {MAX_NAME} bytes")));
                }
                name => parts.push(name),
            }
        }
        if parts.len() > super::MAX_DEPTH {
            return Err(Error::invalid(format!("path has more than {} components", super::MAX_DEPTH)));
        }
        Ok(Self(parts.join("/")))
    }

    /// From components that are known to be plain names.
    pub(super) fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().collect::<Vec<_>>().join("/"))
    }

    /// The path as it is shown; `.` for the root.
    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { "." } else { &self.0 }
    }

    /// Whether it is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Its names from the root down.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// Its last name; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.names().next_back()
    }

    /// The directory that it lies in; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned())))
    }

    /// A name below it.
    ///
    /// # Errors
    /// `invalid` if `name` is not one plain name.
    pub fn join(&self, name: &str) -> Result<Self> {
        let plain = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
        if !plain || name.len() > MAX_NAME || self.0.len() + 1 + name.len() > MAX_PATH {
            return Err(Error::invalid("not a plain file name, or too long"));
        }
        Ok(if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}/{name}", self.0)) })
    }

    /// Whether it is `above` or lies below it.
    pub fn is_within(&self, above: &Self) -> bool {
        above.is_root() || self.0 == above.0 || self.0.strip_prefix(&above.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Its names below `above`, as a path; `None` when it does not lie there.
    pub fn below(&self, above: &Self) -> Option<&str> {
        if above.is_root() {
            return Some(&self.0);
        }
        self.0.strip_prefix(&above.0)?.strip_prefix('/')
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(super) fn outside() -> Error {
    Error::invalid("path must stay under the workspace").hint("give a path relative to the workspace")
}
