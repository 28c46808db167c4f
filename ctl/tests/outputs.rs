//! What every command prints: JSON for programs, plain text for pipes.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use crate::fake::Daemon;

/// Every command that asks the daemon and needs nothing else.
const COMMANDS: &[&[&str]] = &[
    &["submit", "Sum up the reports"],
    &["submit", "Sum up the reports", "--wait"],
    &["submit", "Sum up the reports", "--follow"],
    &["jobs"],
    &["jobs", "--all"],
    &["jobs", "--no-headers"],
    &["job", "show", "7"],
    &["job", "logs", "7"],
    &["job", "logs", "7", "-n", "2"],
    &["job", "logs", "7", "-f"],
    &["job", "wait", "7"],
    &["job", "cancel", "7"],
    &["job", "requeue", "7"],
    &["job", "instruct", "7", "use", "euros"],
    &["job", "answer", "7", "the second one"],
    &["job", "approve", "7", "--approval", "3"],
    &["job", "deny", "7", "--approval", "3", "--reason", "no"],
    &["job", "review", "7", "--max-iterations", "80", "--instruction", "go on"],
    &["job", "erase", "7", "--yes"],
    &["stop", "--all"],
    &["resume"],
    &["files", "ls", "reports"],
    &["files", "rm", "old.md"],
    &["files", "trash"],
    &["files", "restore", "old.md"],
    &["tools"],
    &["tools", "file_write"],
    &["effects", "--job", "7"],
    &["effects", "resolve", "12", "confirmed"],
    &["status"],
    &["config", "show"],
    &["config", "show", "--origin", "llm"],
    &["models", "test"],
    &["reload", "--wait"],
    &["query", "GET", "/api/tools"],
];

fn transcript(more: &[&str]) -> String {
    let daemon = Daemon::new();
    let mut text = String::new();
    for command in COMMANDS {
        let ran = daemon.run(&[command, more].concat());
        writeln!(text, "$ assistantctl {}\n{}{}= {}\n", command.join(" "), ran.out, ran.err, ran.code.unwrap())
            .unwrap();
        for char in ran.out.chars().chain(ran.err.chars()).filter(|char| *char != '\n') {
            assert!(!char.is_control() && char != '\u{202e}', "{command:?} lets {char:?} through");
        }
    }
    text
}

#[test]
fn a_query_of_a_stream_is_printed_as_it_comes() {
    let daemon = Daemon::new();
    let json = "{\"schema\":\"v1\",\"status\":200,\"body\":\"id: 40";
    for (more, first) in [(&[][..], "id: 40"), (&["-o", "json"], json)] {
        let mut command = daemon.command(&[&["query", "GET", "/api/events"], more].concat());
        // It never ends by itself: that a line arrives is all there is to see.
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.starts_with(first), "{line}");
    }
}

#[test]
fn text_for_pipes_is_as_it_was() {
    insta::assert_snapshot!("text", transcript(&[]));
}

#[test]
fn json_is_as_it_was_and_names_its_schema() {
    let text = transcript(&["-o", "json"]);
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["schema"], "v1", "{line}");
        assert_eq!(value.as_object().unwrap().keys().next().unwrap(), "schema");
    }
    insta::assert_snapshot!("json", text);
}

#[test]
fn completions_name_the_commands() {
    let daemon = Daemon::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = daemon.run(&["completion", shell]);
        assert_eq!(ran.code, Some(0));
        assert!(ran.out.contains("review") && ran.out.contains("max-iterations"), "{shell}");
    }
    assert_eq!(daemon.run(&["completion", "tcsh"]).code, Some(2));
}

#[test]
fn the_status_is_one_request() {
    let daemon = Daemon::new();
    assert_eq!(daemon.run(&["status"]).code, Some(0));
    assert_eq!(daemon.seen().len(), 1);
}

#[test]
fn pages_are_followed_to_the_last() {
    let daemon = Daemon::new();
    let jobs = daemon.run(&["jobs", "--all", "--status", "running,queued", "-o", "json"]).json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 2);
    let paths: Vec<String> = daemon.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(
        paths,
        ["/api/jobs?limit=200&status=running%2Cqueued", "/api/jobs?limit=200&status=running%2Cqueued&cursor=two",]
    );
}

#[test]
fn what_is_sent_is_what_was_said() {
    let daemon = Daemon::new();
    daemon.run(&["job", "review", "7", "--max-tokens", "5", "--no-requeue"]);
    daemon.run(&["job", "instruct", "7", "use", "euros"]);
    daemon.run(&["job", "deny", "7", "--approval", "3", "--reason", "no"]);
    daemon.run(&["submit", "Do it\nwell", "--priority", "-5", "--at", "2026-11-23T09:00[Europe/Berlin]"]);
    daemon.run(&["submit", "x", "--in", "2h", "--subject", "Y"]);
    daemon.run(&["query", "post", "/api/jobs", "--data", r#"{"a":1}"#]);
    let bodies: Vec<String> = daemon.seen().iter().map(|seen| seen.json().to_string()).collect();
    insta::assert_snapshot!(bodies.join("\n"), @r#"
    {"max_tokens_per_task":5,"requeue":false}
    {"instruction":"use euros"}
    {"approval_id":3,"reason":"no"}
    {"subject":"Do it","body":"Do it\nwell","priority":-5,"run_at":"2026-11-23T09:00[Europe/Berlin]"}
    {"subject":"Y","body":"x","run_in":"2h"}
    {"a":1}
    "#);
}
