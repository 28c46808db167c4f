//! Answers of both protocols, whole and in pieces.

use super::*;

const ANTHROPIC: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"c-1\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":4,\"cache_read_input_tokens\":6,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Schön\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"tu_1\",\"name\":\"file_read\",\"input\":{}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"pa\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"th\\\":\\\"a\\\"}\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":25}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

const CALLS: &str = concat!(
    ": OPENROUTER PROCESSING\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,\"id\":\"call_a\",\"type\":\"function\",\"function\":{\"name\":\"file_read\",\"arguments\":\"\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"path\\\":\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"call_b\",\"type\":\"function\",\"function\":{\"name\":\"file_list\",\"arguments\":\"{}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\\\"a\\\"}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7,\"total_tokens\":12,\"cost\":0.00125,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n",
    "data: [DONE]\n\n",
);

fn anthropic(server: &Server) -> Config {
    let mut config = config(server);
    config.llm.provider = Some("anthropic".into());
    config
}

#[tokio::test]
async fn a_stream_cut_at_every_byte_gives_the_same_answer() {
    for (text, is_anthropic) in [(HELLO, false), (ANTHROPIC, true)] {
        let server = Server::start([Play::stream(text)]).await;
        let config = if is_anthropic { anthropic(&server) } else { config(&server) };
        let llm = build_from(&config);
        let whole = llm.ask(&hello(), None).await.unwrap();
        for at in 0..text.len() {
            server.play([Play::stream(text).split(at)]);
            assert_eq!(llm.ask(&hello(), None).await.unwrap(), whole, "cut at {at}");
        }
        server.play([Play::stream(text).chunks(1)]);
        assert_eq!(llm.ask(&hello(), None).await.unwrap(), whole);
    }
}

#[tokio::test]
async fn openai_text_usage_and_deltas() {
    let server = Server::start([Play::stream(HELLO)]).await;
    let (on_delta, seen) = watch();
    let answer = build_from(&config(&server)).ask(&hello(), Some(on_delta)).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.stop, answer.model.as_str()), ("Grüß Gott", Stop::End, "m-1"));
    let usage = answer.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.total_tokens), (11, 3, 14));
    assert_eq!(answer.cost_nanos, Some(0), "loopback costs nothing");
    assert_eq!(*seen.lock().unwrap(), "Grüß Gott");
    let request = &server.seen()[0];
    assert_eq!(request.line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(request.header("authorization"), None, "no key is there");
    assert_eq!(request.header("x-title"), None, "for OpenRouter only");
    assert_eq!(request.body["model"], "m");
    assert_eq!(request.body["stream_options"]["include_usage"], true);
    assert_eq!(request.body["max_tokens"], 4096);
    assert_eq!(request.body.get("tools"), None);
}

#[tokio::test]
async fn openai_calls_in_pieces_and_the_cost_that_is_reported() {
    let server = Server::start([Play::stream(CALLS).chunks(7)]).await;
    let (on_delta, seen) = watch();
    let request = Request { tools: vec![tool("file_read"), tool("file_list")], ..hello() };
    let answer = build_from(&config(&server)).ask(&request, Some(on_delta)).await.unwrap();
    assert_eq!(answer.stop, Stop::Calls);
    let calls: Vec<_> =
        answer.calls.iter().map(|call| (call.id.as_str(), call.name.as_str(), call.arguments.as_str())).collect();
    assert_eq!(calls, [("call_a", "file_read", r#"{"path":"a"}"#), ("call_b", "file_list", "{}")]);
    assert_eq!(answer.cost_nanos, Some(1_250_000));
    assert_eq!(answer.usage.unwrap().cached_tokens, 4);
    assert_eq!(*seen.lock().unwrap(), "<file_read><file_list>");
    assert_eq!(server.seen()[0].body["tools"][1]["function"]["name"], "file_list");
}

#[tokio::test]
async fn anthropic_text_calls_and_usage() {
    let server = Server::start([Play::stream(ANTHROPIC)]).await;
    let mut config = anthropic(&server);
    config.llm.temperature = 1.7;
    let secrets: Secrets = [(SecretName::Llm, "secret-key")].into_iter().collect();
    let (on_delta, seen) = watch();
    let request = Request { tools: vec![tool("file_read")], ..hello() };
    let answer = build(&config, &secrets, &Environment::default()).ask(&request, Some(on_delta)).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.stop, answer.model.as_str()), ("Schön", Stop::Calls, "c-1"));
    assert_eq!(
        answer.calls,
        [ToolCall { id: "tu_1".into(), name: "file_read".into(), arguments: r#"{"path":"a"}"#.into() }]
    );
    let usage = answer.usage.unwrap();
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens),
        (20, 25, 6, 4)
    );
    assert_eq!(*seen.lock().unwrap(), "Schön<file_read>");
    let seen = &server.seen()[0];
    assert_eq!(seen.line, "POST /v1/messages HTTP/1.1");
    assert_eq!((seen.header("x-api-key"), seen.header("authorization")), (Some("secret-key"), None));
    assert_eq!(seen.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(seen.body["temperature"], 1.0);
    assert_eq!(seen.body["tools"][0]["input_schema"]["type"], "object");
}

#[tokio::test]
async fn servers_that_do_not_stream_are_understood() {
    let whole = r#" {"model":"x","choices":[{"message":{"content":"hi","tool_calls":[{"id":"1","function":{"name":"t","arguments":{"a":1}}}]},"finish_reason":"tool_calls"}]}"#;
    let server = Server::start([Play::json(200, whole).chunks(5)]).await;
    let answer = ask(&config(&server)).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.calls[0].arguments.as_str()), ("hi", r#"{"a":1}"#));
    assert_eq!(answer.usage, None);
    let whole = r#"{"model":"c","content":[{"type":"text","text":"hi"},{"type":"tool_use","id":"1","name":"t","input":{"a":1}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}"#;
    server.play([Play::json(200, whole)]);
    let answer = ask(&anthropic(&server)).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.calls[0].arguments.as_str()), ("hi", r#"{"a":1}"#));
    assert_eq!(answer.usage.unwrap().total_tokens, 3);
}

#[tokio::test]
async fn a_stream_without_usage_has_an_unknown_cost_where_it_is_paid() {
    let without = HELLO.replace("\"usage\"", "\"ignored\"");
    let server = Server::start([Play::stream(&without)]).await;
    let mut config = config(&server);
    assert_eq!(ask(&config).await.unwrap().cost_nanos, Some(0));
    config.llm.prices.0.insert("m".into(), price::Price::new(1.0, 2.0));
    let answer = ask(&config).await.unwrap();
    assert_eq!((answer.usage, answer.cost_nanos), (None, None));
    server.play([Play::stream(HELLO)]);
    assert_eq!(ask(&config).await.unwrap().cost_nanos, Some(11_000 + 6_000));
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::start([Play::stream(HELLO)]).await;
    let llm = build_from(&config(&server));
    for _ in 0..5 {
        llm.ask(&hello(), None).await.unwrap();
    }
    let connections = server.seen().len();
    assert_eq!(connections, 5);
    assert_eq!(server.connections(), 1);
}
