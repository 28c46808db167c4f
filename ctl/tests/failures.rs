//! What goes wrong, how it is said, and the code that it ends with.

use std::{fs, io::Read as _, process::Stdio};

use serde_json::Value;

use crate::{
    answers,
    fake::{Daemon, Ran, problem, program},
};

#[test]
fn every_kind_of_error_ends_with_its_code() {
    for (status, kind, code) in [
        (400, "invalid", 2),
        (422, "validation", 2),
        (401, "unauthorized", 4),
        (403, "forbidden", 4),
        (404, "not_found", 3),
        (405, "method_not_allowed", 2),
        (409, "conflict", 6),
        (412, "precondition_failed", 6),
        (413, "too_large", 1),
        (415, "unsupported_media", 2),
        (429, "rate_limited", 75),
        (504, "timeout", 7),
        (507, "storage_full", 75),
        (503, "unavailable", 75),
        (500, "internal", 1),
    ] {
        let daemon = Daemon::with(move |_, _, _| Some(problem(status, kind, "it is \u{1b}[31mso")));
        let ran = daemon.run(&["jobs"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{kind}");
        assert_eq!(ran.err, format!("error[{kind}]: it is so\n"));
        let json = daemon.run(&["jobs", "-o", "json"]);
        assert_eq!((json.code, json.err.as_str()), (Some(code), ""), "{kind}");
        let json = json.json();
        assert_eq!((&json["schema"], &json["error"]["kind"]), (&Value::from("v1"), &Value::from(kind)));
        assert_eq!(
            (&json["error"]["exit_code"], &json["error"]["request_id"]),
            (&Value::from(code), &Value::from("r4"))
        );
    }
}

#[test]
fn hint_field_and_request_id_are_shown() {
    let daemon = Daemon::with(|_, _, _| {
        let (status, mut body) = problem(422, "validation", "must be at most 1000");
        body["field"] = "priority".into();
        body["hint"] = "choose a smaller one".into();
        Some((status, body))
    });
    let ran = daemon.run(&["submit", "x", "--debug"]);
    insta::assert_snapshot!(ran.err, @r"
    debug: POST /api/jobs -> 422 Unprocessable Entity, request id r4
    error[validation]: must be at most 1000 (field priority)
    hint: choose a smaller one
    request id: r4
    ");
}

#[test]
fn a_missing_daemon_is_told_with_the_way_to_start_it() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let run = |more: &[&str]| Ran::of(program(dir.path()).arg("--socket").arg(&socket).args(more).output().unwrap());
    let missing = run(&["status"]);
    assert_eq!(missing.code, Some(5));
    assert!(missing.err.starts_with("error[unreachable]: there is no socket at "), "{missing:?}");
    assert!(missing.err.contains("\nhint: start it with: "), "{missing:?}");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let dead = run(&["jobs", "-o", "json"]);
    assert_eq!((dead.code, dead.json()["error"]["kind"].as_str()), (Some(5), Some("unreachable")));
}

#[test]
fn a_daemon_that_never_answers_is_not_waited_for_without_end() {
    // As the socket of a service that cannot start: connections are taken, and nothing more.
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("mute.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        let mut taken = Vec::new();
        listener.incoming().for_each(|stream| taken.push(stream));
    });
    let file = dir.path().join("a.csv");
    fs::write(&file, "1").unwrap();
    let put = ["files", "put", file.to_str().unwrap()];
    let children: Vec<_> = [&["sandbox", "run", "--", "true"][..], &["sandbox", "test"], &put]
        .into_iter()
        .map(|arguments| {
            let mut command = program(dir.path());
            command.arg("--socket").arg(&socket).args(arguments);
            let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            (arguments, child)
        })
        .collect();
    for (arguments, child) in children {
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(7), "{arguments:?} {ran:?}");
        assert!(ran.err.contains("error[timeout]: the daemon did not answer within "), "{arguments:?} {ran:?}");
        assert!(ran.err.contains("hint: see assistantctl doctor and journalctl -u assistantd"), "{arguments:?}");
    }
}

