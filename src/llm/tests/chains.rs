//! Failover, rounds, deadlines, circuits.

use super::*;

/// Two models at one server.
fn two(server: &Server) -> Config {
    let mut config = config(server);
    config.llm.fallback_model = Some("f".into());
    config
}

fn asked(server: &Server) -> String {
    server.seen().iter().map(|request| request.body["model"].as_str().unwrap_or("?").to_owned()).collect()
}

#[tokio::test]
async fn what_may_pass_by_itself_fails_over_at_once() {
    for play in [
        Play::json(429, "{}").header("retry-after", "60"),
        Play::json(500, "{}"),
        Play::json(529, "{}"),
        Play::stream("data: {\n\n"),
        Play::stream("").cut(),
        Play::json(404, "{}"),
    ] {
        let server = Server::start([play, Play::stream(HELLO)]).await;
        ask(&two(&server)).await.unwrap();
        assert_eq!(asked(&server), "mf");
    }
}

#[tokio::test]
async fn a_refused_key_fails_over_to_another_host_only() {
    let (first, second) = (Server::start([Play::json(401, "{}")]).await, Server::start([Play::stream(HELLO)]).await);
    let error = ask(&two(&first)).await.unwrap_err();
    assert!(matches!(error, LlmError::Auth { .. }));
    assert_eq!(asked(&first), "m");
    let mut chain = select::chain(&two(&first), &Secrets::default(), &Environment::default()).unwrap();
    let other = select::chain(&config(&second), &Secrets::default(), &Environment::default()).unwrap();
    chain.main.extend(other.main);
    chain.ask(&hello(), None).await.unwrap();
    assert_eq!((asked(&first).as_str(), asked(&second).as_str()), ("mm", "m"));
    first.play([Play::json(402, "{}")]);
    chain.ask(&hello(), None).await.unwrap();
    assert_eq!(asked(&first), "mmm");
}

#[tokio::test]
async fn a_prompt_that_is_too_long_goes_to_nobody_else() {
    let server = Server::start([Play::json(413, "{}")]).await;
    assert!(matches!(ask(&two(&server)).await.unwrap_err(), LlmError::ContextTooLong { .. }));
    assert_eq!(asked(&server), "m");
}

#[tokio::test]
async fn rounds_go_through_all_models_and_void_what_was_streamed() {
    let begun = "data: {\"choices\":[{\"delta\":{\"content\":\"ha\"}}]}\n\n";
    let server =
        Server::start([Play::stream(begun).cut(), Play::json(503, ""), Play::json(503, ""), Play::stream(HELLO)]).await;
    let mut config = two(&server);
    config.llm.retries = 1;
    let (on_delta, seen) = watch();
    build_from(&config).ask(&hello(), Some(on_delta)).await.unwrap();
    assert_eq!(asked(&server), "mfmf");
    assert_eq!(*seen.lock().unwrap(), "ha<reset>Grüß Gott");
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_kept_or_not_begun() {
    let server = Server::start([Play::json(429, "{}").header("retry-after", "0.15"), Play::stream(HELLO)]).await;
    let mut config = config(&server);
    config.llm.retries = 1;
    let before = std::time::Instant::now();
    ask(&config).await.unwrap();
    assert!(before.elapsed() >= Duration::from_millis(150), "{:?}", before.elapsed());
    server.play([Play::json(503, "{}").header("retry-after", "3600")]);
    let error = ask(&config).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn the_whole_turn_has_a_deadline() {
    let server = Server::start([Play::stream("").stall()]).await;
    let mut config = two(&server);
    config.llm.turn_timeout = Seconds(Duration::from_millis(100));
    let error = ask(&config).await.unwrap_err();
    assert_eq!(error, LlmError::Deadline { seconds: 0 });
    server.closed().await;
    let request = Request { timeout: Some(Duration::from_millis(50)), ..hello() };
    config.llm.turn_timeout = Seconds::new(300);
    assert_eq!(build_from(&config).ask(&request, None).await.unwrap_err(), LlmError::Deadline { seconds: 0 });
}

#[tokio::test]
async fn the_circuit_opens_and_closes() {
    let server = Server::start([Play::json(500, "")]).await;
    let mut config = config(&server);
    config.llm.circuit_failures = 2;
    config.llm.circuit_cooldown = Seconds(Duration::from_millis(150));
    let llm = build_from(&config);
    for _ in 0..2 {
        llm.ask(&hello(), None).await.unwrap_err();
    }
    let error = llm.ask(&hello(), None).await.unwrap_err();
    assert!(
        error.is_temporary() && error.retry_after().is_some() && error.to_string().contains("left alone"),
        "{error}"
    );
    assert_eq!(server.seen().len(), 2, "nobody asked");
    let info = llm.models().remove(0);
    assert!(info.problem.as_ref().is_some_and(|problem| problem.contains("left alone")));
    assert!(info.paused.is_some() && info.in_a_row > 0 && info.recent[0].kind == "unavailable", "{info:?}");
    server.play([Play::stream(HELLO)]);
    tokio::time::sleep(Duration::from_millis(160)).await;
    llm.ask(&hello(), None).await.unwrap();
    assert_eq!(llm.models()[0].problem, None);
}

#[tokio::test]
async fn the_small_model_has_the_main_one_behind_it() {
    let server = Server::start([Play::json(500, ""), Play::stream(HELLO)]).await;
    let mut config = two(&server);
    config.limits.summarization_model = Some("s".into());
    let llm = build_from(&config);
    let request = Request { role: Role::Small, ..hello() };
    llm.ask(&request, None).await.unwrap();
    assert_eq!(asked(&server), "sm");
    let roles: Vec<_> = llm.models().into_iter().map(|model| (model.role, model.model)).collect();
    assert_eq!(roles, [("main".into(), "m".into()), ("fallback".into(), "f".into()), ("small".into(), "s".into())]);
}
