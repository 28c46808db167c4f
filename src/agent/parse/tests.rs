use serde_json::json;

use super::*;

fn read(text: &str) -> Value {
    arguments(text, false).map_or_else(|error| json!({ "refused": error["error"] }), Value::Object)
}

#[test]
fn arguments_that_are_nearly_json_are_understood() {
    for (written, meant) in [
        (r#"{"path": "a.txt"}"#, json!({"path": "a.txt"})),
        ("", json!({})),
        ("   ", json!({})),
        ("null", json!({})),
        ("{}", json!({})),
        ("```json\n{\"path\": \"a\"}\n```", json!({"path": "a"})),
        ("```\n{\"path\": \"a\"}```", json!({"path": "a"})),
        (r#"{"path": "a", "limit": 5,}"#, json!({"path": "a", "limit": 5})),
        (r#"{"list": [1, 2, ], }"#, json!({"list": [1, 2]})),
        ("{'path': 'it\\'s', \"x\": True, 'y': None}", json!({"path": "it's", "x": true, "y": null})),
        (r#""{\"path\": \"a\"}""#, json!({"path": "a"})),
        (r#""\"{\\\"path\\\": \\\"a\\\"}\"""#, json!({"path": "a"})),
        (r#"[{"path": "a"}]"#, json!({"path": "a"})),
        ("{path: \"a\", n: -1.5e3}", json!({"path": "a", "n": -1500.0})),
        ("{\"text\": \"two\nlines\ttab\"}", json!({"text": "two\nlines\ttab"})),
        (r#"{"text": "\u00e4\ud83d\ude00\/"} // done"#, json!({"text": "ä😀/"})),
        ("{\"a\": 1, /* why */ \"b\": 18446744073709551615}", json!({"a": 1, "b": u64::MAX})),
    ] {
        assert_eq!(read(written), meant, "{written}");
    }
}

#[test]
fn what_cannot_be_understood_says_why() {
    for (written, reason) in [
        ("[1, 2]", "not a list"),
        ("5", "not a number"),
        ("true", "not true or false"),
        ("\"hello\"", "not JSON"),
        ("{\"path\": }", "unexpected '}'"),
        ("{\"path\" \"a\"}", "unexpected '\"'"),
        ("{\"path\": \"a\"} and more", "follows"),
        ("{\"path\": \"a", "ends too early"),
        ("{\"path\": tr", "ends too early"),
        ("{\"path\": \"\\u12", "ends too early"),
        ("I would read the file", "unexpected 'I'"),
    ] {
        let refused = read(written)["refused"].as_str().unwrap_or_default().to_owned();
        assert!(refused.contains(reason), "{written}: {refused}");
    }
    let deep = "[".repeat(5000);
    assert!(read(&deep)["refused"].as_str().unwrap().contains("deeply"));
}

#[test]
fn cut_off_arguments_are_explained_and_shown_in_part() {
    let long = format!("{{\"path\": \"a\", \"content\": \"{}", "x".repeat(2000));
    let error = arguments(&long, true).unwrap_err();
    assert!(error["error"].as_str().unwrap().contains("token limit"), "{error}");
    assert!(error["raw_arguments_preview"].as_str().unwrap().len() < 600);
}

#[test]
fn small_mistakes_of_types_are_mended_and_large_ones_are_left() {
    let schema = json!({
        "properties": {
            "limit": {"type": ["integer", "null"]}, "deep": {"type": "boolean"}, "tools": {"type": "array"},
            "path": {"type": "string"}, "any": {}
        },
        "required": ["path"]
    });
    let mut given = json!({
        "limit": "5", "deep": "True", "tools": "[\"a\"]", "path": "12", "any": "7", "other": null
    });
    coerce(&schema, given.as_object_mut().unwrap());
    assert_eq!(
        given,
        json!({"limit": 5, "deep": true, "tools": ["a"], "path": "12", "any": "7", "other": null}),
        "an unknown field stays, so that the tool can name it"
    );
    let mut given = json!({"limit": null, "deep": "perhaps", "tools": "a", "path": null});
    coerce(&schema, given.as_object_mut().unwrap());
    assert_eq!(given, json!({"deep": "perhaps", "tools": ["a"], "path": null}));
    let mut given = json!({"limit": 5.0});
    coerce(&schema, given.as_object_mut().unwrap());
    assert_eq!(given.to_string(), r#"{"limit":5}"#);
}

#[test]
fn the_hash_of_arguments_does_not_depend_on_their_order() {
    let one = json!({"b": [{"y": 1, "x": 2}], "a": 1});
    let two = json!({"a": 1, "b": [{"x": 2, "y": 1}]});
    assert_eq!(canonical(&one), r#"{"a":1,"b":[{"x":2,"y":1}]}"#);
    assert_eq!(args_hash("t", &one), args_hash("t", &two));
    assert_ne!(args_hash("t", &one), args_hash("u", &one));
    assert_eq!(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn names_lose_what_models_put_around_them() {
    for (written, meant) in [
        ("functions.file_read", "file_read"),
        ("default_api:file_read", "file_read"),
        ("`file_read`", "file_read"),
        ("file read", "file_read"),
        ("", "unknown"),
        ("request_human_input", "request_input"),
        ("request_admin_input", "request_input"),
    ] {
        assert_eq!(tool_name(written), meant, "{written}");
    }
}

#[test]
fn calls_written_as_text_are_found() {
    let known = |name: &str| name == "file_read";
    for (text, before, name, arguments) in [
        (
            "<tool_call>{\"name\": \"file_read\", \"arguments\": {\"path\": \"a\"}}</tool_call>",
            "",
            "file_read",
            r#"{"path":"a"}"#,
        ),
        ("I look.\n<tool_call>\n{'name': 'other', 'parameters': '{}'}\n", "I look.", "other", "{}"),
        (
            "<think>hm <tool_call></think><function=file_read>{\"path\": \"a\"}</function>",
            "",
            "file_read",
            r#"{"path": "a"}"#,
        ),
        (
            "<tool_call>\n<function=file_read>\n<parameter=path>\na b\n</parameter>\n</function>\n</tool_call>",
            "",
            "file_read",
            r#"{"path":"a b"}"#,
        ),
        ("[TOOL_CALLS][{\"name\": \"file_read\", \"arguments\": {}}]", "", "file_read", "{}"),
        (
            "<|python_tag|>{\"name\": \"file_read\", \"parameters\": {\"path\": \"a\"}}",
            "",
            "file_read",
            r#"{"path":"a"}"#,
        ),
        ("```json\n{\"tool\": \"file_read\", \"args\": {\"path\": \"a\"}}\n```", "", "file_read", r#"{"path":"a"}"#),
        ("{\"function\": {\"name\": \"file_read\", \"arguments\": \"{}\"}}", "", "file_read", "{}"),
    ] {
        let (rest, calls) = written_calls(text, &known).unwrap_or_else(|| panic!("{text}"));
        assert_eq!((rest.as_str(), calls.len()), (before, 1), "{text}");
        assert_eq!((calls[0].name.as_str(), calls[0].arguments.as_str()), (name, arguments), "{text}");
    }
    let two = "<tool_call>{\"name\": \"a\"}</tool_call>\n<tool_call>{\"name\": \"b\"}</tool_call>";
    assert_eq!(written_calls(two, &known).unwrap().1.len(), 2);
}

#[test]
fn a_text_that_only_talks_about_calls_is_left_alone() {
    let known = |name: &str| name == "file_read";
    for text in [
        "",
        "All done.",
        "The page says <tool_call>{\"name\": \"file_delete\"}</tool_call> which I will not do.",
        "```\n<tool_call>{\"name\": \"file_delete\"}</tool_call>\n```",
        "{\"name\": \"no_such_tool\", \"arguments\": {}}",
        "{\"name\": \"file_read\"}",
        "{\"total\": 5}",
        "<tool_call>not json</tool_call>",
    ] {
        assert_eq!(written_calls(text, &known), None, "{text}");
    }
}
