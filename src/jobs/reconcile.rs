//! What became of effects whose run ended in their middle: their tools look; what nobody can find out waits for a person.

use std::time::Duration;

use assistant_api::{
    JobId,
    effects::{Effect, EffectState},
};

use crate::{
    cx::Cx,
    error::{Error, ErrorKind, Result},
    ledger::{self, Open},
};

/// What a tool gets to look.
const LOOK: Duration = Duration::from_secs(30);

/// Settles every open effect of one job whose run did not end by itself. A failure is logged: the effects stay open and
/// the next start looks again.
pub(super) async fn after_run(cx: &Cx, job_id: JobId) {
    match cx.store.read(move |conn| ledger::open_effects(conn, Some(job_id))).await {
        Ok(open) => settle_all(cx, open).await,
        Err(err) => tracing::error!(job_id = job_id.0, error = err.chain(), "reconciling effects failed"),
    }
}

/// Settles these effects; what they have become meanwhile stays.
pub(super) async fn settle_all(cx: &Cx, open: Vec<Open>) {
    for Open { effect, .. } in open {
        if let Err(err) = settle(cx, &effect).await {
            tracing::error!(effect_id = effect.id.0, error = err.chain(), "reconciling an effect failed");
        }
        cx.wake.announce();
    }
}

async fn settle(cx: &Cx, effect: &Effect) -> Result<()> {
    // Whether the tool exists at present or not: what it has begun is not this run's to end.
    if cx.subsystems.iter().flat_map(|subsystem| subsystem.tools).any(|tool| tool.name == effect.tool && tool.lasting) {
        return Ok(());
    }
    let state = match effect.state {
        // It was written down and not begun.
        EffectState::Prepared => EffectState::Failed,
        _ => look(cx, effect).await,
    };
    let (now, id) = (cx.clock.now(), effect.id);
    tracing::info!(effect_id = id.0, tool = effect.tool, state = state.as_str(), "reconciled an effect");
    match cx.store.write(move |tx| ledger::settle(tx, now, id, state, None)).await {
        // Its run had settled it meanwhile, or its job was erased.
        Err(err) if matches!(err.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(()),
        other => other,
    }
}

async fn look(cx: &Cx, effect: &Effect) -> EffectState {
    let Some(tool) = cx.tools().find(|tool| tool.name == effect.tool) else { return EffectState::Unknown };
    let found = tokio::time::timeout(LOOK, (tool.reconcile)(cx, effect))
        .await
        .unwrap_or_else(|_| Err(Error::timeout("the tool did not answer in time")));
    match found {
        Ok(state @ (EffectState::Confirmed | EffectState::Failed)) => state,
        Ok(_) => EffectState::Unknown,
        Err(err) => {
            tracing::warn!(effect_id = effect.id.0, error = err.chain(), "an effect could not be looked at");
            EffectState::Unknown
        }
    }
}
