//! Every answer that was recorded from rb81/assistant, as far as its part exists here: the same status, and every field of
//! it with a value of the same kind. What is added beside does not disturb its clients.

use std::collections::BTreeSet;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::*;

/// `shapes` are parts that recur; `{"..": "@name", ...}` is such a part with more, or others, of its fields.
const RECORDED: &str = include_str!("recorded.json");

/// Fields that are left out on purpose (docs/api.md): what would repeat what was sent, and columns that were always null.
const LEFT_OUT: &[&str] =
    &["input", "ctx", "embedding", "embedding_model", "embedding_dimensions", "embedding_updated_at", "locked_by"];

struct Recorded {
    shapes: Value,
    answers: Value,
    seen: BTreeSet<String>,
    daemon: Daemon,
}

impl Recorded {
    /// Asks, and holds the answer against the recorded one of that name.
    async fn ask(&mut self, name: &str, method: &str, path: &str, body: &str) -> Value {
        let mut stream = UnixStream::connect(self.daemon.socket()).await.unwrap();
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: assistantd\r\nconnection: close\r\n{length}\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let recorded = self.answers[name].clone();
        let status = head.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
        assert_eq!(Some(status), recorded["status"].as_u64(), "{name}: {text}");
        self.seen.insert(name.to_owned());
        if recorded["body"] == "string" {
            return Value::Null; // the bytes of a file
        }
        let body = serde_json::from_str(body).unwrap_or_else(|err| panic!("{name}: {err}: {text}"));
        self.hold(name, &recorded["body"], &body);
        body
    }

