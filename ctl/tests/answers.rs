//! What the daemon says: one answer per route, with text in it that would drive a terminal.

use serde_json::{Value, json};

/// When everything happened.
pub const AT: &str = "2026-11-22T12:00:00Z";
/// Text as a model might write it, to see what a terminal does.
pub const HOSTILE: &str = "\u{1b}[31mred\u{1b}]0;title\u{7} \u{9b}2Jand\u{202e} done";

/// The answer for a request, if there is one.
pub fn answer(method: &str, path: &str, body: &[u8]) -> Option<(u16, Value)> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    let value = match (method, path) {
        ("GET", "/api") => json!({
            "version": env!("CARGO_PKG_VERSION"), "api_extensions": [], "role": "operator",
            "limits": {"max_body_bytes": 1, "max_upload_bytes": 1, "max_connections": 1, "request_timeout_seconds": 1},
        }),
        ("GET", "/api/status") => status(),
        ("GET", "/api/sandbox") => json!({
            "enabled": true, "backend": "namespace", "level": "work", "refused": [], "problem": null, "landlock_abi": 7,
            "sessions": 0, "guarantees": [{"name": "read", "required": true, "given": true, "reason": "Landlock"}],
        }),
        ("POST", "/api/jobs") => json!({ "job": job(if sent["hold"] == true { "waiting" } else { "queued" }) }),
        ("GET", "/api/jobs") => jobs(query),
        ("GET", "/api/jobs/7") => detail("completed"),
        ("GET", "/api/jobs/7/poll") => {
            poll("completed", if query.ends_with("after_sequence=0") { logs() } else { json!([]) })
        }
        ("POST", "/api/jobs/7/cancel") => json!({ "status": "cancelled" }),
        (
            "POST",
            "/api/jobs/7/requeue" | "/api/jobs/7/answer" | "/api/jobs/7/release" | "/api/jobs/7/review-override",
        ) => {
            json!({ "status": "queued" })
        }
        ("POST", "/api/jobs/7/instructions") => json!({ "status": "created" }),
        ("POST", "/api/jobs/7/approve") => json!({ "status": "approved" }),
        ("POST", "/api/jobs/7/deny") => json!({ "status": "denied" }),
        ("DELETE", "/api/jobs/7") => json!({ "erased": {
            "root_job_id": 7, "job_ids": [7, 8], "thread_ids": ["t"], "shared_thread_ids": [],
            "deleted": {"jobs": 2, "task_logs": 31},
        }}),
        ("POST", "/api/doctor") => json!({
            "listening": [{"address": "/run/assistant/api.sock", "reach": "socket", "guard": "the kernel says who is there"}],
            "servers": [{"purpose": "model", "host": "127.0.0.1", "latency_ms": 3, "problem": null},
                {"purpose": "model", "host": "m.example", "latency_ms": null, "problem": "no connection: refused"}],
        }),
        ("POST", "/api/stop") => json!({ "status": "stopped" }),
        ("POST", "/api/resume") => json!({ "status": "running" }),
        ("POST", "/api/reload") => json!({ "changed": ["llm.model"], "restart": [], "warnings": ["one thing is odd"] }),
        ("GET", "/api/config") => settings(),
        ("POST", "/api/models/test") => models(),
        ("GET", "/api/tools") => json!({ "tools": [tool()] }),
        ("GET", "/api/tools/file_write") => json!({ "tool": tool() }),
        ("GET", "/api/effects") if query.contains("job=99") => json!({ "effects": [] }),
        ("GET", "/api/effects") if query.contains("cursor=") => json!({ "effects": [effect()] }),
        ("GET", "/api/effects") => json!({ "effects": [effect()], "next_cursor": "next" }),
        ("POST", "/api/effects/12/resolve") => json!({ "effect": effect() }),
        ("GET", "/api/workspace/metadata") if query == "path=reports" => json!({ "item": entry("reports", true) }),
        ("GET", "/api/workspace/metadata") if query == "path=." => json!({ "item": entry(".", true) }),
        ("GET", "/api/workspace/metadata") if query == "path=reports%2Fsummary.md" => {
            json!({ "item": entry("reports/summary.md", false) })
        }
        ("GET", "/api/workspace/metadata") if query.ends_with("old.md") => {
            json!({ "item": entry(&query.trim_start_matches("path=").replace("%2F", "/"), false) })
        }
        ("GET", "/api/workspace/tree") => json!({
            "root": "reports", "truncated": false, "entries": [entry("reports/empty", true), entry("reports/summary.md", false)],
        }),
        ("POST", "/api/workspace/folders") => {
            json!({ "folder": entry(sent["path"].as_str().unwrap_or_default(), true) })
        }
        ("PUT", "/api/workspace/upload") => {
            let path = query.trim_start_matches("path=").trim_end_matches("&overwrite=true").replace("%2F", "/");
            json!({ "file": entry(&path, false) })
        }
        ("DELETE", "/api/workspace/file") => {
            json!({ "deleted_path": "old.md", "trash_path": ".trash/1/old.md" })
        }
        ("GET", "/api/workspace/trash") => json!({ "entries": [{
            "trash_path": ".trash/1/old.md", "original_path": "old.md", "is_dir": false, "size_bytes": 12,
            "job_id": 7, "deleted_at": AT,
        }]}),
        ("POST", "/api/workspace/restore") => json!({ "item": entry("old.md", false) }),
        _ => return None,
    };
    let value = if path == "/api/workspace/tree" && query.starts_with("path=reports%2Fempty") {
        json!({ "root": "reports/empty", "truncated": false, "entries": [] })
    } else {
        value
    };
    Some((200, value))
}

