//! Whole runs: a scripted model, test tools, a real store and a real workspace directory.

mod conversation;
mod limits;
mod resume;
pub(in crate::agent) mod tools;
mod truth;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use assistant_api::{
    JobId,
    jobs::{Job, JobStatus, LogRow, NewJob},
};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    agent,
    clock::Clock,
    config::Config,
    cx::{Cx, Inner, Process, Wake},
    jobs::{
        self, Claimed, Outcome, Step,
        store::{
            claim::{Term, claim, recover},
            finish::{Backoff, apply},
            row,
        },
    },
    llm::{Answer, BoxFuture, Llm, LlmError, Message, ModelInfo, OnDelta, Request, Stop, ToolCall, Usage},
    root::Root,
    store::Store,
    subsystems::Subsystem,
};

const SUBSYSTEMS: &[Subsystem] = &[Subsystem { name: "test", routes: Vec::new, tools: tools::TOOLS, loops: &[] }];

type Script = Box<dyn Fn(&Request, usize) -> Result<Answer, LlmError> + Send + Sync>;

/// Answers by a function of the request and its number, and keeps what it was asked.
struct Scripted {
    script: Script,
    asked: Mutex<Vec<Request>>,
    models: Vec<ModelInfo>,
    /// Never answers from this request on.
    silent_from: usize,
}

impl Llm for Scripted {
    fn ask<'a>(&'a self, request: &'a Request, _: Option<OnDelta>) -> BoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async move {
            let number = {
                let mut asked = self.asked.lock().unwrap();
                asked.push(request.clone());
                asked.len() - 1
            };
            if number >= self.silent_from {
                std::future::pending::<()>().await;
            }
            (self.script)(request, number)
        })
    }

    fn models(&self) -> Vec<ModelInfo> {
        self.models.clone()
    }
}

/// One daemon's worth of parts.
struct World {
    dir: tempfile::TempDir,
    cx: Cx,
    llm: Arc<Scripted>,
}

fn free() -> Vec<ModelInfo> {
    vec![ModelInfo {
        role: "main".into(),
        model: "m".into(),
        local: true,
        price: Some(crate::llm::price::Price::FREE),
        ..ModelInfo::default()
    }]
}

/// What a test starts with.
struct Setup {
    config: Config,
    models: Vec<ModelInfo>,
    silent_from: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self { config: Config::default(), models: free(), silent_from: usize::MAX }
    }
}

impl Setup {
    fn config(change: impl FnOnce(&mut Config)) -> Self {
        let mut setup = Self::default();
        change(&mut setup.config);
        setup
    }

    fn world(self, script: impl Fn(&Request, usize) -> Result<Answer, LlmError> + Send + Sync + 'static) -> World {
        let dir = tempfile::tempdir().unwrap();
        self.world_in(dir, script)
    }

    fn world_in(
        self,
        dir: tempfile::TempDir,
        script: impl Fn(&Request, usize) -> Result<Answer, LlmError> + Send + Sync + 'static,
    ) -> World {
        let workspace = dir.path().join("workspace");
        std::fs::create_dir_all(&workspace).unwrap();
        let llm = Arc::new(Scripted {
            script: Box::new(script),
            asked: Mutex::default(),
            models: self.models,
            silent_from: self.silent_from,
        });
        let cx = Cx::new(Inner {
            store: Store::open(&dir.path().join("assistant.db")).unwrap(),
            clock: Clock::System,
            config: ArcSwap::from_pointee(self.config),
            llm: ArcSwap::from_pointee(Arc::clone(&llm) as Arc<dyn Llm>),
            root: ArcSwapOption::from_pointee(Root::open(&workspace, 0o022).unwrap()),
            root_problem: ArcSwapOption::empty(),
            state_dir: dir.path().to_owned(),
            wake: Wake::default(),
            process: Process::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            subsystems: SUBSYSTEMS,
        });
        World { dir, cx, llm }
    }
}

/// Plays answers in their order; the last one again and again.
fn play(answers: Vec<Answer>) -> impl Fn(&Request, usize) -> Result<Answer, LlmError> + Send + Sync {
    move |_, number| Ok(answers[number.min(answers.len() - 1)].clone())
}