    fn hold(&self, path: &str, shape: &Value, found: &Value) {
        match shape {
            Value::String(name) if name.starts_with('@') => self.hold(path, &self.shapes[&name[1..]], found),
            Value::Object(fields) => {
                let base = fields.get("..").and_then(Value::as_str);
                let base = base.and_then(|name| self.shapes[&name[1..]].as_object());
                let inherited = base.into_iter().flatten().filter(|(name, _)| !fields.contains_key(*name));
                let own = fields.iter().filter(|(name, _)| *name != "..");
                assert!(found.is_object(), "{path}: {found}");
                for (name, shape) in inherited.chain(own) {
                    if LEFT_OUT.contains(&name.as_str()) {
                        continue;
                    }
                    let field = found.get(name).unwrap_or_else(|| panic!("{path}.{name} is missing: {found}"));
                    self.hold(&format!("{path}.{name}"), shape, field);
                }
            }
            Value::Array(shapes) => {
                let list = found.as_array().unwrap_or_else(|| panic!("{path}: {found}"));
                // Entries of a log differ by their kind; what each is, its own tests say.
                let of = shapes.first().filter(|_| !path.ends_with("logs"));
                for (one, shape) in list.iter().filter_map(|one| of.map(|shape| (one, shape))) {
                    self.hold(path, shape, one);
                }
            }
            Value::String(kind) => {
                let fits = match kind.as_str() {
                    "bool" => found.is_boolean(),
                    "int" => found.is_i64() || found.is_u64(),
                    "float" => found.is_number(),
                    "string" => found.is_string(),
                    // What was null when it was recorded may hold something another time.
                    _ => !found.is_array(),
                };
                assert!(fits, "{path} should be {kind}: {found}");
            }
            _ => panic!("{path}: {shape}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_reference_finds_what_it_knows() {
    let model = ModelServer::start(|asked: &Asked| {
        // The second job stays open: its model takes its time.
        let slow = asked.text().contains("Take your time") || asked.text().contains("hi about");
        let delay = if slow { Duration::from_secs(60) } else { Duration::ZERO };
        (1, Reply { delay, ..Reply::complete("Hello.") })
    })
    .await;
    let daemon = Daemon::start(&(config(&model) + "[sandbox]\nenabled = false\n")).await;
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let (shapes, answers) = (recorded["shapes"].clone(), recorded["answers"].clone());
    let mut at = Recorded { shapes, answers, seen: BTreeSet::new(), daemon };

    for path in ["/health", "/api/stats", "/api/config/status"] {
        at.ask(&format!("GET {path}"), "GET", path, "").await;
    }
    let made = at.ask("POST /api/jobs", "POST", "/api/jobs", r#"{"subject":"Shape","body":"Say hello"}"#).await;
    let done = made["job"]["id"].as_i64().unwrap();
    wait(&at.daemon, JobId(done), JobStatus::Completed).await;
    let _ = at.ask("POST /api/jobs (empty subject)", "POST", "/api/jobs", r#"{"subject":""}"#).await;
    let job = format!("/api/jobs/{done}");
    at.ask("GET /api/jobs/{id} (completed)", "GET", &job, "").await;
    at.ask("GET /api/jobs/{id}/poll", "GET", &format!("{job}/poll"), "").await;
    let instruction = r#"{"instruction":"be brief"}"#;
    at.ask("POST /api/jobs/{id}/instructions", "POST", &format!("{job}/instructions"), instruction).await;
    // One that waits for its time stays queued.
    let later = r#"{"subject":"Later","body":"Take your time","run_in":"5h"}"#;
    let open = at.ask("POST /api/jobs", "POST", "/api/jobs", later).await["job"]["id"].as_i64().unwrap();
    let job = format!("/api/jobs/{open}");
    at.ask("GET /api/jobs", "GET", "/api/jobs", "").await;
    at.ask("GET /api/emails", "GET", "/api/emails", "").await;
    at.ask("GET /api/jobs/{id} (queued)", "GET", &job, "").await;
    let review = format!("{job}/review-override");
    at.ask("POST /api/jobs/{id}/review-override (queued)", "POST", &review, r#"{"instruction":"x"}"#).await;
    let cancel = format!("{job}/cancel");
    at.ask("POST /api/jobs/{id}/cancel", "POST", &cancel, "").await;
    at.ask("POST /api/jobs/{id}/cancel (again)", "POST", &cancel, "").await;
    at.ask("POST /api/jobs/{id}/requeue", "POST", &format!("{job}/requeue"), "").await;
    at.ask("POST /api/jobs/{id}/cancel", "POST", &cancel, "").await;
    wait(&at.daemon, JobId(done), JobStatus::Completed).await;
    at.ask("DELETE /api/jobs/{id}", "DELETE", &format!("/api/jobs/{done}"), "").await;
    at.ask("GET /api/jobs/{missing}", "GET", "/api/jobs/999999", "").await;
    files(&mut at).await;
    archives_and_drafts(&mut at).await;
    chats(&mut at).await;

    let all: BTreeSet<String> = at.answers.as_object().unwrap().keys().cloned().collect();
    assert_eq!(at.seen, all, "every recorded answer was asked for");
    at.daemon.stop().await;
}

const FILE: &str = "/api/workspace/file";

async fn files(at: &mut Recorded) {
    let write = |more: &str| format!(r##"{{"path":"shape/a.md","content":"# hi\n"{more}}}"##);
    at.ask("PUT /api/workspace/file", "PUT", FILE, &write("")).await;
    at.ask("GET /api/workspace/file", "GET", &format!("{FILE}?path=shape/a.md"), "").await;
    let old = write(r#","expected_mtime_ns":"1""#);
    at.ask("PUT /api/workspace/file (conflict)", "PUT", FILE, &old).await;
    at.ask("PUT /api/workspace/file (exists)", "PUT", FILE, &write(r#","create_only":true"#)).await;
    at.ask("GET /api/workspace/tree", "GET", "/api/workspace/tree?path=shape", "").await;
    at.ask("GET /api/workspace/version", "GET", "/api/workspace/version", "").await;
    at.ask("GET /api/workspace/metadata", "GET", "/api/workspace/metadata?path=shape/a.md", "").await;
    let moved = |from: &str, to: &str| format!(r#"{{"source_path":"{from}","destination_path":"{to}"}}"#);
    at.ask("POST /api/workspace/folders", "POST", "/api/workspace/folders", r#"{"path":"shape/f"}"#).await;
    at.ask("POST /api/workspace/copy", "POST", "/api/workspace/copy", &moved("shape/a.md", "shape/b.md")).await;
    at.ask("PATCH /api/workspace/path", "PATCH", "/api/workspace/path", &moved("shape/b.md", "shape/f/c.md")).await;
    let upload = "/api/workspace/upload?path=shape/up.txt";
    at.ask("PUT /api/workspace/upload", "PUT", upload, "bytes").await;
    at.ask("PUT /api/workspace/upload (exists)", "PUT", upload, "bytes").await;
    at.ask("GET /api/workspace/download", "GET", "/api/workspace/download?path=shape/up.txt", "").await;
    at.ask("GET /api/workspace/search", "GET", "/api/workspace/search?q=a.md", "").await;
    at.ask("GET /api/workspace/file (outside)", "GET", &format!("{FILE}?path=../x"), "").await;
    at.ask("GET /api/workspace/file (missing)", "GET", &format!("{FILE}?path=none.md"), "").await;
}

async fn archives_and_drafts(at: &mut Recorded) {
    at.ask("POST /api/workspace/zip", "POST", "/api/workspace/zip", r#"{"path":"shape/f"}"#).await;
    let unzip = r#"{"path":"shape/f.zip","destination_folder":"shape/g"}"#;
    at.ask("POST /api/workspace/unzip", "POST", "/api/workspace/unzip", unzip).await;
    let draft = r#"{"path":"shape/a.md","content":"draft"}"#;
    at.ask("POST /api/workspace/drafts", "POST", "/api/workspace/drafts", draft).await;
    at.ask("GET /api/workspace/drafts/latest", "GET", "/api/workspace/drafts/latest?path=shape/a.md", "").await;
    at.ask("DELETE /api/workspace/drafts", "DELETE", "/api/workspace/drafts?path=shape/a.md", "").await;
    at.ask("DELETE /api/workspace/file", "DELETE", &format!("{FILE}?path=shape/a.md"), "").await;
}

async fn chats(at: &mut Recorded) {
    let message = r#"{"message":"hi about it","active_path":"shape/up.txt","include_active_file":true}"#;
    let made = at.ask("POST /api/workspace/jobs", "POST", "/api/workspace/jobs", message).await;
    let job = format!("/api/workspace/jobs/{}", made["job"]["id"]);
    at.ask("GET /api/workspace/jobs", "GET", "/api/workspace/jobs", "").await;
    at.ask("GET /api/workspace/jobs/{id}", "GET", &job, "").await;
    let messages = format!("{job}/messages");
    at.ask("POST /api/workspace/jobs/{id}/messages (open)", "POST", &messages, r#"{"message":"more"}"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_yet_says_so() {
    let model = ModelServer::start(|_: &Asked| (1, Reply::complete("Hello."))).await;
    let daemon = Daemon::start(&config(&model)).await;
    for path in [
        "GET /api/memories",
        "GET /api/memories/1",
        "POST /api/memories",
        "PATCH /api/memories/1",
        "DELETE /api/memories/1",
        "GET /api/notes",
        "GET /api/notes/1",
        "POST /api/notes",
        "PATCH /api/notes/1",
        "DELETE /api/notes/1",
        "GET /api/contacts",
        "GET /api/contacts/1",
        "POST /api/contacts",
        "PATCH /api/contacts/1",
        "DELETE /api/contacts/1",
        "GET /api/reminders",
        "GET /api/reminders/1",
        "POST /api/reminders",
        "PATCH /api/reminders/1",
        "DELETE /api/reminders/1",
        "GET /api/projects",
        "GET /api/projects/1",
        "DELETE /api/projects/1",
        "GET /api/entities",
        "POST /api/entities",
        "GET /api/entities/1",
        "PUT /api/entities/1",
        "DELETE /api/entities/1",
        "GET /api/entities/1/delete-preview",
        "POST /api/entities/1/merge",
        "GET /api/workspace/semantic-search",
    ] {
        let (method, path) = path.split_once(' ').unwrap();
        let err = daemon.client().request(method, path).fetch::<Value>().await.unwrap_err();
        let told = format!("{err:?}");
        assert!(told.contains("NotAvailable"), "{method} {path}: {told}");
    }
    daemon.stop().await;
}
