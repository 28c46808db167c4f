//! Jobs through the socket: the reference's paths, status codes and shapes, and what was added beside them.

use serde_json::{Value, json};

use super::served::{Reply, Served};

async fn post(served: &Served, path: &str, body: &Value) -> Reply {
    served.call("POST", path, "", &body.to_string()).await
}

async fn submit(served: &Served, subject: &str) -> i64 {
    let reply = post(served, "/api/jobs", &json!({ "subject": subject, "body": "do it" })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["job"]["id"].as_i64().unwrap()
}

fn has(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "no {key} in {value}");
    }
}

const JOB: [&str; 16] = [
    "id",
    "thread_id",
    "trigger_email_id",
    "status",
    "priority",
    "attempts",
    "max_attempts",
    "run_at",
    "locked_at",
    "has_new_context",
    "task_summary",
    "metadata",
    "created_at",
    "updated_at",
    "completed_at",
    "last_error",
];

#[tokio::test]
async fn a_job_has_the_shape_of_the_reference() {
    let served = Served::start();
    let created = post(&served, "/api/jobs", &json!({ "subject": "Shape", "body": "Say hello" })).await.json();
    has(&created["job"], &JOB);
    let id = created["job"]["id"].as_i64().unwrap();
    let thread = created["job"]["thread_id"].as_str().unwrap();
    assert!(thread.starts_with("<manual-") && thread.ends_with("@local>"), "{thread}");

    let list = served.get("/api/jobs?status=queued,running&limit=1").await.json();
    has(&list["jobs"][0], &JOB);
    has(&list["jobs"][0], &["cost_total", "trigger_from_address", "trigger_subject", "trigger_received_at"]);
    assert_eq!(list["jobs"][0]["context_email_count"], 1);
    assert_eq!(list["jobs"][0]["trigger_from_address"], "dashboard@local");

    let detail = served.get(&format!("/api/jobs/{id}")).await.json();
    has(&detail["job"], &JOB);
    has(&detail["usage"], &["currency", "cost_total", "api_call_count", "total_tokens", "first_usage_at"]);
    has(&detail["thread_messages"][0], &["body_text", "context_type", "direction", "thread_item_id", "attachments"]);
    has(&detail, &["trigger_email", "thread_emails", "emails", "logs_truncated", "effects", "written_paths"]);
    assert_eq!(detail["logs"], json!([]));
    assert_eq!(detail["review_diagnostics"], Value::Null);
    has(&detail["review_defaults"], &["max_iterations_per_task", "max_tokens_per_task"]);
    assert_eq!(detail["actions"]["can_cancel"], true);

    let poll = served.get(&format!("/api/jobs/{id}/poll?after_sequence=0")).await.json();
    has(
        &poll["job"],
        &["id", "status", "last_error", "task_summary", "updated_at", "locked_at", "attempts", "metadata"],
    );
    has(&poll, &["usage", "actions", "new_logs"]);
}