pub fn job(status: &str) -> Value {
    json!({
        "id": 7, "thread_id": "t", "trigger_email_id": 3, "status": status, "priority": 5, "attempts": 1, "max_attempts": 3,
        "run_at": AT, "locked_at": null, "has_new_context": false, "task_summary": "Sum up", "metadata": {},
        "created_at": AT, "updated_at": AT, "completed_at": null, "last_error": null,
    })
}

/// What a job of each status carries.
pub fn job_at(status: &str) -> Value {
    let mut job = job(status);
    match status {
        "completed" => {
            job["metadata"] = json!({ "final_response": format!("The totals are in summary.md.\n{HOSTILE}") });
            job["completed_at"] = AT.into();
        }
        "failed" => job["last_error"] = "the model was not reachable".into(),
        "needs_review" => {
            job["needs"] = json!({
                "what": "approval", "text": "file_delete {\"path\":\"reports\"}", "command": "assistantctl job approve 7",
                "approval_id": 3,
            });
        }
        _ => {}
    }
    job
}

fn jobs(query: &str) -> Value {
    let mut item = job("running");
    item["cost_total"] = 0.0123.into();
    item["trigger_from_address"] = "dashboard@local".into();
    item["trigger_subject"] = format!("Sum up {HOSTILE}").into();
    item["trigger_received_at"] = AT.into();
    item["context_email_count"] = 1.into();
    // The second page is the last one.
    if query.contains("cursor=two") {
        json!({ "jobs": [item] })
    } else {
        json!({ "jobs": [item], "next_cursor": "two" })
    }
}

fn usage() -> Value {
    json!({
        "currency": "USD", "cost_total": 0.5, "api_call_count": 4, "total_tokens": 12345, "first_usage_at": AT,
        "last_usage_at": AT,
    })
}

fn actions() -> Value {
    json!({
        "can_cancel": false, "can_requeue": true, "can_review_override": false, "can_answer": false, "can_approve": false,
    })
}

pub fn poll(status: &str, logs: Value) -> Value {
    let job = job_at(status);
    let names = [
        "id",
        "status",
        "last_error",
        "task_summary",
        "updated_at",
        "locked_at",
        "attempts",
        "completed_at",
        "metadata",
        "needs",
    ];
    let part: serde_json::Map<String, Value> =
        names.iter().filter_map(|name| Some(((*name).to_owned(), job.get(name)?.clone()))).collect();
    json!({ "job": part, "usage": usage(), "actions": actions(), "new_logs": logs })
}

pub fn log(sequence: i64, kind: &str, tool: Option<&str>, input: Value, output: Value) -> Value {
    json!({
        "id": sequence, "job_id": 7, "sequence": sequence, "event_type": kind, "tool_name": tool, "tool_action": null,
        "input_data": input, "output_data": output, "tokens_used": null, "duration_ms": 5, "created_at": AT,
    })
}

pub fn logs() -> Value {
    json!([
        log(1, "status_change", None, json!({"from": "queued", "to": "running"}), Value::Null),
        log(2, "llm_request", None, json!({"messages": 2, "tools": ["file_write"]}), Value::Null),
        log(3, "llm_response", None, Value::Null, json!({"text": HOSTILE, "tool_calls": ["file_write"]})),
        log(4, "tool_call", Some("file_write"), json!({"arguments": {"path": "reports/summary.md"}}), Value::Null),
        log(5, "tool_result", Some("file_write"), Value::Null, json!({"path": "reports/summary.md", "size_bytes": 23})),
    ])
}

