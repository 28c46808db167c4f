use serde_json::json;

use super::{super::ToolCall, *};
use crate::llm::{Answer, LlmError, Stop, ToolSpec, sse::Event, wire::Decoder as _};

fn sampling() -> Sampling {
    Sampling { max_tokens: 100, temperature: 0.5 }
}

fn conversation() -> Request {
    let call = |id: &str, arguments: &str| ToolCall { id: id.into(), name: "t".into(), arguments: arguments.into() };
    let result = |id: &str| Message::Tool { call_id: id.into(), name: "t".into(), content: format!("result of {id}") };
    Request {
        tools: vec![ToolSpec { name: "t".into(), description: "d".into(), parameters: json!({ "type": "object" }) }],
        ..Request::new(
            "system",
            vec![
                Message::User { text: "one".into() },
                Message::User { text: "two".into() },
                Message::Assistant { text: String::new(), calls: vec![call("a", r#"{"x":1}"#), call("b", "{broken")] },
                result("a"),
                result("b"),
                Message::Assistant { text: "words".into(), calls: vec![] },
                Message::User { text: "three".into() },
            ],
        )
    }
}

#[test]
fn a_conversation_as_the_protocol_has_it() {
    let body = body(&conversation(), "m", sampling(), Dialect::OpenRouter, &Quirks::default());
    let call = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "t", "arguments": arguments } });
    assert_eq!(
        body,
        json!({
            "model": "m",
            "messages": [
                { "role": "system", "content": "system" },
                { "role": "user", "content": "one\n\ntwo" },
                { "role": "assistant", "content": null,
                  "tool_calls": [call("a", r#"{"x":1}"#), call("b", r#"{"malformed":"{broken"}"#)] },
                { "role": "tool", "tool_call_id": "a", "content": "result of a" },
                { "role": "tool", "tool_call_id": "b", "content": "result of b" },
                { "role": "assistant", "content": "words" },
                { "role": "user", "content": "three" },
            ],
            "stream": true,
            "max_tokens": 100,
            "temperature": 0.5,
            "stream_options": { "include_usage": true },
            "usage": { "include": true },
            "tools": [{ "type": "function", "function": { "name": "t", "description": "d", "parameters": { "type": "object" } } }],
            "tool_choice": "auto",
        })
    );
}

#[test]
fn dialects_differ_where_they_must() {
    let body = |dialect| body(&Request::new("s", vec![]), "m", sampling(), dialect, &Quirks::default());
    assert!(body(Dialect::Plain).get("usage").is_none() && body(Dialect::Plain).get("tools").is_none());
    assert_eq!(body(Dialect::OpenAi)["max_completion_tokens"], 100);
    assert_eq!(body(Dialect::OpenAi).get("max_tokens"), None);
}

/// Plays the deltas of `choices[0]`, one event each.
fn play(deltas: &[Value]) -> Result<Answer, LlmError> {
    let mut stream = Box::new(Stream::new(3));
    for delta in deltas {
        let finish = delta.get("finish").cloned().unwrap_or_default();
        let data = json!({ "choices": [{ "delta": delta, "finish_reason": finish }] }).to_string();
        stream.event(&Event { name: String::new(), data }, None).map_err(|fault| fault.error("m", str::to_owned))?;
    }
    stream.event(&Event { name: String::new(), data: "[DONE]".into() }, None).unwrap();
    stream.finish().map_err(|fault| fault.error("m", str::to_owned))
}

fn calls(deltas: &[Value]) -> Vec<(String, String, String)> {
    let answer = play(deltas).unwrap();
    assert_eq!(answer.stop, Stop::Calls);
    answer.calls.into_iter().map(|call| (call.id, call.name, call.arguments)).collect()
}

fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
    (id.into(), name.into(), arguments.into())
}

/// One piece of a call; empty parts are left out.
fn piece(index: Option<u64>, id: &str, name: &str, arguments: &str) -> Value {
    let mut piece = json!({ "function": {} });
    if let Some(index) = index {
        piece["index"] = index.into();
    }
    for (part, text) in [("name", name), ("arguments", arguments)] {
        if !text.is_empty() {
            piece["function"][part] = text.into();
        }
    }
    if !id.is_empty() {
        piece["id"] = id.into();
    }
    json!({ "tool_calls": [piece] })
}

#[test]
fn calls_without_index_or_id_are_told_apart() {
    let no_index = [piece(None, "a", "t", "{\"x\""), piece(None, "", "", ":1}"), piece(None, "b", "u", "{}")];
    assert_eq!(calls(&no_index), [call("a", "t", r#"{"x":1}"#), call("b", "u", "{}")]);
    let no_id = [piece(Some(0), "", "t", "{"), piece(Some(0), "", "", "}"), piece(Some(1), "", "u", "{}")];
    assert_eq!(calls(&no_id), [call("call_3_0", "t", "{}"), call("call_3_1", "u", "{}")]);
    let neither = [piece(None, "", "t", "{}"), piece(None, "", "t", "{\"y\":"), piece(None, "", "", "2}")];
    assert_eq!(calls(&neither), [call("call_3_0", "t", "{}"), call("call_3_1", "t", r#"{"y":2}"#)]);
}

#[test]
fn duplicate_ids_and_indexes_are_told_apart() {
    let same_index = [piece(Some(0), "a", "t", "{}"), piece(Some(0), "b", "u", "{}")];
    assert_eq!(calls(&same_index), [call("a", "t", "{}"), call("b", "u", "{}")]);
    let same_id = [piece(Some(0), "a", "t", "{}"), piece(Some(1), "a", "u", "{}")];
    assert_eq!(calls(&same_id), [call("a", "t", "{}"), call("call_3_1", "u", "{}")]);
    let same_id_no_index = [piece(None, "t", "t", "{}"), piece(None, "t", "t", "{\"z\":1}")];
    assert_eq!(calls(&same_id_no_index), [call("t", "t", "{}"), call("call_3_1", "t", r#"{"z":1}"#)]);
}

#[test]
fn names_that_are_repeated_and_arguments_that_are_missing_or_objects() {
    let repeated = [piece(Some(0), "a", "t", "{"), piece(Some(0), "a", "t", "}")];
    assert_eq!(calls(&repeated), [call("a", "t", "{}")]);
    assert_eq!(calls(&[piece(Some(0), "a", "t", "")]), [call("a", "t", "{}")]);
    let object = json!({ "tool_calls": [{ "id": "a", "function": { "name": "t", "arguments": { "x": 1 } } }] });
    assert_eq!(calls(&[object]), [call("a", "t", r#"{"x":1}"#)]);
}

#[test]
fn how_an_answer_ends() {
    let stop = |deltas: &[Value]| play(deltas).unwrap().stop;
    assert_eq!(stop(&[json!({ "content": "a", "finish": "stop" })]), Stop::End);
    assert_eq!(stop(&[json!({ "content": "a" })]), Stop::End);
    assert_eq!(stop(&[piece(Some(0), "a", "t", "{\"cut"), json!({ "finish": "length" })]), Stop::Length);
    assert_eq!(stop(&[json!({ "content": "a", "finish": "content_filter" })]), Stop::Refused);
    assert_eq!(stop(&[json!({ "refusal": "no", "finish": "stop" })]), Stop::Refused);
    assert_eq!(
        play(&[json!({ "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] })]).unwrap().text,
        "ab"
    );
    assert!(matches!(play(&[json!({ "finish": "error" })]), Err(LlmError::Unavailable { .. })));
    assert!(matches!(play(&[piece(Some(0), "a", "", "{}")]), Err(LlmError::Protocol { .. })));
}
