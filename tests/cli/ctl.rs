//! `assistantctl` with a real daemon: what a user does, from the task to the result.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use assistant_api::jobs::JobDetail;
use serde_json::Value;

use crate::support::process::{Place, Process};

const REHEARSED: &str = "[llm]\nprovider = \"rehearsal\"\n";
pub(super) const TASK: &str = "Read the CSV files in reports/ and write summary.md with totals per month";

/// A daemon that rehearses, and a directory with the reports of the recording's task.
pub(crate) struct Desk {
    pub(super) place: Place,
    pub(super) daemon: Process,
    here: tempfile::TempDir,
}

pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with("", &[])
    }

    /// With more in its configuration, and variables of its environment.
    pub(crate) fn with(more: &str, variables: &[(&str, &str)]) -> Self {
        let place = Place::new(&format!("{REHEARSED}{more}"));
        let daemon = place.start(variables);
        assert!(daemon.ready, "{}", place.log());
        let here = tempfile::tempdir().unwrap();
        fs::create_dir(here.path().join("reports")).unwrap();
        fs::write(here.path().join("reports/a.csv"), "month,amount\n2026-09,12.5\n2026-10,20\n").unwrap();
        fs::write(here.path().join("reports/b.csv"), "month,amount\n2026-09,2\n").unwrap();
        Self { place, daemon, here }
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.current_dir(self.here.path()).env_clear().env("ASSISTANT_SOCKET", self.place.socket());
        // An ordinary user has a home, in which the local commands look for his daemon.
        command.env("HOME", self.here.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(arguments).stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs what has to succeed and returns its JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["-o", "json"]].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.out, ran.err);
        let json: Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
        assert_eq!(json["schema"], "v1");
        json
    }
}

/// The program lies beside the daemon, where a build of the workspace puts both.
fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_assistantd")).with_file_name("assistantctl");
    assert!(program.is_file(), "{} is missing: cargo build --workspace", program.display());
    program
}

