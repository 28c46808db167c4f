//! Taking a change back, where its result still stands as it was left.

use assistant_api::{
    EffectId, Role,
    effects::{EffectState, Undone},
};
use serde_json::json;

use super::{
    actor::Actor,
    change::{Before, Change},
    guard::Place,
    history, reconcile, store, transfer, trash,
};
use crate::{
    cx::Cx,
    error::{Error, Result},
    ledger,
    root::Mode,
};

/// Takes the change of an effect back: by a change of its own, which can be taken back in its turn.
///
/// # Errors
/// `not_found`; `conflict` when it changed no file, when somebody has changed the result since, or when what was there
/// before is not kept any more.
pub async fn undo(cx: &Cx, role: Role, id: EffectId) -> Result<Undone> {
    let effect = cx.store.read(move |conn| ledger::get(conn, id)).await?;
    let Ok(change) = serde_json::from_value::<Change>(effect.detail) else {
        let message = format!("effect {id} ({}) is not a change of a file, and cannot be taken back", effect.tool);
        return Err(Error::conflict(message));
    };
    if effect.state != EffectState::Confirmed {
        return Err(Error::conflict(format!(
            "effect {id} is {}: there is nothing to take back",
            effect.state.as_str()
        )));
    }
    let found = stands(cx, change.clone()).await?;
    let actor = |tool| {
        let mut actor = Actor::person(role, tool, &json!({ "undo": id }));
        actor.rule = format!("undo-of-{id}");
        actor
    };
    let done = match change {
        Change::Write { path, before: None, .. } | Change::Copy { path, .. } | Change::Folder { path } => {
            trash::delete(cx, &actor("file_delete"), path.clone()).await?;
            format!("{path} is in the trash")
        }
        Change::Write { path, before: Some(Before { kept, .. }), .. } => {
            let gone = || {
                Error::conflict(format!("what {path} was before is not kept any more"))
                    .hint("retention.kept_file_days and retention.kept_file_bytes say how long")
            };
            let name = kept.ok_or_else(gone)?;
            let version = cx.store.read(move |conn| store::kept_named(conn, &name)).await?.ok_or_else(gone)?;
            history::put_back(cx, actor("file_write"), version, found).await?;
            format!("{path} has the content that it had before")
        }
        Change::Move { from, path, .. } => {
            transfer::rename(cx, &actor("file_move"), path, from.clone()).await?;
            format!("{from} is where it was")
        }
        Change::Trash { path, trash_path, .. } => {
            trash::restore(cx, &actor("file_move"), trash_path, Some(path.clone())).await?;
            format!("{path} is where it was")
        }
        Change::Restore { path, .. } => {
            trash::delete(cx, &actor("file_delete"), path.clone()).await?;
            format!("{path} is in the trash again")
        }
        Change::Purge { path, .. } => {
            return Err(Error::conflict(format!("{path} was deleted for good")));
        }
    };
    Ok(Undone { id, done })
}

/// That everything is as the change left it; how its file may be written over.
async fn stands(cx: &Cx, change: Change) -> Result<Mode> {
    Place::of(cx)?
        .run(move |place| {
            let changed = || {
                Error::conflict(format!("{} is not as this change left it: it was changed since", change.path()))
                    .hint("assistantctl effects shows what came later")
            };
            if matches!(change, Change::Purge { .. }) {
                return Ok(Mode::Replace);
            }
            let path = place.root.rel(change.path())?;
            let before = place.root.locate(&path).ok().and_then(|spot| spot.meta);
            if reconcile::look(place, &change)? != EffectState::Confirmed {
                return Err(changed());
            }
            if let Change::Folder { .. } = change
                && !place.root.list(&path, 1)?.0.is_empty()
            {
                return Err(Error::conflict(format!("{path} is not empty")).hint("delete it, if that is what you want"));
            }
            // Looked at before its content was: what is written in between is noticed.
            Ok(before.map_or(Mode::Replace, |meta| Mode::Unchanged(meta.mtime_ns)))
        })
        .await
}
