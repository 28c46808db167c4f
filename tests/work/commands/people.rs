//! `assistantctl sandbox run` and `explain`: commands of people.

use std::{process::Stdio, time::Duration};

use assistant_api::jobs::JobStatus;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ctl, idle, inside, one, start, submit, wait, workspace};
use crate::support::{model::ModelServer, until};

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_the_exit_code_pass_through() {
    let model = idle().await;
    let (daemon, _dir) = start(&model, "").await;
    let socket = daemon.socket();
    // More than every buffer on the way, and no text.
    let sent: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let script = "cat; echo oops >&2; exit 7";
    let mut child = ctl(&socket, &["sandbox", "run", "--", "bash", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = sent.clone();
    let write = async move {
        stdin.write_all(&input).await.unwrap();
        drop(stdin);
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), write);
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(output.stdout == sent, "{} bytes came back", output.stdout.len());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "oops\n");

    for (arguments, code, says) in [
        (&["--", "bash", "-c", "kill -TERM $$"][..], 143, ""),
        (&["--", "bash", "-c", "kill -SEGV $$"], 139, ""),
        (&["--timeout", "1s", "--", "sleep", "1000"], 124, "time was over"),
        (&["--read-only", "--", "touch", "x"], 1, "Read-only file system"),
        (&["--workdir", "nowhere", "--", "true"], 2, "workdir"),
        (&["--", "no-such-program"], 3, "no-such-program"),
    ] {
        let output = ctl(&socket, &[&["sandbox", "run"], arguments].concat()).output().await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_with_whoever_asked_for_it() {
    let model = idle().await;
    let (daemon, _dir) = start(&model, "").await;
    let place = workspace(&daemon);
    let script = "trap '' TERM HUP INT PIPE; setsid sleep 1000 & echo up; sleep 1000; wait";
    let mut child =
        ctl(&daemon.socket(), &["sandbox", "run", "--", "bash", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut said).await.unwrap();
    assert!(said == *b"up\n" && inside(&place).len() >= 2, "{:?}", inside(&place));
    child.start_kill().unwrap();
    let _ = child.wait().await;
    let began = std::time::Instant::now();
    until("every process is gone", 5, async || inside(&place).is_empty().then_some(())).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_to_a_job_is_explained() {
    let script = "unshare --user true; unshare --user true; python3 -c 'import socket; socket.socket()'";
    let model = ModelServer::start(one(json!(["bash", "-c", script]))).await;
    let (daemon, _dir) = start(&model, "").await;
    let job = submit(&daemon, "Try.").await;
    wait(&daemon, job, JobStatus::Completed).await;
    let job = job.to_string();
    let explain = async |more: &[&str]| {
        let output =
            ctl(&daemon.socket(), &[&["sandbox", "explain", "--job", &job], more].concat()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = explain(&[]).await;
    for word in ["bash -c", "seccomp", "unshare", "socket", "WHAT WOULD ALLOW IT"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let json: Value = serde_json::from_str(&explain(&["-o", "json"]).await).unwrap();
    let denials = json["denials"].as_array().unwrap();
    let of = |target: &str| denials.iter().map(|row| &row["denied"]).find(|denied| denied["target"] == target).unwrap();
    assert_eq!(of("unshare")["count"], 2, "{json}");
    assert!(of("socket")["suggestion"].is_string() && of("socket")["layer"] == "seccomp", "{json}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_refusals_and_one_that_there_is_not_are_told_apart() {
    let model = ModelServer::start(one(json!(["true"]))).await;
    let (daemon, _dir) = start(&model, "").await;
    let job = submit(&daemon, "Nothing to refuse.").await;
    wait(&daemon, job, JobStatus::Completed).await;
    let explain = async |job: &str| {
        let ran = ctl(&daemon.socket(), &["sandbox", "explain", "--job", job]).output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (ran.status.code(), text(ran.stdout), text(ran.stderr))
    };
    let nothing = format!("the sandbox refused nothing to the one command of job {job}\n");
    assert_eq!(explain(&job.to_string()).await, (Some(0), nothing, String::new()));
    let (code, out, err) = explain("99").await;
    assert_eq!((code, out.as_str()), (Some(3), ""), "{err}");
    assert!(err.contains("error[not_found]: job 99 not found"), "{err}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_is_said_before_anything_runs() {
    let model = idle().await;
    let (daemon, _dir) = start(&model, "").await;
    // What stands after the program is its own, with the two dashes and without.
    let output = ctl(&daemon.socket(), &["sandbox", "run", "echo", "--timeout", "-o", "--"]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--timeout -o --\n");
    for (arguments, code, says) in [
        (&["run"][..], 2, "<COMMAND>"),
        (&["run", "--timeout", "0s", "true"], 2, "a command runs for 1 to 3600 s"),
        (&["run", "nosuch"], 3, "error[not_found]: `nosuch` was not found (field command)"),
        (&["run", "--workdir", "../x", "true"], 2, "path must stay under the workspace (field workdir)"),
        (&["explain", "--job", "x"], 2, "a job's id is a number"),
    ] {
        let output = ctl(&daemon.socket(), &[&["sandbox"], arguments].concat()).output().await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && stderr.contains(says), "{arguments:?}: {stderr}");
    }
    let asked = json!({ "path": "nope.py" });
    let refused = daemon.client().post::<Value>("/api/workspace/script-runs", &asked).await.unwrap_err();
    assert_eq!(refused.kind(), Some(assistant_api::ErrorKind::NotFound), "{refused}");
    assert!(!workspace(&daemon).join("script-runs").exists(), "and no transcript is written");
    daemon.stop().await;
}
