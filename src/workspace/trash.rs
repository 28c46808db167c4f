//! Deleting, which moves into the trash; restoring; and, for the admin, deleting for good what lies there.

use assistant_api::workspace::{Deleted, Entry, Trash};

use super::{
    actor::Actor,
    change::{Change, perform},
    entry::entry,
    guard::Place,
    store,
};
use crate::{
    cx::Cx,
    error::{Error, ErrorKind, Result},
    root::{RelPath, Spot, Step},
};

/// Bytes that a name in the trash may have, with room for time and number.
const MAX_NAME: usize = 200;

/// Deletes a file, directory or link: into the trash, or for good if it lies there and the actor may.
///
/// # Errors
/// `invalid` for protected paths, `forbidden` for who may not delete for good.
pub async fn delete(cx: &Cx, actor: &Actor, path: String) -> Result<Deleted> {
    let place = Place::of(cx)?;
    let spot = place
        .run(move |place| {
            let spot = place.root.locate(&place.root.rel(&path)?)?;
            place.rules.may_take(&spot.path)?;
            spot.existing()?;
            Ok(spot)
        })
        .await?;
    if spot.path.is_within(&place.rules.trash) {
        return purge(cx, actor, &place, spot).await;
    }
    let guards = place.root.lock(&[&spot.path, &place.rules.trash]).await;
    let second = cx.clock.now().as_second();
    let (spot, to, size) = place
        .run(move |place| {
            let spot = place.same(&spot)?;
            let (to, size) = (place.trash_name(&spot, second)?, place.size(&spot)?);
            Ok((spot, to, size))
        })
        .await?;
    let meta = *spot.existing()?;
    let deleted = Deleted { deleted_path: spot.path.to_string(), trash_path: Some(to.to_string()), permanent: false };
    let change = Change::Trash {
        path: spot.path.to_string(),
        trash_path: to.to_string(),
        is_dir: meta.is_dir(),
        size,
        inode: meta.inode.to_string(),
    };
    perform(cx, actor, change, guards, move |place| {
        place.root.rename_noreplace(&place.same(&spot)?, &place.free(&to)?).map_err(|err| match err.kind() {
            ErrorKind::Invalid if !err.is_in_doubt() => Error::invalid(err.message().to_owned())
                .hint("the trash lies on another file system; move the file there, or delete it from a shell"),
            _ => err,
        })
    })
    .await?;
    Ok(deleted)
}

async fn purge(cx: &Cx, actor: &Actor, place: &Place, spot: Spot) -> Result<Deleted> {
    if !actor.admin {
        return Err(match actor.job_id {
            Some(_) => Error::invalid(format!("{} is in the trash already", spot.path)),
            None => Error::forbidden("only an admin deletes for good what is in the trash"),
        });
    }
    let guards = place.root.lock(&[&spot.path]).await;
    let deleted = Deleted { deleted_path: spot.path.to_string(), trash_path: None, permanent: true };
    let change = Change::Purge { path: spot.path.to_string(), is_dir: spot.existing()?.is_dir() };
    perform(cx, actor, change, guards, move |place| place.root.remove(&place.same(&spot)?)).await?;
    Ok(deleted)
}

/// Puts something from the trash back to where it was, or elsewhere.
///
/// # Errors
/// `not_found` when it is not in the trash, `conflict` when something has its old place.
pub async fn restore(cx: &Cx, actor: &Actor, trash_path: String, destination: Option<String>) -> Result<Entry> {
    let place = Place::of(cx)?;
    let from = place
        .run(move |place| {
            let spot = place.root.locate(&place.root.rel(&trash_path)?)?;
            if spot.path == place.rules.trash || !spot.path.is_within(&place.rules.trash) {
                return Err(Error::invalid(format!("{} is not in the trash", spot.path)).field("trash_path"));
            }
            spot.existing()?;
            Ok(spot)
        })
        .await?;
    let shown = from.path.to_string();
    let row = cx.store.read(move |conn| store::trash_at(conn, &shown)).await?;
    let destination = destination.or_else(|| row.map(|row| row.original_path)).ok_or_else(|| {
        Error::invalid(format!("it is not known where {} was", from.path))
            .field("destination_path")
            .hint("say where to put it with destination_path")
    })?;
    let to = place.run(move |place| place.writable(&destination)).await?;
    let guards = place.root.lock(&[&from.path, &to]).await;
    let meta = *from.existing()?;
    let change =
        Change::Restore { trash_path: from.path.to_string(), path: to.to_string(), inode: meta.inode.to_string() };
    perform(cx, actor, change, guards, move |place| {
        place.root.rename_noreplace(&place.same(&from)?, &place.free(&to)?)?;
        Ok(entry(&to, &meta))
    })
    .await
}

/// What lies in the trash, newest first: a page, and the position of the next one.
///
/// # Errors
/// What the database says.
pub async fn listing(cx: &Cx, before: Option<i64>, limit: u32) -> Result<(Trash, Option<i64>)> {
    let mut rows = cx.store.read(move |conn| store::trash(conn, before, limit + 1)).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|(id, _)| *id);
    Ok((Trash { entries: rows.into_iter().map(|(_, entry)| entry).collect(), next_cursor: None }, next))
}

impl Place {
    /// A free name in the trash: the second, a number if that is taken, and the old name.
    fn trash_name(&self, spot: &Spot, second: i64) -> Result<RelPath> {
        let trash = &self.rules.trash;
        if self.root.real_path(trash)? != *trash {
            return Err(Error::invalid(format!("{trash} is a link and cannot be the trash")));
        }
        let mut name = spot.path.name().unwrap_or_default();
        while name.len() > MAX_NAME {
            let end = name.char_indices().next_back().map_or(0, |(at, _)| at);
            name = &name[..end];
        }
        for number in 0.. {
            let number = if number == 0 { String::new() } else { format!("{number}-") };
            let path = trash.join(&format!("{second}-{number}{name}"))?;
            if self.spot(&path)?.is_none_or(|spot| spot.meta.is_none()) {
                return Ok(path);
            }
        }
        Err(Error::conflict("the trash has no free name"))
    }

    /// Bytes of a file, or of what lies below a directory as far as a walk goes.
    fn size(&self, spot: &Spot) -> Result<u64> {
        let meta = spot.existing()?;
        if !meta.is_dir() {
            return Ok(meta.size);
        }
        let mut size = 0;
        self.root.walk(spot, self.max_walk, |_, item| {
            size += item.meta.size;
            Ok(Step::Enter)
        })?;
        Ok(size)
    }
}
