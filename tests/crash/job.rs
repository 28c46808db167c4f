//! A job of twenty steps that leaves traces: lines appended one by one, files written and moved.

use std::time::Duration;

use assistant_api::{
    JobId, client,
    jobs::{JobCreated, JobDetail, JobStatus, NewJob},
};
use serde_json::json;

use crate::support::{
    model::{Asked, ModelServer, Reply},
    process::Place,
    until,
};

/// Answers of the model per job; the last one ends it.
pub(crate) const STEPS: usize = 20;

/// The model server that plays the job.
pub(crate) struct Scripted {
    model: ModelServer,
}

/// The line that step `turn` appends to the job's own list.
pub(crate) fn line(number: u64, turn: usize) -> String {
    format!("job {number} step {turn}\n")
}

/// The content of the file that step `turn` writes: large enough that half of it would be seen.
pub(crate) fn content(number: u64, turn: usize) -> String {
    format!("content of job {number} at step {turn}\n").repeat(800)
}

/// The file of step `turn`, and where a later step moves it.
pub(crate) fn file(number: u64, turn: usize) -> (String, String) {
    (format!("out/{number}/file-{turn}.txt"), format!("out/{number}/moved-{turn}.txt"))
}

/// The list that every third step grows.
pub(crate) fn list(number: u64) -> String {
    format!("out/{number}/list.txt")
}

/// What step `turn` does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Load,
    Append,
    Write,
    /// Moves what the step before it wrote.
    Move,
    Read,
    Complete,
}

pub(crate) fn step(turn: usize) -> Step {
    match turn {
        0 => Step::Load,
        _ if turn + 1 >= STEPS => Step::Complete,
        _ => [Step::Append, Step::Write, Step::Move, Step::Append, Step::Read][(turn - 1) % 5],
    }
}

fn script(asked: &Asked) -> (u64, Reply) {
    let number = asked.number_after("crash job ").unwrap_or(0);
    let turn = asked.turn();
    let reply = match step(turn) {
        Step::Load => {
            Reply::call("get_tool_specs", json!({"tools": ["file_append", "file_write", "file_move", "file_read"]}))
        }
        Step::Append => Reply::call("file_append", json!({"path": list(number), "content": line(number, turn)})),
        Step::Write => {
            let (path, _) = file(number, turn);
            Reply::call("file_write", json!({"path": path, "content": content(number, turn)}))
        }
        Step::Move => {
            let (source, destination) = file(number, turn - 1);
            Reply::call("file_move", json!({"source_path": source, "destination_path": destination}))
        }
        Step::Read => Reply::call("file_read", json!({"path": list(number)})),
        Step::Complete => Reply::complete("all steps done"),
    };
    (number, reply)
}

impl Scripted {
    pub(crate) async fn start() -> Self {
        Self { model: ModelServer::start(script).await }
    }

    /// The daemon's configuration: this model, and no compaction.
    pub(crate) fn config(&self) -> String {
        format!(
            "[llm]\nprovider = \"openai\"\nbase_url = \"{}\"\nmodel = \"scripted\"\n\
             [jobs]\nmax_attempts = 100\nworkers = 4\n[limits]\nmessage_history_window = 1000\n",
            self.model.base_url()
        )
    }

    /// Puts the job of this number into the queue.
    pub(crate) async fn submit(&self, place: &Place, number: u64) -> JobId {
        self.offer(place, number).await.unwrap()
    }

    /// The same where the daemon may end before it has answered.
    pub(crate) async fn offer(&self, place: &Place, number: u64) -> client::Result<JobId> {
        let job = NewJob {
            subject: format!("crash job {number}"),
            body: format!("This is crash job {number} : do all twenty steps."),
            ..NewJob::default()
        };
        let created: JobCreated = place.client().post("/api/jobs", &job).await?;
        Ok(created.job.id)
    }

    /// Waits until the job is completed; panics when it ended in any other way.
    pub(crate) async fn wait_until_done(&self, place: &Place, job: JobId) {
        until("the job is completed", 60, async || {
            let detail: JobDetail = place.client().get(&format!("/api/jobs/{job}")).await.unwrap();
            match detail.job.status {
                JobStatus::Completed => Some(()),
                JobStatus::Queued | JobStatus::Running => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    None
                }
                other => panic!("job {job} is {other}: {:?}\n{}", detail.job.last_error, place.log()),
            }
        })
        .await;
    }

    /// Requests to the model so far.
    pub(crate) fn asked(&self) -> u64 {
        self.model.tally().requests
    }

    /// No two runs of one job asked at the same time, and no more calls were repeated than runs were killed; how many.
    pub(crate) fn check_asked(&self, killed_runs: u64) -> u64 {
        let tally = self.model.tally();
        assert!(tally.overlaps.is_empty(), "two runs of one job at the same time: {:?}", tally.overlaps);
        let repeated: u64 = tally.turns.values().map(|times| times - 1).sum();
        assert!(repeated <= killed_runs, "{repeated} model calls repeated after {killed_runs} kills: steps were lost");
        repeated
    }
}
