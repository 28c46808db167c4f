//! A job's log as a person follows it: one line per model call and per tool call.

use std::collections::VecDeque;

use assistant_api::jobs::LogRow;
use serde_json::Value;

use crate::{
    output::{Output, Style},
    text,
};

/// Columns of an argument or a result.
const SHORT: usize = 72;
/// Arguments that say what a call is about, most telling first.
const TELLING: [&str; 14] = [
    "path",
    "source_path",
    "source",
    "query",
    "pattern",
    "command",
    "url",
    "question",
    "summary",
    "reason",
    "names",
    "tool_names",
    "directory",
    "text",
];

/// Puts a call and its result on one line.
#[derive(Default)]
pub struct Steps {
    /// Calls whose results have not come yet: the name and the short argument.
    calls: VecDeque<(String, String)>,
}

impl Steps {
    /// The lines that a row adds; a tool call is told with its result.
    pub fn lines(&mut self, row: &LogRow, out: &Output) -> Vec<String> {
        let input = row.input_data.as_ref().unwrap_or(&Value::Null);
        let output = row.output_data.as_ref().unwrap_or(&Value::Null);
        let name = text::one_line(row.tool_name.as_deref().unwrap_or_default());
        match row.event_type.as_str() {
            "llm_request" => self.unanswered(row, out),
            "tool_call" => {
                self.calls.push_back((name, argument(input)));
                Vec::new()
            }
            "tool_result" => {
                let call = self.calls.iter().position(|(called, _)| *called == name);
                let argument = match call.and_then(|index| self.calls.remove(index)) {
                    Some((_, argument)) if !argument.is_empty() => argument,
                    _ => argument(input),
                };
                let (result, style) = result(output);
                let time = row.duration_ms.map(|ms| format!(" ({})", text::millis(ms))).unwrap_or_default();
                vec![line(row, out, style, &name, &join(&argument, &format!("{result}{time}")))]
            }
            "llm_response" => {
                let mut lines = self.unanswered(row, out);
                lines.push(line(row, out, Style::Busy, "model", &answer(row, output)));
                lines
            }
            "status_change" => {
                let word = |name: &str| input.get(name).or_else(|| output.get(name)).map(short).unwrap_or_default();
                let change = join(&join(&word("from"), &word("to")), "");
                let reason = word("reason");
                let text = if reason.is_empty() { change } else { format!("{change}: {reason}") };
                vec![line(row, out, Style::Dim, "status", &text)]
            }
            "error" => vec![line(row, out, Style::Bad, "error", &either(output, input))],
            "supervisor_note" => vec![line(row, out, Style::Attention, "note", &either(input, output))],
            "policy" => vec![line(row, out, Style::Attention, "policy", &join(&name, &either(output, input)))],
            other => vec![line(row, out, Style::Plain, &text::one_line(other), &either(output, input))],
        }
    }

    /// What is being done, as far as the log tells.
    pub fn doing(&self) -> Option<String> {
        self.calls.front().map(|(name, argument)| format!("{name} {argument}"))
    }

    /// Calls that will have no result any more: the daemon was stopped in between.
    pub fn unanswered(&mut self, row: &LogRow, out: &Output) -> Vec<String> {
        let calls = std::mem::take(&mut self.calls);
        calls
            .into_iter()
            .map(|(name, argument)| line(row, out, Style::Attention, &name, &join(&argument, "no result")))
            .collect()
    }
}

fn line(row: &LogRow, out: &Output, style: Style, name: &str, text: &str) -> String {
    let time = if out.terminal { text::clock(row.created_at) } else { text::utc(row.created_at) };
    let left = out.columns().saturating_sub(text::width(&time) + 2 + text::width(name).max(12) + 2).max(20);
    let padding = text::pad(name, 12);
    let text = text::shorten(text, left);
    format!("{}  {}{padding}  {text}", out.style(Style::Dim, &time), out.style(style, name))
}

fn join(left: &str, right: &str) -> String {
    match (left.is_empty(), right.is_empty()) {
        (false, false) => format!("{left} -> {right}"),
        _ => format!("{left}{right}"),
    }
}

