//! How commands of jobs end, what is kept of what they say, and who sees it while they run.

use assistant_api::{
    effects::EffectState,
    jobs::{JobDetail, JobStatus},
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{ctl, detail, inside, one, start, submit, told, wait, workspace};
use crate::support::{
    model::{Asked, ModelServer, Reply},
    until,
};

/// Runs these one after another and ends.
fn several(commands: Vec<Value>) -> impl Fn(&Asked) -> (u64, Reply) {
    move |asked| {
        let reply = match commands.get(asked.turn()) {
            Some(command) => Reply::call("command_execute", command.clone()),
            None => Reply::complete("They ran."),
        };
        (1, reply)
    }
}

/// What the model was told of each command.
fn all_told(detail: &JobDetail) -> Vec<Value> {
    let of = |row: &&assistant_api::jobs::LogRow| {
        row.tool_name.as_deref() == Some("command_execute") && matches!(&*row.event_type, "tool_result" | "error")
    };
    detail.logs.iter().filter(of).map(|row| row.output_data.clone().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_says_is_seen_while_it_runs() {
    let script =
        "for n in 1 2 3; do echo tick $n; echo of three; sleep 1.1; done; until test -e go; do sleep 0.05; done";
    let model = ModelServer::start(one(json!(["bash", "-c", script]))).await;
    let (daemon, _dir) = start(&model, "").await;
    let job = submit(&daemon, "Tick.").await;
    let mut command = ctl(&daemon.socket(), &["job", "logs", "--follow", &job.to_string()]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while seen.len() < 6 {
        let line = tokio::time::timeout(std::time::Duration::from_secs(20), lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{seen:?}")).unwrap().unwrap();
        // The model's line names the tool as well, at its end.
        let said = line.split_once("command_execute").map(|(_, text)| text.trim().to_owned());
        seen.extend(said.filter(|said| !said.is_empty()));
    }
    assert_eq!(
        seen,
        ["tick 1", "of three", "tick 2", "of three", "tick 3", "of three"],
        "one line each, as it is said"
    );
    assert_eq!(detail(&daemon, job).await.job.status, JobStatus::Running, "while it runs");
    std::fs::write(workspace(&daemon).join("go"), "").unwrap();
    wait(&daemon, job, JobStatus::Completed).await;
    assert!(child.wait().await.unwrap().success());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_long_output_the_beginning_and_the_end_are_told_and_more_is_kept() {
    let script = "echo first; head -c 100000 /dev/zero | tr '\\0' x; echo; echo last; echo short >&2";
    let model = ModelServer::start(one(json!(["bash", "-c", script]))).await;
    let (daemon, _dir) = start(&model, "max_shown = 256\nmax_kept = 50000\n").await;
    let job = submit(&daemon, "Say much.").await;
    let done = wait(&daemon, job, JobStatus::Completed).await;
    let told = told(&done);
    let stdout = told["stdout"].as_str().unwrap_or_else(|| panic!("{told}"));
    assert!(stdout.starts_with("first\nxxx") && stdout.ends_with("xxx\nlast\n") && stdout.len() < 350, "{stdout}");
    assert!(told["stdout_omitted_bytes"].as_u64().unwrap() > 98_000, "{told}");
    let kept = std::fs::read_to_string(workspace(&daemon).join(told["stdout_path"].as_str().unwrap())).unwrap();
    assert!(kept.len() == 50_000 && kept.starts_with("first\nxxx"), "{}", kept.len());
    assert_eq!((&told["stderr"], &told["stderr_omitted_bytes"]), (&json!("short\n"), &json!(0)));
    assert!(told.get("stderr_path").is_none(), "what is told whole is kept nowhere else");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bound_is_an_end_of_its_own_and_the_model_is_told_the_way_out() {
    let commands = [
        json!({ "command": ["sleep", "1000"], "timeout_seconds": 1 }),
        json!({ "command": ["bash", "-c", "exec yes"] }),
        json!({ "command": ["python3", "-c", "
import os, time
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(64 << 20); time.sleep(1000)
time.sleep(1000)
"] }),
        json!({ "command": ["bash", "-c", "bomb() { bomb | bomb & }; bomb; sleep 1000"] }),
        json!({ "command": ["true"] }),
    ];
    let model = ModelServer::start(several(commands.to_vec())).await;
    let (daemon, _dir) =
        start(&model, "memory = \"128MiB\"\nprocesses = 40\nmax_output = \"1MiB\"\nmax_shown = 512\n").await;
    let job = submit(&daemon, "Go to every bound.").await;
    let done = wait(&daemon, job, JobStatus::Completed).await;
    let told = all_told(&done);
    let ends = ["timed_out", "too_much_output", "out_of_memory", "too_many_processes", "exited"];
    let ways = ["timeout_seconds", "sandbox.max_output", "sandbox.memory", "sandbox.processes", ""];
    for ((told, end), way) in told.iter().zip(ends).zip(ways) {
        assert_eq!(told["outcome"], end, "{told}");
        assert!(told["hint"].as_str().unwrap_or_default().contains(way), "{told}");
        assert!(told.get("hint").is_some() != way.is_empty(), "{told}");
    }
    assert_eq!(told.len(), 5);
    assert!(told[0]["timed_out"] == true && told[0]["duration_ms"].as_u64().unwrap() < 3000, "{}", told[0]);
    assert!(
        done.effects.iter().all(|effect| effect.state == EffectState::Confirmed),
        "an ordinary end: {:?}",
        done.effects
    );
    assert!(inside(&workspace(&daemon)).is_empty());
    daemon.stop().await;
}

/// Whoever loses the runner does not know what its command did.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_to_the_runner_is_an_unknown_effect() {
    let script = "echo run >> runs.txt; sleep 1000";
    let model = ModelServer::start(one(json!(["bash", "-c", script]))).await;
    let (daemon, _dir) = start(&model, "").await;
    let place = workspace(&daemon);
    let job = submit(&daemon, "Run.").await;
    until("the command runs", 20, async || place.join("runs.txt").exists().then_some(())).await;
    let runner = runner_of(&place);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(runner), nix::sys::signal::Signal::SIGKILL).unwrap();
    until("every process is gone", 1, async || inside(&place).is_empty().then_some(())).await;
    let done = wait(&daemon, job, JobStatus::Completed).await;
    assert_eq!(done.effects[0].state, EffectState::Unknown, "{:?}", done.effects);
    let error = told(&done)["error"].as_str().unwrap().to_owned();
    assert!(error.contains("nobody knows how far the command came"), "{error}");
    assert_eq!(std::fs::read_to_string(place.join("runs.txt")).unwrap(), "run\n", "once");
    daemon.stop().await;
}

/// This process's own child that serves this workspace.
fn runner_of(workspace: &std::path::Path) -> i32 {
    let mut pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        line.contains("assistant-sandbox")
            && line.contains(workspace.to_str().unwrap())
            && parent == Some(std::process::id())
    };
    pids.find(is_ours).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_one_run_share_a_session_and_no_other_job_does() {
    let model = ModelServer::start(|asked: &Asked| {
        let command = match (asked.turn(), asked.text().contains("second job")) {
            (0, false) => "echo secret > /tmp/note; sleep 1000 & echo $!",
            (1, false) | (0, true) => "cat /tmp/note; ps -e 2>/dev/null | grep -c sleep",
            _ => return (1, Reply::complete("done")),
        };
        (1, Reply::call("command_execute", json!({ "command": ["bash", "-c", command] })))
    })
    .await;
    let (daemon, _dir) = start(&model, "").await;
    let first = submit(&daemon, "I am the first.").await;
    let first = wait(&daemon, first, JobStatus::Completed).await;
    let told = all_told(&first);
    assert!(told[1]["stdout"].as_str().unwrap().starts_with("secret\n"), "{}", told[1]);
    assert!(!told[1]["stdout"].as_str().unwrap().contains('1'), "processes do not outlive their command: {}", told[1]);
    let second = submit(&daemon, "I am the second job.").await;
    let second = wait(&daemon, second, JobStatus::Completed).await;
    let told = all_told(&second);
    assert!(!told[0]["stdout"].as_str().unwrap().contains("secret"), "{}", told[0]);
    assert!(told[0]["stderr"].as_str().unwrap().contains("/tmp/note"), "{}", told[0]);
    daemon.stop().await;
}
