//! The effect ledger: whatever leaves the machine or outlives its job is written down before it is done.
//!
//! ```text
//! prepare ─▶ prepared ─ dispatch ─▶ dispatched ─ settle ─▶ confirmed | failed | unknown
//!               ▲──────── postpone ──────┘ it certainly did not happen
//! ```
//!
//! After a crash nobody knows what became of a `dispatched` effect: its tool looks (`Tool::reconcile`), and what cannot
//! be found out becomes `unknown` and waits for a person. Nothing is ever repeated blindly.

mod api;
mod store;
#[cfg(test)]
mod tests;

use assistant_api::{
    EffectId, JobId,
    effects::{Effect, EffectState},
};
use serde_json::Value;

pub use self::store::{
    by_call, dispatch, for_job, get, list, mark, note, open_effects, postpone, prepare, repeat, settle, written_paths,
};
use crate::{
    cx::Cx,
    error::{Error, Result},
    policy::Origin,
    subsystems::Subsystem,
};

/// What the ledger adds to the daemon.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "ledger", routes: api::routes, tools: &[], loops: &[] };

/// An effect to be written down.
#[derive(Clone, Debug)]
pub struct NewEffect {
    /// `None`: a person did it by hand.
    pub job_id: Option<JobId>,
    /// The model's call, `<step seq>:<index>`; unique within the job.
    pub call_key: Option<String>,
    pub tool: String,
    /// What it acts on, for people: a path, a recipient.
    pub target: String,
    /// SHA-256 of the resolved arguments, hexadecimal.
    pub args_hash: String,
    /// The least trusted origin that led to it.
    pub origin: Origin,
    /// The policy rule that let it pass.
    pub rule: String,
    /// What the tool keeps about it; an object. `written` lists the workspace paths that it leaves behind, relative.
    pub detail: Value,
}

/// Which effects a list holds.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub job_id: Option<JobId>,
    pub state: Option<EffectState>,
    /// Only effects with a smaller id.
    pub before: Option<EffectId>,
    /// 1 to 200.
    pub limit: i64,
}

/// An effect that a crash may have left between two states, with the call that it belongs to.
#[derive(Clone, Debug)]
pub struct Open {
    pub effect: Effect,
    pub call_key: Option<String>,
}

/// A person says what became of an `unknown` effect: `confirmed` or `failed`.
///
/// # Errors
/// `not_found`; `conflict` when it is not unknown; `validation` for another state.
pub async fn resolve(cx: &Cx, id: EffectId, state: EffectState, by: &str) -> Result<Effect> {
    if !matches!(state, EffectState::Confirmed | EffectState::Failed) {
        return Err(Error::validation("an effect is resolved as confirmed or failed").field("state"));
    }
    let (now, by) = (cx.clock.now(), by.to_owned());
    let effect = cx.store.write(move |tx| store::resolve(tx, now, id, state, &by)).await?;
    cx.wake.announce();
    Ok(effect)
}
