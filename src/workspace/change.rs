//! One change of the workspace: written into the ledger, made, settled; whatever happens to the caller in between.

use assistant_api::{EffectId, JobId, effects::EffectState};
use jiff::Timestamp;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    actor::Actor,
    guard::Place,
    origins, reconcile,
    store::{self, NewTrash},
};
use crate::{
    crashpoint::{self, Point},
    cx::Cx,
    error::{Error, Result},
    events, jobs,
    ledger::{self, NewEffect},
    policy::Origin,
    root::Guards,
};

/// A file's content before a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    pub sha256: String,
    pub size: u64,
    /// Under which name in `kept` it lies. An append to a large file keeps nothing: the old content is the beginning
    /// of the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// What is done, as the ledger keeps it in `detail`: enough to find out after a crash whether it was, and to undo it.
/// Inodes are texts because JSON numbers lose digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Change {
    Write { path: String, before: Option<Before>, after: String, size: u64, append: bool, temporary: String },
    Folder { path: String },
    Move { from: String, path: String, is_dir: bool, inode: String },
    Copy { from: String, path: String, is_dir: bool, after: Option<String>, temporary: String },
    Trash { path: String, trash_path: String, is_dir: bool, size: u64, inode: String },
    Restore { trash_path: String, path: String, inode: String },
    Purge { path: String, is_dir: bool },
}

impl Change {
    /// What it is called in the event stream.
    fn verb(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write",
            Self::Folder { .. } => "folder",
            Self::Move { .. } => "move",
            Self::Copy { .. } => "copy",
            Self::Trash { .. } => "trash",
            Self::Restore { .. } => "restore",
            Self::Purge { .. } => "purge",
        }
    }

    /// The path that it makes, changes or removes.
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Write { path, .. }
            | Self::Folder { path }
            | Self::Move { path, .. }
            | Self::Copy { path, .. }
            | Self::Trash { path, .. }
            | Self::Restore { path, .. }
            | Self::Purge { path, .. } => path,
        }
    }

    fn target(&self) -> String {
        match self {
            Self::Move { from, path, .. } | Self::Copy { from, path, .. } => format!("{from} -> {path}"),
            _ => self.path().to_owned(),
        }
    }

    /// What the ledger keeps: all of it, and under `written` the paths that hold the result.
    fn detail(&self) -> Result<serde_json::Value> {
        let written: &[&str] = match self {
            Self::Write { path, .. }
            | Self::Move { path, .. }
            | Self::Copy { path, .. }
            | Self::Restore { path, .. } => &[path.as_str()],
            Self::Folder { .. } | Self::Trash { .. } | Self::Purge { .. } => &[],
        };
        let mut detail = serde_json::to_value(self)?;
        detail["written"] = json!(written);
        Ok(detail)
    }

    pub(super) fn kept(&self) -> Option<&str> {
        match self {
            Self::Write { before: Some(Before { kept, .. }), .. } => kept.as_deref(),
            _ => None,
        }
    }
}

/// Makes a change. Runs to its end even if the caller goes away, so that the ledger always learns what happened.
/// `guards` are held until then.
pub(super) async fn perform<T: Send + 'static>(
    cx: &Cx,
    actor: &Actor,
    change: Change,
    guards: Guards,
    apply: impl FnOnce(&Place) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (cx, actor) = (cx.clone(), actor.clone());
    let tasks = cx.tasks.clone();
    let task = tasks.spawn(async move {
        let place = Place::of(&cx)?;
        let id = begin(&cx, &actor, &change).await?;
        crashpoint::hit(Point::EffectDispatched);
        let outcome = place.run(apply).await;
        let state = match &outcome {
            Ok(_) => EffectState::Confirmed,
            Err(err) => after_error(&place, &change, err).await,
        };
        let reason = outcome.as_ref().err().map(|err| err.message().to_owned());
        end(&cx, &actor, id, change, state, reason).await?;
        crashpoint::hit(Point::EffectSettled);
        drop(guards);
        outcome
    });
    task.await.map_err(Error::internal)?
}

async fn begin(cx: &Cx, actor: &Actor, change: &Change) -> Result<EffectId> {
    let (now, change, lease, origin) = (cx.clock.now(), change.clone(), actor.lease, actor.origin);
    let new = NewEffect {
        job_id: actor.job_id,
        call_key: actor.call_key.clone(),
        tool: actor.tool.clone(),
        target: change.target(),
        args_hash: actor.args_hash.clone(),
        origin: actor.origin,
        rule: actor.rule.clone(),
        detail: change.detail()?,
    };
    cx.store
        .write(move |tx| {
            if let Some(lease) = &lease {
                jobs::held(tx, lease)?;
            }
            let id = ledger::prepare(tx, now, &new)?;
            ledger::dispatch(tx, now, id)?;
            if let Change::Write { path, before: Some(Before { sha256, size, kept: Some(kept) }), .. } = &change {
                store::add_kept(tx, now, id, path, kept, sha256, *size)?;
            }
            origins::begin(tx, &change, origin)?;
            Ok(id)
        })
        .await
}

/// An error means that nothing was done, unless it came with or after the call that acts: then the disk says. What
/// was refused is not looked at, because what it would have made may be there by another hand.
async fn after_error(place: &Place, change: &Change, err: &Error) -> EffectState {
    let in_doubt = err.is_in_doubt();
    let change = change.clone();
    place
        .run(move |place| {
            let state = if in_doubt { reconcile::look(place, &change)? } else { EffectState::Failed };
            if state == EffectState::Failed {
                reconcile::clean(place, &change);
            }
            Ok(state)
        })
        .await
        .unwrap_or(EffectState::Unknown)
}

async fn end(
    cx: &Cx,
    actor: &Actor,
    id: EffectId,
    change: Change,
    state: EffectState,
    reason: Option<String>,
) -> Result<()> {
    let (now, job_id, origin) = (cx.clock.now(), actor.job_id, actor.origin);
    let detail = reason.map(|reason| json!({ "reason": reason }));
    cx.store
        .write(move |tx| {
            ledger::settle(tx, now, id, state, detail.as_ref())?;
            record(tx, now, job_id, origin, &change, state)
        })
        .await?;
    cx.wake.announce();
    Ok(())
}

/// The rows that follow from what became of a change; in the transaction that settles it.
pub(super) fn record(
    conn: &Connection,
    now: Timestamp,
    job_id: Option<JobId>,
    origin: Origin,
    change: &Change,
    state: EffectState,
) -> Result<()> {
    if state == EffectState::Failed {
        return change.kept().map_or(Ok(()), |kept| store::forget_kept(conn, kept));
    }
    if state != EffectState::Confirmed {
        return Ok(());
    }
    origins::made(conn, change, origin)?;
    match change {
        Change::Trash { path, trash_path, is_dir, size, .. } => {
            let new = NewTrash { trash_path, original_path: path, is_dir: *is_dir, size: *size, job_id };
            store::add_trash(conn, now, &new)?;
        }
        Change::Restore { trash_path: gone, .. } | Change::Purge { path: gone, .. } => {
            store::forget_trash(conn, gone)?;
        }
        Change::Move { from, path, .. } => {
            store::forget_trash(conn, from)?;
            store::move_kept(conn, from, path)?;
        }
        Change::Write { .. } | Change::Folder { .. } | Change::Copy { .. } => {}
    }
    let data = json!({ "op": change.verb(), "path": change.path() });
    events::emit(conn, now, "workspace.changed", job_id, &data)?;
    Ok(())
}
