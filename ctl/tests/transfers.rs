//! Files on their way to the workspace and back.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    process::Stdio,
};

use serde_json::{Value, json};

use crate::fake::{Daemon, Ran, problem};

const CONTENT: &str = "month,total\n2026-10,12\n";

/// The directory that commands run in, with files in it.
fn here(daemon: &Daemon) -> PathBuf {
    let here = daemon.dir.path().join("here");
    fs::create_dir_all(here.join("reports/2026")).unwrap();
    fs::write(here.join("reports/2026/oct.csv"), CONTENT).unwrap();
    fs::write(here.join("report.pdf"), "pdf").unwrap();
    symlink("/etc", here.join("reports/link")).unwrap();
    here
}

#[test]
fn attachments_are_in_place_before_the_job_runs() {
    let daemon = Daemon::new();
    here(&daemon);
    let ran = daemon.run(&["submit", "Sum up", "--attach", "report.pdf", "--attach", "reports/"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "7\n"), "{ran:?}");
    assert_eq!(ran.err, "warning: reports/link is left out: neither a file nor a directory\n");
    let seen: Vec<String> = daemon.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
    assert_eq!(
        seen,
        [
            "POST /api/jobs",
            "PUT /api/workspace/upload?path=jobs%2F7%2Fin%2Freport.pdf",
            "POST /api/workspace/folders",
            "POST /api/workspace/folders",
            "PUT /api/workspace/upload?path=jobs%2F7%2Fin%2Freports%2F2026%2Foct.csv",
            "POST /api/jobs/7/release",
        ]
    );
    let seen = daemon.seen();
    assert_eq!(seen[0].json()["hold"], true);
    assert!(seen[0].headers.contains_key("idempotency-key"));
    assert_eq!((&seen[1].body[..], seen[4].body.as_ref()), (&b"pdf"[..], CONTENT.as_bytes()));
    assert_eq!(seen[5].json(), json!({ "attachments": ["jobs/7/in/report.pdf", "jobs/7/in/reports"] }));
}

#[test]
fn a_job_without_its_attachments_is_cancelled() {
    let daemon = Daemon::with(|method, path, _| {
        (method == "PUT" && path.contains("upload")).then(|| problem(507, "storage_full", "the disk is full"))
    });
    here(&daemon);
    let ran = daemon.run(&["submit", "Sum up", "--attach", "report.pdf"]);
    assert_eq!(ran.code, Some(75));
    assert!(ran.err.contains("error[storage_full]: the disk is full"), "{ran:?}");
    assert!(ran.err.contains("job 7 was cancelled, because its attachments were not sent"), "{ran:?}");
    assert_eq!(daemon.asked("POST", "/api/jobs/7/cancel").len(), 1);
    assert!(daemon.asked("POST", "/api/jobs/7/release").is_empty());
}

#[test]
fn a_missing_attachment_is_told_before_anything_is_sent() {
    let daemon = Daemon::new();
    let ran = daemon.run(&["submit", "Sum up", "--attach", "none.pdf"]);
    assert_eq!((ran.code, daemon.seen().len()), (Some(3), 0));
    assert_eq!(ran.err, "error[not_found]: reading none.pdf: no such file or directory\n");
}

#[test]
fn a_local_path_in_the_task_is_hinted_at() {
    let daemon = Daemon::new();
    here(&daemon);
    let task = "Read report.pdf and reports/2026 and write summary.md";
    let ran = daemon.run(&["submit", task]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "7\n"));
    insta::assert_snapshot!(ran.err, @r"
    hint: report.pdf and reports/2026 exist here but not in the workspace;
          to send them along: assistantctl submit --attach report.pdf --attach reports/2026 ...
    ");
    for quiet in [&["--no-hint"][..], &["-o", "json"], &["--attach", "report.pdf"]] {
        let ran = daemon.run(&[&["submit", task], quiet].concat());
        assert!(!ran.err.contains("hint"), "{quiet:?} {ran:?}");
    }
}

#[test]
fn a_task_comes_from_a_file_or_the_standard_input() {
    let daemon = Daemon::new();
    fs::write(here(&daemon).join("task.md"), "# Monthly totals\n\nSum up.\n").unwrap();
    daemon.run(&["submit", "--file", "task.md"]);
    for arguments in [&["submit", "-"][..], &["submit", "--file", "-"]] {
        let mut child = daemon.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"From a pipe\n").unwrap();
        assert!(child.wait().unwrap().success());
    }
    let sent: Vec<Value> = daemon.asked("POST", "/api/jobs").iter().map(crate::fake::Seen::json).collect();
    assert_eq!(
        (&sent[0]["subject"], &sent[0]["body"]),
        (&json!("Monthly totals"), &json!("# Monthly totals\n\nSum up.\n"))
    );
    assert_eq!((&sent[1]["subject"], &sent[2]["body"]), (&json!("From a pipe"), &json!("From a pipe\n")));
    fs::write(daemon.dir.path().join("here/latin1"), b"\xe4").unwrap();
    assert_eq!(daemon.run(&["submit", "--file", "latin1"]).code, Some(2));
    assert_eq!(daemon.run(&["submit", "--file", "none"]).code, Some(3));
}

