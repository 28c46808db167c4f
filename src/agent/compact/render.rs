//! One unit of a conversation: an answer with the results of its calls, or a note. It is kept or left out as a whole.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    agent::{
        history::{Entry, History},
        parse, segment,
        steps::{AnswerBody, NoteBody, ResultBody},
    },
    llm::{Message, ToolCall},
    policy::Origin,
};

/// A piece that is never divided.
pub(super) struct Unit<'a> {
    pub(super) last_seq: i64,
    /// The least trusted of its parts.
    pub(super) origin: Origin,
    what: What<'a>,
}

enum What<'a> {
    Exchange { answer: &'a AnswerBody, results: BTreeMap<usize, (&'a ResultBody, Origin)> },
    Note(&'a NoteBody),
}

/// The units after the summary.
pub(super) fn units(history: &History) -> Vec<Unit<'_>> {
    let upto = history.summary.as_ref().map_or(i64::MIN, |(summary, _)| summary.upto);
    let mut units: Vec<Unit<'_>> = Vec::new();
    for placed in history.entries.iter().filter(|placed| placed.seq > upto) {
        let what = match &placed.entry {
            Entry::Answer(answer) => What::Exchange { answer, results: BTreeMap::new() },
            Entry::Note(note) => What::Note(note),
            Entry::Result(result) => {
                let exchange = units.iter_mut().rev().find_map(|unit| match &mut unit.what {
                    What::Exchange { results, .. } => Some((results, &mut unit.last_seq, &mut unit.origin)),
                    What::Note(_) => None,
                });
                // Without its answer (which the summary took) a result is not shown.
                if let Some((results, last_seq, origin)) = exchange {
                    results.insert(result.index, (result, placed.origin));
                    *last_seq = placed.seq;
                    *origin = origin.least(placed.origin);
                }
                continue;
            }
        };
        units.push(Unit { last_seq: placed.seq, origin: placed.origin, what });
    }
    units
}

impl Unit<'_> {
    /// How many messages it makes.
    pub(super) fn messages(&self) -> usize {
        match &self.what {
            What::Exchange { answer, .. } => 1 + answer.calls.len(),
            What::Note(_) => 1,
        }
    }

    /// Its messages, every text at most `cap` characters.
    pub(super) fn render(&self, history: &History, cap: Option<usize>) -> Vec<Message> {
        let short = |text: &str| cap.map_or_else(|| text.to_owned(), |cap| segment::cut(text, cap));
        match &self.what {
            // No protocol takes a message without a text.
            What::Note(note) if note.text.is_empty() => vec![Message::User { text: "(empty)".to_owned() }],
            What::Note(note) => vec![Message::User { text: short(&note.text) }],
            What::Exchange { answer, results } => {
                let text = if answer.text.is_empty() && answer.calls.is_empty() { "(no answer)" } else { &answer.text };
                let calls = answer.calls.iter().map(|call| replayed(call, cap)).collect();
                let mut messages = vec![Message::Assistant { text: short(text), calls }];
                for (index, call) in answer.calls.iter().enumerate() {
                    let content = match results.get(&index) {
                        Some((result, origin)) => shown(history, result, *origin, cap),
                        None => r#"{"error":"not run"}"#.to_owned(),
                    };
                    messages.push(Message::Tool { call_id: call.id.clone(), name: call.name.clone(), content });
                }
                messages
            }
        }
    }

    /// It on a few short lines.
    pub(super) fn line(&self, arguments: usize, result: usize) -> String {
        match &self.what {
            What::Note(note) => format!("note: {}", segment::line(&note.text, 300)),
            What::Exchange { answer, results } => {
                let mut lines = Vec::new();
                if !answer.text.is_empty() {
                    lines.push(format!("assistant: {}", segment::line(&answer.text, 300)));
                }
                for (index, call) in answer.calls.iter().enumerate() {
                    let gave = results.get(&index).map_or("not run", |(result, _)| result.text.as_str());
                    let given = segment::line(&call.arguments, arguments);
                    lines.push(format!("{}({given}) -> {}", call.name, segment::line(gave, result)));
                }
                lines.join("\n")
            }
        }
    }
}

/// What the model sees of a result: all of it the first time, later the form that was stored.
fn shown(history: &History, result: &ResultBody, origin: Origin, cap: Option<usize>) -> String {
    let mut text = history.whole.get(&result.call_id).unwrap_or(&result.text).clone();
    if let Some(cap) = cap.filter(|cap| segment::chars(&text) > *cap) {
        text = segment::cut(&text, cap);
        if let Some(cached) = &result.cached {
            text.push_str("\n[all of it: ");
            text.push_str(&cached.path);
            text.push(']');
        }
    }
    if origin > Origin::Tool { history.fence.wrap(&result.name, origin, &text) } else { history.fence.clean(&text) }
}

/// A call as it is sent back: servers refuse arguments that are not an object, so malformed ones are replaced (their
/// result shows what was written).
fn replayed(call: &ToolCall, cap: Option<usize>) -> ToolCall {
    let mut object = parse::arguments(&call.arguments, false).unwrap_or_default();
    if let Some(cap) = cap {
        object.values_mut().for_each(|value| shorten(value, cap));
        let text = Value::Object(object.clone()).to_string();
        if segment::chars(&text) > cap.saturating_mul(4) {
            object = Map::from_iter([("shortened".to_owned(), Value::String(segment::cut(&text, cap)))]);
        }
    }
    ToolCall { arguments: Value::Object(object).to_string(), ..call.clone() }
}

fn shorten(value: &mut Value, cap: usize) {
    match value {
        Value::String(text) => *text = segment::cut(text, cap),
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, cap)),
        Value::Object(map) => map.values_mut().for_each(|item| shorten(item, cap)),
        _ => {}
    }
}
