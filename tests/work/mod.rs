//! A job from the request to the result, through everything: socket, queue, model server, files, restart.

mod commands;
mod recorded;
mod web;

use std::time::Duration;

use assistant_api::{
    JobId,
    effects::EffectState,
    jobs::{JobCreated, JobDetail, JobStatus, NewInstruction, NewJob, StatusReply},
};
use serde_json::{Value, json};

use crate::support::{
    daemon::Daemon,
    model::{Asked, ModelServer, Reply},
    until,
};

fn config(model: &ModelServer) -> String {
    format!("[llm]\nprovider = \"openai\"\nbase_url = \"{}\"\nmodel = \"scripted\"\n", model.base_url())
}

async fn submit(daemon: &Daemon, body: &str) -> JobId {
    let job = NewJob { subject: "work".into(), body: body.into(), ..NewJob::default() };
    let created: JobCreated = daemon.client().post("/api/jobs", &job).await.unwrap();
    created.job.id
}

async fn detail(daemon: &Daemon, job: JobId) -> JobDetail {
    daemon.client().get(&format!("/api/jobs/{job}")).await.unwrap()
}

async fn wait(daemon: &Daemon, job: JobId, status: JobStatus) -> JobDetail {
    until(&format!("job {job} is {status}"), 30, async || {
        let detail = detail(daemon, job).await;
        assert!(
            detail.job.status == status || detail.job.status.is_open(),
            "{}: {:?}",
            detail.job.status,
            detail.job.last_error
        );
        (detail.job.status == status).then_some(detail)
    })
    .await
}

/// Writes two files and reads one back, slowly if asked to.
fn three_steps(delay: Duration) -> impl Fn(&Asked) -> (u64, Reply) {
    move |asked| {
        let reply = match asked.turn() {
            0 => Reply::call("file_write", json!({"path": "out/a.txt", "content": "first\n"}))
                .and("file_append", json!({"path": "out/b.txt", "content": "second\n"})),
            1 => Reply { delay, ..Reply::call("file_read", json!({"path": "out/a.txt"})) },
            _ => Reply::complete("Two files are written."),
        };
        (1, reply)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_in_and_a_result_comes_out() {
    let model = ModelServer::start(three_steps(Duration::ZERO)).await;
    let daemon = Daemon::start(&config(&model)).await;
    let job = submit(&daemon, "Write two files.").await;
    let done = wait(&daemon, job, JobStatus::Completed).await;

    assert_eq!(done.job.metadata["final_response"], "Two files are written.");
    assert!(done.job.completed_at.is_some());
    assert_eq!((done.usage.api_call_count, done.usage.total_tokens), (3, 330));
    let mut written = done.written_paths.clone();
    written.sort();
    assert_eq!(written, ["out/a.txt", "out/b.txt"]);
    assert_eq!(std::fs::read_to_string(daemon.workspace().join("out/b.txt")).unwrap(), "second\n");
    assert_eq!(done.effects.len(), 2);
    assert!(done.effects.iter().all(|effect| effect.state == EffectState::Confirmed), "{:?}", done.effects);
    let kinds: Vec<&str> = done.logs.iter().map(|row| row.event_type.as_str()).collect();
    for kind in ["llm_request", "llm_response", "tool_call", "tool_result", "status_change"] {
        assert!(kinds.contains(&kind), "the log tells of {kind}: {kinds:?}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_where_it_was_after_a_restart() {
    let model = ModelServer::start(three_steps(Duration::from_millis(400))).await;
    let quick = format!("{}[jobs]\nstop_grace = \"0s\"\n", config(&model));
    let daemon = Daemon::start(&quick).await;
    let job = submit(&daemon, "Write two files.").await;
    until("the model thinks about its second answer", 20, async || {
        (model.tally().turns.contains_key(&(1, 1))).then_some(())
    })
    .await;
    let daemon = daemon.restart(&quick).await;
    let done = wait(&daemon, job, JobStatus::Completed).await;

    assert_eq!(std::fs::read_to_string(daemon.workspace().join("out/b.txt")).unwrap(), "second\n", "appended once");
    assert_eq!(done.effects.len(), 2, "{:?}", done.effects);
    let tally = model.tally().turns.clone();
    assert_eq!(tally[&(1, 0)], 1, "what was answered is not asked again");
    assert!(tally[&(1, 1)] <= 2 && tally[&(1, 2)] == 1, "{tally:?}");
    assert!(model.tally().overlaps.is_empty());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instruction_reaches_a_running_job_and_a_question_waits_for_its_answer() {
    let model = ModelServer::start(|asked: &Asked| {
        let reply = match asked.turn() {
            0 => Reply::call("request_input", json!({"recipient": "requester", "question": "Which currency?"})),
            _ if asked.text().contains("use euros") => Reply::complete("In euros."),
            _ => Reply::call("task_failed", json!({"reason": "nobody said which currency"})),
        };
        (1, reply)
    })
    .await;
    let daemon = Daemon::start(&config(&model)).await;
    let job = submit(&daemon, "Sum it up.").await;
    let asked = wait(&daemon, job, JobStatus::NeedsReview).await;
    let needs = asked.job.needs.unwrap();
    assert_eq!((needs.what.as_str(), needs.text.as_str()), ("answer", "for the requester: Which currency?"));
    assert!(needs.command.contains("assistantctl job answer"), "{}", needs.command);
    let answer = json!({"answer": "use euros"});
    let _: StatusReply = daemon.client().post(&format!("/api/jobs/{job}/answer"), &answer).await.unwrap();
    let done = wait(&daemon, job, JobStatus::Completed).await;
    assert_eq!(done.job.metadata["final_response"], "In euros.");
    let late = NewInstruction { instruction: "too late".into() };
    let refused = daemon.client().post::<Value>(&format!("/api/jobs/{job}/instructions"), &late).await;
    assert!(refused.is_ok() || refused.unwrap_err().kind().is_some(), "an answer or a clear refusal");
    daemon.stop().await;
}

/// Work that was stopped stays stopped across a restart, and goes on when it is resumed.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_outlives_the_daemon() {
    let model = ModelServer::start(three_steps(Duration::ZERO)).await;
    let daemon = Daemon::start(&config(&model)).await;
    let _: Value = daemon.client().post("/api/stop", &json!({})).await.unwrap();
    let job = submit(&daemon, "Write two files.").await;
    let daemon = daemon.restart(&config(&model)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(detail(&daemon, job).await.job.status, JobStatus::Queued);
    assert_eq!(model.tally().requests, 0);
    let _: Value = daemon.client().post("/api/resume", &json!({})).await.unwrap();
    wait(&daemon, job, JobStatus::Completed).await;
    daemon.stop().await;
}
