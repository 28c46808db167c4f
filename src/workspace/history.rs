//! What a file was before: the contents that writing it has replaced, as far as `retention.kept_file_days` and
//! `retention.kept_file_bytes` keep them.

use assistant_api::workspace::{Entry, History};

use super::{
    actor::Actor,
    guard::Place,
    put::{self, Source},
    store,
};
use crate::{
    cx::Cx,
    error::{Error, Result},
    root::{Meta, Mode, Root},
};

/// The old contents of a path, newest first: a page, and the position of the next one. The file need not be there.
///
/// # Errors
/// `invalid` for what is no path of the workspace.
pub async fn history(cx: &Cx, path: String, before: Option<i64>, limit: u32) -> Result<(History, Option<i64>)> {
    let place = Place::of(cx)?;
    let path = place
        .run(move |place| {
            let path = place.root.rel(&path)?;
            place.rules.may_read(&path, None)?;
            Ok(place.root.real_path(&path).unwrap_or(path).to_string())
        })
        .await?;
    let wanted = path.clone();
    let mut versions = cx.store.read(move |conn| store::history(conn, &wanted, before, limit + 1)).await?;
    let more = versions.len() > limit as usize;
    versions.truncate(limit as usize);
    let next = versions.last().filter(|_| more).map(|version| version.id);
    Ok((History { path, versions, next_cursor: None }, next))
}

/// One old content, open for reading, and the path that had it.
///
/// # Errors
/// `not_found` when it is not kept any more.
pub async fn old_content(cx: &Cx, id: i64) -> Result<(std::fs::File, Meta, String)> {
    let (path, name, _) = kept(cx, id).await?;
    let place = Place::of(cx)?;
    place
        .run(move |place| {
            let home = place.kept()?;
            let (file, meta) = home.locate(&home.rel(&name)?)?.open()?;
            Ok((file, meta, path))
        })
        .await
}

/// Gives a file an old content again. What it has now is kept in its turn.
///
/// # Errors
/// As [`old_content`], and as [`super::write()`].
pub async fn put_back(cx: &Cx, mut actor: Actor, id: i64, mode: Mode) -> Result<Entry> {
    cx.check_space()?;
    let (path, name, origin) = kept(cx, id).await?;
    // Whoever puts it back has not read it: it is trusted as little as it was.
    actor.origin = actor.origin.least(origin);
    let place = Place::of(cx)?;
    let target = path.clone();
    let staged = place
        .run(move |place| {
            let home = place.kept()?;
            let old = home.locate(&home.rel(&name)?)?;
            let mut staged = place.root.stage(&place.nearest(&place.writable(&target)?)?, &Root::temporary_name())?;
            old.each_block(|block| staged.write(block))?;
            Ok(staged)
        })
        .await?;
    put::put(cx, &actor, path, Source::Staged(staged), mode).await
}

async fn kept(cx: &Cx, id: i64) -> Result<(String, String, crate::policy::Origin)> {
    let found = cx.store.read(move |conn| store::kept_at(conn, id)).await?;
    found.ok_or_else(|| {
        Error::not_found("old version", id).hint("retention.kept_file_days and retention.kept_file_bytes say how long")
    })
}
