//! Anthropic messages: the request.

mod stream;

use serde_json::{Value, json};

use super::{
    Message, Request, ToolSpec, openai,
    wire::{Quirk, Quirks, Sampling},
};
pub(super) use stream::Stream;

/// Below the root of the API.
pub(super) const PATH: &str = "messages";

/// The value of the header `anthropic-version`.
pub(super) const VERSION: &str = "2023-06-01";

/// The body of a request. The beginning of the prompt, which stays the same from one step of a job to the next, is marked
/// for the provider's cache.
pub(super) fn body(request: &Request, model: &str, sampling: Sampling, quirks: &Quirks) -> Value {
    let mut messages: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in &request.messages {
        let (role, blocks) = blocks(message);
        match messages.last_mut() {
            // Roles must alternate, and all results of one answer stand in one message.
            Some((last, content)) if *last == role => content.extend(blocks),
            _ => messages.push((role, blocks)),
        }
    }
    if let Some(block) = messages.last_mut().and_then(|(_, blocks)| blocks.last_mut()) {
        block["cache_control"] = json!({ "type": "ephemeral" });
    }
    let messages: Vec<Value> =
        messages.into_iter().map(|(role, content)| json!({ "role": role, "content": content })).collect();
    let mut body = json!({ "model": model, "max_tokens": sampling.max_tokens, "messages": messages, "stream": true });
    if !request.system.is_empty() {
        body["system"] = json!([{ "type": "text", "text": request.system, "cache_control": { "type": "ephemeral" } }]);
    }
    if !quirks.has(Quirk::NoTemperature) {
        // OpenAI's range goes to 2, this one's to 1.
        body["temperature"] = json!(sampling.temperature.clamp(0.0, 1.0));
    }
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().map(tool).collect();
    } else if let Some(tools) = known_tools(request) {
        body["tools"] = tools;
        body["tool_choice"] = json!({ "type": "none" });
    } else if let Some(search) = &request.search {
        search.ask_anthropic(&mut body);
    }
    body
}

fn blocks(message: &Message) -> (&'static str, Vec<Value>) {
    let text_block = |text: &str| (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }));
    match message {
        Message::User { text } => ("user", text_block(text).into_iter().collect()),
        Message::Tool { call_id, content, .. } => {
            ("user", vec![json!({ "type": "tool_result", "tool_use_id": id(call_id), "content": content })])
        }
        Message::Assistant { text, calls } => {
            let calls = calls.iter().map(|call| {
                json!({ "type": "tool_use", "id": id(&call.id), "name": call.name,
                        "input": openai::arguments(&call.arguments) })
            });
            ("assistant", text_block(text).into_iter().chain(calls).collect())
        }
    }
}

fn tool(tool: &ToolSpec) -> Value {
    json!({ "name": tool.name, "description": tool.description, "input_schema": tool.parameters })
}

/// A conversation with calls needs the tools even when none may be called: their names will do.
fn known_tools(request: &Request) -> Option<Value> {
    let mut names: Vec<&str> = request
        .messages
        .iter()
        .flat_map(|message| match message {
            Message::Assistant { calls, .. } => calls.as_slice(),
            _ => &[],
        })
        .map(|call| call.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let tools = names.iter().map(|name| json!({ "name": name, "input_schema": { "type": "object" } }));
    (!names.is_empty()).then(|| tools.collect())
}

/// Ids of other providers may hold what this one refuses.
fn id(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
