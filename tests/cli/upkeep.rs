//! What the System pages show besides the state of the daemon, by `assistantctl`: storage, who is told, models, secrets,
//! and that no secret gets into the log.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
};

use assistant_api::{JobId, notify::Untold, secrets::SecretName};
use serde_json::{Value, json};

use super::ctl::{Desk, TASK};
use crate::support::until;

const KEY: &str = "sk-canary-of-a-key-0f3e";
const OTHER: &str = "sk-canary-of-another-77aa";

#[test]
fn what_lies_on_the_disk_is_shown_by_kind() {
    let desk = Desk::new();
    let before = desk.json(&["storage"]);
    let kinds: Vec<&str> =
        before["kinds"].as_array().unwrap().iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    let all = ["database", "workspace", "trash", "tool_results", "artifacts", "versions", "mail", "backups", "sandbox"];
    assert_eq!(kinds, all);
    assert!(before["kinds"][0]["bytes"].as_u64().unwrap() > 4096, "{before}");
    let ran = desk.run(&["storage"]);
    assert!(ran.out.contains("30 days (retention.trash_days)"), "{}", ran.out);
    assert_eq!(desk.json(&["storage"])["measured_at"], before["measured_at"], "nobody walks a tree twice a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_of_what_is_shown_and_what_was_told() {
    let place = tempfile::tempdir().unwrap();
    let hook = place.path().join("hook.sh");
    std::fs::write(&hook, "#!/bin/sh\ncat >/dev/null\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let hook = hook.to_str().unwrap();
    let desk = Desk::with(
        &format!(
            "[notify]\ncommand = [\"{hook}\"]\n[limits]\nmax_iterations_per_task = 1\n[admin]\nemail = \"ada@x.example\"\n"
        ),
        &[],
    );
    let ways = desk.json(&["notifications"])["ways"].clone();
    let way = |name: &str| ways.as_array().unwrap().iter().find(|way| way["way"] == name).unwrap().clone();
    assert_eq!((&way("owner")["to"], &way("command")["to"]), (&json!("ada@x.example"), &json!(hook)));
    assert!(way("owner")["problem"].as_str().unwrap().contains("email.smtp_host"), "{ways}");
    assert_eq!((&way("command")["problem"], &way("webhook")["to"]), (&Value::Null, &Value::Null));
    assert_eq!(way("webhook")["problem"], "notify.webhook_url is not set");

    // It stops at its limit, which somebody has to hear of.
    let ran = desk.run(&["submit", TASK, "--subject", "Totals", "--attach", "reports", "--wait"]);
    assert_eq!(ran.code, Some(9), "{}{}", ran.out, ran.err);
    let told = until("somebody is told", 20, async || {
        let lately = desk.json(&["notifications"])["lately"][0].clone();
        (lately["state"] == "confirmed").then_some(lately)
    })
    .await;
    assert_eq!((&told["way"], &told["kind"]), (&json!("command"), &json!("needs_review")));
    assert_eq!((&told["subject"], &told["job_id"]), (&json!("Totals"), &json!(1)));
    let shown = desk.run(&["notifications"]).out;
    assert!(shown.contains("mail to the owner: ada@x.example") && shown.contains("a job has failed"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_mail_tells_is_told_to_each_caller_once() {
    let scenes = tempfile::NamedTempFile::new().unwrap();
    let failing = json!({ "name": "task_failed", "arguments": { "reason": "there is no such report" } });
    let scene = json!({ "name": "fails", "when": { "task": ["lost"] }, "steps": [{ "calls": [failing] }] });
    std::fs::write(scenes.path(), json!({ "scenes": [scene] }).to_string()).unwrap();
    let mut desk = Desk::with(&format!("rehearsal_file = {:?}\n", scenes.path()), &[]);
    let untold = async |desk: &Desk| -> Untold {
        desk.place.client().post("/api/notifications/untold", &json!({})).await.unwrap()
    };
    assert!(untold(&desk).await.no_mail.unwrap().contains("admin.email"), "a reason, and nothing else yet");
    let ran = desk.run(&["submit", "Find the lost report", "--wait"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let first = untold(&desk).await;
    assert_eq!((first.failed, first.failed_jobs, first.waiting), (1, vec![JobId(1)], 0));
    desk.daemon.stop();
    desk.daemon = desk.place.start(&[]);
    assert_eq!(untold(&desk).await.failed, 0, "told once, over restarts too");
    desk.daemon.stop();
    let mut config = std::fs::read_to_string(desk.place.config_file()).unwrap();
    config.push_str("[admin]\nemail = \"ada@x.example\"\n");
    config.push_str("[email]\nsmtp_host = \"127.0.0.1\"\nsmtp_from = \"a@x.example\"\n");
    std::fs::write(desk.place.config_file(), config).unwrap();
    desk.daemon = desk.place.start(&[]);
    assert_eq!(untold(&desk).await, Untold::default(), "mail tells of it");
}

#[test]
fn models_are_listed_with_their_last_answer() {
    let desk = Desk::new();
    assert_eq!(desk.json(&["models", "list"])["models"][0]["last_answer"], Value::Null);
    let ran = desk.run(&["models", "list"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("rehearsal") || ran.out.contains("main"), "{}", ran.out);
}

/// Since when the daemon has a secret, once it knows.
async fn since(desk: &Desk, name: SecretName) -> String {
    until("its age", 20, async || {
        let status = desk.json(&["status"]);
        let secrets = status["secrets"].as_array().unwrap();
        let secret = secrets.iter().find(|secret| secret["name"] == name.credential()).unwrap();
        secret["since"].as_str().map(str::to_owned)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_keeps_its_age_over_restarts_until_it_is_another() {
    let mut desk = Desk::with("", &[("OPENAI_API_KEY", KEY)]);
    let first = since(&desk, SecretName::OpenAi).await;
    assert!(desk.run(&["secret", "list"]).out.contains("openai-api-key"));
    desk.daemon.stop();
    desk.daemon = desk.place.start(&[("OPENAI_API_KEY", KEY)]);
    assert_eq!(since(&desk, SecretName::OpenAi).await, first, "it is the same");
    desk.daemon.stop();
    desk.daemon = desk.place.start(&[("OPENAI_API_KEY", OTHER)]);
    assert!(since(&desk, SecretName::OpenAi).await > first, "it is another");
    desk.daemon.stop();
    for file in ["assistant.db", "assistant.db-wal"] {
        let bytes = std::fs::read(desk.place.state().join(file)).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains("sk-canary"), "{file} holds a secret");
    }
}

#[test]
fn nothing_that_proves_who_somebody_is_gets_into_the_log() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let desk = Desk::with(
        &format!("[api]\nbind_host = \"127.0.0.1\"\nport = {port}\n[log]\nlevel = \"trace\"\n"),
        &[("OPENAI_API_KEY", KEY), ("IMAP_PASSWORD", "canary-of-imap")],
    );
    let address = format!("127.0.0.1:{port}");
    let ask = |head: &str, body: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        let length = body.len();
        let text = format!(
            "{head}host: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let refused = ask("GET /api/jobs HTTP/1.1\r\nauthorization: Bearer ast_canary-of-a-token\r\n", "");
    assert!(refused.contains(" 401 "), "{refused}");
    ask("GET /api/jobs?token=canary-of-a-query HTTP/1.1\r\ncookie: session=canary-of-a-cookie\r\n", "");
    ask("POST /api/login HTTP/1.1\r\n", "{\"password\":\"canary-of-a-password\"}");
    desk.run(&["token", "create", "t"]);
    desk.run(&["submit", TASK, "--attach", "reports", "--wait"]);
    desk.run(&["reload"]);
    let log = desk.json(&["log", "-n", "2000"]);
    assert!(log["lines"].as_array().unwrap().len() > 5, "{log}");
    assert!(log.to_string().contains("unknown or expired token"), "what was tried is there: {log}");
    assert!(!log.to_string().contains("canary"), "{log}");
    assert!(!desk.place.log().contains("canary"), "{}", desk.place.log());
}