#[test]
fn wrong_usage_is_told_with_what_may_be_meant() {
    let daemon = Daemon::new();
    for (arguments, part) in [
        (&["jbos"][..], "'jobs'"),
        (&["jobs", "--stauts", "x"], "'--status'"),
        (&["jobs", "--status", "done"], "unknown status \"done\"; one of queued, running"),
        (&["job", "show", "abc"], "invalid value 'abc' for '<ID>': a job's id is a number, such as 7"),
        (&["submit", "x", "--max-cost", "-1"], "invalid value '-1' for '--max-cost <DOLLARS>': US dollars from 0"),
        (
            &["job", "review", "1", "--max-cost", "NaN"],
            "invalid value 'NaN' for '--max-cost <DOLLARS>': US dollars from 0",
        ),
        (&["effects", "--job", "abc"], "a job's id is a number"),
        (&["events", "--job", "abc"], "a job's id is a number"),
        (&["submit"], "<TEXT>"),
        (&["submit", "x", "--at", "y", "--in", "z"], "cannot be used with"),
        (&["stop"], "--all"),
        (&["job", "wait", "7", "--timeout", "soon"], "90s, 10m or 1h 30m"),
        (&["submit", " "], "the task is empty"),
        (&["query", "GET", "api/jobs"], "it starts with /"),
        (&["query", "POST", "/api/jobs", "--data", "{"], "--data is not JSON"),
    ] {
        let ran = daemon.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{arguments:?} {ran:?}");
        assert!(ran.err.starts_with("error[usage]: ") && ran.err.contains(part), "{arguments:?} {ran:?}");
        let json = daemon.run(&[arguments, &["--output", "json"]].concat());
        assert_eq!((json.code, json.json()["error"]["exit_code"].as_i64()), (Some(2), Some(2)), "{arguments:?}");
    }
    assert!(daemon.seen().is_empty());
    let bare = daemon.run(&[]);
    assert_eq!(bare.code, Some(2));
    assert!(bare.err.contains("Usage: assistantctl [OPTIONS] <COMMAND>"), "{bare:?}");
    let group = daemon.run(&["job"]);
    assert!(group.code == Some(2) && group.err.contains("Usage: assistantctl job [OPTIONS]"), "{group:?}");
}

#[test]
fn a_job_that_is_waited_for_ends_with_its_own_code() {
    for (status, code, said) in [
        ("completed", 0, ""),
        ("failed", 1, "error[failed]: job 7 failed: the model was not reachable"),
        ("cancelled", 10, "error[cancelled]: job 7 was cancelled"),
        (
            "needs_review",
            9,
            "error[needs_review]: job 7 needs an approval: file_delete {\"path\":\"reports\"}\nhint: assistantctl job approve 7",
        ),
    ] {
        let daemon = Daemon::with(move |method, path, _| match (method, path.split('?').next()?) {
            ("GET", "/api/jobs/7/poll") => Some((200, answers::poll(status, Value::Array(Vec::new())))),
            ("GET", "/api/jobs/7") => Some((200, answers::detail(status))),
            _ => None,
        });
        for command in [&["job", "wait", "7"][..], &["submit", "x", "--wait"]] {
            let ran = daemon.run(command);
            assert_eq!(ran.code, Some(code), "{command:?} {status} {ran:?}");
            assert!(ran.err.contains(said), "{command:?} {ran:?}");
            let json = daemon.run(&[command, &["--json"]].concat());
            assert_eq!((json.code, json.json()["job"]["status"].as_str()), (Some(code), Some(status)));
        }
        assert_eq!(daemon.run(&["job", "wait", "7", "--for", status]).code, Some(0), "{status}");
    }
}

#[test]
fn a_check_says_that_the_daemons_file_is_missing() {
    let ran = Daemon::new().run(&["config", "check"]);
    let note = "/nowhere/assistant.toml, which the running daemon reads, does not exist; ";
    assert!(ran.err.starts_with(note), "{ran:?}");
}

#[test]
fn a_daemon_that_was_named_and_is_not_there_is_not_configured() {
    let dir = tempfile::tempdir().unwrap();
    let set = ["config", "set", "jobs.workers", "2"];
    let run = |command: &mut std::process::Command| Ran::of(command.args(set).output().unwrap());
    let socket = dir.path().join("none.sock");
    for ran in [
        run(program(dir.path()).arg("--socket").arg(&socket)),
        run(program(dir.path()).env("ASSISTANT_SOCKET", &socket)),
    ] {
        assert_eq!(ran.code, Some(5), "{ran:?}");
        assert!(ran.err.contains("error[unreachable]: ") && ran.err.contains("--config DIR/assistant.toml"), "{ran:?}");
    }
    assert!(!dir.path().join(".config").exists(), "nothing was written");
}

