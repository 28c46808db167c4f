//! The models of a role, one behind the other: typed failover, pauses, one deadline for the whole turn.
//!
//! A turn goes in rounds. In each, every model is asked once, the main one first, until one answers:
//!
//! - 429, 5xx, timeouts, cut or broken answers: the next model, and this one again in the next round;
//! - a refused key or an empty account: the next model at another host, this host no more;
//! - a rejected request, a forbidden address, nothing configured: the next model, this one no more;
//! - a prompt that is too long: nobody else is asked, it has to become shorter.
//!
//! Between rounds is a pause: what the providers ask for, or one that doubles. A pause that does not fit into what is
//! left of the turn is not begun: the error says when to come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use assistant_api::status::{ModelTest, Server};
use tokio::time::Instant;

use super::{Answer, BoxFuture, Delta, Llm, LlmError, ModelInfo, OnDelta, Request, Role, model::Model, probe};

/// All models, by what they are asked for.
pub(super) struct Chain {
    /// Main, then fallback.
    pub(super) main: Vec<Arc<Model>>,
    /// Small, then main.
    pub(super) small: Vec<Arc<Model>>,
    /// The one that searches the web, if there is one.
    pub(super) search: Option<Arc<Model>>,
    pub(super) pauses: Pauses,
}

/// How long a turn takes, and its pauses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    pub(super) turn_timeout: Duration,
    /// Rounds after the first.
    pub(super) retries: u32,
    pub(super) backoff: Duration,
    /// After a 429 that does not say how long.
    pub(super) rate_limit: Duration,
}

/// The deltas of one turn: says when they have become void.
struct Watcher {
    on_delta: OnDelta,
    begun: Arc<AtomicBool>,
}

impl Watcher {
    fn new(on_delta: &OnDelta) -> Self {
        let begun = Arc::new(AtomicBool::new(false));
        let (inner, flag) = (Arc::clone(on_delta), Arc::clone(&begun));
        let on_delta: OnDelta = Arc::new(move |delta| {
            flag.store(true, Ordering::Relaxed);
            inner(delta);
        });
        Self { on_delta, begun }
    }

    fn reset(&self) {
        if self.begun.load(Ordering::Relaxed) {
            (self.on_delta)(Delta::Reset);
            self.begun.store(false, Ordering::Relaxed);
        }
    }
}

impl Chain {
    async fn turn(&self, request: &Request, on_delta: Option<OnDelta>) -> Result<Answer, LlmError> {
        let models = match request.role {
            Role::Main => self.main.as_slice(),
            Role::Small => self.small.as_slice(),
            Role::Search => self.search.as_slice(),
        };
        let timeout = request.timeout.unwrap_or(self.pauses.turn_timeout);
        let deadline = Instant::now() + timeout;
        let watcher = on_delta.as_ref().map(Watcher::new);
        tokio::time::timeout_at(deadline, self.rounds(models, request, watcher.as_ref(), deadline))
            .await
            .unwrap_or(Err(LlmError::Deadline { seconds: timeout.as_secs() }))
    }

    async fn rounds(
        &self,
        models: &[Arc<Model>],
        request: &Request,
        watcher: Option<&Watcher>,
        deadline: Instant,
    ) -> Result<Answer, LlmError> {
        let mut errors: Vec<Option<LlmError>> = vec![None; models.len()];
        for round in 0.. {
            for at in 0..models.len() {
                if is_out(models, &errors, at) {
                    continue;
                }
                let model = &models[at];
                let err = match model.breaker.enter() {
                    Err(left) => left_alone(model, left),
                    Ok(pass) => match model.ask(request, watcher.map(|watcher| &watcher.on_delta)).await {
                        Ok(answer) => {
                            pass.succeeded();
                            return Ok(answer);
                        }
                        Err(err) => {
                            pass.failed(&err);
                            watcher.into_iter().for_each(Watcher::reset);
                            tracing::warn!(model = model.label(), role = model.role, round, error = %err, "a model did not answer");
                            err
                        }
                    },
                };
                if matches!(err, LlmError::ContextTooLong { .. }) {
                    return Err(err);
                }
                errors[at] = Some(err);
            }
            let open = (0..models.len()).filter(|at| !is_out(models, &errors, *at));
            let pause = open.filter_map(|at| errors[at].as_ref()).map(|err| self.pause(err, round)).min();
            match pause {
                Some(pause) if round < self.pauses.retries && Instant::now() + pause < deadline => {
                    tokio::time::sleep(pause).await;
                }
                _ => break,
            }
        }
        Err(worth_telling(errors))
    }

