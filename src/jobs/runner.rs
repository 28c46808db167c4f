//! Runs jobs: `jobs.workers` at the same time, each in its own task. An idle runner sleeps until a write wakes it or the
//! next job is due; it looks at nothing in between.
//!
//! The dispatcher claims for free workers; a worker that ends a run claims its next job in the same commit that stores
//! the outcome. The lease is renewed in the task of the run itself, so it says whether the run is alive.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use assistant_api::JobId;
use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Claimed, Lease, NeedsWhat, Outcome, reconcile,
    store::{
        claim::{self, Due, Term},
        finish::{self, Backoff},
    },
};
use crate::{
    crashpoint::{self, Point},
    cx::Cx,
    error::{ErrorKind, Result},
    ledger,
    llm::BoxFuture,
    logging::catalog,
};

/// The run of one job, from its claim to its outcome. It ends soon after the token is cancelled.
pub type RunFn = for<'a> fn(&'a Cx, &'a Claimed, &'a CancellationToken) -> BoxFuture<'a, Outcome>;

/// Runs in a row that a job may take the daemon down with before it goes to review.
const MAX_ORPHANED: i64 = 10;
/// What a cancelled run gets to end by itself before it is dropped.
const CANCEL_GRACE: Duration = Duration::from_secs(1);
/// What a run gets on top of `limits.max_run_seconds`, whose end is the agent's to handle.
const RUN_MARGIN: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Spawns the runner on `cx.tasks`; before its first claim it puts back what a former process left running. To be called
/// before anything else may begin effects: those that are open now are taken for the former process's. Ends when
/// `cx.stop` is cancelled.
///
/// # Errors
/// When the database cannot be read. One that cannot be written is waited for.
pub async fn start(cx: &Cx, run: RunFn) -> Result<()> {
    let open = cx.store.read(|conn| ledger::open_effects(conn, None)).await?;
    let runner = Runner::new(cx, run);
    cx.tasks.spawn(async move {
        if runner.recover().await {
            runner.cx.wake.pulse.during(reconcile::settle_all(&runner.cx, open)).await;
            runner.dispatch().await;
        }
    });
    Ok(())
}

#[derive(Clone)]
pub(super) struct Runner {
    cx: Cx,
    run: RunFn,
    /// A worker has ended.
    freed: Arc<Notify>,
    active: Arc<AtomicUsize>,
}

impl Runner {
    pub(super) fn new(cx: &Cx, run: RunFn) -> Self {
        Self { cx: cx.clone(), run, freed: Arc::default(), active: Arc::default() }
    }