pub fn detail(status: &str) -> Value {
    json!({
        "job": job_at(status), "usage": usage(),
        "trigger_email": {
            "id": 3, "message_id": "m", "in_reply_to": null, "references_header": [], "thread_id": "t",
            "from_address": "dashboard@local", "to_addresses": [], "cc_addresses": [], "subject": "Sum up",
            "body_text": "Sum up the reports.", "body_html": null, "attachments": [], "received_at": AT, "downloaded_at": AT,
            "folder": "INBOX", "is_actionable": true, "created_at": AT,
        },
        "thread_messages": [], "thread_emails": [], "emails": [], "logs": logs(), "logs_truncated": false,
        "actions": actions(), "review_defaults": {"max_iterations_per_task": 50, "max_tokens_per_task": 1_000_000},
        "review_diagnostics": null, "effects": [effect()], "written_paths": ["reports/summary.md"],
    })
}

fn effect() -> Value {
    json!({
        "id": 12, "job_id": 7, "tool": "file_write", "target": format!("reports/summary.md{HOSTILE}"), "args_hash": "00",
        "origin": "owner", "state": "confirmed", "rule": "write", "detail": {}, "prepared_at": AT, "dispatched_at": AT,
        "settled_at": AT,
    })
}

pub fn entry(path: &str, is_dir: bool) -> Value {
    json!({
        "name": path.rsplit('/').next(), "relative_path": path, "is_dir": is_dir, "size_bytes": if is_dir { 0 } else { 23 },
        "mtime_ns": "1795348800000000000",
    })
}

fn tool() -> Value {
    json!({
        "name": "file_write", "description": "Writes a file. It replaces what is there.", "access": "write", "group": "files",
        "parameters": {
            "type": "object", "required": ["path"],
            "properties": {
                "path": {"type": "string", "description": "The file."},
                "mode": {"type": ["string", "null"], "description": "How."},
            },
        },
    })
}

fn settings() -> Value {
    let setting = |key: &str, value: Value, origin: &str| {
        json!({
            "key": key, "value": value, "origin": origin, "default": null, "environment": "X", "kind": "text", "doc": "d",
            "restart": false,
        })
    };
    json!({ "file": "/nowhere/assistant.toml", "settings": [
        setting("llm.model", "m".into(), "conf.d/50-local.toml:2"),
        setting("llm.base_url", Value::Null, "default"),
        setting("limits.max_iterations_per_task", 50.into(), "default"),
    ]})
}

fn models() -> Value {
    json!({ "models": [
        {
            "role": "main", "provider": "openai", "model": "m", "host": "127.0.0.1", "ok": true, "latency_ms": 1234,
            "tools": true, "price": {"input": 0.5, "output": 1.5}, "cost": 0.0001, "problem": null,
        },
        {
            "role": "small", "provider": "openai", "model": "s", "host": "127.0.0.1", "ok": false, "latency_ms": null,
            "tools": null, "price": null, "cost": null, "problem": "connection refused",
        },
    ]})
}

pub fn status() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"), "pid": 42, "started_at": AT, "uptime_seconds": 3700, "stopped": null,
        "jobs": {"queued": 2, "running": 1, "completed": 1234}, "waiting": [{
            "id": 9, "status": "needs_review", "subject": format!("Which one? {HOSTILE}"), "updated_at": AT,
            "needs": {"what": "answer", "text": "the first or the second?", "command": "assistantctl job answer 9 \"...\""},
        }],
        "waiting_total": 3, "workers": {"configured": 4, "busy": 1},
        "models": [{
            "role": "main", "provider": "openai", "model": "m", "base_url": "http://127.0.0.1/v1", "host": "127.0.0.1",
            "local": true, "price": null, "problem": null,
        }],
        "prompt_hosts": ["127.0.0.1"], "workspace": {"ok": true, "problem": null},
        "database": {"ok": true, "problem": null, "size_bytes": 1_234_567, "schema_version": 1},
        "disk": {"free_bytes": 50_000_000_000_u64, "total_bytes": 100_000_000_000_u64, "min_free_bytes": 1, "low": false},
        "spend": {"today": 0.12, "daily_limit": 10.0},
        "sandbox": {
            "enabled": true, "level": "work", "seen_at": AT, "backend": "namespace", "problem": null,
            "refused": [{"backend": "unit", "reason": "not installed: there is no /run/assistant-sandbox/run.sock"}],
        },
    })
}
