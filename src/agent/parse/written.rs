//! Calls written into the text of an answer, as local models do when their server does not know their format.
//!
//! Only a text that *ends* with calls counts: one that quotes a call and goes on is talking about it.

use serde_json::{Map, Value};

use super::{lenient, tool_name, unfence};
use crate::llm::ToolCall;

/// Most calls that are read from one text.
const MOST: usize = 32;

/// The calls at the end of `text` and what stands before them. `known` says whether a tool of that name exists.
pub(crate) fn written_calls(text: &str, known: &dyn Fn(&str) -> bool) -> Option<(String, Vec<ToolCall>)> {
    let text = without_thoughts(text);
    let text = text.trim();
    tagged(text).or_else(|| marked(text)).or_else(|| bare(text, known))
}

/// `<think>...</think>` at the beginning is no part of the answer.
fn without_thoughts(text: &str) -> &str {
    let trimmed = text.trim_start();
    match trimmed.strip_prefix("<think>").and_then(|rest| rest.split_once("</think>")) {
        Some((_, rest)) => rest,
        None => text,
    }
}

/// `<tool_call>{...}</tool_call>`, `<function_call>`, and `<function=name>...</function>`.
fn tagged(text: &str) -> Option<(String, Vec<ToolCall>)> {
    let start = ["<tool_call>", "<function_call>", "<function="].iter().filter_map(|tag| text.find(tag)).min()?;
    let before = &text[..start];
    if before.matches("```").count() % 2 == 1 {
        return None; // quoted in a code block
    }
    let mut rest = &text[start..];
    let mut calls = Vec::new();
    while !rest.is_empty() && calls.len() < MOST {
        let (inner, after) = if let Some(inner) = rest.strip_prefix("<tool_call>") {
            until(inner, &["</tool_call>"])
        } else if let Some(inner) = rest.strip_prefix("<function_call>") {
            until(inner, &["</function_call>"])
        } else if rest.starts_with("<function=") {
            until_with(rest, "</function>")
        } else {
            return None; // it goes on with something else
        };
        calls.push(one(inner.trim())?);
        rest = after.trim_start();
    }
    Some((before.trim().to_owned(), number(calls)))
}

/// The part before the first of `ends`, or all of it: the closing tag is often forgotten at the end of an answer.
fn until<'a>(text: &'a str, ends: &[&str]) -> (&'a str, &'a str) {
    ends.iter()
        .filter_map(|end| text.find(end).map(|at| (at, end.len())))
        .min()
        .map_or((text, ""), |(at, len)| (&text[..at], &text[at + len..]))
}

fn until_with<'a>(text: &'a str, end: &str) -> (&'a str, &'a str) {
    text.find(end).map_or((text, ""), |at| text.split_at(at + end.len()))
}

/// What stands inside a tag.
fn one(inner: &str) -> Option<(String, String)> {
    let Some(rest) = inner.strip_prefix("<function=") else {
        let (value, used) = lenient::prefix(unfence(inner)).ok()?;
        return unfence(inner)[used..].trim().is_empty().then(|| named(&value, true)).flatten();
    };
    let (name, body) = rest.split_once('>')?;
    let body = body.trim_end().strip_suffix("</function>").unwrap_or(body).trim();
    if !body.starts_with("<parameter=") {
        return Some((name.to_owned(), body.to_owned()));
    }
    let mut arguments = Map::new();
    let mut rest = body;
    while let Some(parameter) = rest.strip_prefix("<parameter=") {
        let (key, value) = parameter.split_once('>')?;
        let (value, after) = value.split_once("</parameter>")?;
        // One line break after the tag and before its end belongs to the format.
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        arguments.insert(key.trim().to_owned(), Value::String(value.to_owned()));
        rest = after.trim_start();
    }
    rest.is_empty().then(|| (name.to_owned(), Value::Object(arguments).to_string()))
}

/// `[TOOL_CALLS][{...}]` and `<|python_tag|>{...}`.
fn marked(text: &str) -> Option<(String, Vec<ToolCall>)> {
    let (before, rest) = ["[TOOL_CALLS]", "<|python_tag|>"].iter().find_map(|mark| text.split_once(mark))?;
    let items = match lenient::parse(rest.trim()).ok()? {
        Value::Array(items) => items,
        item => vec![item],
    };
    let calls: Option<Vec<_>> = items.iter().take(MOST).map(|item| named(item, true)).collect();
    calls.filter(|calls| !calls.is_empty()).map(|calls| (before.trim().to_owned(), number(calls)))
}

/// Nothing but JSON that names a tool that exists.
fn bare(text: &str, known: &dyn Fn(&str) -> bool) -> Option<(String, Vec<ToolCall>)> {
    let text = unfence(text);
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let items = match lenient::parse(text).ok()? {
        Value::Array(items) => items,
        item => vec![item],
    };
    let calls: Option<Vec<_>> =
        items.iter().take(MOST).map(|item| named(item, false).filter(|(name, _)| known(&tool_name(name)))).collect();
    calls.filter(|calls| !calls.is_empty()).map(|calls| (String::new(), number(calls)))
}

/// Name and arguments of `{"name": ..., "arguments": ...}` in its many spellings.
fn named(value: &Value, may_lack_arguments: bool) -> Option<(String, String)> {
    let object = value.as_object()?;
    if let Some(inner) = object.get("function").filter(|inner| inner.is_object()) {
        return named(inner, true);
    }
    let name = ["name", "tool", "tool_name", "function", "function_name"]
        .iter()
        .find_map(|key| object.get(*key).and_then(Value::as_str))?;
    let arguments =
        ["arguments", "parameters", "args", "input", "tool_input", "kwargs"].iter().find_map(|key| object.get(*key));
    match arguments {
        Some(Value::String(text)) => Some((name.to_owned(), text.clone())),
        Some(value) => Some((name.to_owned(), value.to_string())),
        None => may_lack_arguments.then(|| (name.to_owned(), String::new())),
    }
}

/// Ids are given where the answer is stored.
fn number(calls: Vec<(String, String)>) -> Vec<ToolCall> {
    calls.into_iter().map(|(name, arguments)| ToolCall { id: String::new(), name, arguments }).collect()
}