    /// Puts jobs back that ran when the daemon ended; `false` when it stops before that can be written.
    async fn recover(&self) -> bool {
        let cx = &self.cx;
        let mut pause = FIRST_PAUSE;
        loop {
            let now = cx.clock.now();
            match cx.store.write(move |tx| claim::recover(tx, now, MAX_ORPHANED)).await {
                Ok(recovered) => {
                    if !recovered.is_empty() {
                        tracing::info!(jobs = recovered.len(), "jobs that ran when the daemon ended go on");
                        cx.wake.announce();
                    }
                    return true;
                }
                Err(err) => tracing::error!(error = err.chain(), "putting jobs back failed"),
            }
            tokio::select! {
                () = cx.stop.cancelled() => return false,
                () = cx.wake.pulse.during(tokio::time::sleep(pause)) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    async fn dispatch(&self) {
        let cx = &self.cx;
        let mut pause = FIRST_PAUSE;
        while !cx.stop.is_cancelled() {
            let due = match self.claim_for_the_free().await {
                Ok(due) => {
                    pause = FIRST_PAUSE;
                    due
                }
                Err(err) => {
                    tracing::warn!(error = err.chain(), "claiming jobs failed");
                    let again = cx.clock.monotonic() + pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    Due { run_at: None, lease_until: Some(again) }
                }
            };
            let woken = async {
                tokio::select! {
                    () = cx.stop.cancelled() => {}
                    () = cx.wake.jobs.notified() => {}
                    () = self.freed.notified() => {}
                    () = maybe(due.run_at.map(|at| cx.clock.sleep_until(at))) => {}
                    () = maybe(due.lease_until.map(|at| cx.clock.sleep_until_monotonic(at))) => {}
                }
            };
            cx.wake.pulse.during(woken).await;
        }
    }

    /// Takes back what hangs, claims a job for every free worker, and says what to sleep for.
    async fn claim_for_the_free(&self) -> Result<Due> {
        let cx = &self.cx;
        let workers = cx.config.load().jobs.workers.max(1) as usize;
        let working = self.active.load(Ordering::Acquire).saturating_sub(cx.wake.running.hanging());
        let free = workers.saturating_sub(working);
        let (now, monotonic, term, busy) = (cx.clock.now(), cx.clock.monotonic(), self.term(), cx.wake.running.busy());
        let waiting = cx.wake.running.waiting();
        let (expired, claimed, due) = cx
            .store
            .write(move |tx| {
                // Whoever waits to store an outcome does not hang: its work must not be done again.
                for lease in &waiting {
                    claim::keep(tx, lease, &term)?;
                }
                let expired = claim::expire(tx, now, monotonic, &term.boot)?;
                let claimed = claim::claim(tx, now, &term, &busy, free)?;
                Ok((expired, claimed, claim::next_due(tx, now)?))
            })
            .await?;
        if !expired.is_empty() {
            tracing::warn!(jobs = ?expired.iter().map(|lease| lease.job_id.0).collect::<Vec<_>>(), "workers hang");
            cx.wake.running.expire(&expired);
            cx.wake.announce();
        }
        if !claimed.is_empty() {
            cx.wake.announce();
        }
        for claimed in claimed {
            self.active.fetch_add(1, Ordering::AcqRel);
            // Registered before the task looks whether the lease is still held, so that no cancel finds a gap.
            let cancel = cx.wake.running.begin(claimed.lease);
            let runner = self.clone();
            cx.tasks.spawn(async move { runner.work(claimed, cancel).await });
        }
        Ok(due)
    }

    fn term(&self) -> Term {
        let lease = self.cx.config.load().jobs.lease.0;
        Term { boot: self.cx.clock.boot_id(), until: self.cx.clock.monotonic() + lease }
    }

    /// One worker: job after job, until there is none.
    pub(super) async fn work(&self, claimed: Claimed, cancel: CancellationToken) {
        let mut next = Some((claimed, cancel));
        while let Some((claimed, cancel)) = next {
            crashpoint::hit(Point::Claimed);
            let lease = claimed.lease;
            let (outcome, ended) = if self.was_taken_back(lease).await {
                (Outcome::Lost, true)
            } else {
                self.supervise(&claimed, &cancel).await
            };
            if !ended {
                reconcile::after_run(&self.cx, lease.job_id).await;
            }
            self.cx.wake.running.end(&lease);
            crashpoint::hit(Point::BeforeOutcome);
            let claimed = self.finish(lease, outcome).await;
            crashpoint::hit(Point::OutcomeStored);
            self.cx.wake.announce();
            next = claimed.map(|claimed| {
                let cancel = self.cx.wake.running.begin(claimed.lease);
                (claimed, cancel)
            });
        }
        self.active.fetch_sub(1, Ordering::AcqRel);
        self.freed.notify_one();
    }

    /// Whether the lease was lost between the commit that claimed the job and its registration among the running ones,
    /// where a cancel would have found it.
    async fn was_taken_back(&self, lease: Lease) -> bool {
        let held = self.cx.store.read(move |conn| claim::held(conn, &lease)).await;
        held.is_err_and(|err| err.kind() == ErrorKind::Conflict)
    }

    /// Runs the job with its lease renewed and its bounds watched; the outcome, and whether the run ended by itself.
    async fn supervise(&self, claimed: &Claimed, cancel: &CancellationToken) -> (Outcome, bool) {
        let cx = &self.cx;
        let run = AssertUnwindSafe((self.run)(cx, claimed, cancel)).catch_unwind();
        let limit = cx.config.load().limits.max_run_seconds.0 + RUN_MARGIN;
        let started = cx.clock.monotonic();
        let stopping = async {
            cx.stop.cancelled().await;
            tokio::time::sleep(cx.config.load().jobs.stop_grace.0).await;
            cancel.cancel();
            std::future::pending::<()>().await;
        };
        let dropped = async {
            cancel.cancelled().await;
            tokio::time::sleep(CANCEL_GRACE).await;
        };
        tokio::select! {
            ended = run => match ended {
                Ok(Outcome::Lost) if cx.stop.is_cancelled() => (Outcome::Released, true),
                Ok(outcome) => (outcome, true),
                Err(panic) => {
                    let what = panic_text(&*panic);
                    tracing::error!(job_id = claimed.job.id.0, panic = what, "a run panicked");
                    let error = "the run ended by a fault of the program; the journal has the details".to_owned();
                    (Outcome::Retry { error, after: None, permanent: false }, false)
                }
            },
            () = dropped => {
                let outcome = if cx.stop.is_cancelled() { Outcome::Released } else { Outcome::Lost };
                (outcome, false)
            }
            () = cx.clock.sleep_until_monotonic(started + limit) => {
                let error = format!("the run did not end within {} s", limit.as_secs());
                tracing::warn!(target: catalog::JOB_TIMEOUT, job_id = claimed.job.id.0, "{error}");
                (Outcome::Retry { error, after: None, permanent: false }, false)
            }
            () = self.renew(claimed.lease, cancel) => (Outcome::Lost, false),
            () = stopping => (Outcome::Released, false),
        }
    }

    /// Renews the lease until it is lost; then ends the run and goes on no longer than it takes to end.
    async fn renew(&self, lease: Lease, cancel: &CancellationToken) {
        let cx = &self.cx;
        let mut next = cx.clock.monotonic() + cx.config.load().jobs.lease.0 / 3;
        loop {
            cx.clock.sleep_until_monotonic(next).await;
            let term = self.term();
            match cx.store.write(move |tx| claim::renew(tx, &lease, &term)).await {
                Ok(()) => next = cx.clock.monotonic() + cx.config.load().jobs.lease.0 / 3,
                Err(err) if err.kind() == ErrorKind::Conflict => {
                    cancel.cancel();
                    std::future::pending::<()>().await;
                }
                Err(err) => {
                    tracing::warn!(job_id = lease.job_id.0, error = err.chain(), "renewing a lease failed");
                    next = cx.clock.monotonic() + FIRST_PAUSE;
                }
            }
        }
    }

    /// Stores the outcome and claims the next job, in one commit. A database that cannot be written (a full disk) is
    /// waited for: the outcome is not dropped while the lease is ours, and the lease is kept meanwhile.
    async fn finish(&self, lease: Lease, outcome: Outcome) -> Option<Claimed> {
        let cx = &self.cx;
        let mut pause = FIRST_PAUSE;
        loop {
            let (now, term, mut busy) = (cx.clock.now(), self.term(), cx.wake.running.busy());
            busy.retain(|id| *id != lease.job_id);
            let config = cx.config.load();
            let jobs = &config.jobs;
            let backoff = Backoff { base: jobs.backoff.0, max: jobs.max_backoff.0, jitter: fastrand::f64() };
            let more = self.active.load(Ordering::Acquire) <= jobs.workers.max(1) as usize && !cx.stop.is_cancelled();
            let ended = outcome.clone();
            let written = cx
                .store
                .write(move |tx| {
                    let status = finish::apply(tx, now, &lease, &ended, &backoff)?;
                    let status = finish::ended_as(tx, lease.job_id, status)?;
                    Ok((status, claim::claim(tx, now, &term, &busy, usize::from(more))?.pop()))
                })
                .await;
            match written {
                Ok((status, next)) => {
                    cx.wake.running.end(&lease);
                    tracing::info!(job_id = lease.job_id.0, status, "a run ended");
                    tell_of_bounds(lease.job_id, &outcome);
                    return next;
                }
                Err(err) => {
                    tracing::error!(job_id = lease.job_id.0, error = err.chain(), "storing an outcome failed");
                    cx.wake.running.waits(lease);
                    tokio::select! {
                        () = cx.stop.cancelled() => {
                            cx.wake.running.end(&lease);
                            return None;
                        }
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                    }
                }
            }
        }
    }
}

/// Bounds that a run came to, for the journal.
fn tell_of_bounds(job: JobId, outcome: &Outcome) {
    match outcome {
        Outcome::NeedsReview { needs: NeedsWhat::Time, reason } => {
            tracing::warn!(target: catalog::JOB_TIMEOUT, job_id = job.0, "{reason}");
        }
        Outcome::NeedsReview { needs: NeedsWhat::Budget, reason } => {
            tracing::warn!(target: catalog::BUDGET_EXCEEDED, job_id = job.0, "{reason}");
        }
        _ => {}
    }
}

async fn maybe(sleep: Option<impl Future<Output = ()>>) {
    match sleep {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