fn says(text: &str) -> Answer {
    Answer { text: text.into(), model: "m".into(), usage: Some(used(10)), ..Answer::default() }
}

fn used(tokens: u64) -> Usage {
    Usage { input_tokens: tokens - 1, output_tokens: 1, total_tokens: tokens, ..Usage::default() }
}

fn calls(calls: &[(&str, Value)]) -> Answer {
    let calls = calls
        .iter()
        .map(|(name, arguments)| ToolCall {
            id: String::new(),
            name: (*name).into(),
            arguments: arguments.as_str().map_or_else(|| arguments.to_string(), str::to_owned),
        })
        .collect();
    Answer { calls, stop: Stop::Calls, ..says("") }
}

fn call(name: &str, arguments: Value) -> Answer {
    calls(&[(name, arguments)])
}

fn done() -> Answer {
    call("task_complete", json!({ "summary": "did it", "response": "here it is" }))
}

fn completed() -> Outcome {
    Outcome::Completed { summary: "did it".into(), response: "here it is".into() }
}

impl World {
    async fn job(&self, body: &str) -> JobId {
        let new = NewJob { subject: "a test".into(), body: body.into(), ..NewJob::default() };
        jobs::create(&self.cx, new, "uid:0").await.unwrap().id
    }

    async fn claim(&self) -> Claimed {
        let term = Term { boot: "boot".into(), until: Duration::from_hours(24) };
        let now = self.cx.clock.now().checked_add(jiff::SignedDuration::from_hours(1)).unwrap();
        self.cx.store.write(move |tx| Ok(claim(tx, now, &term, &[], 1)?.pop())).await.unwrap().expect("a job is due")
    }

    /// Claims the job that is due, runs it and applies the outcome.
    async fn run(&self) -> Outcome {
        let claimed = self.claim().await;
        let outcome = agent::run(&self.cx, &claimed, &CancellationToken::new()).await;
        self.apply(&claimed, &outcome).await;
        outcome
    }

    async fn apply(&self, claimed: &Claimed, outcome: &Outcome) {
        let (now, lease, outcome) = (self.cx.clock.now(), claimed.lease, outcome.clone());
        let backoff = Backoff { base: Duration::ZERO, max: Duration::ZERO, jitter: 0.0 };
        self.cx.store.write(move |tx| apply(tx, now, &lease, &outcome, &backoff)).await.unwrap();
    }

    /// What a start after a crash does.
    async fn restart(&self) {
        let now = self.cx.clock.now();
        self.cx.store.write(move |tx| recover(tx, now, 10)).await.unwrap();
    }

    async fn get(&self, id: JobId) -> Job {
        self.cx.store.read(move |conn| row::get(conn, id)).await.unwrap()
    }

    async fn logs(&self, id: JobId) -> Vec<LogRow> {
        self.cx.store.read(move |conn| jobs::log::before(conn, id, None, 500)).await.unwrap()
    }

    async fn steps(&self, id: JobId, epoch: i64) -> Vec<Step> {
        self.cx.store.read(move |conn| jobs::steps::load(conn, id, epoch)).await.unwrap()
    }

    fn asked(&self) -> Vec<Request> {
        self.llm.asked.lock().unwrap().clone()
    }

    /// Waits until something is so.
    async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let wait = async {
            while !so(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "it does not come to that: {what}");
    }

    /// Waits until a test tool hangs.
    async fn until_hanging(&self) {
        let mark = self.dir.path().join(tools::HANGS);
        self.until("a tool hangs", |_| mark.exists()).await;
        std::fs::remove_file(mark).unwrap();
    }

    fn workspace(&self) -> PathBuf {
        self.dir.path().join("workspace")
    }
}

/// The contents of the tool results of a request, in order.
fn results(request: &Request) -> Vec<String> {
    request
        .messages
        .iter()
        .filter_map(|message| match message {
            Message::Tool { content, .. } => Some(content.clone()),
            _ => None,
        })
        .collect()
}

fn users(request: &Request) -> String {
    let texts: Vec<_> = request
        .messages
        .iter()
        .filter_map(|message| match message {
            Message::User { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    texts.join("\n")
}
