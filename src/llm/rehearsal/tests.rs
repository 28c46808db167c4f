use serde_json::json;

use super::*;
use crate::llm::ToolSpec;

const SCENES: &str = r#"
{"name":"loop","when":{"task":["LOOP"]},"repeat":true,"steps":[{"calls":[{"name":"t","arguments":{"n":1}}]}]}
{"name":"fails","when":{"task":["fails"]},"steps":[{"fail":{"kind":"rate_limited","times":2,"retry_after_ms":50},"text":"at last"}]}
{"name":"two","when":{"task":["two"]},"steps":[{"calls":[{"name":"t","arguments":{"q":"{{task}}"}},{"name":"t","arguments":"{broken"}]},{"text":"then words"},{"expect":{"result":["go on"]},"text":"end {{result.t.a.1}}"}]}
{"name":"small","when":{"role":"small"},"steps":[{"text":"short"}]}
"#;

fn tool(name: &str) -> ToolSpec {
    ToolSpec { name: name.into(), description: String::new(), parameters: json!({ "type": "object" }) }
}

fn user(text: &str) -> Message {
    Message::User { text: text.into() }
}

fn said(answer: &Answer) -> Message {
    Message::Assistant { text: answer.text.clone(), calls: answer.calls.clone() }
}

fn result(call: &ToolCall, content: &str) -> Message {
    Message::Tool { call_id: call.id.clone(), name: call.name.clone(), content: content.into() }
}

fn request(messages: Vec<Message>) -> Request {
    Request { tools: vec![tool("t")], ..Request::new("You are a test.", messages) }
}

async fn ask(rehearsal: &Rehearsal, messages: &[Message]) -> Result<Answer, LlmError> {
    rehearsal.ask(&request(messages.to_vec()), None).await
}

fn reason(error: &LlmError) -> String {
    let LlmError::Rejected { reason, .. } = error else { panic!("{error:?}") };
    reason.clone()
}

