//! Moving and copying.

use assistant_api::{JobId, workspace::Entry};

use super::{
    actor::Actor,
    change::{Change, perform},
    entry::entry,
    guard::Place,
};
use crate::{
    cx::Cx,
    error::{Error, Result},
    root::{Kind, RelPath, Root, Spot},
};

impl Place {
    /// Source and destination of a move: the source's last component may be a link, which then itself moves.
    fn moving(&self, source: &str, destination: &str) -> Result<(Spot, RelPath)> {
        let from = self.root.locate(&self.root.rel(source)?)?;
        self.rules.may_take(&from.path)?;
        from.existing()?;
        let to = self.destination(destination, &from.path)?;
        Ok((from, to))
    }

    fn destination(&self, destination: &str, from: &RelPath) -> Result<RelPath> {
        let wanted = self.root.rel(destination)?;
        let to = match (wanted.parent(), wanted.name()) {
            (Some(parent), Some(name)) => self.root.real_path(&parent)?.join(name)?,
            _ => wanted,
        };
        self.rules.may_name(&to)?;
        if to == *from {
            return Err(Error::invalid("source and destination are the same path"));
        }
        if to.is_within(from) {
            return Err(Error::invalid(format!("{from} cannot go into itself")));
        }
        if self.spot(&to)?.is_some_and(|spot| spot.meta.is_some()) {
            return Err(Error::conflict(format!("{to} already exists")));
        }
        Ok(to)
    }

    /// The free place of a real path, its directory made if it was missing.
    pub(super) fn free(&self, path: &RelPath) -> Result<Spot> {
        if let Some(parent) = path.parent() {
            self.root.create_dir_all(&parent)?;
        }
        let spot = self.spot(path)?.ok_or_else(|| Error::conflict(format!("the directory of {path} has gone")))?;
        if spot.meta.is_some() {
            return Err(Error::conflict(format!("{path} already exists")));
        }
        Ok(spot)
    }

    /// A thing that was looked up before is still the same.
    pub(super) fn same(&self, before: &Spot) -> Result<Spot> {
        let found = self.spot(&before.path)?.filter(|found| {
            let (found, before) = (found.meta, before.meta);
            found.zip(before).is_some_and(|(found, before)| (found.inode, found.kind) == (before.inode, before.kind))
        });
        found.ok_or_else(|| Error::conflict(format!("{} has changed meanwhile", before.path)))
    }
}

/// Moves a file, directory or link; directories above the destination are made, and nothing is ever replaced.
///
/// # Errors
/// `conflict` when something is there already, `invalid` for protected paths.
pub async fn rename(cx: &Cx, actor: &Actor, source: String, destination: String) -> Result<Entry> {
    let place = Place::of(cx)?;
    let (from, to) = place.run(move |place| place.moving(&source, &destination)).await?;
    let guards = place.root.lock(&[&from.path, &to]).await;
    let meta = *from.existing()?;
    let change = Change::Move {
        from: from.path.to_string(),
        path: to.to_string(),
        is_dir: meta.is_dir(),
        inode: meta.inode.to_string(),
    };
    perform(cx, actor, change, guards, move |place| {
        let from = place.same(&from)?;
        let spot = place.free(&to)?;
        place.root.rename_noreplace(&from, &spot)?;
        Ok(entry(&to, spot.look().map_err(Error::in_doubt)?.as_ref().unwrap_or(&meta)))
    })
    .await
}

/// Copies a file or a directory to a path where nothing is. Tool results and the trash are left out of a directory.
///
/// # Errors
/// `conflict` when something is there already, `invalid` for protected paths, `too_large` for too many entries.
pub async fn copy(cx: &Cx, job: Option<JobId>, actor: &Actor, source: String, destination: String) -> Result<Entry> {
    let place = Place::of(cx)?;
    let planned = place.run(move |place| {
        let from = place.find(&source, job)?;
        let meta = *from.existing()?;
        if !matches!(meta.kind, Kind::File | Kind::Dir) {
            return Err(Error::invalid(format!("{} is neither a file nor a directory", from.path)));
        }
        let to = place.destination(&destination, &from.path)?;
        let after = if meta.is_dir() { None } else { Some(from.sha256()?) };
        Ok((from, meta, to, after))
    });
    let (from, meta, to, after) = planned.await?;
    let guards = place.root.lock(&[&to]).await;
    let temporary = Root::temporary_name();
    let change = Change::Copy {
        from: from.path.to_string(),
        path: to.to_string(),
        is_dir: meta.is_dir(),
        after,
        temporary: temporary.clone(),
    };
    perform(cx, actor, change, guards, move |place| {
        let from = place.same(&from)?;
        let spot = place.free(&to)?;
        place.root.copy(&from, &spot, &temporary, place.max_walk, &|path| place.rules.left_out(path, &from.path))?;
        Ok(entry(&to, spot.look().map_err(Error::in_doubt)?.as_ref().unwrap_or(&meta)))
    })
    .await
}