/// What a model call came to: time, tokens, what it wants to do.
fn answer(row: &LogRow, output: &Value) -> String {
    let mut parts = Vec::new();
    parts.extend(row.duration_ms.map(text::millis));
    let tokens = row.tokens_used.as_ref().and_then(|tokens| {
        tokens.as_i64().or_else(|| ["total_tokens", "total"].iter().find_map(|name| tokens.get(name)?.as_i64()))
    });
    parts.extend(tokens.map(|tokens| format!("{} tokens", text::grouped(tokens))));
    let calls: Vec<String> = ["tool_calls", "calls"]
        .iter()
        .find_map(|name| output.get(name)?.as_array())
        .into_iter()
        .flatten()
        .map(|call| short(call.get("name").or_else(|| call.pointer("/function/name")).unwrap_or(call)))
        .collect();
    if !calls.is_empty() {
        parts.push(format!("calls {}", calls.join(", ")));
    }
    let said = ["text", "content", "response", "message"].iter().find_map(|name| output.get(name)?.as_str());
    parts.extend(
        said.map(text::one_line)
            .filter(|said| !said.is_empty())
            .map(|said| format!("\"{}\"", text::shorten(&said, 200))),
    );
    parts.join(", ")
}

/// The most telling argument of a call.
fn argument(arguments: &Value) -> String {
    // Arguments may stand under a name of their own, or as JSON text.
    let inner = ["arguments", "args"].iter().find_map(|name| arguments.get(name)).unwrap_or(arguments);
    let parsed = inner.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let arguments = parsed.as_ref().unwrap_or(inner);
    let Some(object) = arguments.as_object() else { return short(arguments) };
    let telling = TELLING.iter().find_map(|name| object.get(*name)).or_else(|| object.values().next());
    let first = telling.map(short).unwrap_or_default();
    let destination = ["destination_path", "destination"].iter().find_map(|name| object.get(*name));
    destination.map_or(first.clone(), |to| format!("{first} to {}", short(to)))
}

/// What came of a call, and how it looks.
fn result(output: &Value) -> (String, Style) {
    let error = output.get("error").filter(|error| !error.is_null() && **error != Value::Bool(false));
    if let Some(error) = error {
        let text = error.get("message").unwrap_or(error);
        return (format!("error: {}", short(text)), Style::Bad);
    }
    let inner = ["result", "output", "content"].iter().find_map(|name| output.get(name)).unwrap_or(output);
    let parsed = inner.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let inner = parsed.as_ref().unwrap_or(inner);
    if let Some(error) = inner.get("error").filter(|error| !error.is_null()) {
        return (format!("error: {}", short(error.get("message").unwrap_or(error))), Style::Bad);
    }
    let count = |name: &str, list: &[Value]| match list.len() {
        1 => format!("1 {}", name.trim_end_matches('s').replace("entrie", "entry")),
        many => format!("{} {name}", text::grouped(i64::try_from(many).unwrap_or(i64::MAX))),
    };
    let text = match inner {
        Value::Object(object) => {
            let size =
                ["size_bytes", "bytes_written", "bytes_read"].iter().find_map(|name| object.get(*name)?.as_u64());
            let list = object.iter().find_map(|(name, value)| Some((name, value.as_array()?)));
            match (size, list) {
                (Some(size), _) => text::bytes(size),
                (None, Some((name, list))) => count(name, list),
                _ => short(inner),
            }
        }
        Value::Array(list) => count("items", list),
        Value::Null => "done".to_owned(),
        _ => short(inner),
    };
    (text, Style::Good)
}

/// The text in a value that has one, else the value.
fn either(first: &Value, second: &Value) -> String {
    let value = if first.is_null() { second } else { first };
    let text = ["message", "error", "reason", "note", "instruction", "text", "decision"]
        .iter()
        .find_map(|name| value.get(name).filter(|text| !text.is_null()));
    short(text.unwrap_or(value))
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text::one_line(text),
        Value::Null => String::new(),
        Value::Array(list) => list.iter().map(short).collect::<Vec<_>>().join(", "),
        other => text::one_line(&other.to_string()),
    };
    text::shorten(&text, SHORT)
}
