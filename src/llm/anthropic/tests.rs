use serde_json::json;

use super::{super::ToolCall, *};

fn sampling() -> Sampling {
    Sampling { max_tokens: 100, temperature: 0.5 }
}

#[test]
fn roles_alternate_and_results_of_one_answer_stand_together() {
    let call = |id: &str, arguments: &str| ToolCall { id: id.into(), name: "t".into(), arguments: arguments.into() };
    let result = |id: &str| Message::Tool { call_id: id.into(), name: "t".into(), content: format!("result of {id}") };
    let request = Request {
        tools: vec![ToolSpec { name: "t".into(), description: "d".into(), parameters: json!({ "type": "object" }) }],
        ..Request::new(
            "system",
            vec![
                Message::User { text: "one".into() },
                Message::User { text: "two".into() },
                Message::Assistant {
                    text: "I call".into(),
                    calls: vec![call("a", r#"{"x":1}"#), call("b:1", "{broken")],
                },
                result("a"),
                result("b:1"),
                Message::User { text: "three".into() },
            ],
        )
    };
    let cached = json!({ "type": "ephemeral" });
    assert_eq!(
        body(&request, "m", sampling(), &Quirks::default()),
        json!({
            "model": "m",
            "max_tokens": 100,
            "messages": [
                { "role": "user", "content": [{ "type": "text", "text": "one" }, { "type": "text", "text": "two" }] },
                { "role": "assistant", "content": [
                    { "type": "text", "text": "I call" },
                    { "type": "tool_use", "id": "a", "name": "t", "input": { "x": 1 } },
                    { "type": "tool_use", "id": "b_1", "name": "t", "input": { "malformed": "{broken" } } ] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "a", "content": "result of a" },
                    { "type": "tool_result", "tool_use_id": "b_1", "content": "result of b:1" },
                    { "type": "text", "text": "three", "cache_control": cached } ] },
            ],
            "stream": true,
            "system": [{ "type": "text", "text": "system", "cache_control": cached }],
            "temperature": 0.5,
            "tools": [{ "name": "t", "description": "d", "input_schema": { "type": "object" } }],
        })
    );
}

#[test]
fn a_conversation_with_calls_names_its_tools_even_when_none_is_offered() {
    let call = ToolCall { id: "a".into(), name: "t".into(), arguments: String::new() };
    let messages = vec![
        Message::User { text: "one".into() },
        Message::Assistant { text: String::new(), calls: vec![call] },
        Message::Tool { call_id: "a".into(), name: "t".into(), content: "x".into() },
    ];
    let body = body(&Request::new("s", messages), "m", sampling(), &Quirks::default());
    assert_eq!(body["tools"], json!([{ "name": "t", "input_schema": { "type": "object" } }]));
    assert_eq!(body["tool_choice"]["type"], "none");
    assert_eq!(body["messages"][1]["content"], json!([{ "type": "tool_use", "id": "a", "name": "t", "input": {} }]));
}

#[test]
fn a_parameter_that_is_not_taken_is_left_out() {
    let quirks = Quirks::default();
    let said =
        crate::llm::failure::Said { status: 400, body: "`temperature` is deprecated".into(), ..Default::default() };
    assert!(quirks.learn(&said) && !quirks.learn(&said));
    assert!(body(&Request::new("s", vec![]), "m", sampling(), &quirks).get("temperature").is_none());
}
