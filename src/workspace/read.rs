//! Looking: lists, contents, and whether anything has changed.

use assistant_api::{
    JobId,
    workspace::{Entry, Tree, Version},
};
use sha2::{Digest as _, Sha256};

use super::{entry::entry, guard::Place};
use crate::{
    cx::Cx,
    error::{Error, Result},
    root::{Kind, Meta, RelPath, Spot, Step},
};

/// Names that one directory listing sorts; beyond them it is cut.
const MAX_NAMES: usize = 50_000;

/// A part of a file, ending between two characters.
#[derive(Clone, Debug)]
pub struct Part {
    pub path: String,
    pub bytes: Vec<u8>,
    pub offset: u64,
    /// Of the whole file.
    pub size: u64,
    pub mtime_ns: i64,
}

impl Part {
    /// Where to read on.
    pub fn next_offset(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    /// Whether there is more.
    pub fn truncated(&self) -> bool {
        self.next_offset() < self.size
    }
}

impl Place {
    /// Finds what a path leads to, if `job` may look at it.
    pub(super) fn find(&self, path: &str, job: Option<JobId>) -> Result<Spot> {
        let spot = self.root.resolve(&self.root.rel(path)?)?;
        self.rules.may_read(&spot.path, job)?;
        spot.existing()?;
        Ok(spot)
    }

    fn list(&self, top: &Spot, job: Option<JobId>, recursive: bool, max: usize) -> Result<Tree> {
        let mut entries = Vec::new();
        let mut truncated = false;
        let bound = if recursive { self.max_walk } else { MAX_NAMES };
        let walked = self.root.walk(top, bound, |_, item| {
            let Some(shown) = self.show(item, &top.path, job) else { return Ok(Step::Skip) };
            if entries.len() == max {
                truncated = true;
                return Ok(Step::Stop);
            }
            entries.push(shown);
            Ok(if recursive && item.path != self.rules.trash { Step::Enter } else { Step::Skip })
        })?;
        Ok(Tree { root: top.path.to_string(), entries, truncated: truncated || walked.cut })
    }

