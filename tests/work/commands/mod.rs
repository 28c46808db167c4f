//! Commands of jobs and of people, through everything: queue, ledger, runner, workspace.

mod checks;
mod ends;
mod hosts;
mod killed;
mod net;
mod ownership;
mod people;
mod proof;

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use assistant_api::{
    ErrorKind,
    client::Error as ClientError,
    effects::EffectState,
    jobs::{JobStatus, StatusReply},
    sandbox::{CommandResult, SandboxStatus, ScriptReply, ScriptRequest},
    status::{Status, Tool, ToolList},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::{config, detail, submit, wait};
use crate::support::{
    daemon::Daemon,
    model::{Asked, ModelServer, Reply},
    until,
};

/// The runner is built beside the daemon.
fn runner() -> PathBuf {
    let runner = Path::new(env!("CARGO_BIN_EXE_assistantd")).with_file_name("assistant-sandbox");
    assert!(runner.is_file(), "{} is not built: cargo build --package assistant-sandbox", runner.display());
    runner
}

/// A daemon that runs commands, with more keys of `[sandbox]`.
async fn start(model: &ModelServer, more: &str) -> (Daemon, TempDir) {
    let (dir, sandbox) = confined();
    (Daemon::start(&format!("{}{sandbox}{more}", config(model))).await, dir)
}

/// A directory with a workspace, which belongs to an ordinary user also when the tests run as root, and the configuration
/// that names it and the runner.
fn confined() -> (TempDir, String) {
    let dir = tempfile::Builder::new().prefix("assistant-commands-").tempdir().unwrap();
    let workspace = dir.path().join("workspace");
    std::fs::create_dir(&workspace).unwrap();
    if nix::unistd::geteuid().is_root() {
        chown(&workspace, Some(65534), Some(65534)).unwrap();
    }
    let (shared, runner) = (workspace.display(), runner());
    let runner = runner.display();
    let sandbox = format!("[filesystem]\nshared_root = \"{shared}\"\n[sandbox]\nrunner = \"{runner}\"\n");
    (dir, sandbox)
}

/// The command line, beside the daemon.
fn ctl(socket: &Path, arguments: &[&str]) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_assistantd")).with_file_name("assistantctl");
    assert!(program.is_file(), "{} is not built: cargo build --package assistantctl", program.display());
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("ASSISTANT_SOCKET", socket).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What became of a command of a person.
async fn person(daemon: &Daemon, command: &[&str]) -> CommandResult {
    let command = command.iter().map(ToString::to_string).collect();
    let asked = ScriptRequest { command, ..empty() };
    let reply: ScriptReply = daemon.client().post("/api/workspace/script-runs", &asked).await.unwrap();
    reply.result.unwrap_or_else(|| panic!("{:?}", reply.error))
}

/// A model that has nothing to do.
async fn idle() -> ModelServer {
    ModelServer::start(|_| (1, Reply::complete("nothing"))).await
}

fn workspace(daemon: &Daemon) -> PathBuf {
    daemon.cx.root().unwrap().path().to_owned()
}

/// Runs one command and ends.
fn one(command: Value) -> impl Fn(&Asked) -> (u64, Reply) {
    move |asked| {
        let reply = match asked.turn() {
            0 => Reply::call("command_execute", json!({ "command": command })),
            _ => Reply::complete("It ran."),
        };
        (1, reply)
    }
}

/// What the model was told of its command.
fn told(detail: &assistant_api::jobs::JobDetail) -> Value {
    let row = detail.logs.iter().find(|row| {
        row.tool_name.as_deref() == Some("command_execute") && matches!(&*row.event_type, "tool_result" | "error")
    });
    row.unwrap().output_data.clone().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_a_command_in_the_sandbox() {
    let script = "id -u; echo 6 > product.txt; cat /etc/shadow; curl --silent http://127.0.0.1:9/; exit 3";
    let model = ModelServer::start(one(json!(["bash", "-c", script]))).await;
    let (daemon, _dir) = start(&model, "").await;
    let job = submit(&daemon, "Multiply.").await;
    let done = wait(&daemon, job, JobStatus::Completed).await;

    let result = told(&done);
    assert_eq!((&result["exit_code"], &result["outcome"]), (&json!(3), &json!("exited")), "{result}");
    assert_eq!(std::fs::read_to_string(workspace(&daemon).join("product.txt")).unwrap(), "6\n");
    assert_ne!(result["stdout"].as_str().unwrap().lines().next().unwrap(), "0", "never root");
    assert!(result["stderr"].as_str().unwrap().contains("/etc/shadow"), "{result}");
    assert!(result["hint"].as_str().unwrap().contains("the sandbox refused socket (seccomp"), "{result}");
    let effect = &done.effects[0];
    assert_eq!((&*effect.tool, effect.state), ("command_execute", EffectState::Confirmed));
    assert!(effect.target.starts_with("bash -c id -u"), "{}", effect.target);
    assert_eq!(effect.detail["denials"][0]["target"], "socket", "{}", effect.detail);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_command_ends_with_all_of_its_processes() {
    // Children that ignore what can be ignored, in sessions of their own, each with its process id in a file.
    let script = "trap '' TERM HUP INT; for n in 1 2 3; do setsid sh -c 'trap \"\" TERM; sleep 1000' & done; touch up; sleep 1000";
    let model = ModelServer::start(one(json!(["bash", "-c", script]))).await;
    let (daemon, _dir) = start(&model, "").await;
    let job = submit(&daemon, "Sleep.").await;
    let up = workspace(&daemon).join("up");
    until("the command runs", 20, async || up.exists().then_some(())).await;
    let marker = workspace(&daemon);
    assert!(!inside(&marker).is_empty(), "its processes can be seen");

    let began = Instant::now();
    let _: StatusReply = daemon.client().post(&format!("/api/jobs/{job}/cancel"), &json!({})).await.unwrap();
    until("every process is gone", 5, async || inside(&marker).is_empty().then_some(())).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    daemon.stop().await;
}

/// Processes whose working directory is this workspace, in whatever namespace they are.
fn inside(workspace: &Path) -> Vec<i32> {
    use std::os::unix::fs::MetadataExt as _;
    let wanted = std::fs::metadata(workspace).unwrap();
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        std::fs::metadata(format!("/proc/{pid}/cwd"))
            .is_ok_and(|cwd| (cwd.dev(), cwd.ino()) == (wanted.dev(), wanted.ino()))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_run_leaves_a_transcript() {
    let model = ModelServer::start(|_| (1, Reply::complete("nothing"))).await;
    let (daemon, _dir) = start(&model, "").await;
    std::fs::create_dir(workspace(&daemon).join("tools")).unwrap();
    std::fs::write(workspace(&daemon).join("tools/hello.sh"), "pwd; echo '```'; echo oops >&2; exit 4\n").unwrap();
    let asked = ScriptRequest { path: Some("tools/hello.sh".into()), ..empty() };
    let reply: ScriptReply = daemon.client().post("/api/workspace/script-runs", &asked).await.unwrap();

    let result = reply.result.unwrap();
    assert_eq!((result.exit_code, reply.error), (Some(4), None));
    assert_eq!(reply.command, ["bash", "./hello.sh"]);
    assert_eq!((result.stdout.as_str(), result.stderr.as_str()), ("/workspace/tools\n```\n", "oops\n"));
    assert!(reply.file.relative_path.starts_with("script-runs/") && reply.file.relative_path.ends_with("-hello.sh.md"));
    let text = std::fs::read_to_string(workspace(&daemon).join(&reply.file.relative_path)).unwrap();
    assert!(text.contains("- Exit code: 4\n") && text.contains("````text\n/workspace/tools\n```\n````\n"), "{text}");

    // What cannot be run is told, with a transcript.
    let asked = ScriptRequest { command: vec!["no-such-program".into()], ..empty() };
    let reply: ScriptReply = daemon.client().post("/api/workspace/script-runs", &asked).await.unwrap();
    assert!(reply.result.is_none() && reply.error.unwrap().contains("was not found"));
    daemon.stop().await;
}

fn empty() -> ScriptRequest {
    ScriptRequest { path: None, command: Vec::new(), workdir: None, timeout_seconds: None }
}

/// The switch for commands closes every way to them, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn s18_the_switch_removes_commands_and_only_them() {
    let model = ModelServer::start(|asked: &Asked| {
        let reply = match asked.turn() {
            0 => Reply::call("get_tool_specs", json!({ "tools": ["command_execute", "file_list"] })),
            1 => Reply::call("command_execute", json!({ "command": ["true"] })),
            _ => Reply::complete("done"),
        };
        (1, reply)
    })
    .await;
    let (daemon, _dir) = start(&model, "enabled = false\n").await;
    let tools: ToolList = daemon.client().get("/api/tools").await.unwrap();
    assert!(tools.tools.iter().all(|tool| tool.name != "command_execute"));
    assert!(tools.tools.iter().any(|tool| tool.name == "file_list"));
    let missing = daemon.client().get::<Tool>("/api/tools/command_execute").await.unwrap_err();
    assert_eq!(missing.kind(), Some(ErrorKind::NotFound));

    let job = submit(&daemon, "Try.").await;
    let done = wait(&daemon, job, JobStatus::Completed).await;
    let loaded = done.logs.iter().find(|row| row.event_type == "tool_result").unwrap();
    assert_eq!(loaded.output_data.as_ref().unwrap()["invalid"], json!(["command_execute"]));
    assert!(told(&done)["error"].as_str().unwrap().contains("there is no tool command_execute"), "{}", told(&done));
    assert!(done.effects.is_empty());

    let asked = ScriptRequest { command: vec!["true".into()], ..empty() };
    let script = daemon.client().post::<ScriptReply>("/api/workspace/script-runs", &asked).await.unwrap_err();
    let run = daemon.client().request("POST", "/api/sandbox/run?command=[%22true%22]").open().await.unwrap_err();
    for refused in [script, run] {
        assert_eq!(refused.kind(), Some(ErrorKind::SandboxDisabled));
        let ClientError::Problem { problem, .. } = refused else { panic!("{refused}") };
        assert_eq!(problem.status, 409);
    }
    assert!(!workspace(&daemon).join("script-runs").exists(), "no transcript");
    daemon.stop().await;
}

/// No session is opened for `status`, which shows the last choice.
#[tokio::test(flavor = "multi_thread")]
async fn status_shows_what_was_chosen_last() {
    let model = ModelServer::start(one(json!(["true"]))).await;
    let (daemon, _dir) = start(&model, "unit_socket = \"/nonexistent/run.sock\"\n").await;
    let brief = async || daemon.client().get::<Status>("/api/status").await.unwrap().sandbox;
    let before = brief().await;
    assert_eq!((before.enabled, before.seen_at, before.backend), (true, None, None), "nothing was tried at the start");
    let job = submit(&daemon, "Run.").await;
    wait(&daemon, job, JobStatus::Completed).await;
    let after = brief().await;
    assert_eq!(after.backend.as_deref(), Some("namespace"), "{after:?}");
    assert!(after.seen_at.is_some() && after.problem.is_none());
    let refused: Vec<_> = after.refused.iter().map(|refused| (&*refused.backend, &*refused.reason)).collect();
    assert!(matches!(refused[..], [("unit", reason)] if reason.starts_with("not installed: ")), "{refused:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_with_less_than_was_asked_for() {
    let model = ModelServer::start(one(json!(["touch", "ran"]))).await;
    let (daemon, _dir) = start(&model, "backend = \"landlock\"\n").await;
    let status: SandboxStatus = daemon.client().get("/api/sandbox").await.unwrap();
    assert_eq!(status.backend, None);
    assert!(status.problem.unwrap().contains("sandbox.require"), "the way out is named");
    let job = submit(&daemon, "Touch.").await;
    let done = wait(&daemon, job, JobStatus::Completed).await;
    assert!(told(&done)["error"].as_str().unwrap().contains("no sandbox of this host"), "{}", told(&done));
    assert_eq!(detail(&daemon, job).await.effects[0].state, EffectState::Failed);
    assert!(!workspace(&daemon).join("ran").exists());
    daemon.stop().await;
}

/// A command whose end nobody saw is unknown, and not run again.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_never_run_again_by_itself() {
    let model = ModelServer::start(one(json!(["bash", "-c", "echo run >> runs.txt; sleep 1000"]))).await;
    let quick = "[jobs]\nstop_grace = \"0s\"\n";
    let (daemon, _dir) = start(&model, quick).await;
    let (place, text) = (workspace(&daemon), daemon.config_text());
    let job = submit(&daemon, "Run.").await;
    until("the command runs", 20, async || place.join("runs.txt").exists().then_some(())).await;
    let daemon = daemon.restart(&text).await;
    let done = wait(&daemon, job, JobStatus::Completed).await;
    assert_eq!(std::fs::read_to_string(place.join("runs.txt")).unwrap(), "run\n", "once");
    assert_eq!(done.effects[0].state, EffectState::Unknown, "{:?}", done.effects);
    assert!(inside(&place).is_empty());
    daemon.stop().await;
}

/// What a command leaves belongs to the daemon, also where the daemon is root and commands never are.
#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_of_roots_stays_roots() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    if !nix::unistd::geteuid().is_root() {
        crate::support::skip("commands under another uid than the daemon's: needs root");
        return;
    }
    let script =
        "umask 077; mkdir -p made/deep; echo new > made/deep/file; echo more >> old.txt; ln old.txt linked; id -u";
    let model = ModelServer::start(one(json!(["bash", "-c", script]))).await;
    let runner = runner();
    let daemon = Daemon::start(&format!("{}[sandbox]\nrunner = \"{}\"\n", config(&model), runner.display())).await;
    let place = workspace(&daemon);
    std::fs::write(place.join("old.txt"), "old\n").unwrap();
    std::fs::set_permissions(place.join("old.txt"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let job = submit(&daemon, "Change.").await;
    let done = wait(&daemon, job, JobStatus::Completed).await;

    let result = told(&done);
    assert_eq!((&result["exit_code"], &result["stdout"]), (&json!(0), &json!("65533\n")), "{result}");
    assert_eq!(std::fs::read_to_string(place.join("old.txt")).unwrap(), "old\nmore\n");
    for made in ["made", "made/deep", "made/deep/file", "old.txt", "linked"] {
        let found = std::fs::metadata(place.join(made)).unwrap();
        assert_eq!((found.uid(), found.gid()), (0, 0), "{made}");
    }
    daemon.stop().await;
}
