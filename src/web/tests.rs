//! Questions of a job, against a server on loopback that plays the providers.

use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use assistant_api::jobs::NewJob;
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::SUBSYSTEM;
use crate::{
    agent::tools::{Call, Output, Tokens, ToolDef},
    clock::Clock,
    config::{Config, Environment, Secrets, value::Seconds},
    cx::{Cx, Inner, Process, Wake},
    error::{Error, ErrorKind, Result},
    jobs::{
        self, Lease,
        store::claim::{Term, claim},
    },
    llm::{
        self,
        tests::{
            searches::{ANTHROPIC, OPENROUTER, anthropic, openrouter},
            server::{Play, Server},
        },
    },
    policy::Origin,
    store::Store,
};

/// A job that runs, with the models of a configuration.
struct World {
    cx: Cx,
    lease: Lease,
    tokens: Tokens,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let llm = llm::build(&config, &Secrets::default(), &Environment::default());
        let cx = Cx::new(Inner {
            store: Store::open(&dir.path().join("assistant.db")).unwrap(),
            clock: Clock::fixed("2026-11-22T09:00:00Z".parse().unwrap()),
            config: ArcSwap::from_pointee(config),
            llm: ArcSwap::from_pointee(llm),
            root: ArcSwapOption::empty(),
            root_problem: ArcSwapOption::empty(),
            state_dir: dir.path().to_owned(),
            wake: Wake::default(),
            process: Process::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            subsystems: &[],
        });
        let new = NewJob { subject: "s".into(), body: "b".into(), ..NewJob::default() };
        jobs::create(&cx, new, "uid:0").await.unwrap();
        let (now, term) = (cx.clock.now(), Term { boot: "boot".into(), until: Duration::from_hours(24) });
        let claimed = cx.store.write(move |tx| Ok(claim(tx, now, &term, &[], 1)?.pop())).await.unwrap().unwrap();
        Self { cx, lease: claimed.lease, tokens: Tokens::default(), _dir: dir }
    }

    fn tool() -> &'static ToolDef {
        &SUBSYSTEM.tools[0]
    }

    async fn search(&self, arguments: Value) -> Result<Output> {
        let call = Call {
            job_id: self.lease.job_id,
            lease: self.lease,
            key: "1:0".into(),
            origin: Origin::Owner,
            rule: "test".into(),
            args_hash: "00".into(),
            tokens: self.tokens.clone(),
        };
        (Self::tool().run)(self.cx.clone(), call, arguments).await
    }

    async fn fails(&self, arguments: Value) -> Error {
        self.search(arguments).await.unwrap_err()
    }

    /// Nano-dollars that are spent or set aside today.
    async fn spent(&self) -> i64 {
        let now = self.cx.clock.now();
        self.cx.store.read(move |conn| jobs::spend::today(conn, now)).await.unwrap()
    }
}

#[tokio::test]
async fn an_answer_comes_with_its_sources_and_is_paid_for() {
    let server = Server::start([Play::stream(OPENROUTER)]).await;
    let world = World::new(openrouter(&server)).await;
    let output = world.search(json!({ "query": " When did Debian 13 come out? ", "max_results": 99 })).await.unwrap();
    assert_eq!(output.origin, Origin::Web);
    let (debian, lwn) = ("https://www.debian.org/News/2025/20250809", "https://lwn.net/x");
    assert_eq!(
        output.value,
        json!({
            "query": "When did Debian 13 come out?",
            "searched_at": "2026-11-22T09:00:00Z",
            "max_results": 15,
            "search_context_size": "medium",
            "answer": "Debian 13 came out on 9 August 2025.",
            "citations": [
                { "url": debian, "title": "Debian 13 released", "start_index": 0, "end_index": 36 },
                { "url": lwn, "title": "LWN", "start_index": 19, "end_index": 36 },
            ],
            "annotations": [
                { "url": debian, "title": "Debian 13 released", "start_index": 0, "end_index": 36,
                  "content": "August 9th, 2025" },
                { "url": lwn, "title": "LWN", "start_index": 19, "end_index": 36 },
            ],
            "search_provider": "openrouter",
            "model": "openai/gpt-4.1-mini",
            "usage": { "prompt_tokens": 900, "completion_tokens": 40, "total_tokens": 940, "searches": 2, "cost": 0.0312 },
        })
    );
    let body = &server.seen()[0].body;
    assert_eq!((&body["temperature"], &body["max_tokens"]), (&json!(0.0), &json!(3000)));
    assert_eq!(body["tools"][0]["parameters"]["max_results"], 15, "bounded by search.max_total_results");
    assert!(body["messages"][0]["content"].as_str().unwrap().ends_with("Today is 2026-11-22."));
    assert_eq!(body["messages"][1]["content"], "When did Debian 13 come out?");
    // Money and tokens count like those of any other call: for the job, the day and the run.
    let usage = jobs::detail(&world.cx, world.lease.job_id).await.unwrap().usage;
    assert_eq!((usage.api_call_count, usage.total_tokens, usage.cost_total), (1, 940, 0.0312));
    assert_eq!((world.spent().await, world.tokens.used()), (31_200_000, 940));
    let id = world.lease.job_id;
    let rows = world.cx.store.read(move |conn| jobs::log::before(conn, id, None, 50)).await.unwrap();
    let row = rows.iter().find(|row| row.event_type == "llm_response").unwrap();
    assert_eq!((row.tool_name.as_deref(), row.tool_action.as_deref()), (Some("web_search"), Some("search")));
    assert_eq!(row.tokens_used.as_ref().unwrap()["cost_nanos"], 31_200_000);
}

