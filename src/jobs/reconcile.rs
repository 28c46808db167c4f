//! What became of effects whose run ended in their middle: their tools look; what nobody can find out waits for a person.

use std::time::Duration;

use assistant_api::{JobId, effects::EffectState};

use crate::{
    cx::Cx,
    error::{Error, Result},
    ledger::{self, Open},
};

/// What a tool gets to look.
const LOOK: Duration = Duration::from_secs(30);

/// Settles every open effect of one job, or of all after a crash. A failure is logged: the effects stay open and the
/// next start looks again.
pub(super) async fn after_crash(cx: &Cx, job_id: Option<JobId>) {
    if let Err(err) = settle_open(cx, job_id).await {
        tracing::error!(error = err.chain(), "reconciling effects failed");
    }
}

async fn settle_open(cx: &Cx, job_id: Option<JobId>) -> Result<()> {
    let open = cx.store.read(move |conn| ledger::open_effects(conn, job_id)).await?;
    for Open { effect, .. } in open {
        let state = match effect.state {
            // It was written down and not begun.
            EffectState::Prepared => EffectState::Failed,
            _ => look(cx, &effect).await,
        };
        let (now, id) = (cx.clock.now(), effect.id);
        tracing::info!(effect_id = id.0, tool = effect.tool, state = state.as_str(), "reconciled an effect");
        let settled = cx.store.write(move |tx| ledger::settle(tx, now, id, state, None)).await;
        match settled {
            Err(err) if err.kind() == crate::error::ErrorKind::Conflict => {} // its run had settled it meanwhile
            other => other?,
        }
        cx.wake.announce();
    }
    Ok(())
}

async fn look(cx: &Cx, effect: &assistant_api::effects::Effect) -> EffectState {
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
