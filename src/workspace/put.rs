//! Writing: whole files, appends, finished uploads, directories.

use assistant_api::workspace::Entry;
use sha2::{Digest as _, Sha256};

use super::{
    actor::Actor,
    change::{Before, Change, perform},
    entry::entry,
    guard::Place,
};
use crate::{
    cx::Cx,
    error::{Error, ErrorKind, Result},
    root::{Kind, Meta, Mode, Put, RelPath, Root, Spot, Staged, hex},
};

/// An append to a larger file does not keep the old content: it is the beginning of the new one.
const KEEP_APPENDED: u64 = 1 << 20;
/// Keeping a content of this size is a reason to look whether too much is kept.
const LARGE: u64 = 16 << 20;

/// New content.
pub(super) enum Source {
    Whole(Vec<u8>),
    /// Goes to the end.
    More(Vec<u8>),
    /// Is on disk already, beside its place.
    Staged(Staged),
}

/// What a write will do, found out before it is written into the ledger.
struct Plan {
    source: Source,
    old: Option<Meta>,
    change: Change,
}

/// Writes a file, making the directories above it. Links inside the workspace are followed.
///
/// # Errors
/// `conflict` when `mode` does not hold, `invalid` for a protected path, `too_large` above
/// `filesystem.max_write_bytes`, and what the disk says.
pub async fn write(cx: &Cx, actor: &Actor, path: String, content: Vec<u8>, mode: Mode) -> Result<Entry> {
    check_size(cx, content.len())?;
    put(cx, actor, path, Source::Whole(content), mode).await
}

/// Adds to the end of a file, or makes it.
///
/// # Errors
/// As [`write()`].
pub async fn append(cx: &Cx, actor: &Actor, path: String, content: Vec<u8>) -> Result<Entry> {
    check_size(cx, content.len())?;
    put(cx, actor, path, Source::More(content), Mode::Replace).await
}

/// Makes a directory and those above it; one that exists is as good.
///
/// # Errors
/// `invalid` for a protected path or when something else has the name.
pub async fn folder(cx: &Cx, actor: &Actor, path: String) -> Result<Entry> {
    let place = Place::of(cx)?;
    let path = place.run(move |place| place.writable(&path)).await?;
    let guards = place.root.lock(&[&path]).await;
    let looked = path.clone();
    let found = place.run(move |place| place.root.metadata(&looked)).await?;
    match found {
        Some(meta) if meta.is_dir() => return Ok(entry(&path, &meta)),
        Some(_) => return Err(Error::invalid(format!("{path} exists and is not a directory"))),
        None => {}
    }
    let change = Change::Folder { path: path.to_string() };
    perform(cx, actor, change, guards, move |place| {
        place.root.create_dir_all(&path)?;
        let spot = place.root.resolve(&path).map_err(Error::in_doubt)?;
        Ok(entry(&path, spot.existing().map_err(Error::in_doubt)?))
    })
    .await
}

fn check_size(cx: &Cx, size: usize) -> Result<()> {
    let max = cx.config.load().filesystem.max_write_bytes.0;
    if size as u64 > max {
        return Err(Error::too_large(format!("the content is larger than {max} bytes"))
            .field("content")
            .hint("write it in parts with file_append, or raise filesystem.max_write_bytes"));
    }
    Ok(())
}

pub(super) async fn put(cx: &Cx, actor: &Actor, path: String, source: Source, mode: Mode) -> Result<Entry> {
    let place = Place::of(cx)?;
    let path = place.run(move |place| place.writable(&path)).await?;
    let guards = place.root.lock(&[&path]).await;
    let planned = path.clone();
    let Plan { source, old, change } = place.run(move |place| place.plan(&planned, source, mode)).await?;
    let large = change.kept().is_some() && old.is_some_and(|old| old.size >= LARGE);
    let kept = change.kept().map(str::to_owned);
    let Change::Write { temporary, .. } = &change else { return Err(Error::internal("not a write")) };
    let temporary = temporary.clone();
    let written = perform(cx, actor, change, guards, move |place| {
        let meta = place.put(&path, source, old, kept.as_deref(), &temporary)?;
        Ok(entry(&path, &meta))
    })
    .await?;
    if large {
        cx.wake.retention.notify_one();
    }
    Ok(written)
}

