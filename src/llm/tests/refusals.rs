//! Everything but an answer.

use super::*;

async fn refused(play: Play) -> LlmError {
    let server = Server::start([play]).await;
    ask(&config(&server)).await.unwrap_err()
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_back() {
    let error = refused(Play::json(429, "{}").header("retry-after", "7")).await;
    assert_eq!(error, LlmError::RateLimited { model: "m".into(), retry_after: Some(Duration::from_secs(7)) });
    let error = refused(
        Play::json(429, "{}")
            .header("date", "Sun, 22 Nov 2026 10:00:00 GMT")
            .header("retry-after", "Sun, 22 Nov 2026 10:00:42 GMT"),
    )
    .await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(42)));
}

#[tokio::test]
async fn server_faults_are_temporary() {
    for status in [500, 503, 529] {
        let error = refused(Play::json(status, "<html>the whole page</html>")).await;
        assert!(matches!(&error, LlmError::Unavailable { .. }), "{error}");
        assert!(!error.to_string().contains("page"), "{error}");
    }
    let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let server = Server::start([Play::stream(overloaded)]).await;
    let mut config = config(&server);
    config.llm.provider = Some("anthropic".into());
    let error = ask(&config).await.unwrap_err();
    assert_eq!(error.to_string(), "m is not available: HTTP 529: Overloaded");
    let within = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"code\":429,\"message\":\"upstream is busy\"},\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n";
    assert!(matches!(refused(Play::stream(within)).await, LlmError::RateLimited { .. }));
}

#[tokio::test]
async fn a_wrong_key_is_said_without_the_key() {
    let key = "sk-test-0123456789";
    let body = format!(r#"{{"error":{{"message":"Incorrect API key provided: {key}"}}}}"#);
    let server = Server::start([Play::json(401, &body)]).await;
    let secrets: Secrets = [(SecretName::Llm, key)].into_iter().collect();
    let error = build(&config(&server), &secrets, &Environment::default()).ask(&hello(), None).await.unwrap_err();
    assert!(matches!(&error, LlmError::Auth { .. }) && !format!("{error} {error:?}").contains("0123456789"), "{error}");
    assert_eq!(server.seen()[0].header("authorization").unwrap(), format!("Bearer {key}"));
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_known_as_such() {
    let error = refused(Play::json(
        400,
        r#"{"error":{"message":"maximum context length is 5","code":"context_length_exceeded"}}"#,
    ))
    .await;
    assert_eq!(error, LlmError::ContextTooLong { model: "m".into() });
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_none() {
    let begun = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    for play in [Play::stream(begun), Play::stream(begun).cut(), Play::stream("").cut(), Play::stream("")] {
        let error = refused(play.clone()).await;
        assert!(matches!(&error, LlmError::Unavailable { .. }), "{error} after {play:?}");
    }
    let begun = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n";
    let server = Server::start([Play::stream(begun).cut()]).await;
    let mut config = config(&server);
    config.llm.provider = Some("anthropic".into());
    assert!(matches!(ask(&config).await.unwrap_err(), LlmError::Unavailable { .. }));
}

#[tokio::test]
async fn malformed_json_is_a_breach_of_the_protocol() {
    for play in [
        Play::stream("data: {\"choices\":[{\"secret prompt\n\n"),
        Play::json(200, "{\"choices\": [secret prompt"),
        Play::json(200, "{}"),
    ] {
        let error = refused(play).await;
        assert!(matches!(&error, LlmError::Protocol { .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_stalled_answer_is_given_up() {
    let begun = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let server = Server::start([Play::stream(begun).stall()]).await;
    let mut config = config(&server);
    config.llm.stall_timeout = Seconds(Duration::from_millis(50));
    let error = ask(&config).await.unwrap_err();
    assert!(matches!(&error, LlmError::Unavailable { .. }) && error.to_string().contains("stalled"), "{error}");
    server.closed().await;
    config.llm.stall_timeout = Seconds::new(60);
    config.llm.request_timeout = Seconds(Duration::from_millis(50));
    let error = ask(&config).await.unwrap_err();
    assert!(error.to_string().contains("no complete answer"), "{error}");
}

#[tokio::test]
async fn an_answer_without_end_is_bounded() {
    let long = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "a".repeat(5000));
    let server = Server::start([Play::stream(&long.repeat(3))]).await;
    let mut config = config(&server);
    config.llm.max_answer_bytes = crate::config::value::Bytes(10_000);
    let error = ask(&config).await.unwrap_err();
    assert!(error.to_string().contains("llm.max_answer_bytes"), "{error}");
}

#[tokio::test]
async fn parameters_that_a_model_does_not_take_are_left_out() {
    let no_temperature =
        r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.2 with this model"}}"#;
    let no_max = r#"{"error":{"message":"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}"#;
    let server = Server::start([Play::json(400, no_temperature), Play::json(400, no_max), Play::stream(HELLO)]).await;
    let llm = build_from(&config(&server));
    assert_eq!(llm.ask(&hello(), None).await.unwrap().text, "Grüß Gott");
    llm.ask(&hello(), None).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 4, "it is remembered");
    for request in &seen[2..] {
        assert!(request.body.get("temperature").is_none() && request.body.get("max_tokens").is_none());
        assert_eq!(request.body["max_completion_tokens"], 4096);
    }
    server.play([Play::json(400, no_temperature)]);
    assert!(matches!(llm.ask(&hello(), None).await.unwrap_err(), LlmError::Rejected { .. }));
}
