//! What became of a change that a crash cut off: the files are looked at, nothing is repeated.

use assistant_api::effects::{Effect, EffectState};

use super::{
    change::{Change, record},
    guard::Place,
};
use crate::{
    cx::Cx,
    error::{Error, ErrorKind, Result},
    ledger,
    policy::Origin,
    root::{Kind, Meta, Spot},
};

/// Looks at what an effect of a file tool left: `confirmed` when the result is there, `failed` when everything is as
/// before, else `unknown`. What was made on the way is removed, and the trash learns of what came to lie in it.
///
/// # Errors
/// When the workspace cannot be used, or the ledger's entry is not one of a file tool.
pub async fn reconcile(cx: &Cx, effect: &Effect) -> Result<EffectState> {
    let change: Change = serde_json::from_value(effect.detail.clone())
        .map_err(|err| Error::internal(format!("effect {} is not one of a file: {err}", effect.id)))?;
    let place = Place::of(cx)?;
    // Whoever makes a change holds its path until it is settled, and may outlive the run that asked for it.
    let _guards = place.root.lock(&[&place.root.rel(change.path())?]).await;
    let id = effect.id;
    let present = cx.store.read(move |conn| ledger::get(conn, id)).await?.state;
    if !matches!(present, EffectState::Prepared | EffectState::Dispatched) {
        return Ok(present);
    }
    let looked = change.clone();
    let state = place
        .run(move |place| {
            let state = look(place, &looked)?;
            clean_temporary(place, &looked);
            if state == EffectState::Failed {
                clean(place, &looked);
            }
            Ok(state)
        })
        .await?;
    let (now, job_id) = (cx.clock.now(), effect.job_id);
    let origin = effect.origin.parse().unwrap_or(Origin::Stranger);
    cx.store.write(move |tx| record(tx, now, job_id, origin, &change, state)).await?;
    Ok(state)
}

/// Whether a change has been made.
pub(super) fn look(place: &Place, change: &Change) -> Result<EffectState> {
    let at = |path: &str| -> Result<Option<Spot>> {
        match place.root.rel(path).and_then(|path| place.root.locate(&path)) {
            Ok(spot) => Ok(spot.meta.is_some().then_some(spot)),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    };
    let moved = |from: &str, to: &str, inode: &str| -> Result<EffectState> {
        let is =
            |spot: Option<Spot>| spot.and_then(|spot| spot.meta).is_some_and(|meta| meta.inode.to_string() == inode);
        Ok(match (is(at(from)?), is(at(to)?)) {
            (false, true) => EffectState::Confirmed,
            (true, _) => EffectState::Failed,
            (false, false) => EffectState::Unknown,
        })
    };
    match change {
        Change::Write { path, before, after, .. } => {
            let now = match at(path)? {
                Some(spot) if spot.meta.is_some_and(|meta| meta.kind == Kind::File) => Some(spot.sha256()?),
                Some(_) => return Ok(EffectState::Unknown),
                None => None,
            };
            Ok(match (now, before) {
                (Some(now), _) if now == *after => EffectState::Confirmed,
                (Some(now), Some(before)) if now == before.sha256 => EffectState::Failed,
                (None, None) => EffectState::Failed,
                _ => EffectState::Unknown,
            })
        }
        Change::Folder { path } => {
            let made = at(path)?.and_then(|spot| spot.meta).is_some_and(|meta| meta.is_dir());
            Ok(if made { EffectState::Confirmed } else { EffectState::Failed })
        }
        Change::Copy { path, after, .. } => Ok(match (at(path)?, after) {
            (None, _) => EffectState::Failed,
            // A copy of a directory gets its name only when it is whole.
            (Some(Spot { meta: Some(Meta { kind: Kind::Dir, .. }), .. }), None) => EffectState::Confirmed,
            (Some(spot), Some(after)) if spot.sha256()? == *after => EffectState::Confirmed,
            _ => EffectState::Unknown,
        }),
        Change::Move { from, path, inode, .. } => moved(from, path, inode),
        Change::Trash { path, trash_path, inode, .. } => moved(path, trash_path, inode),
        Change::Restore { trash_path, path, inode } => moved(trash_path, path, inode),
        Change::Purge { path, is_dir } => Ok(match (at(path)?, is_dir) {
            (None, _) => EffectState::Confirmed,
            (Some(_), false) => EffectState::Failed,
            (Some(_), true) => EffectState::Unknown,
        }),
    }
}

/// Removes what a change that was not made had prepared.
pub(super) fn clean(place: &Place, change: &Change) {
    clean_temporary(place, change);
    if let Some(kept) = change.kept() {
        let _ = place.kept().and_then(|home| home.remove(&home.locate(&home.rel(kept)?)?));
    }
}

/// The temporary file lies beside its place, or, while directories were missing, in one above.
fn clean_temporary(place: &Place, change: &Change) {
    let (Change::Write { path, temporary, .. } | Change::Copy { path, temporary, .. }) = change else { return };
    let mut directory = place.root.rel(path).ok().and_then(|path| path.parent());
    while let Some(above) = directory {
        let spot = above.join(temporary).and_then(|path| place.root.locate(&path));
        if let Ok(spot) = spot
            && spot.meta.is_some()
        {
            let _ = place.root.remove(&spot);
            return;
        }
        directory = above.parent();
    }
}