#[test]
fn a_task_with_attachments_comes_back_as_a_file() {
    let desk = Desk::new();
    let ran = desk.run(&["submit", TASK, "--attach", "reports", "--follow", "--get", "result"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    for part in ["file_read", "jobs/1/in/reports/a.csv -> 37 B", "Files written in the workspace:\n  summary.md\n"] {
        assert!(ran.out.contains(part), "{part} is missing in: {}", ran.out);
    }
    let summary = fs::read_to_string(desk.here.path().join("result/summary.md")).unwrap();
    assert!(summary.contains("| 2026-09 | 2 | 14.50 |"), "{summary}");

    let show = desk.json(&["job", "show", "1"]);
    assert_eq!(show["job"]["status"], "completed");
    assert_eq!(show["written_paths"], serde_json::json!(["summary.md"]));
    let effect = &show["effects"][0];
    assert_eq!((&effect["tool"], &effect["state"]), (&"file_write".into(), &"confirmed".into()));
    assert_eq!(desk.run(&["job", "wait", "1"]).code, Some(0));
    let rows = desk.run(&["job", "logs", "1", "-o", "json"]).out.lines().count();
    assert!(rows > 10, "{rows} rows");
    let detail: JobDetail = serde_json::from_value(show).unwrap();
    assert_eq!(detail.job.attempts, 1);
}

#[test]
fn a_job_that_cannot_go_on_says_what_it_needs() {
    let desk = Desk::new();
    let ran = desk.run(&["submit", "Something that no recording is for", "--wait"]);
    assert_eq!(ran.code, Some(9), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("error[needs_review]: job 1 needs ") && ran.err.contains("hint: assistantctl job "));
    let status = desk.run(&["status"]).out;
    assert!(status.contains("Waiting for you:\n  job 1: Something"), "{status}");
    assert_eq!(desk.run(&["job", "approve", "1"]).code, Some(6));
    assert_eq!(desk.json(&["job", "cancel", "1"])["status"], "cancelled");
    assert_eq!(desk.run(&["job", "cancel", "1"]).code, Some(6));
    assert_eq!(desk.run(&["job", "wait", "1"]).code, Some(10));
    assert_eq!(desk.json(&["job", "erase", "1", "--yes"])["erased"]["root_job_id"], 1);
    assert_eq!(desk.run(&["job", "show", "1"]).code, Some(3));
}

#[test]
fn following_outlives_a_killed_daemon() {
    let mut desk = Desk::new();
    let mut command = desk.command(&["submit", TASK, "--attach", "reports", "--in", "2s", "--follow"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Killed when it is being followed: what has not been answered yet may fail.
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut out = String::new();
    while !out.contains("-> queued") {
        assert_ne!(stdout.read_line(&mut out).unwrap(), 0, "it ended early: {out}");
    }
    desk.daemon.kill();
    std::thread::sleep(Duration::from_millis(300));
    desk.daemon = desk.place.start(&[]);
    stdout.read_to_string(&mut out).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("I wrote summary.md"), "{out}");
    assert_eq!(out.matches("task_complete").count(), 2, "the call and its result, once each: {out}");
}

#[test]
fn work_is_stopped_until_it_is_resumed() {
    let desk = Desk::new();
    assert_eq!(desk.json(&["stop", "--all"])["status"], "stopped");
    desk.run(&["submit", TASK, "--attach", "reports"]);
    let waited = desk.run(&["job", "wait", "1", "--timeout", "2"]);
    assert!(
        waited.code == Some(7) && waited.err.contains("all work is stopped; assistantctl resume"),
        "{}",
        waited.err
    );
    assert!(desk.run(&["status"]).out.contains("stopped "));
    assert_eq!(desk.json(&["resume"])["status"], "running");
    assert_eq!(desk.run(&["job", "wait", "1"]).code, Some(0));
}

#[test]
fn files_go_to_the_workspace_and_back() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["files", "put", "reports"]).out, "reports/a.csv\nreports/b.csv\n");
    fs::create_dir(desk.here.path().join("empty")).unwrap();
    assert_eq!(desk.run(&["files", "put", "empty"]).out, "empty/\n");
    for verb in ["put", "get"] {
        let ran = desk.run(&["files", verb, "reports", "new"]);
        assert!(ran.code == Some(3) && ran.err.contains("hint: if it is where to copy to: --to new"), "{}", ran.err);
    }
    let again = desk.run(&["files", "put", "reports"]);
    assert!(again.code == Some(6) && again.err.contains("hint: replace it with --force"), "{}", again.err);
    assert_eq!(desk.run(&["files", "put", "reports", "--force"]).code, Some(0));
    assert_eq!(desk.run(&["files", "get", "reports", "--to", "copy"]).out, "copy/a.csv\ncopy/b.csv\n");
    let read = |path: &str| fs::read(desk.here.path().join(path)).unwrap();
    assert_eq!(read("copy/a.csv"), read("reports/a.csv"));
    assert_eq!(desk.json(&["files", "ls", "reports"])["entries"].as_array().unwrap().len(), 2);
    assert_eq!(desk.run(&["files", "rm", "reports"]).code, Some(0));
    assert_eq!(desk.run(&["files", "ls", "reports"]).code, Some(3));
    assert_eq!(desk.json(&["files", "trash"])["entries"][0]["original_path"], "reports");
    assert_eq!(desk.run(&["files", "restore", "reports"]).out, "reports is back\n");
    assert_eq!(desk.run(&["files", "rm", "../etc"]).code, Some(2));
    assert_eq!(desk.run(&["files", "get", "none"]).code, Some(3));
}

#[test]
fn the_configuration_is_shown_changed_and_checked() {
    let desk = Desk::new();
    let origin = desk.run(&["config", "show", "--origin", "llm.provider"]).out;
    assert!(origin.contains("assistant.toml:2"), "{origin}");
    let set = desk.json(&["config", "set", "limits.max_iterations_per_task", "7"]);
    assert_eq!(
        (&set["in_force"], &set["reloaded"]["changed"][0]),
        (&true.into(), &"limits.max_iterations_per_task".into())
    );
    let file = desk.place.config_file().with_file_name("conf.d").join("50-local.toml");
    assert_eq!(fs::read_to_string(&file).unwrap(), "[limits]\nmax_iterations_per_task = 7\n");
    let shown = desk.json(&["config", "show", "limits.max_iterations_per_task"]);
    assert_eq!(shown["settings"][0]["value"], 7);
    let wrong = desk.run(&["config", "set", "limits.max_iteration", "7"]);
    assert_eq!(wrong.code, Some(78), "{}", wrong.err);
    assert!(wrong.err.contains("max_iterations") && wrong.err.contains("conf.d/50-local.toml"), "{}", wrong.err);
    assert!(!fs::read_to_string(&file).unwrap().contains("max_iteration "));
    assert_eq!(desk.run(&["config", "check"]).code, Some(0));
    fs::write(&file, "[limits]\nnone = 1\n").unwrap();
    let check = desk.run(&["config", "check"]);
    assert!(check.code == Some(78) && check.err.contains("none"), "{}", check.err);
    assert_eq!(desk.run(&["reload"]).code, Some(78));
    fs::write(&file, "[jobs]\nworkers = 3\n").unwrap();
    let reload = desk.run(&["reload"]).out;
    assert!(reload.contains("changed: ") && reload.contains("jobs.workers"), "{reload}");
    fs::write(&file, "[limits]\nnone = 1\n").unwrap();
    assert_eq!(desk.run(&["doctor"]).code, Some(78));
}

