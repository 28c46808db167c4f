//! Attempts that may have been paid for nothing.

use super::*;
use price::Price;

const BEGUN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

/// Two models on loopback that cost something.
fn priced(server: &Server) -> Config {
    let mut config = config(server);
    config.llm.fallback_model = Some("f".into());
    for model in ["m", "f"] {
        config.llm.prices.0.insert(model.into(), Price::new(1.0, 2.0));
    }
    config
}

async fn lost(config: &Config) -> (Result<Answer, LlmError>, u32) {
    let request = hello();
    let answer = build_from(config).ask(&request, None).await;
    (answer, request.attempts.lost())
}

#[tokio::test]
async fn an_answer_that_began_may_have_cost_something_and_a_refusal_did_not() {
    let overloaded = "data: {\"error\":{\"code\":429,\"message\":\"busy\"},\"choices\":[]}\n\n";
    for (play, expected) in [
        (Play::json(429, "{}"), 0),
        (Play::json(500, "{}"), 0),
        (Play::json(401, "{}"), 0),
        (Play::json(402, "{}"), 0),
        (Play::json(413, "{}"), 0),
        (Play::stream(BEGUN).cut(), 1),
        (Play::stream(BEGUN), 1),
        (Play::stream("").cut(), 1),
        (Play::stream(overloaded), 1),
        (Play::stream("data: {\n\n"), 1),
        (Play::json(200, "{}"), 1),
        (Play::stream(HELLO), 0),
    ] {
        let server = Server::start([play.clone()]).await;
        let mut config = priced(&server);
        config.llm.fallback_model = None;
        assert_eq!(lost(&config).await.1, expected, "{play:?}");
        config.llm.prices = price::Prices::default();
        assert_eq!(lost(&config).await.1, 0, "loopback costs nothing: {play:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_before_the_answer_is_counted_and_one_that_was_not_made_is_not() {
    let server = Server::start([]).await;
    let mut config = priced(&server);
    config.llm.fallback_model = None;
    let (answer, count) = lost(&config).await;
    assert!(matches!(answer, Err(LlmError::Unavailable { .. })));
    assert_eq!((server.seen().len(), count), (1, 1));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    config.llm.base_url = Some(format!("http://{closed}/v1"));
    assert_eq!(lost(&config).await.1, 0);
}

#[tokio::test]
async fn every_lost_attempt_of_a_turn_is_counted_whatever_its_end() {
    let cut = || Play::stream(BEGUN).cut();
    let server = Server::start([cut(), cut(), Play::json(503, ""), Play::stream(HELLO)]).await;
    let mut config = priced(&server);
    config.llm.retries = 1;
    let (answer, count) = lost(&config).await;
    assert_eq!((answer.unwrap().cost_nanos, count), (Some(17_000), 2), "what the answer cost is known");
    server.play([cut(), cut(), cut(), cut()]);
    let (answer, count) = lost(&config).await;
    assert_eq!((answer.is_err(), count), (true, 4));
}

#[tokio::test]
async fn a_deadline_counts_the_attempt_that_it_ends() {
    let server = Server::start([Play::stream(BEGUN).cut(), Play::stream(BEGUN).stall()]).await;
    let mut config = priced(&server);
    config.llm.turn_timeout = Seconds(Duration::from_millis(300));
    let (answer, count) = lost(&config).await;
    assert_eq!((answer, count), (Err(LlmError::Deadline { seconds: 0 }), 2));
    // Nor is it forgotten when nobody waits for the answer any more.
    config.llm.turn_timeout = Seconds::new(60);
    let (llm, request) = (build_from(&config), hello());
    tokio::time::timeout(Duration::from_millis(300), llm.ask(&request, None)).await.unwrap_err();
    assert_eq!(request.attempts.lost(), 1);
}