#[test]
fn results_are_copied_out_and_nothing_is_replaced() {
    let daemon = Daemon::new();
    let here = here(&daemon);
    let ran = daemon.run(&["submit", "Sum up", "--get", "out"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let file = here.join("out/reports/summary.md");
    assert_eq!(fs::read_to_string(&file).unwrap(), CONTENT);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o600, 0o600);
    fs::write(&file, "mine").unwrap();
    let ran = daemon.run(&["submit", "Sum up", "--get", "out"]);
    assert_eq!(ran.code, Some(6));
    assert!(ran.err.contains("out/reports/summary.md exists and was left alone"), "{ran:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let left: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn files_are_fetched_under_their_names_or_new_ones() {
    let daemon = Daemon::new();
    let here = here(&daemon);
    let get = |more: &[&str]| daemon.run(&[&["files", "get"], more].concat());
    assert_eq!(get(&["reports/summary.md"]).out, "summary.md\n");
    assert_eq!(get(&["reports/summary.md"]).code, Some(0), "the same content is no conflict");
    fs::write(here.join("summary.md"), "mine").unwrap();
    assert_eq!(get(&["reports/summary.md"]).code, Some(6));
    assert_eq!(get(&["reports/summary.md", "--force"]).code, Some(0));
    assert_eq!(get(&["reports/summary.md", "--to", "new.md"]).out, "new.md\n");
    assert_eq!(get(&["reports/summary.md", "--to", "-"]).out, CONTENT);
    assert_eq!(get(&["reports", "--to", "copy", "-o", "json"]).json()["files"], json!(["copy/summary.md"]));
    assert!(here.join("copy/empty").is_dir());
    for file in ["summary.md", "new.md", "copy/summary.md"] {
        assert_eq!(fs::read_to_string(here.join(file)).unwrap(), CONTENT, "{file}");
    }
    assert_eq!(get(&["none.md"]).code, Some(3));
    assert_eq!(get(&["reports", "--to", "-"]).code, Some(2));
}

#[test]
fn a_name_that_leads_elsewhere_is_not_written() {
    let daemon = Daemon::with(|_, path, _| {
        let tree = json!({ "root": "reports", "truncated": false, "entries": [
            { "name": "../evil", "relative_path": "reports/x", "is_dir": false, "size_bytes": 1, "mtime_ns": "0" },
        ]});
        path.starts_with("/api/workspace/tree").then_some((200, tree))
    });
    let here = here(&daemon);
    let ran = daemon.run(&["files", "get", "reports", "--to", "copy"]);
    assert_eq!(ran.code, Some(1));
    assert!(!here.join("evil").exists() && ran.err.contains("not a name that can be written here"), "{ran:?}");
}

#[test]
fn directories_are_put_whole() {
    let daemon = Daemon::new();
    here(&daemon);
    let ran = daemon.run(&["files", "put", "reports", "report.pdf", "--to", "inbox/"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "inbox/reports/2026/oct.csv\ninbox/report.pdf\n"), "{ran:?}");
    daemon.run(&["files", "put", "report.pdf", "--force"]);
    assert_eq!(
        daemon.asked("PUT", "/api/workspace/upload").last().unwrap().path,
        "/api/workspace/upload?path=report.pdf&overwrite=true"
    );
}

#[test]
fn a_listing_of_what_is_not_there_is_not_found() {
    let daemon = Daemon::with(|_, path, _| path.contains("/tree?").then(|| problem(400, "invalid", "none not found")));
    let ran = daemon.run(&["files", "ls", "none"]);
    assert_eq!(ran.code, Some(3));
    let file = Daemon::new().run(&["files", "ls", "reports/summary.md"]);
    assert!(file.out.contains("23 B") && file.out.contains("summary.md"), "{file:?}");
}

#[test]
fn the_configuration_is_changed_only_if_the_daemon_likes_it() {
    let daemon = Daemon::new();
    let home = daemon.dir.path();
    // In the place of the daemon's program: it dislikes one value.
    let bin = home.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let script = "#!/bin/sh\nconf=\"$3\"\nif grep -q bad \"$(dirname \"$conf\")/conf.d/50-local.toml\"; then\n\
        echo \"error: $(dirname \"$conf\")/conf.d/50-local.toml:2: llm.model is bad\" >&2\necho 'hint: choose another' >&2\nexit 78\nfi\n\
        echo good\n";
    fs::write(bin.join("assistantd"), script).unwrap();
    fs::set_permissions(bin.join("assistantd"), fs::Permissions::from_mode(0o755)).unwrap();
    let program = bin.join("assistantctl");
    fs::copy(env!("CARGO_BIN_EXE_assistantctl"), &program).unwrap();
    let config = home.join("etc/assistant.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(&config, "").unwrap();
    let set = |key: &str, value: &str| {
        let mut command = std::process::Command::new(&program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("ASSISTANT_SOCKET", &daemon.socket);
        Ran::of(command.args(["config", "set", key, value, "--config"]).arg(&config).output().unwrap())
    };
    let file = home.join("etc/conf.d/50-local.toml");
    let ran = set("llm.model", "good");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "[llm]\nmodel = \"good\"\n");
    assert_eq!(daemon.asked("POST", "/api/reload").len(), 1);
    let ran = set("llm.model", "bad");
    assert_eq!(ran.code, Some(78));
    let expected = format!("error[config]: {}:2: llm.model is bad\nhint: choose another\n", file.display());
    assert_eq!(ran.err, expected);
    assert_eq!(fs::read_to_string(&file).unwrap(), "[llm]\nmodel = \"good\"\n");
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    let ran = set("llm.api_key", "sk-123");
    assert_eq!(ran.code, Some(2));
    assert!(!ran.err.contains("sk-123") && ran.err.contains("assistantctl secret set"), "{ran:?}");
}
