//! The pages about the daemon itself.

use std::time::Duration;

use assistant_api::jobs::NewJob;
use assistantd::jobs;
use serde_json::{Value, json};

use super::served::Served;

async fn fetch(served: &Served, path: &str) -> Value {
    let reply = served.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.json()
}

#[tokio::test]
async fn the_api_tells_its_version_the_callers_role_and_the_limits() {
    let served = Served::start();
    let info = fetch(&served, "/api").await;
    assert_eq!((info["version"].as_str(), &info["role"]), (Some(env!("CARGO_PKG_VERSION")), &json!("admin")));
    assert_eq!(info["limits"]["max_upload_bytes"], 524_288_000);
    assert_eq!(fetch(&served, "/health/live").await, json!({ "status": "ok" }));
    assert_eq!(fetch(&served, "/health/ready").await, json!({ "status": "ok" }));
}

#[tokio::test]
async fn what_does_not_go_is_told_to_those_who_are_let_in() {
    let served = Served::on_the_web(|_| {});
    let whole = fetch(&served, "/health").await;
    assert_eq!((&whole["status"], &whole["ready"]), (&json!("degraded"), &json!(true)));
    let reasons: Vec<&str> =
        whole["reasons"].as_array().unwrap().iter().map(|reason| reason["name"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["model", "workspace"], "{whole}");
    let reply = served.visit("GET", "/health", "", "").await;
    let login = "nobody can log in yet; on the host of the daemon: sudo assistantctl web password";
    let expected = json!({ "status": "degraded", "ready": true, "reasons": null, "login": login });
    assert_eq!((reply.status, reply.json()), (200, expected));
    // A token that is not for it is told no more than a stranger, once there is something to log in with.
    let body = json!({ "name": "t", "allow": ["GET /api/jobs"] }).to_string();
    let secret = served.call("POST", "/api/tokens", "", &body).await.json()["secret"].as_str().unwrap().to_owned();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let limited = served.visit("GET", "/health", &format!("authorization: Bearer {secret}\r\n"), "").await.json();
    assert_eq!(limited, json!({ "status": "degraded", "ready": true, "reasons": null, "login": null }));
    assert_eq!(fetch(&served, "/health").await["reasons"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_database_in_trouble_is_told_and_over_when_it_is_over() {
    let served = Served::on_the_web(|_| {});
    // As a full disk: the file may not grow.
    let limit = |pages: i64| {
        served.cx.store.write(move |tx| {
            tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))?;
            Ok(())
        })
    };
    limit(1).await.unwrap();
    let now = served.cx.clock.now();
    let filler = "x".repeat(1 << 20);
    let full = served.cx.store.write(move |tx| assistantd::events::emit(tx, now, "job.log", None, &filler)).await;
    assert!(full.is_err());
    // Others hear that it is so, and not why.
    for path in ["/health", "/health/ready"] {
        let reply = served.visit("GET", path, "", "").await;
        assert_eq!((reply.status, reply.json()["title"].as_str()), (503, Some("the daemon is not ready")), "{path}");
        assert!(!reply.body.contains("disk"), "{reply:?}");
    }
    assert_eq!(served.visit("GET", "/health/live", "", "").await.status, 200);
    let reply = served.get("/health").await;
    assert_eq!((reply.status, reply.kind().as_str()), (503, "unavailable"), "{reply:?}");
    assert_eq!(reply.json()["title"], "the disk that holds the database is full");
    assert!(reply.json()["hint"].as_str().unwrap().contains("free space"), "{reply:?}");
    limit(1 << 30).await.unwrap();
    assert_eq!(served.get("/health").await.status, 200, "no restart is needed");
}

#[tokio::test]
async fn the_status_counts_jobs_and_says_what_waits_for_whom() {
    let served = Served::start();
    for subject in ["one", "two"] {
        let new = NewJob { subject: subject.into(), body: "do".into(), ..NewJob::default() };
        jobs::create(&served.cx, new, "test").await.unwrap();
    }
    let asked = served.cx.store.write(|tx| {
        tx.execute(
            "UPDATE jobs SET status = 'needs_review', needs = 'answer', last_error = 'which?' WHERE id = 1",
            [],
        )?;
        Ok(())
    });
    asked.await.unwrap();
    jobs::stop_all(&served.cx, "uid:1000").await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let status = fetch(&served, "/api/status").await;
    assert_eq!(
        (&status["jobs"]["queued"], &status["jobs"]["needs_review"], &status["jobs"]["failed"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(status["waiting_total"], 1);
    let waiting = &status["waiting"][0];
    assert_eq!((&waiting["id"], &waiting["subject"]), (&json!(1), &json!("one")));
    assert_eq!(waiting["needs"]["command"], "assistantctl job answer 1 \"...\"");
    assert_eq!(status["stopped"]["by"], "uid:1000");
    assert_eq!((&status["workspace"]["ok"], &status["database"]["ok"]), (&json!(false), &json!(true)));
    assert!(status["disk"]["total_bytes"].as_u64() > status["disk"]["free_bytes"].as_u64(), "{status}");
    assert_eq!(status["pid"], std::process::id());

    let counts = fetch(&served, "/api/stats").await;
    assert_eq!(counts["jobs"], json!([{ "status": "queued", "count": 1 }, { "status": "needs_review", "count": 1 }]));
    assert_eq!((&counts["email_count"], &counts["costs"]["job_count"]), (&json!(2), &json!(2)));
    served.cx.store.write(|tx| Ok(tx.execute("DELETE FROM emails WHERE id = 2", [])?)).await.unwrap();
    assert_eq!(fetch(&served, "/api/stats").await["email_count"], 1);
}

#[tokio::test]
async fn stop_and_resume_go_through_the_api() {
    let served = Served::start();
    assert_eq!(served.call("POST", "/api/stop", "", "").await.json()["status"], "stopped");
    assert!(fetch(&served, "/api/status").await["stopped"].is_object());
    assert_eq!(served.call("POST", "/api/resume", "", "").await.status, 200);
    assert!(fetch(&served, "/api/status").await["stopped"].is_null());
}

#[tokio::test]
async fn tools_are_listed_and_shown() {
    let served = Served::start();
    let tools = fetch(&served, "/api/tools").await;
    let tools = tools["tools"].as_array().unwrap();
    let names = |access: &str| -> Vec<&str> {
        let of = tools.iter().filter(|tool| tool["access"] == access);
        of.map(|tool| tool["name"].as_str().unwrap()).collect()
    };
    let control = ["get_tool_specs", "request_input", "request_limit_increase", "task_complete", "task_failed"];
    assert_eq!(names("control"), control);
    assert!(names("read").contains(&"file_read"), "{tools:?}");
    assert_eq!(fetch(&served, "/api/config/status").await["terminal_tools"], json!(control));
    for tool in tools {
        let name = tool["name"].as_str().unwrap();
        let one = fetch(&served, &format!("/api/tools/{name}")).await;
        assert_eq!(&one["tool"], tool);
        assert_eq!(tool["parameters"]["type"], "object", "{tool}");
    }
    assert_eq!(served.get("/api/tools/no_such_tool").await.status, 404);
}

/// Every key of the reference's answer is there with a value of the same type; a string may be null here.
fn check_shape(path: &str, shape: &Value, found: &Value) {
    match shape {
        Value::Object(fields) => {
            for (name, shape) in fields {
                check_shape(&format!("{path}.{name}"), shape, &found[name]);
            }
        }
        Value::Array(_) => assert!(found.is_array(), "{path}: {found}"),
        Value::String(kind) => {
            let fits = match kind.as_str() {
                "bool" => found.is_boolean(),
                "int" => found.is_i64() || found.is_u64(),
                "float" => found.is_number(),
                "string" => found.is_string(),
                _ => found.is_null() || found.is_string(),
            };
            assert!(fits, "{path} should be {kind}: {found}");
        }
        _ => panic!("{path}: {shape}"),
    }
}

#[tokio::test]
async fn stats_and_configuration_status_have_the_shapes_that_clients_know() {
    let shapes: Value = serde_json::from_str(include_str!("shapes.json")).unwrap();
    let served = Served::with(|config| {
        config.llm.base_url = Some("http://user:canary@127.0.0.1:9/v1".into());
        config.admin.email = Some("ann@example.com".into());
    });
    for (path, shape) in shapes.as_object().unwrap() {
        let found = fetch(&served, path).await;
        check_shape(path, shape, &found);
        assert!(!found.to_string().contains("canary"), "{path} shows a secret");
    }
    let status = fetch(&served, "/api/config/status").await;
    assert_eq!(status["email_tools"], json!({ "available": false, "tools": [], "smtp_configured": false }));
    assert_eq!(status["artifact_processing"]["clamav"]["host"], "/run/clamav/clamd.ctl");
    assert_eq!(status["file_tools"]["conversion"]["pandoc_path"], "pandoc");
    assert_eq!(status["admin"], json!({ "available": true, "email": "ann@example.com" }));
}
