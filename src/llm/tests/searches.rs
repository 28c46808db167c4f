//! Searches of the web, as OpenRouter and Anthropic stream them.

use super::*;
use price::Price;

/// OpenRouter: text, annotations in a chunk of their own, the cost at the end.
pub(crate) const OPENROUTER: &str = concat!(
    ": OPENROUTER PROCESSING\n\n",
    r#"data: {"id":"gen-1","model":"openai/gpt-4.1-mini","choices":[{"index":0,"delta":{"role":"assistant","content":"Debian 13 came out "},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"content":"on 9 August 2025."},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"content":"","annotations":[{"type":"url_citation","url_citation":{"url":"https://www.debian.org/News/2025/20250809","title":"Debian 13 released","content":"August 9th, 2025","start_index":0,"end_index":36}},{"type":"url_citation","url_citation":{"url":"https://lwn.net/x","title":"LWN","start_index":19,"end_index":36}},{"type":"file_citation","file":"y"}]},"finish_reason":"stop"}]}"#,
    "\n\n",
    r#"data: {"choices":[],"usage":{"prompt_tokens":900,"completion_tokens":40,"total_tokens":940,"cost":0.0312,"server_tool_use":{"web_search_requests":2}}}"#,
    "\n\ndata: [DONE]\n\n",
);

/// Anthropic: a search, its results, text with citations, counted searches.
pub(crate) const ANTHROPIC: &str = concat!(
    "event: message_start\n",
    r#"data: {"type":"message_start","message":{"id":"msg_1","model":"claude-sonnet-4-6","content":[],"stop_reason":null,"usage":{"input_tokens":2000,"output_tokens":3}}}"#,
    "\n\n",
    r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    "\n\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Ich süche. "}}"#,
    "\n\n",
    r#"data: {"type":"content_block_stop","index":0}"#,
    "\n\n",
    r#"data: {"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}"#,
    "\n\n",
    r#"data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"query\":\"debian 13\"}"}}"#,
    "\n\n",
    r#"data: {"type":"content_block_start","index":2,"content_block":{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"https://www.debian.org/","title":"Debian","encrypted_content":"Eo8...","page_age":"1 day"},{"type":"web_search_result","url":"https://lwn.net/x","title":"LWN","encrypted_content":"Ep1..."}]}}"#,
    "\n\n",
    r#"data: {"type":"content_block_start","index":3,"content_block":{"type":"text","text":"","citations":[]}}"#,
    "\n\n",
    r#"data: {"type":"content_block_delta","index":3,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"https://www.debian.org/","title":"Debian","encrypted_index":"Eo8","cited_text":"released on August 9th"}}}"#,
    "\n\n",
    r#"data: {"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"On 9 August."}}"#,
    "\n\n",
    r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":60,"server_tool_use":{"web_search_requests":1}}}"#,
    "\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

pub(crate) fn openrouter(server: &Server) -> Config {
    let mut config = config(server);
    config.llm.provider = Some("openrouter".into());
    config.search.model = Some("openai/gpt-4.1-mini".into());
    config
}

pub(crate) fn anthropic(server: &Server) -> Config {
    let mut config = config(server);
    config.llm.provider = Some("anthropic".into());
    config.llm.model = Some("claude-sonnet-4-6".into());
    config
}

fn question() -> Request {
    let search = WebSearch {
        max_results: 5,
        max_total_results: 15,
        engine: "auto".into(),
        excluded_domains: vec!["example.org".into()],
        ..WebSearch::default()
    };
    Request { role: Role::Search, search: Some(search), temperature: Some(0.0), ..hello() }
}

async fn search(config: &Config) -> Result<Answer, LlmError> {
    build_from(config).ask(&question(), None).await
}

