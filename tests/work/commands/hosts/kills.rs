//! However a command is ended, all of its processes are gone within a second, whatever they do against that.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use assistant_api::{
    effects::EffectState,
    jobs::{JobCreated, JobDetail, JobStatus, NewJob, StatusReply},
};
use serde_json::json;

use super::{Host, Kind, ModelServer, inside, on_every_host};
use crate::{
    support::until,
    work::commands::{idle, one, told},
};

const SECOND: Duration = Duration::from_secs(1);

/// Children that ignore what can be ignored, in sessions of their own, made twice over, and stopped; then `up` is made.
const STUBBORN: &str = "trap '' TERM HUP INT PIPE
    for n in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000' & done
    (setsid sh -c 'sleep 1000 &' &)
    setsid sh -c 'kill -STOP $$' &
    sleep 0.3; touch up; sleep 1000; sleep 1000";

/// Processes that make others without end, and ignore what can be ignored.
const BOMB: &str = "trap '' TERM HUP INT PIPE; touch up; bomb() { bomb | bomb & }; bomb; sleep 1000; sleep 1000";

on_every_host! {
    a_cancel_ends_everything
    a_timeout_ends_everything
    the_daemons_death_ends_everything
    a_lost_runner_is_an_unknown_effect
}

/// Waits until nothing of a command is left; how long that took.
async fn gone(workspace: &Path) -> Duration {
    let began = Instant::now();
    until("every process is gone", 10, async || inside(workspace).is_empty().then_some(())).await;
    began.elapsed()
}

async fn up(workspace: &Path, at_least: usize) {
    let up = workspace.join("up");
    until("the command runs", 30, async || up.exists().then_some(())).await;
    until("its processes run", 5, async || (inside(workspace).len() >= at_least).then_some(())).await;
}

async fn submit(host: &Host) -> i64 {
    let job = NewJob { subject: "work".into(), body: "Run.".into(), ..NewJob::default() };
    host.client().post::<JobCreated>("/api/jobs", &job).await.unwrap().job.id.0
}

async fn wait(host: &Host, job: i64, status: JobStatus) -> JobDetail {
    until(&format!("job {job} is {status}"), 30, async || {
        let detail: JobDetail = host.client().get(&format!("/api/jobs/{job}")).await.unwrap();
        (detail.job.status == status).then_some(detail)
    })
    .await
}

async fn a_cancel_ends_everything(kind: Kind) {
    for (script, processes) in [(STUBBORN, 6), (BOMB, 2)] {
        let model = ModelServer::start(one(json!({ "command": ["bash", "-c", script] })["command"].clone())).await;
        let Some(host) = Host::start(kind, &model, "processes = 64\n") else { return };
        let job = submit(&host).await;
        up(&host.workspace(), processes).await;
        let _: StatusReply = host.client().post(&format!("/api/jobs/{job}/cancel"), &json!({})).await.unwrap();
        let took = gone(&host.workspace()).await;
        assert!(took < SECOND, "{kind:?}: {took:?}");
        wait(&host, job, JobStatus::Cancelled).await;
        host.check().await;
    }
}

async fn a_timeout_ends_everything(kind: Kind) {
    let model = idle().await;
    let Some(host) = Host::start(kind, &model, "processes = 64\n") else { return };
    host.check().await; // whatever happens once only has happened
    for script in [STUBBORN, BOMB] {
        let asked = host.ask(&["bash", "-c", script], Some(2)).await.unwrap();
        let took = gone(&host.workspace()).await;
        // Who promises no bound of processes takes longer to end a bomb.
        let bombed = kind == Kind::Landlock && script == BOMB;
        assert!(took < if bombed { 5 * SECOND } else { SECOND }, "{kind:?}: {took:?}");
        let result = asked.result.unwrap_or_else(|| panic!("{kind:?}: {:?}", asked.error));
        assert!(matches!(&*result.outcome, "timed_out" | "too_many_processes"), "{kind:?}: {result:?}");
        assert!(result.duration_ms < if bombed { 8000 } else { 3000 }, "{kind:?}: {result:?}");
        assert!(script == BOMB || result.timed_out, "{kind:?}: {result:?}");
        std::fs::remove_file(host.workspace().join("up")).unwrap();
    }
}

async fn the_daemons_death_ends_everything(kind: Kind) {
    for (script, processes) in [(STUBBORN, 6), (BOMB, 2)] {
        let model = idle().await;
        let Some(mut host) = Host::start(kind, &model, "processes = 64\n") else { return };
        let place = host.workspace();
        let argv = ["bash", "-c", script];
        let killed = async {
            up(&place, processes).await;
            nix::sys::signal::kill(host.process.pid(), nix::sys::signal::Signal::SIGKILL).unwrap();
            gone(&place).await
        };
        let (asked, took) = tokio::join!(host.ask(&argv, None), killed);
        assert!(took < SECOND, "{kind:?}: {took:?}");
        asked.unwrap_err();
        host.process.kill();
    }
}

/// Whoever loses the runner does not know what its command did, and does not do it again.
async fn a_lost_runner_is_an_unknown_effect(kind: Kind) {
    let script = "echo run >> runs.txt; touch up; sleep 1000";
    let model = ModelServer::start(one(json!(["bash", "-c", script]))).await;
    let Some(mut host) = Host::start(kind, &model, "") else { return };
    let job = submit(&host).await;
    up(&host.workspace(), 1).await;
    match &mut host.broker {
        Some(broker) => broker.0.kill().unwrap(),
        None => runners(host.process.pid().as_raw()).for_each(|pid| {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        }),
    }
    let took = gone(&host.workspace()).await;
    assert!(took < SECOND, "{kind:?}: {took:?}");
    let done = wait(&host, job, JobStatus::Completed).await;
    assert_eq!(done.effects.len(), 1, "{:?}", done.effects);
    assert_eq!(done.effects[0].state, EffectState::Unknown, "{:?}", done.effects);
    assert!(
        told(&done)["error"].as_str().unwrap().contains("nobody knows how far the command came"),
        "{}",
        told(&done)
    );
    assert_eq!(std::fs::read_to_string(host.workspace().join("runs.txt")).unwrap(), "run\n", "once");
}

/// The children of a daemon.
pub(super) fn runners(daemon: i32) -> impl Iterator<Item = i32> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(move |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok()) == Some(daemon)
    })
}