#[tokio::test]
async fn changes_answer_with_the_status_codes_of_the_reference() {
    let served = Served::start();
    let id = submit(&served, "codes").await;
    let at = |verb: &str| format!("/api/jobs/{id}/{verb}");
    let cases = [
        (at("review-override"), json!({ "instruction": "x" }), 409, None),
        (at("requeue"), json!({}), 409, None),
        (at("answer"), json!({ "answer": "x" }), 409, None),
        (at("approve"), json!({}), 409, None),
        (at("release"), json!({}), 409, None),
        (at("instructions"), json!({ "instruction": "" }), 422, None),
        (at("instructions"), json!({ "instruction": "be brief" }), 200, Some("created")),
        (at("cancel"), json!({}), 200, Some("cancelled")),
        (at("cancel"), json!({}), 409, None),
        (at("instructions"), json!({ "instruction": "once more" }), 200, Some("requeued")),
        (at("cancel"), json!({}), 200, Some("cancelled")),
        (at("requeue"), json!({}), 200, Some("queued")),
        ("/api/jobs/99/cancel".into(), json!({}), 404, None),
        ("/api/jobs/99/instructions".into(), json!({ "instruction": "x" }), 404, None),
        ("/api/effects/1/resolve".into(), json!({ "state": "confirmed" }), 404, None),
        ("/api/effects/1/resolve".into(), json!({ "state": "prepared" }), 422, None),
        ("/api/stop".into(), json!({}), 200, Some("stopped")),
        ("/api/resume".into(), json!({}), 200, Some("running")),
    ];
    for (path, body, status, says) in cases {
        let reply = post(&served, &path, &body).await;
        assert_eq!(reply.status, status, "{path} {body}: {reply:?}");
        match says {
            Some(says) => assert_eq!(reply.json()["status"], says),
            None => has(&reply.json(), &["detail", "kind", "request_id"]),
        }
    }
    for path in ["/api/jobs/99", "/api/jobs/99/poll", "/api/jobs/99/logs"] {
        assert_eq!(served.get(path).await.status, 404, "{path}");
    }
    let erased = served.call("DELETE", &format!("/api/jobs/{id}"), "", "").await;
    assert_eq!(erased.status, 200, "{erased:?}");
    has(&erased.json()["erased"], &["root_job_id", "job_ids", "thread_ids", "shared_thread_ids", "deleted"]);
    assert_eq!(served.get(&format!("/api/jobs/{id}")).await.status, 404);
}

/// A stored answer shows the title of the job that it made.
#[tokio::test]
async fn an_erased_job_is_gone_from_stored_answers_and_not_made_again() {
    let served = Served::start();
    let body = json!({ "subject": "a secret plan", "body": "do it" }).to_string();
    let create = || served.call("POST", "/api/jobs", "idempotency-key: plan\r\n", &body);
    let id = create().await.json()["job"]["id"].as_i64().unwrap();
    let other = served.call("POST", "/api/jobs", "idempotency-key: other\r\n", &body).await;
    assert_eq!(create().await.json()["job"]["id"], id, "replayed");
    assert_eq!(served.call("DELETE", &format!("/api/jobs/{id}"), "", "").await.status, 200);

    let again = create().await;
    assert_eq!((again.status, &*again.body, again.header("idempotency-replayed")), (410, "", Some("true")));
    assert_eq!(served.get("/api/jobs").await.json()["jobs"].as_array().unwrap().len(), 1, "no second job");
    let kept = served.call("POST", "/api/jobs", "idempotency-key: other\r\n", &body).await;
    assert_eq!((kept.status, &kept.body), (200, &other.body), "another job's answer stays");
}

#[tokio::test]
async fn bad_input_is_refused_with_its_field() {
    let served = Served::start();
    for (body, field) in [
        (json!({ "subject": "", "body": "x" }), "subject"),
        (json!({ "subject": "x", "body": "" }), "body"),
        (json!({ "subject": "x", "body": "x", "priority": 5000 }), "priority"),
        (json!({ "subject": "x", "body": "x", "run_at": "tomorrow" }), "run_at"),
    ] {
        let reply = post(&served, "/api/jobs", &body).await;
        assert_eq!(reply.status, 422, "{reply:?}");
        let problem = reply.json();
        let loc = problem["detail"][0]["loc"].as_array().unwrap();
        assert_eq!(loc.last().unwrap(), field, "{problem}");
        has(&problem["detail"][0], &["type", "loc", "msg"]);
    }
    for query in ["status=pending", "limit=0", "limit=201", "cursor=nonsense", "unknown=1"] {
        assert_eq!(served.get(&format!("/api/jobs?{query}")).await.status, 422, "{query}");
    }
    assert_eq!(served.get("/api/jobs").await.json()["jobs"], json!([]));
    assert_eq!(served.get("/api/approvals").await.json()["approvals"], json!([]));
    assert_eq!(served.get("/api/effects?state=unknown").await.json()["effects"], json!([]));
}
