//! A job's log as a person follows it: one line per model call and per tool call.

use std::collections::VecDeque;

use assistant_api::jobs::LogRow;
use serde_json::Value;

use crate::{
    output::{Output, Style},
    text,
};

/// Columns of an argument or a result; reasons and errors are whole, as far as the line goes.
const SHORT: usize = 72;
/// Columns of a name.
const NAME: usize = 14;
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
            // A call that failed is an error with the name of its tool.
            "tool_result" | "error" if !name.is_empty() => {
                let call = self.calls.iter().position(|(called, _)| *called == name);
                let argument = match call.and_then(|index| self.calls.remove(index)) {
                    Some((_, argument)) if !argument.is_empty() => argument,
                    _ => argument(input),
                };
                let (result, style) = result(output, row.event_type == "error");
                let time = row.duration_ms.map(|ms| format!(" ({})", text::millis(ms))).unwrap_or_default();
                vec![line(row, out, style, &name, &join(&argument, &format!("{result}{time}")))]
            }
            "llm_response" => {
                let mut lines = self.unanswered(row, out);
                lines.push(line(row, out, Style::Busy, "model", &answer(row, output)));
                lines
            }
            // What a command says while it runs, line by line; its result follows.
            "tool_output" => {
                let said = output.get("text").and_then(Value::as_str).unwrap_or_default();
                said.lines().map(|said| line(row, out, Style::Dim, &name, &text::one_line(said))).collect()
            }
            "status_change" => {
                let word = |name: &str| input.get(name).or_else(|| output.get(name)).map(short).unwrap_or_default();
                let change = join(&word("from"), &word("to"));
                vec![line(
                    row,
                    out,
                    Style::Dim,
                    "status",
                    &reasoned(change, &whole(input.get("reason").unwrap_or(&Value::Null))),
                )]
            }
            "error" => vec![line(row, out, Style::Bad, "error", &either(output, input))],
            "supervisor_note" => vec![line(row, out, Style::Attention, "note", &either(input, output))],
            "policy" => {
                let verdict = text::one_line(row.tool_action.as_deref().unwrap_or_default());
                let decided = join(&name, &verdict);
                vec![line(row, out, Style::Attention, "policy", &reasoned(decided, &either(output, input)))]
            }
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
    let left = out.columns().saturating_sub(text::width(&time) + 2 + text::width(name).max(NAME) + 2).max(20);
    let padding = text::pad(name, NAME);
    let text = text::shorten(text, left);
    format!("{}  {}{padding}  {text}", out.style(Style::Dim, &time), out.style(style, name))
}

fn join(left: &str, right: &str) -> String {
    match (left.is_empty(), right.is_empty()) {
        (false, false) => format!("{left} -> {right}"),
        _ => format!("{left}{right}"),
    }
}

fn reasoned(what: String, why: &str) -> String {
    if why.is_empty() { what } else { format!("{what}: {why}") }
}

