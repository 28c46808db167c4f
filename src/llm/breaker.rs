//! Leaves a model alone that keeps failing, or that asked to be left alone.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use assistant_api::status::{ModelAnswer, ModelFailure};
use tokio::time::Instant;

use super::LlmError;
use crate::clock::Clock;

/// Failures that are told one by one.
const TOLD: usize = 5;

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
    /// What it has come to since it was made.
    record: Record,
}

/// What a model has come to since the configuration was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// All failures by their kind.
    pub(super) failed: BTreeMap<&'static str, u64>,
    /// The last of them, the newest first.
    pub(super) recent: VecDeque<ModelFailure>,
    pub(super) answered: Option<ModelAnswer>,
}

/// Leave to ask once. Dropped without an outcome, as when a job is cancelled, it leaves the breaker as it was.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    probe: bool,
    begun: Instant,
}

impl Breaker {
    pub(super) fn new(limit: u32, cooldown: Duration) -> Self {
        Self { limit: limit.max(1), cooldown, state: Mutex::default() }
    }

    /// Leave to ask, or how long there is none.
    pub(super) fn enter(&self) -> Result<Pass<'_>, Duration> {
        let mut state = self.state();
        let Some(until) = state.until else { return Ok(Pass { breaker: self, probe: false, begun: Instant::now() }) };
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Err(left);
        }
        if state.probing {
            return Err(self.cooldown.min(Duration::from_secs(1)));
        }
        state.probing = true;
        Ok(Pass { breaker: self, probe: true, begun: Instant::now() })
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
        let record = std::mem::take(&mut state.record);
        *state = State { record, ..State::default() };
    }

    /// What it has come to since it was made.
    pub(super) fn record(&self) -> Record {
        self.state().record.clone()
    }

    /// Failures in a row.
    pub(super) fn in_a_row(&self) -> u32 {
        self.state().failures
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn add(&mut self, err: &LlmError) {
        *self.failed.entry(err.kind()).or_default() += 1;
        let failure = ModelFailure { at: Clock::System.now(), kind: err.kind().to_owned(), reason: err.to_string() };
        self.recent.push_front(failure);
        self.recent.truncate(TOLD);
    }
}

impl Pass<'_> {
    /// It answered.
    pub(super) fn succeeded(self) {
        let latency_ms = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.breaker.state().record.answered = Some(ModelAnswer { at: Clock::System.now(), latency_ms });
        self.breaker.reset();
    }

    /// It did not. Only what may pass by itself counts: a refused key says nothing of the server's health.
    pub(super) fn failed(self, err: &LlmError) {
        self.breaker.state().record.add(err);
        if !err.is_temporary() {
            return self.breaker.reset();
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

    #[tokio::test(start_paused = true)]
    async fn the_last_failures_and_the_last_answer_are_told() {
        let breaker = Breaker::new(9, COOLDOWN);
        (0..7).for_each(|_| fail(&breaker));
        breaker.enter().unwrap().failed(&LlmError::Payment { model: "m".into() });
        let record = breaker.record();
        assert_eq!((record.failed["unavailable"], record.failed["payment"], record.answered), (7, 1, None));
        let kinds: Vec<&str> = record.recent.iter().map(|failure| failure.kind.as_str()).collect();
        assert_eq!(kinds, ["payment", "unavailable", "unavailable", "unavailable", "unavailable"]);
        assert_eq!(record.recent[0].reason, "m refused for lack of credit");
        fail(&breaker);
        assert_eq!(breaker.in_a_row(), 1);
        let pass = breaker.enter().unwrap();
        tokio::time::advance(Duration::from_millis(1200)).await;
        pass.succeeded();
        assert_eq!(breaker.record().answered.unwrap().latency_ms, 1200);
        assert_eq!((breaker.in_a_row(), breaker.record().recent.len()), (0, TOLD), "what was is not forgotten");
    }

    #[tokio::test]
    async fn a_refused_request_is_no_failure_of_the_server() {
        let breaker = Breaker::new(1, COOLDOWN);
        breaker.enter().unwrap().failed(&LlmError::Rejected { model: "m".into(), reason: "x".into() });
        assert!(breaker.enter().is_ok());
    }
}
