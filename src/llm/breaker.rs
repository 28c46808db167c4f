//! Leaves a model alone that keeps failing, or that asked to be left alone.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::LlmError;

/// One per model.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Failures in a row that open it.
    limit: u32,
    cooldown: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Nobody asks before.
    until: Option<Instant>,
    /// After a cooldown one request goes ahead to see.
    probing: bool,
    /// The last failure.
    last: Option<LlmError>,
    /// All failures since it was made, by their kind.
    failed: BTreeMap<&'static str, u64>,
}

/// Leave to ask once. Dropped without an outcome, as when a job is cancelled, it leaves the breaker as it was.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Breaker {
    pub(super) fn new(limit: u32, cooldown: Duration) -> Self {
        Self { limit: limit.max(1), cooldown, state: Mutex::default() }
    }

    /// Leave to ask, or how long there is none.
    pub(super) fn enter(&self) -> Result<Pass<'_>, Duration> {
        let mut state = self.state();
        let Some(until) = state.until else { return Ok(Pass { breaker: self, probe: false }) };
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Err(left);
        }
        if state.probing {
            return Err(self.cooldown.min(Duration::from_secs(1)));
        }
        state.probing = true;
        Ok(Pass { breaker: self, probe: true })
    }

    /// Why it cannot be asked, and how long, if so.
    pub(super) fn closed_for(&self) -> Option<(Duration, Option<LlmError>)> {
        let state = self.state();
        let left = state.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| (left, state.last.clone()))
    }

    /// It is known to answer again.
    pub(super) fn reset(&self) {
        let mut state = self.state();
        let failed = std::mem::take(&mut state.failed);
        *state = State { failed, ..State::default() };
    }

    /// All failures since it was made, by their kind.
    pub(super) fn failed(&self) -> BTreeMap<&'static str, u64> {
        self.state().failed.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// It answered.
    pub(super) fn succeeded(self) {
        self.breaker.reset();
    }

    /// It did not. Only what may pass by itself counts: a refused key says nothing of the server's health.
    pub(super) fn failed(self, err: &LlmError) {
        *self.breaker.state().failed.entry(err.kind()).or_default() += 1;
        if !err.is_temporary() {
            return self.succeeded();
        }
        let mut state = self.breaker.state();
        state.failures = state.failures.saturating_add(1);
        state.last = Some(err.clone());
        state.probing = false;
        let cooldown = (state.failures >= self.breaker.limit).then_some(self.breaker.cooldown);
        let pause = cooldown.into_iter().chain(err.retry_after()).max();
        state.until = pause.map(|pause| Instant::now() + pause);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.state().probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOLDOWN: Duration = Duration::from_mins(1);

    fn failure(retry_after: Option<u64>) -> LlmError {
        LlmError::Unavailable {
            model: "m".into(),
            reason: "x".into(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn fail(breaker: &Breaker) {
        breaker.enter().unwrap().failed(&failure(None));
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_lets_one_through_and_closes() {
        let breaker = Breaker::new(2, COOLDOWN);
        fail(&breaker);
        assert!(breaker.closed_for().is_none());
        fail(&breaker);
        assert_eq!(breaker.enter().unwrap_err(), COOLDOWN);
        assert_eq!(breaker.closed_for(), Some((COOLDOWN, Some(failure(None)))));
        tokio::time::advance(COOLDOWN).await;
        let probe = breaker.enter().unwrap();
        assert!(breaker.enter().is_err(), "one at a time");
        probe.failed(&failure(None));
        assert!(breaker.enter().is_err(), "open again");
        tokio::time::advance(COOLDOWN).await;
        breaker.enter().unwrap().succeeded();
        fail(&breaker);
        assert!(breaker.enter().is_ok(), "the count began anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_probe_makes_way_for_the_next() {
        let breaker = Breaker::new(1, COOLDOWN);
        fail(&breaker);
        tokio::time::advance(COOLDOWN).await;
        drop(breaker.enter().unwrap());
        assert!(breaker.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_provider_asks_for_is_kept_to() {
        let breaker = Breaker::new(9, COOLDOWN);
        breaker.enter().unwrap().failed(&failure(Some(30)));
        assert_eq!(breaker.enter().unwrap_err(), Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(breaker.enter().is_ok());
    }

    #[tokio::test]
    async fn a_refused_request_is_no_failure_of_the_server() {
        let breaker = Breaker::new(1, COOLDOWN);
        breaker.enter().unwrap().failed(&LlmError::Rejected { model: "m".into(), reason: "x".into() });
        assert!(breaker.enter().is_ok());
    }
}
