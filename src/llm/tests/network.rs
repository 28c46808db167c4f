//! Where requests go, and where they do not.

use super::*;

fn environment(pairs: &[(&str, String)]) -> Environment {
    pairs.iter().map(|(name, value)| (*name, value.clone())).collect()
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::start([Play::stream(HELLO)]).await;
    let other = Server::start([Play::json(307, "").header("location", server.url("/v1/chat/completions"))]).await;
    let error = ask(&config(&other)).await.unwrap_err();
    assert!(matches!(&error, LlmError::Rejected { .. }) && error.to_string().contains("redirect"), "{error}");
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn local_only_lets_nothing_out() {
    // 0.0.0.0 is neither loopback nor private, but reaches the server on this machine.
    let server = Server::start([Play::stream(HELLO)]).await;
    let mut config = config(&server);
    config.llm.base_url = Some(server.at("0.0.0.0", "/v1"));
    ask(&config).await.unwrap();
    config.llm.local_only = true;
    let error = ask(&config).await.unwrap_err();
    assert!(matches!(&error, LlmError::Forbidden(reason) if reason.contains("llm.local_only")), "{error}");
    assert_eq!(server.connections(), 1);
    for local in ["127.0.0.1", "localhost"] {
        config.llm.base_url = Some(server.at(local, "/v1"));
        ask(&config).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_goes_over_plain_http_to_local_addresses_only() {
    let server = Server::start([Play::stream(HELLO)]).await;
    let mut config = config(&server);
    let secrets: Secrets = [(SecretName::Llm, "k")].into_iter().collect();
    config.llm.base_url = Some(server.at("0.0.0.0", "/v1"));
    let error = build(&config, &secrets, &Environment::default()).ask(&hello(), None).await.unwrap_err();
    assert!(matches!(&error, LlmError::Forbidden(reason) if reason.contains("https")), "{error}");
    assert_eq!(server.connections(), 0);
    config.llm.base_url = Some(server.at("localhost", "/v1"));
    build(&config, &secrets, &Environment::default()).ask(&hello(), None).await.unwrap();
    assert_eq!(server.seen()[0].header("authorization"), Some("Bearer k"));
}

#[tokio::test]
async fn a_key_is_not_sent_to_another_host() {
    let server = Server::start([Play::stream(HELLO)]).await;
    let secrets: Secrets =
        [(SecretName::OpenRouter, "a"), (SecretName::OpenAi, "b"), (SecretName::Anthropic, "c")].into_iter().collect();
    for provider in [None, Some("openai"), Some("openrouter"), Some("anthropic"), Some("ollama")] {
        let mut config = config(&server);
        config.llm.provider = provider.map(str::to_owned);
        let _ = build(&config, &secrets, &Environment::default()).ask(&hello(), None).await;
    }
    assert_eq!(server.seen().len(), 5);
    for request in server.seen() {
        assert_eq!((request.header("authorization"), request.header("x-api-key")), (None, None), "{}", request.head);
    }
}

#[tokio::test]
async fn proxies_of_the_environment_are_used() {
    let proxy = Server::start([Play::stream(HELLO)]).await;
    let server = Server::start([Play::stream(HELLO)]).await;
    let mut config = config(&server);
    config.llm.base_url = Some("http://models.example/v1".into());
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let environment = environment(&[(name, proxy.url(""))]);
        build(&config, &Secrets::default(), &environment).ask(&hello(), None).await.unwrap();
    }
    assert_eq!(proxy.seen().len(), 3);
    assert_eq!(proxy.seen()[0].line, "POST http://models.example/v1/chat/completions HTTP/1.1");
    // Encrypted requests ask the proxy for a tunnel; their headers never get to it.
    let secrets: Secrets = [(SecretName::Llm, "k")].into_iter().collect();
    config.llm.base_url = Some("https://models.example/v1".into());
    proxy.play([Play::json(502, "")]);
    let error = build(&config, &secrets, &environment(&[("HTTPS_PROXY", proxy.url(""))])).ask(&hello(), None).await;
    assert!(matches!(error, Err(LlmError::Unavailable { .. })), "{error:?}");
    let tunnel = proxy.seen()[3].clone();
    assert!(tunnel.line.starts_with("CONNECT models.example:443"), "{}", tunnel.line);
    assert_eq!(tunnel.header("authorization"), None);
}

#[tokio::test]
async fn loopback_and_no_proxy_go_directly() {
    let proxy = Server::start([Play::json(500, "")]).await;
    let server = Server::start([Play::stream(HELLO)]).await;
    let mut config = config(&server);
    let proxied = environment(&[("HTTP_PROXY", proxy.url("")), ("NO_PROXY", "example.org".into())]);
    build(&config, &Secrets::default(), &proxied).ask(&hello(), None).await.unwrap();
    config.llm.base_url = Some(server.at("0.0.0.0", "/v1"));
    let exempt = environment(&[("HTTP_PROXY", proxy.url("")), ("NO_PROXY", "example.org,0.0.0.0".into())]);
    build(&config, &Secrets::default(), &exempt).ask(&hello(), None).await.unwrap();
    assert_eq!(proxy.connections(), 0);
    build(&config, &Secrets::default(), &proxied).ask(&hello(), None).await.unwrap_err();
    assert_eq!(proxy.connections(), 1);
    // What must stay local is not given to a proxy to carry.
    config.llm.local_only = true;
    build(&config, &Secrets::default(), &proxied).ask(&hello(), None).await.unwrap_err();
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn nobody_there_is_temporary_and_a_bad_ca_file_is_not() {
    let server = Server::start([]).await;
    let mut config = config(&server);
    config.llm.base_url = Some("http://127.0.0.1:1/v1".into());
    let error = ask(&config).await.unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("refused"), "{error}");
    config.llm.base_url = Some("https://127.0.0.1:1/v1".into());
    config.llm.ca_file = Some("/nonexistent.pem".into());
    let error = ask(&config).await.unwrap_err();
    assert!(
        matches!(&error, LlmError::Forbidden(reason) if reason.contains("llm.ca_file /nonexistent.pem")),
        "{error}"
    );
}

#[tokio::test]
async fn dropping_a_call_closes_its_connection() {
    let begun = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let server = Server::start([Play::stream(begun).stall()]).await;
    let llm = build_from(&config(&server));
    let (on_delta, seen) = watch();
    let request = hello();
    let call = llm.ask(&request, Some(on_delta));
    let begun = async {
        while seen.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        answer = call => panic!("{answer:?}"),
        () = begun => {}
    }
    server.closed().await;
}

#[tokio::test]
async fn an_ollama_is_asked_which_models_it_has() {
    let tags = r#"{"models":[{"name":"old:1b"},{"name":"plain:7b","capabilities":["completion"]},{"name":"able:8b"}]}"#;
    let server = Server::start([
        Play::json(200, tags),
        Play::json(200, r#"{"template":"{{ .Prompt }}"}"#),
        Play::json(200, r#"{"capabilities":["completion","tools"]}"#),
        Play::stream(HELLO),
    ])
    .await;
    let mut config = config(&server);
    config.llm.provider = Some("ollama".into());
    config.llm.model = None;
    let llm = build_from(&config);
    assert_eq!(llm.models()[0].model, "");
    assert!(server.seen().is_empty(), "building asks nobody");
    llm.prepare().await;
    assert_eq!(llm.models()[0].model, "able:8b");
    assert_eq!(llm.models()[0].price, Some(price::Price::FREE));
    llm.ask(&hello(), None).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].line, "GET /api/tags HTTP/1.1");
    assert_eq!((seen[1].line.as_str(), &seen[1].body["model"]), ("POST /api/show HTTP/1.1", &json!("old:1b")));
    assert_eq!(seen[3].body["model"], "able:8b");
    server.play([Play::json(200, r#"{"models":[]}"#)]);
    let llm = build_from(&config);
    let error = llm.ask(&hello(), None).await.unwrap_err();
    assert!(matches!(&error, LlmError::NotConfigured(text) if text.contains("ollama pull")), "{error}");
    assert!(llm.models()[0].problem.is_some());
}

#[tokio::test]
async fn any_other_server_is_asked_for_its_first_model() {
    let server = Server::start([Play::json(200, r#"{"data":[{"id":"local-model"}]}"#), Play::stream(HELLO)]).await;
    let mut config = config(&server);
    config.llm.model = None;
    ask(&config).await.unwrap();
    assert_eq!(server.seen()[0].line, "GET /v1/models HTTP/1.1");
    assert_eq!(server.seen()[1].body["model"], "local-model");
}
