//! Random interleavings of everything that can happen to jobs, against a small model in memory. Workers keep their
//! leases after they have lost them and go on trying; clocks jump; the daemon crashes.

use std::time::Duration;

use assistant_api::{ErrorKind, JobId, jobs::JobStatus};
use jiff::{SignedDuration, Timestamp};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use rusqlite::Connection;

use super::*;
use crate::{
    error::Result,
    jobs::{Lease, NeedsWhat},
};

use JobStatus::{Cancelled, Completed, Failed, NeedsReview, Queued, Running, Waiting};

/// Seconds that a lease lasts.
const LEASE: u64 = 60;
const MAX_ATTEMPTS: i64 = 3;
const MAX_ORPHANED: i64 = 3;
const MAX_RESTARTS: i64 = 20;

/// Numbers choose among what there is: the n-th job, the n-th lease ever given.
#[derive(Clone, Debug)]
enum Op {
    Create {
        priority: i64,
    },
    /// A job in the thread of another one, as mail makes it.
    Reply(usize),
    Claim(usize),
    Renew(usize),
    Append(usize),
    /// The run takes in what is new, as every step does.
    Read(usize),
    Complete(usize),
    Fail(usize),
    Retry(usize),
    Ask(usize),
    Wait(usize),
    Release(usize),
    Cancel(usize),
    Requeue(usize),
    Instruct(usize),
    Mail(usize),
    Answer(usize),
    Stop,
    Resume,
    Crash {
        reboot: bool,
    },
    /// Both clocks move.
    Pass(u64),
    /// The wall clock is set.
    Step(i64),
    Expire,
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..64_usize;
    prop_oneof![
        4 => (0..3_i64).prop_map(|priority| Op::Create { priority }),
        2 => n.clone().prop_map(Op::Reply),
        10 => (1..4_usize).prop_map(Op::Claim),
        3 => n.clone().prop_map(Op::Renew),
        5 => n.clone().prop_map(Op::Append),
        5 => n.clone().prop_map(Op::Read),
        5 => n.clone().prop_map(Op::Complete),
        2 => n.clone().prop_map(Op::Fail),
        4 => n.clone().prop_map(Op::Retry),
        3 => n.clone().prop_map(Op::Ask),
        1 => n.clone().prop_map(Op::Wait),
        1 => n.clone().prop_map(Op::Release),
        3 => n.clone().prop_map(Op::Cancel),
        4 => n.clone().prop_map(Op::Requeue),
        5 => n.clone().prop_map(Op::Instruct),
        2 => n.clone().prop_map(Op::Mail),
        2 => n.prop_map(Op::Answer),
        1 => Just(Op::Stop),
        3 => Just(Op::Resume),
        2 => any::<bool>().prop_map(|reboot| Op::Crash { reboot }),
        4 => (1..90_u64).prop_map(Op::Pass),
        1 => (-100_000..100_000_i64).prop_map(Op::Step),
        2 => Just(Op::Expire),
    ]
}

#[derive(Clone, Debug)]
struct Job {
    id: JobId,
    thread: String,
    status: JobStatus,
    priority: i64,
    created: Timestamp,
    run_at: Timestamp,
    attempts: i64,
    epoch: i64,
    lease: Option<Lease>,
    until: u64,
    asks: bool,
    unread: i64,
    new_context: bool,
    stepped: bool,
    orphaned: i64,
}

struct World<'a> {
    conn: &'a Connection,
    jobs: Vec<Job>,
    leases: Vec<Lease>,
    stopped: bool,
    wall: Timestamp,
    monotonic: u64,
    boot: u64,
    told: i64,
    consumed: i64,
    steps: i64,
}