#[tokio::test]
async fn openrouter_is_asked_for_its_tool_and_says_what_it_cost() {
    let server = Server::start([Play::stream(OPENROUTER).chunks(7)]).await;
    let answer = search(&openrouter(&server)).await.unwrap();
    assert_eq!(answer.text, "Debian 13 came out on 9 August 2025.");
    let found = answer.found;
    assert_eq!((found.searches, found.problem, answer.cost_nanos), (Some(2), None, Some(31_200_000)));
    let first = &found.sources[0];
    assert_eq!((&*first.url, &*first.title), ("https://www.debian.org/News/2025/20250809", "Debian 13 released"));
    assert_eq!((first.start_index, first.end_index, &*first.content), (Some(0), Some(36), "August 9th, 2025"));
    assert_eq!(found.sources.len(), 2, "what has no address is no source");
    let seen = &server.seen()[0];
    assert_eq!(seen.line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(seen.body["model"], "openai/gpt-4.1-mini");
    assert_eq!(
        seen.body["tools"],
        json!([{ "type": "openrouter:web_search", "parameters": {
            "engine": "auto", "max_results": 5, "max_total_results": 15, "search_context_size": "medium",
            "excluded_domains": ["example.org"] } }])
    );
    assert_eq!((&seen.body["temperature"], &seen.body["tool_choice"]), (&json!(0.0), &json!(null)));
}

#[tokio::test]
async fn a_model_of_perplexity_searches_by_itself() {
    let stream = r#"data: {"model":"perplexity/sonar","citations":["https://a.example/","https://b.example/"],"choices":[{"delta":{"content":"Yes."},"finish_reason":"stop"}]}"#;
    let server = Server::start([Play::stream(&format!("{stream}\n\ndata: [DONE]\n\n"))]).await;
    let mut config = openrouter(&server);
    config.search.model = Some("perplexity/sonar".into());
    let answer = search(&config).await.unwrap();
    let urls: Vec<_> = answer.found.sources.iter().map(|source| source.url.as_str()).collect();
    assert_eq!(urls, ["https://a.example/", "https://b.example/"]);
    let body = &server.seen()[0].body;
    assert_eq!(
        (&body["tools"], &body["web_search_options"]),
        (&json!(null), &json!({ "search_context_size": "medium" }))
    );
}

#[tokio::test]
async fn anthropic_is_asked_for_its_tool_and_pays_for_each_search() {
    let server = Server::start([Play::stream(ANTHROPIC).chunks(11)]).await;
    let answer = search(&anthropic(&server)).await.unwrap();
    assert_eq!(answer.text, "Ich süche. On 9 August.");
    assert_eq!((answer.calls.len(), answer.stop, answer.found.searches), (0, Stop::End, Some(1)));
    let expected = Source {
        url: "https://www.debian.org/".into(),
        title: "Debian".into(),
        start_index: Some(11),
        end_index: Some(23),
        content: "released on August 9th".into(),
    };
    assert_eq!(answer.found.sources, [expected]);
    // 2000 tokens at $3, 60 at $15 a million, and one search.
    assert_eq!(answer.cost_nanos, Some(6_000_000 + 900_000 + 10_000_000));
    let seen = &server.seen()[0];
    assert_eq!(
        seen.body["tools"],
        json!([{ "type": "web_search_20250305", "name": "web_search", "max_uses": 3, "blocked_domains": ["example.org"] }])
    );
    server.play([Play::stream(ANTHROPIC)]);
    let narrow = WebSearch { allowed_domains: vec!["debian.org".into()], ..question().search.unwrap() };
    build_from(&anthropic(&server)).ask(&Request { search: Some(narrow), ..question() }, None).await.unwrap();
    let tool = &server.seen()[1].body["tools"][0];
    assert_eq!((&tool["allowed_domains"], &tool["blocked_domains"]), (&json!(["debian.org"]), &json!(null)));
}

#[tokio::test]
async fn pages_without_citations_are_sources_and_whole_answers_are_understood() {
    let whole = r#"{"model":"c","content":[{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"q"}},{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","url":"https://a.example/","title":"A"}]},{"type":"text","text":"Yes."}],"stop_reason":"end_turn","usage":{"input_tokens":10,"output_tokens":2}}"#;
    let server = Server::start([Play::json(200, whole)]).await;
    let answer = search(&anthropic(&server)).await.unwrap();
    let source = Source { url: "https://a.example/".into(), title: "A".into(), ..Source::default() };
    assert_eq!((answer.found.sources, answer.found.searches), (vec![source], Some(1)));
}

#[tokio::test]
async fn errors_of_a_search_come_with_the_answer() {
    for code in ["max_uses_exceeded", "unavailable", "too_many_requests", "query_too_long"] {
        let whole = format!(
            r#"{{"model":"c","content":[{{"type":"web_search_tool_result","tool_use_id":"s","content":{{"type":"web_search_tool_result_error","error_code":"{code}"}}}},{{"type":"text","text":"I could not."}}],"stop_reason":"pause_turn","usage":{{"input_tokens":10,"output_tokens":2,"server_tool_use":{{"web_search_requests":0}}}}}}"#
        );
        let server = Server::start([Play::json(200, &whole)]).await;
        let answer = search(&anthropic(&server)).await.unwrap();
        assert_eq!((answer.found.problem.as_deref(), answer.stop), (Some(code), Stop::Length));
        assert_eq!(answer.cost_nanos, Some(30_000 + 30_000), "a search that failed costs nothing");
    }
}

#[tokio::test]
async fn refusals_and_broken_answers_are_the_errors_of_any_call() {
    let server = Server::start([Play::json(429, "{}").header("retry-after", "7")]).await;
    let limited =
        LlmError::RateLimited { model: "openai/gpt-4.1-mini".into(), retry_after: Some(Duration::from_secs(7)) };
    assert_eq!(search(&openrouter(&server)).await, Err(limited));
    for (play, temporary) in [
        (Play::json(500, r#"{"error":{"message":"internal"}}"#), true),
        (Play::stream("data: {\"choices\":[{\"delta\":{\"annotations\":7}}]}\n\n"), true),
        (Play::stream(&OPENROUTER[..300]).cut(), true),
        (Play::json(402, "{}"), false),
        (Play::json(400, r#"{"error":{"message":"web search is not enabled for this account"}}"#), false),
    ] {
        let server = Server::start([play.clone()]).await;
        let error = search(&openrouter(&server)).await.unwrap_err();
        assert_eq!(error.is_temporary(), temporary, "{play:?}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_set_aside_covers_the_searches() {
    let server = Server::start([]).await;
    let mut config = anthropic(&server);
    config.search.max_tokens = 1000;
    let request = Request { max_tokens: Some(1000), ..question() };
    let models = build_from(&config).models();
    // Three searches at a cent, 60,000 tokens of pages, and the answer.
    let price = Price { input: 3.0 * 1.25, ..Price::new(3.0, 15.0) };
    let expected = 30_000_000 + price.nanos(60_000 + request.chars().div_ceil(3), 1000);
    assert_eq!(price::estimate(&request, &models, &config), expected);
    let main = Request { role: Role::Main, search: None, ..request };
    assert_eq!(price::estimate(&main, &models, &config), price.nanos(main.chars().div_ceil(3), 1000));
    config.search.price_usd = Some(0.0);
    assert!(models.iter().any(|model| model.role == "search" && model.search_nanos == 10_000_000));
    assert!(build_from(&config).models().iter().all(|model| model.search_nanos == 0));
}

#[tokio::test]
async fn a_cost_that_cannot_be_known_is_unknown() {
    let uncounted = OPENROUTER.replace("\"cost\"", "\"x\"").replace("server_tool_use", "y");
    let server = Server::start([Play::stream(&uncounted)]).await;
    let mut config = openrouter(&server);
    assert_eq!(search(&config).await.unwrap().cost_nanos, None, "nobody knows how many searches there were");
    config.search.price_usd = Some(0.0);
    assert_eq!(search(&config).await.unwrap().cost_nanos, Some(900 * 400 + 40 * 1600));
}