#[tokio::test]
async fn the_next_answer_follows_from_the_conversation_alone() {
    let mut messages = vec![user("do two things")];
    let first = ask(&Rehearsal::from_json(SCENES).unwrap(), &messages).await.unwrap();
    assert!(first.rehearsed && first.stop == Stop::Calls && first.cost_nanos == Some(0));
    assert_eq!(first.calls[0].arguments, r#"{"q":"do two things"}"#);
    assert_eq!(first.calls[1].arguments, "{broken");
    assert_ne!(first.calls[0].id, first.calls[1].id);
    messages.extend([
        said(&first),
        result(&first.calls[0], r#"{"a":[1,"x"]}"#),
        result(&first.calls[1], r#"ok {"a":[1,"y"]} end"#),
    ]);
    // Another process goes on with it.
    let other = Rehearsal::from_json(SCENES).unwrap();
    let second = ask(&other, &messages).await.unwrap();
    assert_eq!((second.text.as_str(), second.stop), ("then words", Stop::End));
    messages.extend([said(&second), user("go on")]);
    // Also when the beginning has been compacted away.
    let third = ask(&other, &messages).await.unwrap();
    assert_eq!(third.text, "end y");
    messages.extend([said(&third), user("more")]);
    assert!(reason(&ask(&other, &messages).await.unwrap_err()).contains("has no step 4"));
}

#[tokio::test]
async fn a_repeated_step_gets_new_ids() {
    let rehearsal = Rehearsal::from_json(SCENES).unwrap();
    let mut messages = vec![user("please loop")];
    for _ in 0..3 {
        let answer = ask(&rehearsal, &messages).await.unwrap();
        messages.extend([said(&answer), result(&answer.calls[0], "{}")]);
    }
}

#[tokio::test]
async fn scripted_failures_are_counted_per_conversation() {
    let rehearsal = Rehearsal::from_json(SCENES).unwrap();
    for task in ["fails a", "fails b"] {
        for _ in 0..2 {
            let error = ask(&rehearsal, &[user(task)]).await.unwrap_err();
            assert_eq!(error.retry_after(), Some(std::time::Duration::from_millis(50)));
        }
        assert_eq!(ask(&rehearsal, &[user(task)]).await.unwrap().text, "at last");
    }
}

#[tokio::test]
async fn roles_have_their_own_scenes() {
    let rehearsal = Rehearsal::from_json(SCENES).unwrap();
    let small = Request { role: Role::Small, ..request(vec![user("sum it up")]) };
    assert_eq!(rehearsal.ask(&small, None).await.unwrap().text, "short");
    assert!(reason(&ask(&rehearsal, &[user("unheard of")]).await.unwrap_err()).contains("no scene"));
}

#[tokio::test]
async fn every_breach_of_the_protocol_is_named() {
    let rehearsal = Rehearsal::from_json(SCENES).unwrap().with_max_chars(200);
    let call = |id: &str| ToolCall { id: id.into(), name: "t".into(), arguments: "{}".into() };
    let asked = |calls: Vec<ToolCall>| Message::Assistant { text: String::new(), calls };
    let cases: Vec<(Vec<Message>, &str)> = vec![
        (vec![], "no messages"),
        (vec![asked(vec![call("a")])], "first message"),
        (vec![user("two"), Message::Assistant { text: "x".into(), calls: vec![] }], "the model's own"),
        (vec![user("two"), user(" ")], "message 2 is empty"),
        (vec![user("two"), asked(vec![]), user("x")], "message 2 is empty"),
        (vec![user("two"), asked(vec![call("a")]), user("x")], "before 1 open calls"),
        (vec![user("two"), asked(vec![call("a"), call("b")]), result(&call("a"), "")], "1 calls are not answered"),
        (
            vec![user("two"), asked(vec![call("a"), call("b")]), result(&call("b"), ""), result(&call("a"), "")],
            "where \"a\" of \"t\" is next",
        ),
        (vec![user("two"), asked(vec![call("a")]), result(&call("a"), ""), result(&call("a"), "")], "not open"),
        (vec![user("two"), asked(vec![call("a"), call("a")]), result(&call("a"), "")], "used before"),
        (vec![user("two"), asked(vec![call("")]), result(&call(""), "")], "empty or used before"),
        (vec![user(&"two".repeat(100))], "characters"),
    ];
    for (messages, expected) in cases {
        let reason = reason(&ask(&rehearsal, &messages).await.unwrap_err());
        assert!(reason.contains("breaks the protocol") && reason.contains(expected), "{reason} lacks {expected}");
    }
    let mut twice = request(vec![user("two")]);
    twice.tools.push(tool("t"));
    assert!(reason(&rehearsal.ask(&twice, None).await.unwrap_err()).contains("offered twice"));
    let silent = Request { system: String::new(), ..request(vec![user("two")]) };
    assert!(reason(&rehearsal.ask(&silent, None).await.unwrap_err()).contains("system prompt"));
    let without = Request { tools: vec![], ..request(vec![user("two")]) };
    assert!(reason(&rehearsal.ask(&without, None).await.unwrap_err()).contains("\"t\" was not offered"));
}

#[tokio::test]
async fn it_records_when_asked_to() {
    let rehearsal = Rehearsal::from_json(SCENES).unwrap().recording();
    let messages = [user("do two things")];
    ask(&rehearsal, &messages).await.unwrap();
    let _ = ask(&rehearsal, &[user("unheard of")]).await;
    assert_eq!(rehearsal.requests().len(), 2);
    assert_eq!(rehearsal.requests()[0].messages, messages);
}

#[test]
fn a_file_that_is_none_is_refused() {
    for (text, expected) in [
        ("", "no scenes"),
        ("{}", "line 1"),
        (r#"{"name":"x","steps":[]}"#, "no steps"),
        (r#"{"scenes":[{"name":"x","steps":[{"txt":"y"}]}]}"#, "unknown field `txt`"),
        ("{\"name\":\"x\",\"steps\":[{}]}\nnonsense", "line 2"),
    ] {
        let error = Rehearsal::from_json(text).err().unwrap();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn the_demo_sums_up_the_files_that_it_reads() {
    let rehearsal = Rehearsal::demo().unwrap();
    let names = ["get_tool_specs", "file_list", "file_read", "file_write", "task_complete"];
    let task = "Read the CSV files in reports/ and write summary.md with totals per month\nAttached: jobs/7/in/a.csv";
    let mut request = Request { tools: names.map(tool).to_vec(), ..Request::new("s", vec![user(task)]) };
    let listing = r#"{"entries":[{"path":"/w/jobs/7/in/a.csv","relative_path":"jobs/7/in/a.csv","is_dir":false},
        {"relative_path":"jobs/7/in/b.csv","is_dir":false},{"relative_path":"jobs/7/in/n.txt","is_dir":false}]}"#;
    let mut written = String::new();
    for _ in 0..10 {
        let answer = rehearsal.ask(&request, None).await.unwrap();
        request.messages.push(said(&answer));
        for call in &answer.calls {
            let arguments: serde_json::Value = serde_json::from_str(&call.arguments).unwrap();
            let content = match call.name.as_str() {
                "file_list" => {
                    assert_eq!(arguments["path"], "jobs/7/in");
                    listing.to_owned()
                }
                "file_read" if arguments["path"] == "summary.md" => {
                    json!({ "relative_path": "summary.md", "content": written }).to_string()
                }
                "file_read" => {
                    json!({ "relative_path": arguments["path"], "content": "date,amount\n2026-01-02,1.50\n" })
                        .to_string()
                }
                "file_write" => {
                    written = arguments["content"].as_str().unwrap().to_owned();
                    "{}".to_owned()
                }
                "task_complete" => {
                    assert!(written.contains("| 2026-01 | 2 | 3.00 |"), "{written}");
                    assert!(arguments["response"].as_str().unwrap().contains("rehearsal"));
                    return;
                }
                _ => "{}".to_owned(),
            };
            request.messages.push(result(call, &content));
        }
    }
    panic!("the demo did not end");
}
