//! What is configured and what can be used, in the reference's groups; those whose subsystem does not exist say so.

use assistant_api::status::{
    AdminStatus, ConfigStatus, LimitsStatus, LlmStatus, OrgStatus, ToolGroup, ToolResultCache,
};
use serde_json::{Map, Value, json};

use super::without_secrets;
use crate::{cx::Cx, mail, policy::Access};

/// Gathers it.
pub fn config_status(cx: &Cx) -> ConfigStatus {
    let config = cx.config.load();
    let cache = &config.tool_result_cache;
    let email = config.admin.email.clone();
    ConfigStatus {
        terminal_tools: names(cx, |_, access| access == Access::Control.as_str()),
        email_tools: group(cx, "email_", json!({ "smtp_configured": mail::outbox::configured(&config) })),
        memory_tools: group(
            cx,
            "memory_",
            json!({
                "managed_by": "", "model": "", "mode": "", "main_agent_tools_exposed": false, "steward_tools": [],
                "embeddings": { "available": false, "base_url": "", "model": "" },
            }),
        ),
        note_tools: group(cx, "note_", json!({ "prompt_injection": false })),
        reminder_tools: group(cx, "reminder_", json!({ "default_timezone": config.app.timezone })),
        calendar_tools: group(
            cx,
            "calendar_",
            json!({
                "store": { "vdir_path": "", "default_calendar": "" },
                "sync": {
                    "command_configured": false, "before_read": false, "before_write": false, "after_write": false,
                },
                "policy": { "allow_read_event_details": false, "writes_managed_only": true },
            }),
        ),
        project_tools: group(cx, "project_", json!({ "max_tasks": 0 })),
        deep_research_tools: group(
            cx,
            "deep_research_",
            json!({ "max_tool_calls": 0, "max_iterations": 0, "search_available": cx.llm.load().can_search() }),
        ),
        file_tools: file_tools(cx),
        tool_result_cache: ToolResultCache {
            enabled: cache.enabled,
            root: cache.root.clone(),
            min_bytes: cache.min_bytes.0,
            retention_days: cache.retention_days.0.as_secs() / 86_400,
        },
        artifact_processing: artifacts(cx),
        command_tools: group(cx, "command_", json!({ "base_url": "" })),
        search_tools: group(cx, "web_", json!({ "provider": searcher(cx) })),
        fusion_tools: group(cx, "fusion_", json!({ "provider": "" })),
        admin: AdminStatus { available: email.is_some(), email },
        org: OrgStatus {
            security_email: config.org.security_email.clone(),
            internal_email_domains: config.org.internal_email_domains.clone(),
        },
        llm: llm(cx),
        limits: LimitsStatus {
            max_iterations_per_task: config.limits.max_iterations_per_task,
            max_tokens_per_task: config.limits.max_tokens_per_task,
            max_tokens_per_call: config.llm.max_tokens_per_call,
        },
    }
}

/// In order; `wanted` is given name and access.
fn names(cx: &Cx, wanted: impl Fn(&str, &str) -> bool) -> Vec<String> {
    super::tools(cx).into_iter().filter(|tool| wanted(&tool.name, &tool.access)).map(|tool| tool.name).collect()
}

/// The tools whose names begin with `prefix`; available if there is one.
fn group(cx: &Cx, prefix: &str, details: Value) -> ToolGroup {
    let tools = names(cx, |name, _| name.starts_with(prefix));
    let details = match details {
        Value::Object(details) => details,
        _ => Map::new(),
    };
    ToolGroup { available: !tools.is_empty(), tools, details }
}

fn file_tools(cx: &Cx) -> ToolGroup {
    let config = cx.config.load();
    let reason = cx.root().err().map(|err| err.message().to_owned());
    let mut group = group(
        cx,
        "file_",
        json!({
            "shared_root": {
                "configured": config.filesystem.shared_root.is_some(),
                "available": reason.is_none(),
                // Where the state directory lies is private; the workspace is named relative to it.
                "path": config.filesystem.shared_root.as_deref().unwrap_or("workspace"),
                "reason": reason,
            },
            "workspace_index": {
                "enabled": false, "document_text_extraction": false, "convertible_document_extensions": [],
            },
            "conversion": {
                "pandoc_path": config.conversion.pandoc_path,
                "pdf_engine": config.conversion.pdf_engine,
                "timeout_seconds": config.conversion.timeout_seconds.0.as_secs(),
            },
        }),
    );
    group.available &= reason.is_none();
    group
}

fn artifacts(cx: &Cx) -> ToolGroup {
    let config = cx.config.load();
    let (artifacts, clamav) = (&config.artifacts, &config.clamav);
    let mut group = group(
        cx,
        "artifact_",
        json!({
            // Where attachments lie is private: outside the workspace.
            "raw_root": "", "processed_root": artifacts.processed_root,
            "max_attachment_bytes": artifacts.max_attachment_bytes.0,
            "clamav": {
                "enabled": clamav.enabled, "required": clamav.required, "host": clamav.host, "port": clamav.port,
            },
        }),
    );
    group.available = artifacts.enabled;
    group
}

/// The provider that searches the web; empty if there is none.
fn searcher(cx: &Cx) -> String {
    let llm = cx.llm.load();
    let model = llm.models().into_iter().find(|model| model.role == "search" && llm.can_search());
    model.map(|model| model.provider).unwrap_or_default()
}

fn llm(cx: &Cx) -> LlmStatus {
    let models = cx.llm.load().models();
    let main = models.iter().find(|model| model.role == "main");
    LlmStatus {
        available: main.is_some_and(|main| main.problem.is_none()),
        model: main.map(|main| main.model.clone()).unwrap_or_default(),
        base_url: main.map(|main| without_secrets(&main.base_url)).unwrap_or_default(),
        uses_openrouter: main.is_some_and(|main| main.provider == "openrouter"),
    }
}
