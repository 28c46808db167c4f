//! OpenAI-compatible chat completions: the request.

mod stream;

use serde_json::{Map, Value, json};

use super::{
    Message, Request,
    wire::{Quirk, Quirks, Sampling},
};
pub(super) use stream::Stream;

/// Below the root of the API.
pub(super) const PATH: &str = "chat/completions";

/// What differs from one server to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Dialect {
    #[default]
    Plain,
    /// api.openai.com itself, which wants `max_completion_tokens`.
    OpenAi,
    /// Reports costs if asked to.
    OpenRouter,
}

/// The body of a request.
pub(super) fn body(request: &Request, model: &str, sampling: Sampling, dialect: Dialect, quirks: &Quirks) -> Value {
    let mut messages = vec![json!({ "role": "system", "content": request.system })];
    for message in &request.messages {
        match (message, messages.last_mut()) {
            // Chat templates of some local models insist on roles that alternate.
            (Message::User { text }, Some(last)) if last["role"] == "user" => {
                let joined = format!("{}\n\n{text}", last["content"].as_str().unwrap_or_default());
                last["content"] = joined.into();
            }
            _ => messages.push(message_body(message)),
        }
    }
    let mut body = json!({ "model": model, "messages": messages, "stream": true });
    let limit = if dialect == Dialect::OpenAi || quirks.has(Quirk::CompletionTokens) {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    body[limit] = sampling.max_tokens.into();
    if !quirks.has(Quirk::NoTemperature) {
        body["temperature"] = json!(sampling.temperature);
    }
    if !quirks.has(Quirk::NoStreamOptions) {
        body["stream_options"] = json!({ "include_usage": true });
    }
    if dialect == Dialect::OpenRouter {
        body["usage"] = json!({ "include": true });
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            json!({ "type": "function", "function": {
                "name": tool.name, "description": tool.description, "parameters": tool.parameters } })
        });
        body["tools"] = tools.collect();
        body["tool_choice"] = "auto".into();
    } else if let Some(search) = request.search.as_ref().filter(|_| dialect == Dialect::OpenRouter) {
        search.ask_openrouter(model, &mut body);
    }
    body
}

fn message_body(message: &Message) -> Value {
    match message {
        Message::User { text } => json!({ "role": "user", "content": text }),
        Message::Tool { call_id, content, .. } => {
            json!({ "role": "tool", "tool_call_id": call_id, "content": content })
        }
        Message::Assistant { text, calls } if calls.is_empty() => json!({ "role": "assistant", "content": text }),
        Message::Assistant { text, calls } => {
            let calls: Vec<Value> = calls
                .iter()
                .map(|call| {
                    let arguments = Value::Object(arguments(&call.arguments)).to_string();
                    json!({ "id": call.id, "type": "function",
                            "function": { "name": call.name, "arguments": arguments } })
                })
                .collect();
            let content = if text.is_empty() { Value::Null } else { text.as_str().into() };
            json!({ "role": "assistant", "content": content, "tool_calls": calls })
        }
    }
}

/// Arguments as an object. Servers refuse a conversation with arguments that are none, so what a model wrote wrongly is
/// shown to it as the text that it was.
pub(super) fn arguments(text: &str) -> Map<String, Value> {
    if text.trim().is_empty() {
        return Map::new();
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::from_iter([("malformed".to_owned(), text.into())]),
    }
}

#[cfg(test)]
mod tests;
