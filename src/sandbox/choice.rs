//! What was chosen last, and which backends refused a moment ago, so that not every command waits for them anew.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use assistant_api::sandbox::Refusal;
use assistant_sandbox::protocol::Level;
use jiff::Timestamp;

use super::{
    backend::{Backend, Wanted, choose, nobody, with_hint},
    begin::begin,
    config::Sandbox,
    session::Session,
};
use crate::{
    clock::Clock,
    error::{Error, Result},
    logging::catalog,
};

#[cfg(test)]
mod tests;

/// How long a refusal counts.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Backends that refused, on the monotonic clock, and the last choice.
#[derive(Default)]
pub(super) struct Choices(Mutex<State>);

#[derive(Default)]
struct State {
    /// All of this is about this configuration.
    made_from: Sandbox,
    refused: Vec<Refused>,
    last: Option<Chosen>,
}

struct Refused {
    backend: Backend,
    level: Level,
    until: Duration,
    reason: String,
}

/// A choice as it was made.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) at: Timestamp,
    pub(super) backend: Option<Backend>,
    pub(super) refused: Vec<Refusal>,
    pub(super) problem: Option<String>,
}

impl Choices {
    /// The last choice under this configuration.
    pub(super) fn last(&self, config: &Sandbox) -> Option<Chosen> {
        self.about(config).last.clone()
    }

    /// A session with the best backend there is; `anew` asks those that refused a moment ago, too.
    pub(super) async fn open(
        &self,
        clock: &Clock,
        workspace: &Path,
        config: &Sandbox,
        level: Level,
        anew: bool,
    ) -> Result<(Backend, Session)> {
        if anew {
            self.about(config).refused.clear();
        }
        let found = async {
            let wanted = Wanted::of(config, workspace, level)?;
            let candidates = Backend::candidates(config.backend, level)?;
            let ask = |backend| -> futures_util::future::BoxFuture<'_, _> {
                if let Some(reason) = self.recall(config, backend, level, clock.monotonic()) {
                    return Box::pin(std::future::ready(Err(Error::unavailable(reason))));
                }
                Box::pin(begin(backend, workspace, config, level))
            };
            Ok(choose(&candidates, &wanted, ask).await)
        };
        let (chosen, refused) = match found.await {
            Ok((Some(chosen), refused)) => (Ok(chosen), refused),
            Ok((None, refused)) => (Err(nobody(&refused)), refused),
            Err(err) => (Err(err), Vec::new()),
        };
        let now = clock.monotonic();
        let mut state = self.about(config);
        let backend = chosen.as_ref().ok().map(|(backend, _)| *backend);
        tell(state.last.as_ref(), backend, &refused);
        for refusal in &refused {
            state.remember(refusal, level, now);
        }
        state.last = Some(Chosen { at: clock.now(), backend, problem: chosen.as_ref().err().map(with_hint), refused });
        chosen
    }

    fn recall(&self, config: &Sandbox, backend: Backend, level: Level, now: Duration) -> Option<String> {
        let state = self.about(config);
        let mut live = state.refused.iter().filter(|refused| refused.until > now);
        live.find(|refused| (refused.backend, refused.level) == (backend, level)).map(|refused| refused.reason.clone())
    }

    /// Nobody was asked, because something that all of them need is not there.
    pub(super) fn failed(&self, clock: &Clock, config: &Sandbox, err: &Error) {
        let (at, problem) = (clock.now(), Some(with_hint(err)));
        self.about(config).last = Some(Chosen { at, backend: None, refused: Vec::new(), problem });
    }

    fn about(&self, config: &Sandbox) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.made_from != *config {
            *state = State { made_from: config.clone(), ..State::default() };
        }
        state
    }
}

/// Tells the journal of a choice that is not the best one, unless it was the last time, too.
fn tell(last: Option<&Chosen>, backend: Option<Backend>, refused: &[Refusal]) {
    let better: Vec<_> = refused.iter().map(|refused| refused.backend.as_str()).collect();
    let same = |last: &Chosen| {
        last.backend == backend
            && last.refused.iter().map(|refused| refused.backend.as_str()).eq(better.iter().copied())
    };
    if (backend.is_some() && better.is_empty()) || last.is_some_and(same) {
        return;
    }
    let (taken, refused) = (backend.map_or("none", Backend::as_str), better.join(" "));
    tracing::warn!(target: catalog::SANDBOX_DEGRADED, backend = taken, refused, "the sandbox is not the best one");
}

impl State {
    /// A refusal that was only recalled does not last longer for that.
    fn remember(&mut self, refusal: &Refusal, level: Level, now: Duration) {
        self.refused.retain(|refused| refused.until > now);
        let known = |refused: &Refused| refused.backend.as_str() == refusal.backend && refused.level == level;
        if self.refused.iter().any(known) {
            return;
        }
        if let Some(backend) = Backend::ALL.into_iter().find(|backend| backend.as_str() == refusal.backend) {
            let (until, reason) = (now + REMEMBERED, refusal.reason.clone());
            self.refused.push(Refused { backend, level, until, reason });
        }
    }
}