impl World<'_> {
    fn term(&self) -> Term {
        Term { boot: format!("boot {}", self.boot), until: Duration::from_secs(self.monotonic + LEASE) }
    }

    fn pick(&self, n: usize) -> Option<usize> {
        (!self.jobs.is_empty()).then(|| n % self.jobs.len())
    }

    /// The n-th lease ever given, and the job that it still holds.
    fn lease(&self, n: usize) -> Option<(Lease, Option<usize>)> {
        let lease = *self.leases.get(n.checked_rem(self.leases.len())?)?;
        Some((lease, self.jobs.iter().position(|job| job.lease == Some(lease))))
    }

    fn another_is_open(&self, index: usize) -> bool {
        let thread = &self.jobs[index].thread;
        self.jobs.iter().enumerate().any(|(i, job)| i != index && job.thread == *thread && job.status.is_open())
    }

    fn create(&mut self, priority: i64) -> usize {
        let new = Creation { priority, max_attempts: MAX_ATTEMPTS, run_at: self.wall, ..creation("job") };
        let job = insert(self.conn, self.wall, &new).unwrap();
        self.jobs.push(Job {
            id: job.id,
            thread: job.thread_id,
            status: Queued,
            priority,
            created: self.wall,
            run_at: self.wall,
            attempts: 0,
            epoch: 0,
            lease: None,
            until: 0,
            asks: false,
            unread: 0,
            new_context: false,
            stepped: false,
            orphaned: 0,
        });
        self.jobs.len() - 1
    }

    fn reply(&mut self, n: usize) {
        let Some(to) = self.pick(n) else { return };
        let thread = self.jobs[to].thread.clone();
        let open = self.jobs.iter().any(|job| job.thread == thread && job.status.is_open());
        let new = self.create(0);
        let id = self.jobs[new].id;
        let moved = self.conn.execute("UPDATE jobs SET thread_id = ?1 WHERE id = ?2", (&thread, id.0));
        assert_eq!(moved.is_err(), open, "one open job per thread");
        if !open {
            self.jobs[new].thread = thread;
        }
    }

    fn claim(&mut self, max: usize) {
        let claimed = claim(self.conn, self.wall, &self.term(), &[], max).unwrap();
        let mut due: Vec<usize> = (0..self.jobs.len())
            .filter(|i| !self.stopped && self.jobs[*i].status == Queued && self.jobs[*i].run_at <= self.wall)
            .collect();
        due.sort_by_key(|i| (-self.jobs[*i].priority, self.jobs[*i].created, self.jobs[*i].id));
        due.truncate(max);
        let wanted: Vec<_> = due.iter().map(|i| self.jobs[*i].id).collect();
        assert_eq!(claimed.iter().map(|claimed| claimed.job.id).collect::<Vec<_>>(), wanted);
        for (i, claimed) in due.into_iter().zip(claimed) {
            let job = &mut self.jobs[i];
            assert_eq!(claimed.epoch, job.epoch);
            job.status = Running;
            job.attempts += 1;
            job.lease = Some(claimed.lease);
            job.until = self.monotonic + LEASE;
            job.stepped = false;
            self.leases.push(claimed.lease);
        }
    }

    /// A write under a lease: it works exactly as long as the lease is held.
    fn write<T>(&mut self, n: usize, f: impl Fn(&Connection, &Lease) -> Result<T>) -> Option<(usize, T)> {
        let (lease, holds) = self.lease(n)?;
        match (f(self.conn, &lease), holds) {
            (Ok(value), Some(index)) => Some((index, value)),
            (Err(err), None) => {
                assert_eq!(err.kind(), ErrorKind::Conflict);
                None
            }
            (Ok(_), None) => panic!("{lease:?} is lost and still writes"),
            (Err(err), Some(_)) => panic!("{lease:?} is held and cannot write: {err}"),
        }
    }

    fn append(&mut self, n: usize) {
        let now = self.wall;
        let note = NewStep { kind: StepKind::Note, body: 1.into(), text: None, origin: Origin::Host };
        if let Some((index, _)) =
            self.write(n, |conn, lease| steps::append(conn, now, lease, std::slice::from_ref(&note)))
        {
            self.jobs[index].stepped = true;
            self.steps += 1;
        }
    }

    fn read(&mut self, n: usize) {
        let now = self.wall;
        let Some((index, (count, had))) = self.write(n, |conn, lease| {
            let had = thread::clear_new_context(conn, lease)?;
            let told: Vec<_> = instructions::pending(conn, lease.job_id)?.iter().map(|told| told.id).collect();
            instructions::consume(conn, now, lease, &told)?;
            Ok((i64::try_from(told.len()).unwrap(), had))
        }) else {
            return;
        };
        let job = &mut self.jobs[index];
        assert_eq!((count, had), (job.unread, job.new_context), "nothing is lost");
        self.consumed += count;
        job.unread = 0;
        job.new_context = false;
    }

    fn outcome(&mut self, n: usize, outcome: &Outcome) {
        let Some((lease, holds)) = self.lease(n) else { return };
        let result = apply(self.conn, self.wall, &lease, outcome, &BACKOFF).unwrap();
        let Some(index) = holds else {
            assert_eq!(result, None, "a lost lease changes nothing");
            return;
        };
        self.ended(index, outcome);
        assert_eq!(result, Some(self.jobs[index].status));
    }

    fn ended(&mut self, index: usize, outcome: &Outcome) {
        let wall = self.wall;
        let job = &mut self.jobs[index];
        job.lease = None;
        job.orphaned = 0;
        let unread = job.unread > 0 || job.new_context;
        match outcome {
            Outcome::Completed { .. } | Outcome::Failed { .. }
                if unread && job.attempts - MAX_ATTEMPTS < MAX_RESTARTS =>
            {
                job.status = Queued;
                job.run_at = wall;
                job.epoch += 1;
            }
            Outcome::Completed { .. } | Outcome::Failed { .. } if unread => job.status = NeedsReview,
            Outcome::Completed { .. } => job.status = Completed,
            Outcome::Failed { .. } => job.status = Failed,
            Outcome::NeedsReview { .. } => {
                job.status = NeedsReview;
                job.asks = true;
            }
            Outcome::Waiting { .. } => job.status = Waiting,
            Outcome::Retry { after, .. } if job.attempts < MAX_ATTEMPTS => {
                let pause =
                    after.map_or_else(|| SignedDuration::from_secs(1 << (job.attempts - 1)), |_| SignedDuration::ZERO);
                job.status = Queued;
                job.run_at = wall + pause;
            }
            Outcome::Retry { .. } => job.status = NeedsReview,
            Outcome::Released => {
                job.status = Queued;
                job.run_at = wall;
                job.attempts -= 1;
            }
            Outcome::Lost => unreachable!(),
        }
    }

    fn queue_again(&mut self, index: usize) {
        let wall = self.wall;
        let job = &mut self.jobs[index];
        if !job.status.is_open() {
            job.epoch += 1;
        }
        job.status = Queued;
        job.run_at = wall;
        job.attempts = 0;
        job.orphaned = 0;
        job.asks = false;
    }

    /// A verb of a person: it works exactly when the model says that it is allowed.
    fn verb(
        &mut self,
        n: usize,
        allowed: impl Fn(&Self, usize) -> bool,
        f: impl Fn(&Connection, JobId) -> Result<()>,
    ) -> Option<usize> {
        let index = self.pick(n)?;
        self.conn.execute_batch("SAVEPOINT verb").unwrap();
        let result = f(self.conn, self.jobs[index].id);
        let batch = if result.is_ok() { "RELEASE verb" } else { "ROLLBACK TO verb; RELEASE verb" };
        self.conn.execute_batch(batch).unwrap();
        match result {
            Ok(()) => assert!(allowed(self, index), "{:?} should have been refused", self.jobs[index]),
            Err(err) => {
                assert_eq!(err.kind(), ErrorKind::Conflict);
                assert!(!allowed(self, index), "{:?}: {err}", self.jobs[index]);
                return None;
            }
        }
        Some(index)
    }

    fn recover(&mut self, reboot: bool) {
        if reboot {
            self.boot += 1;
            self.monotonic = 1;
        }
        claim::recover(self.conn, self.wall, MAX_ORPHANED).unwrap();
        for job in self.jobs.iter_mut().filter(|job| job.status == Running) {
            job.lease = None;
            job.attempts = (job.attempts - 1).max(0);
            job.run_at = job.run_at.min(self.wall);
            job.orphaned = if job.stepped { 0 } else { job.orphaned + 1 };
            job.status = if job.orphaned >= MAX_ORPHANED { NeedsReview } else { Queued };
            job.asks = false;
        }
    }

    fn expire(&mut self) {
        let boot = format!("boot {}", self.boot);
        let mut expired = claim::expire(self.conn, self.wall, Duration::from_secs(self.monotonic), &boot).unwrap();
        let over: Vec<usize> = (0..self.jobs.len())
            .filter(|i| self.jobs[*i].status == Running && self.jobs[*i].until <= self.monotonic)
            .collect();
        let mut wanted: Vec<_> = over.iter().filter_map(|i| self.jobs[*i].lease).collect();
        expired.sort_by_key(|lease| lease.job_id);
        wanted.sort_by_key(|lease| lease.job_id);
        assert_eq!(expired, wanted);
        for index in over {
            let outcome = Outcome::Retry { error: String::new(), after: Some(Duration::ZERO), permanent: false };
            self.ended(index, &outcome);
        }
    }

    fn apply(&mut self, op: &Op) {
        let now = self.wall;
        let retry = Outcome::Retry { error: "e".into(), after: None, permanent: false };
        let done = Outcome::Completed { summary: "s".into(), response: "r".into() };
        match *op {
            Op::Create { priority } => drop(self.create(priority)),
            Op::Reply(n) => self.reply(n),
            Op::Claim(max) => self.claim(max),
            Op::Renew(n) => {
                let term = self.term();
                if let Some((index, ())) = self.write(n, |conn, lease| claim::renew(conn, lease, &term)) {
                    self.jobs[index].until = self.monotonic + LEASE;
                }
            }
            Op::Append(n) => self.append(n),
            Op::Read(n) => self.read(n),
            Op::Complete(n) => self.outcome(n, &done),
            Op::Fail(n) => self.outcome(n, &Outcome::Failed { reason: "no".into() }),
            Op::Retry(n) => self.outcome(n, &retry),
            Op::Ask(n) => self.outcome(n, &Outcome::NeedsReview { needs: NeedsWhat::Answer, reason: "?".into() }),
            Op::Wait(n) => self.outcome(n, &Outcome::Waiting { reason: "w".into() }),
            Op::Release(n) => self.outcome(n, &Outcome::Released),
            Op::Cancel(n) => {
                let open = |world: &Self, i: usize| world.jobs[i].status.is_open();
                if let Some(i) = self.verb(n, open, |conn, id| change::cancel(conn, now, id, "me").map(drop)) {
                    self.jobs[i].status = Cancelled;
                    self.jobs[i].lease = None;
                    self.jobs[i].asks = false;
                }
            }
            Op::Requeue(n) => {
                let allowed = |world: &Self, i: usize| match world.jobs[i].status {
                    Queued | Running => false,
                    Waiting | NeedsReview => true,
                    Completed | Failed | Cancelled => !world.another_is_open(i),
                };
                if let Some(i) = self.verb(n, allowed, |conn, id| change::requeue(conn, now, id, "me")) {
                    // That nobody answered is told like an instruction.
                    let unanswered = i64::from(self.jobs[i].asks);
                    self.told += unanswered;
                    self.jobs[i].unread += unanswered;
                    self.queue_again(i);
                }
            }
            Op::Instruct(n) => {
                let allowed = |world: &Self, i: usize| world.jobs[i].status.is_open() || !world.another_is_open(i);
                let tell = |conn: &Connection, id| change::instruct(conn, now, id, "x", "me", Origin::Owner).map(drop);
                if let Some(i) = self.verb(n, allowed, tell) {
                    self.told += 1;
                    self.jobs[i].unread += 1;
                    if self.jobs[i].status.is_open() {
                        self.jobs[i].new_context = true;
                    } else {
                        self.queue_again(i);
                    }
                }
            }
            Op::Mail(n) => {
                if let Some(i) = self.verb(n, |_, _| true, thread::set_new_context) {
                    self.jobs[i].new_context |= self.jobs[i].status.is_open();
                }
            }
            Op::Answer(n) => {
                let asks = |world: &Self, i: usize| world.jobs[i].status == NeedsReview && world.jobs[i].asks;
                if let Some(i) = self.verb(n, asks, |conn, id| change::answer(conn, now, id, "a", "me", Origin::Owner))
                {
                    self.told += 1;
                    self.jobs[i].unread += 1;
                    self.queue_again(i);
                }
            }
            Op::Stop => {
                pause::stop(self.conn, now, "me").unwrap();
                self.stopped = true;
                for job in self.jobs.iter_mut().filter(|job| job.status == Running) {
                    job.status = Queued;
                    job.lease = None;
                    job.attempts = (job.attempts - 1).max(0);
                    job.run_at = job.run_at.min(now);
                }
            }
            Op::Resume => {
                assert_eq!(pause::go_on(self.conn, now, "me").unwrap(), self.stopped);
                self.stopped = false;
            }
            Op::Crash { reboot } => self.recover(reboot),
            Op::Pass(seconds) => {
                self.monotonic += seconds;
                self.wall += Duration::from_secs(seconds);
            }
            Op::Step(seconds) => self.wall += SignedDuration::from_secs(seconds),
            Op::Expire => self.expire(),
        }
    }

    /// What always holds.
    fn check(&self) {
        for job in &self.jobs {
            let row = row::get(self.conn, job.id).unwrap();
            let is = (row.status, row.attempts, row.has_new_context, row.run_at);
            let wanted_run_at = if matches!(job.status, Queued) { job.run_at } else { row.run_at };
            assert_eq!(is, (job.status, job.attempts, job.new_context, wanted_run_at), "{job:?}");
            assert_eq!(row.completed_at.is_some(), !job.status.is_open());
        }
        let number =
            |sql: &str| self.conn.prepare_cached(sql).unwrap().query_row([], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("SELECT count(*) FROM steps"), self.steps, "no step is lost");
        assert_eq!(number("SELECT count(*) FROM supervisor_instructions"), self.told, "no instruction is lost");
        let consumed = number("SELECT count(*) FROM supervisor_instructions WHERE consumed_at IS NOT NULL");
        assert_eq!(consumed, self.consumed);
        for (what, sql) in [
            (
                "a finished job with something unread",
                "SELECT count(*) FROM jobs WHERE status IN ('completed', 'failed') AND EXISTS (SELECT 1 FROM \
                 supervisor_instructions WHERE job_id = jobs.id AND consumed_at IS NULL)",
            ),
            (
                "a thread with two open jobs",
                "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE status IN ('queued', 'running', 'waiting', \
                 'needs_review') GROUP BY thread_id HAVING count(*) > 1)",
            ),
            (
                "a lease without a run, or a run without one",
                "SELECT count(*) FROM jobs WHERE (status = 'running') <> (lease IS NOT NULL) \
                 OR (lease IS NULL) <> (lease_until IS NULL) OR (lease IS NULL) <> (locked_at IS NULL)",
            ),
            (
                "a count that is wrong",
                "SELECT count(*) FROM job_counts WHERE count <> (SELECT count(*) FROM jobs \
                 WHERE jobs.status = job_counts.status)",
            ),
            (
                "a log with a gap",
                "SELECT count(*) FROM jobs WHERE log_seq <> (SELECT count(*) FROM task_logs WHERE job_id = jobs.id) \
                 OR log_seq <> coalesce((SELECT max(sequence) FROM task_logs WHERE job_id = jobs.id), 0)",
            ),
            (
                "steps with a gap",
                "SELECT count(*) FROM jobs WHERE step_seq <> coalesce((SELECT max(seq) FROM steps \
                 WHERE job_id = jobs.id), 0) OR step_seq <> (SELECT count(*) FROM steps WHERE job_id = jobs.id)",
            ),
            (
                "a need of a job that needs nothing",
                "SELECT count(*) FROM jobs WHERE needs IS NOT NULL AND status <> 'needs_review'",
            ),
        ] {
            assert_eq!(number(sql), 0, "{what}");
        }
    }
}

fn run(conn: &Connection, ops: &[Op]) {
    conn.execute_batch("SAVEPOINT world").unwrap();
    let mut world = World {
        conn,
        jobs: Vec::new(),
        leases: Vec::new(),
        stopped: false,
        wall: now(),
        monotonic: 1000,
        boot: 0,
        told: 0,
        consumed: 0,
        steps: 0,
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for op in ops {
            world.apply(op);
            world.check();
        }
    }));
    // Without this a failing case would leave its rows for the smaller ones that are tried after it.
    conn.execute_batch("ROLLBACK TO world; RELEASE world").unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[tokio::test]
async fn the_engine_agrees_with_its_model() {
    with_db(|conn| {
        let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { 64 };
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let result = TestRunner::new(config).run(&prop::collection::vec(op(), 1..120), |ops| {
            run(conn, &ops);
            Ok(())
        });
        if let Err(err) = result {
            panic!("{err}");
        }
    })
    .await;
}
