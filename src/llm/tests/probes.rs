//! One real call to each model.

use super::*;

#[tokio::test]
async fn each_model_is_called_once_and_reported() {
    let called = "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"1\",\"function\":{\"name\":\"report_word\",\"arguments\":\"{\\\"word\\\":\\\"ready\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let server = Server::start([Play::stream(called)]).await;
    let mut config = config(&server);
    config.llm.prices.0.insert("m".into(), price::Price::new(1.0, 2.0));
    let tests = build_from(&config).test().await;
    assert_eq!(tests.len(), 1);
    let test = &tests[0];
    assert!(test.ok && test.tools == Some(true) && test.problem.is_none() && test.latency_ms.is_some());
    assert_eq!((test.role.as_str(), test.model.as_str(), test.price.unwrap().output), ("main", "m", 2.0));
    assert_eq!(server.seen()[0].body["tools"][0]["function"]["name"], "report_word");
    config.llm.fallback_model = Some("f".into());
    server.play([Play::stream(HELLO)]);
    let tests = build_from(&config).test().await;
    assert_eq!(tests.len(), 2);
    assert!(tests.iter().all(|test| test.ok && test.tools == Some(false) && test.problem.is_some()));
    assert_eq!((tests[0].cost, tests[1].cost), (Some(17e-6), Some(0.0)));
}

#[tokio::test]
async fn a_model_that_does_not_answer_says_why() {
    let server = Server::start([Play::json(401, r#"{"error":{"message":"no such key"}}"#)]).await;
    let tests = build_from(&config(&server)).test().await;
    assert!(!tests[0].ok && tests[0].tools.is_none() && tests[0].latency_ms.is_none());
    assert_eq!(tests[0].problem.as_deref(), Some("m refused the key: HTTP 401: no such key"));
}

#[tokio::test]
async fn an_open_circuit_does_not_hinder_a_test_which_closes_it() {
    let server = Server::start([Play::json(500, "")]).await;
    let mut config = config(&server);
    config.llm.circuit_failures = 1;
    let llm = build_from(&config);
    llm.ask(&hello(), None).await.unwrap_err();
    server.play([Play::stream(HELLO)]);
    assert!(llm.ask(&hello(), None).await.unwrap_err().to_string().contains("left alone"));
    assert!(llm.test().await[0].ok);
    llm.ask(&hello(), None).await.unwrap();
}

#[tokio::test]
async fn a_rehearsal_says_that_it_is_one() {
    let tests = rehearsal::Rehearsal::demo().unwrap().test().await;
    assert!(tests[0].ok && tests[0].problem.as_ref().unwrap().contains("no model was asked"));
}