/// What a model call came to: time, tokens, what it wants to do.
fn answer(row: &LogRow, output: &Value) -> String {
    let mut parts = Vec::new();
    parts.extend(row.duration_ms.map(text::millis));
    let tokens = row.tokens_used.as_ref().and_then(|tokens| tokens.get("total_tokens")?.as_i64());
    parts.extend(tokens.map(|tokens| format!("{} tokens", text::grouped(tokens))));
    let calls = output.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    let calls: Vec<String> = calls.map(|call| short(call.get("name").unwrap_or(call))).collect();
    if !calls.is_empty() {
        parts.push(format!("calls {}", calls.join(", ")));
    }
    if output.get("rehearsed").is_some_and(|rehearsed| *rehearsed == Value::Bool(true)) {
        parts.push("rehearsed".to_owned());
    }
    let said = output.get("text").and_then(Value::as_str);
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
fn result(output: &Value, failed: bool) -> (String, Style) {
    let error = output.get("error").filter(|error| !matches!(error, Value::Null | Value::Bool(false)));
    if failed || error.is_some() {
        let error = error.unwrap_or(output);
        return (format!("error: {}", whole(error.get("message").unwrap_or(error))), Style::Bad);
    }
    let text = match output {
        Value::Object(object) => {
            let size =
                ["bytes_read", "bytes_written", "size_bytes"].iter().find_map(|name| object.get(*name)?.as_u64());
            let list = object.iter().find_map(|(name, value)| Some((name, value.as_array()?)));
            match (size, list) {
                (Some(size), _) => text::bytes(size),
                (None, Some((name, list))) => count(name, list.len()),
                _ => short(["status", "now", "message"].iter().find_map(|name| object.get(*name)).unwrap_or(output)),
            }
        }
        Value::Array(list) => count("items", list.len()),
        Value::Null => "done".to_owned(),
        _ => short(output),
    };
    (text, Style::Good)
}

fn count(name: &str, count: usize) -> String {
    let name = text::one_line(name);
    match (count, name.strip_suffix("ies"), name.strip_suffix("es").filter(|stem| stem.ends_with("ch"))) {
        (1, Some(stem), _) => format!("1 {stem}y"),
        (1, None, Some(stem)) => format!("1 {stem}"),
        (1, ..) => format!("1 {}", name.strip_suffix('s').unwrap_or(&name)),
        _ => format!("{count} {name}"),
    }
}

/// The text in a value that has one, else the value.
fn either(first: &Value, second: &Value) -> String {
    let value = if first.is_null() { second } else { first };
    let text = ["message", "error", "reason", "note", "instruction", "text", "decision"]
        .iter()
        .find_map(|name| value.get(name).filter(|text| !text.is_null()));
    whole(text.unwrap_or(value))
}

fn short(value: &Value) -> String {
    text::shorten(&whole(value), SHORT)
}

fn whole(value: &Value) -> String {
    match value {
        Value::String(text) => text::one_line(text),
        Value::Null => String::new(),
        Value::Array(list) => list.iter().map(whole).collect::<Vec<_>>().join(", "),
        other => text::one_line(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use assistant_api::JobId;
    use serde_json::json;

    use super::*;
    use crate::output::Format;

    fn row(sequence: i64, event_type: &str, tool_name: Option<&str>, input: Value, output: Value) -> LogRow {
        LogRow {
            id: sequence,
            job_id: JobId(7),
            sequence,
            event_type: event_type.to_owned(),
            tool_name: tool_name.map(str::to_owned),
            tool_action: None,
            input_data: Some(input).filter(|input| !input.is_null()),
            output_data: Some(output).filter(|output| !output.is_null()),
            tokens_used: None,
            duration_ms: Some(12),
            created_at: "2026-11-22T12:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn each_step_is_one_line() {
        let out = Output::detect(Format::default(), true);
        let mut response =
            row(3, "llm_response", None, Value::Null, json!({"text": "I look.\n", "tool_calls": ["file_list"]}));
        response.tokens_used = Some(json!({"total_tokens": 1234}));
        let mut policy = row(10, "policy", Some("file_delete"), Value::Null, json!({"reason": "outside of jobs/7"}));
        policy.tool_action = Some("ask".to_owned());
        let rows = [
            row(1, "status_change", None, json!({"from": "queued", "to": "running"}), Value::Null),
            row(2, "llm_request", None, json!({"messages": 2, "tools": []}), Value::Null),
            response,
            row(4, "tool_call", Some("file_list"), json!({"arguments": {"path": "reports"}, "rule": "x"}), Value::Null),
            row(5, "tool_call", Some("file_read"), json!({"arguments": {"path": "a.csv"}}), Value::Null),
            row(6, "tool_result", Some("file_list"), Value::Null, json!({"root": "reports", "entries": [{}, {}]})),
            row(7, "error", Some("file_read"), Value::Null, json!({"error": "a.csv not found"})),
            row(
                8,
                "tool_call",
                Some("file_move"),
                json!({"arguments": {"source_path": "a", "destination_path": "b"}}),
                Value::Null,
            ),
            row(9, "error", None, Value::Null, json!({"error": "overloaded", "temporary": true})),
            policy,
            row(11, "supervisor_note", None, json!({"instruction": "use \u{1b}[31meuros"}), Value::Null),
            row(12, "llm_request", None, Value::Null, Value::Null),
        ];
        let said = row(13, "tool_output", Some("command_execute"), Value::Null, json!({"text": "one\n\u{1b}[1mtwo\n"}));
        let rows = rows.into_iter().chain([said]).collect::<Vec<_>>();
        let mut steps = Steps::default();
        let lines: Vec<String> = rows.iter().flat_map(|row| steps.lines(row, &out)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        2026-11-22T12:00:00Z  status          queued -> running
        2026-11-22T12:00:00Z  model           12 ms, 1,234 tokens, calls file_list, "I look."
        2026-11-22T12:00:00Z  file_list       reports -> 2 entries (12 ms)
        2026-11-22T12:00:00Z  file_read       a.csv -> error: a.csv not found (12 ms)
        2026-11-22T12:00:00Z  error           overloaded
        2026-11-22T12:00:00Z  policy          file_delete -> ask: outside of jobs/7
        2026-11-22T12:00:00Z  note            use euros
        2026-11-22T12:00:00Z  file_move       a to b -> no result
        2026-11-22T12:00:00Z  command_execute  one
        2026-11-22T12:00:00Z  command_execute  two
        "#);
    }

    #[test]
    fn counts_are_in_the_right_number() {
        assert_eq!([count("entries", 1), count("matches", 1), count("items", 1)], ["1 entry", "1 match", "1 item"]);
        assert_eq!(count("entries", 2), "2 entries");
    }
}