    fn pause(&self, err: &LlmError, round: u32) -> Duration {
        let backoff = self.pauses.backoff.saturating_mul(1 << round.min(16));
        // Between half and all of it, so that jobs that failed together do not come back together.
        let jittered = backoff.mul_f64(0.5 + fastrand::f64() / 2.0);
        match err {
            LlmError::RateLimited { retry_after: None, .. } => self.pauses.rate_limit.max(jittered),
            _ => err.retry_after().map_or(jittered, |asked| asked + jittered.min(Duration::from_millis(500))),
        }
    }
}

/// Whether a model is not asked any more in this turn.
fn is_out(models: &[Arc<Model>], errors: &[Option<LlmError>], at: usize) -> bool {
    let own = errors[at].as_ref().is_some_and(|err| !err.is_temporary());
    own || errors.iter().zip(models).any(|(err, model)| {
        matches!(err, Some(LlmError::Auth { .. } | LlmError::Payment { .. }))
            && Arc::ptr_eq(&model.host, &models[at].host)
    })
}

fn left_alone(model: &Model, left: Duration) -> LlmError {
    let (model_name, retry_after) = (model.label(), Some(left));
    match model.breaker.closed_for() {
        Some((_, Some(LlmError::RateLimited { .. }))) => LlmError::RateLimited { model: model_name, retry_after },
        last => {
            let last = last.and_then(|(_, last)| last).map_or_else(String::new, |last| format!(" ({last})"));
            LlmError::Unavailable { model: model_name, reason: format!("left alone after failures{last}"), retry_after }
        }
    }
}

/// Of all that went wrong: what may pass by itself, and soonest, else what the first model said.
fn worth_telling(errors: Vec<Option<LlmError>>) -> LlmError {
    let mut errors: Vec<LlmError> = errors.into_iter().flatten().collect();
    let temporary = (0..errors.len())
        .filter(|at| errors[*at].is_temporary())
        .min_by_key(|at| errors[*at].retry_after().unwrap_or_default());
    match temporary {
        Some(at) => errors.swap_remove(at),
        None if errors.is_empty() => LlmError::NotConfigured(super::NOT_CONFIGURED.to_owned()),
        None => errors.swap_remove(0),
    }
}

impl Llm for Chain {
    fn ask<'a>(&'a self, request: &'a Request, on_delta: Option<OnDelta>) -> BoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(self.turn(request, on_delta))
    }

    fn models(&self) -> Vec<ModelInfo> {
        self.distinct().filter(|model| model.is_there()).map(|model| model.info()).collect()
    }

    fn can_search(&self) -> bool {
        self.search.as_ref().is_some_and(|model| model.problem.is_none())
    }

    fn prepare(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            for model in self.distinct().filter(|model| model.problem.is_none()) {
                // Only where it matters: whether a model without a price is one of ours.
                if model.info().price.is_none() {
                    model.host.locate().await;
                }
                if model.host.is_local() {
                    let _ = tokio::time::timeout(Duration::from_secs(1), model.name.get(&model.host)).await;
                }
            }
        })
    }

    fn reach(&self) -> BoxFuture<'_, Vec<Server>> {
        Box::pin(async {
            let mut hosts: Vec<_> =
                self.distinct().filter(|model| model.is_there()).map(|model| Arc::clone(&model.host)).collect();
            hosts.dedup_by(|one, other| Arc::ptr_eq(one, other));
            probe::reach(&hosts).await
        })
    }

    fn test(&self) -> BoxFuture<'_, Vec<ModelTest>> {
        Box::pin(async {
            self.prepare().await;
            // A model that searches is asked nothing that costs a search, and some of them can do nothing else.
            let asked = self.distinct().filter(|model| model.is_there() && model.role != "search");
            probe::all(asked).await
        })
    }
}

impl Chain {
    /// Every model once.
    pub(super) fn distinct(&self) -> impl Iterator<Item = &Arc<Model>> {
        let small = self.small.iter().filter(|model| model.role == "small");
        self.main.iter().chain(small).chain(&self.search)
    }
}