#[test]
fn a_daemon_that_was_started_by_hand_is_set_up_as_far_as_it_goes() {
    let desk = Desk::new();
    let setup = desk.run(&["setup", "--yes", "--admin-name", "Ann", "--admin-address", "ann@example.org"]);
    assert_eq!(setup.code, Some(0), "{}{}", setup.out, setup.err);
    for expected in ["admin.name, admin.email", "has read its configuration", "rehearsal at this daemon answered"] {
        assert!(setup.out.contains(expected), "{expected}: {}", setup.out);
    }
    assert_eq!(desk.json(&["config", "show", "admin.email"])["settings"][0]["value"], "ann@example.org");
    let file = desk.place.config_file().with_file_name("conf.d").join("10-setup.toml");
    let written = fs::read_to_string(&file).unwrap();
    // Again, with another name alone, and with what the daemon refuses.
    assert_eq!(desk.run(&["setup", "--yes", "--admin-name", "Eve"]).code, Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), written.replace("Ann", "Eve"));
    let refused = desk.run(&["setup", "--yes", "--provider", "openai", "--base-url", "http://["]);
    assert!(refused.code == Some(78) && refused.err.contains("what stands: nothing new"), "{}", refused.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), written.replace("Ann", "Eve"));
    let nowhere = desk.run(&["setup", "--yes", "--imap-port", "993"]);
    assert!(nowhere.code == Some(2) && nowhere.err.contains("--imap-host"), "{}", nowhere.err);
    let mail = desk.run(&["setup", "--yes", "--imap-host", "127.0.0.1", "--imap-port", "1", "--imap-user", "me"]);
    assert!(mail.out.contains("email.imap_host"), "{}{}", mail.out, mail.err);
    assert_eq!(desk.json(&["config", "show", "email.imap_username"])["settings"][0]["value"], "me");
}

#[test]
fn everything_that_only_looks_works() {
    let desk = Desk::new();
    for command in [
        &["status"][..],
        &["doctor", "--models"],
        &["jobs"],
        &["tools"],
        &["tools", "file_write"],
        &["effects"],
        &["config", "show"],
        &["models", "test"],
        &["events"],
        &["files", "ls"],
        &["query", "GET", "/api/stats"],
    ] {
        let ran = desk.run(command);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{command:?}: {}", ran.out);
        if command != ["events"] {
            desk.json(command);
        }
    }
}

#[test]
fn who_comes_over_the_network_is_let_in_from_the_command_line() {
    let desk = Desk::new();
    let set = |text: &str| {
        let mut command = desk.command(&["web", "password"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, err) = set("too short\n");
    assert!(code == Some(2) && err.contains("12 characters"), "{code:?} {err}");
    assert_eq!(desk.json(&["web", "status"])["password_set_at"], Value::Null);
    assert_eq!(set("a few words that nobody would guess\n").0, Some(0));
    assert!(desk.json(&["web", "status"])["password_set_at"].is_string());
    assert!(desk.run(&["web", "password", "--remove"]).out.contains("no password any more"));
    assert_eq!(desk.run(&["web", "logout"]).code, Some(0));

    let made = desk.run(&["token", "create", "intake", "--allow", "POST /api/jobs", "--expires", "30d"]);
    assert!(made.out.starts_with("ast_") && made.out.trim().len() == 47, "the secret alone: {}", made.out);
    assert_eq!(desk.run(&["token", "create", "intake"]).code, Some(6), "the name is taken");
    let wrong = desk.run(&["token", "create", "other", "--allow", "GET /nothing"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("no route") && wrong.err.contains("hint: "), "{}", wrong.err);
    let tokens = desk.json(&["token", "list"]);
    assert_eq!(tokens["tokens"][0]["name"], "intake");
    assert_eq!(tokens["tokens"][0]["allow"][0], "POST /api/jobs");
    assert!(desk.run(&["token", "list"]).out.contains("POST /api/jobs"));
    for missing in ["nobody", "../jobs/1", ""] {
        assert_eq!(desk.run(&["token", "revoke", missing]).code, Some(3), "{missing:?}");
    }
    assert_eq!(desk.run(&["token", "revoke", "intake"]).code, Some(0));
    assert_eq!(desk.json(&["token", "list"])["tokens"], serde_json::json!([]));
}