    fn version(&self, max: usize) -> Result<Version> {
        let top = self.root.resolve(&RelPath::default())?;
        let (mut hash, mut count, mut size, mut latest) = (Sha256::new(), 0, 0, 0);
        let walked = self.root.walk(&top, max, |_, item| {
            if self.rules.hides(&item.path, &top.path) {
                return Ok(Step::Skip);
            }
            let kind = match item.meta.kind {
                Kind::File => b"f",
                Kind::Dir => b"d",
                Kind::Symlink => b"l",
                Kind::Special => return Ok(Step::Skip),
            };
            hash.update(item.path.as_str());
            hash.update([0]);
            hash.update(kind);
            hash.update(item.meta.size.to_le_bytes());
            hash.update(item.meta.mtime_ns.to_le_bytes());
            count += 1;
            size += item.meta.size;
            latest = latest.max(item.meta.mtime_ns);
            Ok(if item.path == self.rules.trash { Step::Skip } else { Step::Enter })
        })?;
        Ok(Version {
            version: crate::root::hex(&hash.finalize()),
            entry_count: count,
            total_size_bytes: size,
            latest_mtime_ns: latest.to_string(),
            truncated: walked.cut,
        })
    }
}

/// The entries of a directory, at most `max`.
///
/// # Errors
/// `invalid` for anything but a directory.
pub async fn list(cx: &Cx, job: Option<JobId>, path: String, recursive: bool, max: usize) -> Result<Tree> {
    Place::of(cx)?.run(move |place| place.list(&place.find(&path, job)?, job, recursive, max)).await
}

/// Part of a file: from `offset`, `max` bytes or `filesystem.max_read_bytes`, whichever is less, rounded so that no
/// character is cut.
///
/// # Errors
/// `invalid` for anything but a file, `not_found` when nothing is there.
pub async fn read(cx: &Cx, job: Option<JobId>, path: String, offset: u64, max: Option<u64>) -> Result<Part> {
    Place::of(cx)?
        .run(move |place| {
            let spot = place.find(&path, job)?;
            let max = max.unwrap_or(place.max_read).clamp(1, place.max_read);
            let mut chunk = spot.read(offset, max + 3)?;
            let whole = whole_characters(&chunk.bytes, usize::try_from(max).unwrap_or(usize::MAX));
            chunk.bytes.truncate(whole);
            Ok(Part {
                path: spot.path.to_string(),
                bytes: chunk.bytes,
                offset,
                size: chunk.meta.size,
                mtime_ns: chunk.meta.mtime_ns,
            })
        })
        .await
}

/// A whole file that is to leave the machine, at most `max` bytes of it.
///
/// # Errors
/// `forbidden` for what is not the user's own file, `too_large`, `invalid` for anything but a file.
pub async fn to_send(cx: &Cx, job: JobId, path: String, max: u64) -> Result<Part> {
    Place::of(cx)?
        .run(move |place| {
            let spot = place.find(&path, Some(job))?;
            place.rules.may_send(&spot.path)?;
            let chunk = spot.read(0, max.saturating_add(1))?;
            if chunk.bytes.len() as u64 > max {
                return Err(Error::too_large(format!("{} is over {max} bytes", spot.path)));
            }
            let (size, mtime_ns) = (chunk.bytes.len() as u64, chunk.meta.mtime_ns);
            Ok(Part { path: spot.path.to_string(), bytes: chunk.bytes, offset: 0, size, mtime_ns })
        })
        .await
}

/// How many of up to `max + 3` bytes to give: no character is cut, and one is given even if it is longer than `max`.
fn whole_characters(bytes: &[u8], max: usize) -> usize {
    let inside = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    if bytes.len() <= max {
        return bytes.len();
    }
    let back = (max.saturating_sub(3)..=max).rev().find(|at| !inside(*at));
    match back {
        Some(0) | None if max <= 3 => (max..bytes.len()).find(|at| !inside(*at)).unwrap_or(bytes.len()),
        Some(at) => at,
        None => max, // not UTF-8
    }
}

/// What is known of a path.
///
/// # Errors
/// `not_found` when nothing is there.
pub async fn metadata(cx: &Cx, job: Option<JobId>, path: String) -> Result<Entry> {
    Place::of(cx)?
        .run(move |place| {
            let spot = place.find(&path, job)?;
            let meta = spot.existing()?;
            if matches!(meta.kind, Kind::Special) {
                return Err(Error::invalid(format!("{} is neither a file nor a directory", spot.path)));
            }
            Ok(entry(&spot.path, meta))
        })
        .await
}

/// A hash that changes when anything in the workspace does, over at most `max` entries.
///
/// # Errors
/// When the workspace cannot be read.
pub async fn version(cx: &Cx, max: usize) -> Result<Version> {
    Place::of(cx)?.run(move |place| place.version(max)).await
}

/// Opens a file for reading; `None`: it is a directory.
///
/// # Errors
/// As [`read`].
pub async fn open_file(cx: &Cx, job: Option<JobId>, path: String) -> Result<Option<(std::fs::File, Meta, String)>> {
    Place::of(cx)?
        .run(move |place| {
            let spot = place.find(&path, job)?;
            if spot.existing()?.is_dir() {
                return Ok(None);
            }
            let (file, meta) = spot.open()?;
            Ok(Some((file, meta, spot.path.name().unwrap_or("workspace").to_owned())))
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::whole_characters;

    #[test]
    fn parts_end_between_characters() {
        let text = "aé€😀".as_bytes(); // 1 + 2 + 3 + 4 bytes
        let cut = |max: usize| whole_characters(&text[..text.len().min(max + 3)], max);
        assert_eq!((1..=11).map(cut).collect::<Vec<_>>(), [1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10]);
        assert_eq!(whole_characters("😀x".as_bytes(), 1), 4, "a character longer than the limit is given whole");
        assert_eq!(whole_characters(&[0x80; 20], 10), 10, "what is not UTF-8 is cut anywhere");
        assert_eq!(whole_characters(b"", 1), 0);
    }
}