#[test]
fn a_test_of_no_model_fails() {
    let daemon =
        Daemon::with(|_, path, _| (path == "/api/models/test").then(|| (200, serde_json::json!({ "models": [] }))));
    let ran = daemon.run(&["models", "test"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(78), ""), "{ran:?}");
    assert_eq!(ran.err, "error[config]: no model is configured\nhint: assistantctl doctor\n");
    let json = daemon.run(&["models", "test", "-o", "json"]);
    assert_eq!((json.code, &json.json()["error"]["kind"]), (Some(78), &Value::from("config")));
}

#[test]
fn a_wait_ends_in_time() {
    let daemon = Daemon::with(|_, path, _| {
        path.starts_with("/api/jobs/7/poll").then(|| (200, answers::poll("running", Value::Array(Vec::new()))))
    });
    let ran = daemon.run(&["job", "wait", "7", "--timeout", "1"]);
    assert_eq!(ran.code, Some(7));
    assert!(ran.err.starts_with("error[timeout]: job 7 is still running\nhint: "), "{ran:?}");
    assert_eq!(daemon.run(&["job", "wait", "7", "--timeout", "1", "--for", "running"]).code, Some(0));
}

#[test]
fn without_a_terminal_nothing_is_erased_unasked() {
    let daemon = Daemon::new();
    let ran = daemon.run(&["job", "erase", "7"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("hint: pass --yes"), "{ran:?}");
    assert!(daemon.seen().is_empty());
    assert_eq!(daemon.run(&["files", "rm", ".trash/1/old.md"]).code, Some(2));
    assert!(daemon.asked("DELETE", "/").is_empty());
    assert_eq!(daemon.run(&["files", "rm", ".trash/1/old.md", "--yes"]).code, Some(0));
}

#[test]
fn an_approval_is_for_the_call_that_was_shown() {
    let daemon = Daemon::with(|method, path, _| {
        (method == "GET" && path == "/api/jobs/7").then(|| (200, answers::detail("needs_review")))
    });
    let ran = daemon.run(&["job", "approve", "7"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.contains("file_delete {\"path\":\"reports\"}"), "{ran:?}");
    assert_eq!(daemon.asked("POST", "/api/jobs/7/approve")[0].json()["approval_id"], 3);

    let ran = Daemon::new().run(&["job", "approve", "7"]);
    assert_eq!(ran.code, Some(6));
    assert!(ran.err.contains("job 7 asks for no approval"), "{ran:?}");
}

#[test]
fn the_call_that_waits_for_a_yes_is_shown_whole() {
    let content = format!("{}\u{1b}[2Jend\u{202e}", "x".repeat(5000));
    let shown = format!("{}\\u001b[2Jend\\u202e", "x".repeat(5000));
    let daemon = Daemon::with(move |method, path, _| {
        let mut detail = answers::detail("needs_review");
        detail["approval"] = serde_json::json!({
            "id": 3, "job_id": 7, "tool": "file_write", "args": {"path": "a", "content": content}, "args_hash": "c0ffee",
            "reason": "text of a stranger", "rule": "write-untrusted", "state": "pending", "created_at": answers::AT,
            "command": "assistantctl job approve 7",
        });
        match (method, path.split('?').next()?) {
            ("GET", "/api/jobs/7/poll") => Some((200, answers::poll("needs_review", Value::Array(Vec::new())))),
            ("GET", "/api/jobs/7") => Some((200, detail)),
            _ => None,
        }
    });
    for (command, code) in [
        (&["job", "show", "7"][..], 0),
        (&["submit", "x", "--wait"], 9),
        (&["submit", "x", "--follow"], 9),
        (&["job", "wait", "7"], 9),
        (&["job", "approve", "7"], 0),
    ] {
        let ran = daemon.run(command);
        assert_eq!(ran.code, Some(code), "{command:?} {ran:?}");
        let all = ran.out + &ran.err;
        for part in [&shown, "tool: file_write", "hash: c0ffee", "text of a stranger", "rule: write-untrusted"] {
            assert!(all.contains(part), "{command:?} lacks {part}: {all}");
        }
        assert!(!all.contains('\u{1b}') && !all.contains('\u{202e}'), "{command:?} {all}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let daemon = Daemon::new();
    let mut child =
        daemon.command(&["job", "show", "7"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = Ran::of(
        daemon.command(&["jobs"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap(),
    );
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.starts_with("error[failed]: writing the output: no space left"), "{ran:?}");
}

#[test]
fn a_doctor_tells_what_is_wrong() {
    let daemon = Daemon::with(|_, path, _| {
        let mut status = answers::status();
        status["disk"]["low"] = true.into();
        status["stopped"] = serde_json::json!({ "at": answers::AT, "by": "uid:0" });
        status["models"] = Value::Array(Vec::new());
        status["warnings"] = serde_json::json!([{
            "name": "weak-secret", "text": "the credential openai-api-key has under 12 characters",
            "mend": "sudo assistantctl secret set openai-api-key",
        }]);
        (path == "/api/status").then_some((200, status))
    });
    let ran = daemon.run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(75));
    let json = ran.json();
    assert_eq!((&json["schema"], &json["verdict"], &json["exit_code"]), (&"v1".into(), &"error".into(), &75.into()));
    for finding in json["findings"].as_array().unwrap() {
        let mut keys: Vec<_> = finding.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        match finding["verdict"].as_str().unwrap() {
            "error" | "warning" => assert_eq!(keys, ["mend", "name", "text", "verdict"], "{finding}"),
            "ok" | "skipped" => assert_eq!(keys, ["name", "text", "verdict"], "{finding}"),
            other => panic!("{other}"),
        }
    }
    let level = |name: &str| {
        let found = json["findings"].as_array().unwrap().iter().find(|finding| finding["name"] == name);
        found.map(|finding| finding["verdict"].as_str().unwrap().to_owned())
    };
    for (check, expected) in [
        ("socket", "ok"),
        ("daemon", "ok"),
        ("rights", "ok"),
        ("version", "ok"),
        ("database", "ok"),
        ("workspace", "ok"),
        ("disk", "error"),
        ("models", "warning"),
        ("work", "warning"),
        ("jobs", "warning"),
        ("secrets", "warning"),
        ("servers", "ok"),
        ("exposure", "ok"),
        ("sandbox", "ok"),
    ] {
        assert_eq!(level(check).as_deref(), Some(expected), "{check} {json}");
    }
    let dir = tempfile::tempdir().unwrap();
    let ran = Ran::of(program(dir.path()).args(["doctor", "--socket", "/nowhere/api.sock"]).output().unwrap());
    assert_eq!(ran.code, Some(5));
    assert!(ran.out.contains("error    socket"), "{ran:?}");
}

#[test]
fn a_sandbox_that_runs_nothing_is_told_with_the_reason() {
    let problem = "no sandbox of this host gives what sandbox.require asks for (unit: not installed)";
    let daemon = Daemon::with(move |_, path, _| match path {
        "/api/status" => {
            let mut status = answers::status();
            status["sandbox"]["backend"] = Value::Null;
            status["sandbox"]["problem"] = problem.into();
            Some((200, status))
        }
        "/api/sandbox" => {
            let (_, mut sandbox) = answers::answer("GET", path, b"").unwrap();
            sandbox["backend"] = Value::Null;
            sandbox["problem"] = problem.into();
            Some((200, sandbox))
        }
        _ => None,
    });
    let status = daemon.run(&["status"]);
    assert!(status.code == Some(0) && status.out.contains(&format!("commands cannot run: {problem}")), "{status:?}");
    let doctor = daemon.run(&["doctor"]);
    assert!(
        doctor.out.contains(&format!("warning  sandbox    commands cannot run, all else works: {problem}")),
        "{doctor:?}"
    );
    let weak = Daemon::with(|_, path, _| {
        let (_, mut sandbox) = answers::answer("GET", "/api/sandbox", b"").unwrap();
        sandbox["backend"] = "landlock".into();
        sandbox["guarantees"][0]["given"] = false.into();
        (path == "/api/sandbox").then_some((200, sandbox))
    });
    let doctor = weak.run(&["doctor"]);
    assert!(doctor.out.contains("warning  sandbox    level work, backend landlock; without read"), "{doctor:?}");
}