impl Place {
    /// Where a path that is to be written really is, if something may be written there.
    pub(super) fn writable(&self, path: &str) -> Result<RelPath> {
        let real = self.root.real_path(&self.root.rel(path)?)?;
        self.rules.may_name(&real)?;
        Ok(real)
    }

    /// The place of a real path; `None` when its directory is missing.
    pub(super) fn spot(&self, real: &RelPath) -> Result<Option<Spot>> {
        match self.root.locate(real) {
            Ok(spot) if spot.path == *real => Ok(Some(spot)),
            Ok(_) => Err(Error::conflict(format!("{real} was replaced by a link meanwhile"))),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    fn plan(&self, path: &RelPath, source: Source, mode: Mode) -> Result<Plan> {
        let spot = self.spot(path)?;
        match (&spot, mode) {
            (Some(spot), mode) => drop(spot.put(mode)?),
            (None, Mode::Unchanged(_)) => {
                return Err(Error::conflict(format!("{path} has been deleted since it was read")));
            }
            (None, _) => {}
        }
        let old = spot.as_ref().and_then(|spot| spot.meta);
        match old.map(|old| old.kind) {
            None | Some(Kind::File) => {}
            Some(Kind::Dir) => return Err(Error::invalid(format!("{path} is a directory"))),
            Some(_) => return Err(Error::invalid(format!("{path} is neither a file nor a directory"))),
        }
        let mut before = Sha256::new();
        let mut old_size = 0;
        if let (Some(spot), Some(_)) = (&spot, old) {
            spot.each_block(|block| {
                before.update(block);
                old_size += block.len() as u64;
                Ok(())
            })?;
        }
        let (after, size) = match &source {
            Source::Whole(bytes) => (hex(&Sha256::digest(bytes)), bytes.len() as u64),
            Source::More(bytes) => (hex(&before.clone().chain_update(bytes).finalize()), old_size + bytes.len() as u64),
            Source::Staged(staged) => (staged.sha256(), staged.size()),
        };
        let append = matches!(source, Source::More(_));
        let temporary = match &source {
            Source::Staged(staged) => staged.name().to_owned(),
            _ => Root::temporary_name(),
        };
        let keep = !append || old_size <= KEEP_APPENDED;
        let before = old.map(|_| Before {
            sha256: hex(&before.finalize()),
            size: old_size,
            kept: keep.then(|| format!("{:016x}", fastrand::u64(..))),
        });
        let change = Change::Write { path: path.to_string(), before, after, size, append, temporary };
        Ok(Plan { source, old, change })
    }

    fn put(
        &self,
        path: &RelPath,
        source: Source,
        old: Option<Meta>,
        kept: Option<&str>,
        temporary: &str,
    ) -> Result<Meta> {
        if old.is_none()
            && let Some(parent) = path.parent()
        {
            self.root.create_dir_all(&parent)?;
        }
        let spot = self.spot(path)?.ok_or_else(|| Error::conflict(format!("the directory of {path} has gone")))?;
        let unchanged = match (&spot.meta, &old) {
            (Some(found), Some(old)) => found.same(old),
            (found, old) => found.is_none() && old.is_none(),
        };
        if !unchanged {
            return Err(Error::conflict(format!("{path} has changed meanwhile")).hint("read it again, then repeat"));
        }
        if let Some(kept) = kept {
            spot.keep(&self.kept()?, kept)?;
        }
        let staged = match source {
            Source::Staged(staged) => staged,
            Source::Whole(bytes) => {
                let mut staged = self.root.stage(&spot, temporary)?;
                staged.write(&bytes)?;
                staged
            }
            Source::More(bytes) => {
                let mut staged = self.root.stage(&spot, temporary)?;
                if old.is_some() {
                    spot.each_block(|block| staged.write(block))?;
                }
                staged.write(&bytes)?;
                staged
            }
        };
        staged.commit(&spot, old.map_or(Put::New, Put::Over))
    }
}
