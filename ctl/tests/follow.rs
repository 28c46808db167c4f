//! Following a job while it runs.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    answers,
    fake::{Daemon, problem},
};

/// A job whose log grows by one row with every look, and that completes after the last.
fn growing() -> Daemon {
    let looks = AtomicUsize::new(0);
    Daemon::with(move |_, path, _| {
        let after: usize = path.strip_prefix("/api/jobs/7/poll?after_sequence=")?.parse().unwrap();
        let seen = looks.fetch_add(1, Ordering::Relaxed);
        let rows = answers::logs();
        let rows: Vec<Value> = rows.as_array().unwrap()[after.min(5)..seen.min(5)].to_vec();
        Some((200, answers::poll(if seen > 5 { "completed" } else { "running" }, rows.into())))
    })
}

fn endless() -> Daemon {
    Daemon::with(|_, path, _| {
        let rows = if path.ends_with("after_sequence=0") { answers::logs() } else { json!([]) };
        path.starts_with("/api/jobs/7/poll").then(|| (200, answers::poll("running", rows)))
    })
}

#[test]
fn steps_come_once_each_and_the_answer_last() {
    let ran = growing().run(&["submit", "Sum up", "--follow"]);
    assert_eq!(ran.code, Some(0));
    insta::assert_snapshot!(ran.out, @r#"
    2026-11-22T12:00:00Z  status          queued -> running
    2026-11-22T12:00:00Z  model           5 ms, calls file_write, "red and done"
    2026-11-22T12:00:00Z  file_write      reports/summary.md -> 23 B (5 ms)

    The totals are in summary.md.
    red and done

    Files written in the workspace:
      reports/summary.md
    "#);
    assert_eq!(ran.err, "job 7: Sum up\n");
}

#[test]
fn json_streams_one_document_per_line() {
    let lines = growing().run(&["submit", "Sum up", "--follow", "-o", "json"]).json_lines();
    assert_eq!(lines.len(), 6);
    let sequences: Vec<_> = lines[..5].iter().map(|line| line["log"]["sequence"].as_i64().unwrap()).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    assert_eq!(lines[5]["written_paths"], json!(["reports/summary.md"]));
    assert!(lines[5]["answer"].as_str().unwrap().starts_with("The totals"));
}

#[test]
fn a_daemon_that_restarts_meanwhile_is_waited_for() {
    let looks = AtomicUsize::new(0);
    let daemon = Daemon::with(move |_, path, _| {
        path.starts_with("/api/jobs/7/poll").then(|| match looks.fetch_add(1, Ordering::Relaxed) {
            0 => (200, answers::poll("running", json!([]))),
            1..=3 => problem(503, "unavailable", "the daemon stops"),
            _ => (200, answers::poll("completed", json!([]))),
        })
    });
    let ran = daemon.run(&["job", "wait", "7"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "job 7 is completed\n"), "{ran:?}");
}

const AWAY: &str = "the daemon is away; waiting up to 30 s until it is back\n";

#[test]
fn a_daemon_that_goes_before_the_first_event_is_waited_for() {
    let looks = AtomicUsize::new(0);
    let daemon = Daemon::with(move |_, path, _| {
        let early = path.starts_with("/api/events") && looks.fetch_add(1, Ordering::Relaxed) < 3;
        early.then(|| problem(503, "unavailable", "the daemon stops"))
    });
    let ran = daemon.run(&["submit", "Sum up", "--wait"]);
    assert_eq!((ran.code, ran.err), (Some(0), format!("job 7: Sum up\n{AWAY}")), "{}", ran.out);

    // A socket that a killed daemon has left, until the next one takes its place.
    let daemon = Daemon::new();
    let aside = daemon.dir.path().join("aside.sock");
    std::fs::rename(&daemon.socket, &aside).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&daemon.socket).unwrap());
    let mut child = daemon.command(&["job", "wait", "7"]);
    let child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    std::fs::rename(&aside, &daemon.socket).unwrap();
    let ran = crate::fake::Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, &*ran.out, &*ran.err), (Some(0), "job 7 is completed\n", AWAY));
}

#[test]
fn a_daemon_that_goes_before_the_answer_is_shown_is_waited_for() {
    let looks = AtomicUsize::new(0);
    let daemon = Daemon::with(move |_, path, _| {
        let early = path == "/api/jobs/7" && looks.fetch_add(1, Ordering::Relaxed) < 2;
        early.then(|| problem(503, "unavailable", "the daemon stops"))
    });
    let ran = daemon.run(&["submit", "Sum up", "--wait"]);
    assert_eq!((ran.code, ran.err), (Some(0), format!("job 7: Sum up\n{AWAY}")), "{}", ran.out);
}

#[test]
fn a_job_that_is_not_there_is_told_at_once() {
    let daemon = Daemon::new();
    for command in [&["job", "logs", "8", "-f"][..], &["job", "wait", "8"], &["job", "show", "8"]] {
        assert_eq!(daemon.run(command).code, Some(3), "{command:?}");
    }
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
}

#[test]
fn ctrl_c_leaves_the_job_running() {
    for (arguments, json) in
        [(&["job", "logs", "7", "-f"][..], false), (&["submit", "x", "--follow", "-o", "json"], true)]
    {
        let daemon = endless();
        let mut command = daemon.command(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("file_write") || !line.contains("size_bytes") && !line.contains("23 B") {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0);
        }
        interrupt(&child);
        let (mut rest, mut err) = (String::new(), String::new());
        out.read_to_string(&mut rest).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        if json {
            assert_eq!(rest.trim(), r#"{"schema":"v1","job_id":7,"detached":true}"#);
        } else {
            assert!(err.contains("job 7 goes on; follow it again with: assistantctl job logs 7 -f"), "{err}");
        }
        assert!(daemon.asked("POST", "/api/jobs/7/cancel").is_empty());
    }
}

#[test]
fn events_are_shown_from_where_they_are_wanted() {
    let daemon = endless();
    let mut command = daemon.command(&["events", "-f", "--since-id", "39", "--job", "7", "-o", "json"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    interrupt(&child);
    child.wait().unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((event["schema"].as_str(), event["event"]["id"].as_i64()), (Some("v1"), Some(40)));
    let asked = &daemon.asked("GET", "/api/events")[0];
    assert_eq!(asked.path, "/api/events?job=7");
    assert_eq!(asked.headers["last-event-id"], "39");
}

#[test]
fn a_job_that_cannot_begin_says_why() {
    let daemon = Daemon::with(|_, path, _| {
        if path == "/api/status" {
            let mut status = answers::status();
            status["stopped"] = json!({ "at": answers::AT, "by": "uid:0" });
            return Some((200, status));
        }
        if path == "/api/jobs/7" {
            let mut detail = answers::detail("queued");
            detail["job"]["run_at"] = "2999-01-01T00:00:00Z".into();
            return Some((200, detail));
        }
        path.starts_with("/api/jobs/7/poll").then(|| (200, answers::poll("queued", json!([]))))
    });
    let ran = daemon.run(&["job", "wait", "7", "--timeout", "2"]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    let why = "job 7 runs at 2999-01-01T00:00:00Z\nall work is stopped; assistantctl resume\nerror[timeout]: ";
    assert!(ran.err.starts_with(why), "{ran:?}");
    let quiet = daemon.run(&["job", "wait", "7", "--timeout", "1", "--json"]);
    assert_eq!((quiet.code, quiet.err.as_str()), (Some(7), ""));
}
