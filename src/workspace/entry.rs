//! What is shown of a file.

use assistant_api::{JobId, workspace::Entry};

use super::guard::Place;
use crate::root::{Item, Kind, Meta, RelPath};

/// A path with what is known of it.
pub(super) fn entry(path: &RelPath, meta: &Meta) -> Entry {
    Entry {
        name: path.name().unwrap_or(".").to_owned(),
        relative_path: path.to_string(),
        is_dir: meta.is_dir(),
        size_bytes: meta.size,
        mtime_ns: meta.mtime_ns.to_string(),
    }
}

impl Place {
    /// An entry of a listing that began at `top`. `None` for what is hidden, special, or a link that leads nowhere that
    /// `job` may look at; a link inside is shown as what it leads to.
    pub(super) fn show(&self, item: &Item, top: &RelPath, job: Option<JobId>) -> Option<Entry> {
        if self.rules.hides(&item.path, top) {
            return None;
        }
        match item.meta.kind {
            Kind::File | Kind::Dir => Some(entry(&item.path, &item.meta)),
            Kind::Special => None,
            Kind::Symlink => {
                let target = self.root.resolve(&item.path).ok()?;
                self.rules.may_read(&target.path, job).ok()?;
                let meta = target.meta.filter(|meta| matches!(meta.kind, Kind::File | Kind::Dir))?;
                Some(entry(&item.path, &meta))
            }
        }
    }
}
