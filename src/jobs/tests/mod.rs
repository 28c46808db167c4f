//! The engine with its runner and its verbs, on a real database and a clock set by hand.

mod filters;
mod runner;
mod verbs;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use assistant_api::{
    JobId,
    jobs::{Job, JobStatus, NewJob},
};
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Clock,
    config::Config,
    cx::{Cx, Inner, Process, Wake},
    jobs,
    llm::{Answer, BoxFuture, Llm, LlmError, ModelInfo, OnDelta, Request},
    store::Store,
};

struct NoModel;

impl Llm for NoModel {
    fn ask<'a>(&'a self, _: &'a Request, _: Option<OnDelta>) -> BoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(std::future::ready(Err(LlmError::NotConfigured("no model".into()))))
    }
    fn models(&self) -> Vec<ModelInfo> {
        Vec::new()
    }
}

/// A context on a new database; the directory goes with the test.
fn cx() -> (Cx, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (cx_in(&dir), dir)
}

/// Another one on the same database, as after a restart.
fn cx_in(dir: &TempDir) -> Cx {
    let mut config = Config::default();
    config.retention.min_free_bytes = crate::config::value::Bytes(0);
    config.jobs.stop_grace = crate::config::value::Seconds::new(1);
    let llm: Arc<dyn Llm> = Arc::new(NoModel);
    Cx::new(Inner {
        store: Store::open(&dir.path().join("assistant.db")).unwrap(),
        clock: Clock::fixed("2026-11-22T09:00:00Z".parse().unwrap()),
        config: ArcSwap::from_pointee(config),
        llm: ArcSwap::from_pointee(llm),
        root: ArcSwapOption::empty(),
        root_problem: ArcSwapOption::empty(),
        state_dir: dir.path().to_owned(),
        wake: Wake::default(),
        process: Process::default(),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
        subsystems: &[],
    })
}

fn new(subject: &str) -> NewJob {
    NewJob { subject: subject.into(), body: "do it".into(), ..NewJob::default() }
}

async fn submit(cx: &Cx, subject: &str) -> JobId {
    jobs::create(cx, new(subject), "me").await.unwrap().id
}

async fn job(cx: &Cx, id: JobId) -> Job {
    jobs::detail(cx, id).await.unwrap().job
}

/// Waits until the job has this status, ten seconds at most.
async fn reaches(cx: &Cx, id: JobId, wanted: JobStatus) -> Job {
    for _ in 0..2000 {
        let job = job(cx, id).await;
        if job.status == wanted {
            return job;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("job {id} is {:?}, not {wanted}", job(cx, id).await);
}