#[tokio::test]
async fn anthropic_s_searches_have_their_price() {
    let server = Server::start([Play::stream(ANTHROPIC)]).await;
    let world = World::new(anthropic(&server)).await;
    let value = world.search(json!({ "query": "q", "search_context_size": "low" })).await.unwrap().value;
    assert_eq!((&value["search_provider"], &value["usage"]["searches"]), (&json!("anthropic"), &json!(1)));
    assert_eq!(value["citations"][0]["url"], "https://www.debian.org/");
    assert_eq!(world.spent().await, 16_900_000);
}

#[tokio::test]
async fn hosts_are_narrowed_and_held_against_what_comes_back() {
    let server = Server::start([Play::stream(OPENROUTER)]).await;
    let mut config = openrouter(&server);
    config.search.excluded_domains = vec!["lwn.net".into()];
    let world = World::new(config).await;
    let value = world.search(json!({ "query": "q", "excluded_domains": ["example.org"] })).await.unwrap().value;
    let sent = server.seen()[0].body["tools"][0]["parameters"]["excluded_domains"].clone();
    assert_eq!(sent, json!(["example.org", "lwn.net"]));
    assert_eq!(value["citations"].as_array().unwrap().len(), 1, "a provider may not hold to the list");
    assert!(value["problems"][0].as_str().unwrap().starts_with("1 sources were left out"), "{value}");
    let error = world.fails(json!({ "query": "q", "allowed_domains": ["a.lwn.net"] })).await;
    assert_eq!(error.field_name(), Some("excluded_domains"));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn wrong_arguments_cost_nothing_and_name_their_field() {
    let server = Server::start([Play::stream(OPENROUTER)]).await;
    let world = World::new(openrouter(&server)).await;
    for (arguments, field) in [
        (json!({ "query": "  " }), Some("query")),
        (json!({ "query": "x".repeat(2001) }), Some("query")),
        (json!({ "query": "q", "allowed_domains": ["https://x.org/"] }), Some("allowed_domains")),
        (json!({ "query": "q", "search_context_size": "huge" }), None),
        (json!({ "query": "q", "excluded_domains": "x.org" }), None),
        (json!({ "query": "q", "pages": 3 }), None),
    ] {
        let error = world.fails(arguments.clone()).await;
        assert_eq!((error.kind(), error.field_name()), (ErrorKind::Validation, field), "{arguments}");
    }
    assert_eq!((server.seen().len(), world.spent().await), (0, 0));
}

#[tokio::test]
async fn what_the_provider_refuses_is_told_and_settled() {
    for (play, kind, text) in [
        (Play::json(429, "{}"), ErrorKind::RateLimited, "rate limited"),
        (Play::json(500, "secret page"), ErrorKind::Unavailable, "HTTP 500"),
        (Play::json(401, r#"{"error":{"message":"No auth"}}"#), ErrorKind::Unavailable, "refused the key"),
        (Play::stream(r"data: {]"), ErrorKind::Unavailable, "not its protocol"),
    ] {
        let server = Server::start([play.clone()]).await;
        let world = World::new(openrouter(&server)).await;
        let error = world.fails(json!({ "query": "q" })).await;
        assert_eq!(error.kind(), kind, "{play:?}: {error}");
        assert!(error.message().contains(text) && !error.message().contains("secret"), "{error}");
        assert!(error.hint_text().unwrap().contains("go on without"));
        // Only what began to be answered may have cost something.
        assert_eq!(world.spent().await > 0, text == "not its protocol", "{play:?}");
    }
}

#[tokio::test]
async fn it_has_a_time() {
    let server = Server::start([Play::stream(&OPENROUTER[..200]).stall()]).await;
    let mut config = openrouter(&server);
    config.search.timeout_seconds = Seconds(Duration::from_millis(200));
    let world = World::new(config).await;
    let error = world.fails(json!({ "query": "q" })).await;
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(world.spent().await > 0, "nobody knows what it cost: it counts what was set aside");
}

#[tokio::test]
async fn a_search_without_result_is_an_error_and_a_weak_one_says_so() {
    let nothing = r#"{"model":"c","content":[{"type":"web_search_tool_result","tool_use_id":"s","content":{"type":"web_search_tool_result_error","error_code":"unavailable"}}],"stop_reason":"end_turn","usage":{"input_tokens":10,"output_tokens":2}}"#;
    let server = Server::start([Play::json(200, nothing)]).await;
    let world = World::new(anthropic(&server)).await;
    let error = world.fails(json!({ "query": "q" })).await;
    assert!(error.message().ends_with("the provider's search is not available at the moment"), "{error}");
    let limited = nothing
        .replace("unavailable", "max_uses_exceeded")
        .replace("}}],", r#"}},{"type":"text","text":"Perhaps."}],"#)
        .replace("end_turn", "max_tokens");
    server.play([Play::json(200, &limited)]);
    let value = world.search(json!({ "query": "q" })).await.unwrap().value;
    assert_eq!((&value["answer"], &value["incomplete"]), (&json!("Perhaps."), &json!(true)));
    let problems: Vec<_> = value["problems"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(
        problems,
        [
            "it wanted to search more often than search.max_total_results allows",
            "the answer was given without a search",
            "the answer names no source: take nothing of it for certain",
        ]
    );
}

#[tokio::test]
async fn what_comes_back_is_bounded_whatever_a_provider_sends() {
    let sources: Vec<_> = (0..100)
        .map(|n| {
            json!({ "type": "url_citation", "url_citation": {
                "url": format!("https://h{n}.example/{}", "x".repeat(if n == 3 { 3000 } else { 1 })),
                "title": "t".repeat(999), "content": "c".repeat(9999), "start_index": 1, "end_index": 99_999_999 } })
        })
        .chain([json!({ "type": "url_citation", "url_citation": { "url": "javascript:alert(1)" } })])
        .collect();
    let chunk = json!({ "model": "m", "choices": [{ "finish_reason": "stop",
        "delta": { "content": "ä".repeat(2000), "annotations": sources } }] });
    let server = Server::start([Play::stream(&format!("data: {chunk}\n\ndata: [DONE]\n\n"))]).await;
    let mut config = openrouter(&server);
    config.search.max_tokens = 100;
    config.search.max_total_results = 4;
    config.search.max_results = 2;
    let world = World::new(config).await;
    let value = world.search(json!({ "query": "q" })).await.unwrap().value;
    assert_eq!((value["answer"].as_str().unwrap().chars().count(), &value["incomplete"]), (800, &json!(true)));
    let list = |name: &str| value[name].as_array().unwrap().clone();
    assert_eq!((list("citations").len(), list("annotations").len()), (4, 12));
    for source in list("citations").iter().chain(&list("annotations")) {
        assert!(source["url"].as_str().unwrap().starts_with("https://") && source.to_string().len() < 3000);
        assert!(source.get("end_index").is_none(), "a place outside of the answer is none");
    }
}

#[tokio::test]
async fn caps_hold_before_anything_is_asked() {
    let server = Server::start([Play::stream(OPENROUTER)]).await;
    for cap in ["day", "job"] {
        let mut config = openrouter(&server);
        match cap {
            "day" => config.limits.max_daily_cost_usd = 0.05,
            _ => config.limits.max_job_cost_usd = 0.05,
        }
        let world = World::new(config).await;
        let error = world.fails(json!({ "query": "q" })).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("cap") && error.message().contains("$0.00 of $0.05"), "{error}");
    }
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn it_is_there_only_where_a_provider_searches() {
    let server = Server::start([]).await;
    let tool = World::tool();
    assert!((tool.exists)(&World::new(openrouter(&server)).await.cx));
    assert!((tool.exists)(&World::new(anthropic(&server)).await.cx));
    let mut off = openrouter(&server);
    off.search.enabled = false;
    assert!(!(tool.exists)(&World::new(off).await.cx));
    let mut other = openrouter(&server);
    (other.llm.provider, other.search.model) = (Some("openai".into()), None);
    assert!(!(tool.exists)(&World::new(other).await.cx));
    let mut rehearsal = Config::default();
    rehearsal.llm.provider = Some("rehearsal".into());
    assert!(!(tool.exists)(&World::new(rehearsal).await.cx));
    assert!(tool.absent.unwrap().contains("cannot be searched"));
}
