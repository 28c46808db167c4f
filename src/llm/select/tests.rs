use super::*;

#[tokio::test]
async fn without_anything_the_answer_says_what_to_do() {
    // What stands for an Ollama on this machine is a port where nobody listens.
    let mut chain = chain(&Config::default(), &Secrets::default(), &Environment::default()).unwrap();
    let nobody = config(|config| config.llm.base_url = Some("http://127.0.0.1:1".into()));
    let host = Arc::clone(&super::chain(&nobody, &Secrets::default(), &Environment::default()).unwrap().main[0].host);
    chain.small.clear();
    Arc::get_mut(&mut chain.main[0]).unwrap().host = host;
    let request = Request::new("s", vec![super::super::Message::User { text: "x".into() }]);
    chain.prepare().await;
    assert!(chain.models().is_empty(), "what is not there is not shown");
    let error = chain.ask(&request, None).await.unwrap_err();
    assert_eq!(error, LlmError::NotConfigured(NOT_CONFIGURED.into()));
    assert!(!error.is_temporary());
}

fn config(set: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    set(&mut config);
    config
}

/// Role, provider, model and host of every model, with its problem.
fn shown(config: &Config, keys: &[SecretName]) -> Vec<String> {
    let secrets: Secrets = keys.iter().map(|name| (*name, format!("key-of-{}", name.credential()))).collect();
    let chain = chain(config, &secrets, &Environment::default()).unwrap();
    chain
        .distinct()
        .map(|model| {
            let info = model.info();
            let problem = info.problem.map_or_else(String::new, |problem| format!(" ! {problem}"));
            format!("{} {} {} {}{problem}", info.role, info.provider, info.model, info.host)
        })
        .collect()
}

#[test]
fn the_first_key_that_is_there_decides() {
    use SecretName::{Anthropic, Llm, OpenAi, OpenRouter};
    let plain = Config::default();
    let openrouter = [
        "main openrouter anthropic/claude-sonnet-4.6 openrouter.ai",
        "fallback openrouter openai/gpt-5.4 openrouter.ai",
    ];
    assert_eq!(shown(&plain, &[Anthropic, OpenAi, OpenRouter]), openrouter);
    assert_eq!(shown(&plain, &[Anthropic, OpenAi]), ["main openai gpt-5.4 api.openai.com"]);
    assert_eq!(shown(&plain, &[Anthropic, Llm]), ["main anthropic claude-sonnet-4-6 api.anthropic.com"]);
    assert_eq!(shown(&plain, &[Llm]), ["main ollama  127.0.0.1:11434"]);
    assert_eq!(shown(&plain, &[]), ["main ollama  127.0.0.1:11434"]);
}

#[test]
fn what_is_configured_goes_before_keys() {
    use SecretName::{Anthropic, OpenRouter};
    let named = config(|config| config.llm.provider = Some("anthropic".into()));
    assert_eq!(shown(&named, &[OpenRouter, Anthropic]), ["main anthropic claude-sonnet-4-6 api.anthropic.com"]);
    assert_eq!(
        shown(&named, &[OpenRouter]),
        [
            "main anthropic claude-sonnet-4-6 api.anthropic.com ! no key for api.anthropic.com: set ANTHROPIC_API_KEY and restart assistantd"
        ]
    );
    let own = config(|config| {
        config.llm.base_url = Some("http://box.lan:8080".into());
        config.llm.model = Some("qwen3:8b".into());
        config.llm.fallback_model = Some("anthropic:claude-x".into());
        config.llm.small_model = Some("ollama:gemma3:4b".into());
    });
    assert_eq!(
        shown(&own, &[OpenRouter, Anthropic]),
        [
            "main openai qwen3:8b box.lan:8080",
            "fallback anthropic claude-x api.anthropic.com",
            "small ollama gemma3:4b 127.0.0.1:11434"
        ]
    );
    let routed = config(|config| config.llm.base_url = Some("https://openrouter.ai/api/v1".into()));
    assert_eq!(shown(&routed, &[OpenRouter]), shown(&Config::default(), &[OpenRouter]));
}

#[test]
fn each_host_gets_its_own_key_and_no_other() {
    let secrets: Secrets =
        SecretName::ALL.iter().map(|name| (*name, format!("key-of-{}", name.credential()))).collect();
    let all: Vec<String> = SecretName::ALL.iter().map(|name| format!("key-of-{}", name.credential())).collect();
    let all = all.join(" ");
    let held = |base_url: Option<&str>, model: &str| {
        let config = config(|config| {
            config.llm.base_url = base_url.map(str::to_owned);
            config.llm.provider = Some("openai".into());
            config.llm.model = Some(model.into());
        });
        let chain = chain(&config, &secrets, &Environment::default()).unwrap();
        // What the host takes out of a text is its key.
        let redacted = chain.main[0].host.redact(&all);
        all.split(' ').find(|key| !redacted.contains(key)).map(str::to_owned)
    };
    let key = |credential: &str| Some(format!("key-of-{credential}"));
    assert_eq!(held(None, "m"), key("openai-api-key"));
    assert_eq!(held(None, "openrouter:m"), key("openrouter-api-key"));
    assert_eq!(held(None, "anthropic:m"), key("anthropic-api-key"));
    assert_eq!(held(None, "ollama:m"), None);
    let other = Some("https://models.example/v1");
    assert_eq!(held(other, "m"), key("llm-api-key"));
    assert_eq!(held(other, "anthropic:m"), key("anthropic-api-key"));
    assert_eq!(held(other, "ollama:m"), None);
    assert_eq!(held(Some("https://api.openai.com/v1"), "m"), key("llm-api-key"));
    // Without the key for `base_url`, only the owner's own, encrypted address gets the owner's key.
    let without: Secrets = [(SecretName::OpenAi, "k"), (SecretName::OpenRouter, "r")].into_iter().collect();
    for (url, sent) in [
        ("https://api.openai.com/v1", true),
        ("https://openrouter.ai/api/v1", true),
        ("http://api.openai.com/v1", false),
        ("https://api.openai.com:8443/v1", false),
        ("https://api.openai.com.evil.example/v1", false),
        ("https://evil.example/api.openai.com", false),
    ] {
        let config = config(|config| config.llm.base_url = Some(url.into()));
        let chain = chain(&config, &without, &Environment::default()).unwrap();
        assert_eq!(chain.main[0].host.redact("k r") != "k r", sent, "{url}");
    }
}

#[test]
fn a_base_url_is_checked_and_shown_without_secrets() {
    for (url, expected) in
        [("ftp://x/", "http://"), ("nonsense", "not a URL"), ("https://joe:secret@host/v1", "ASSISTANT_LLM_API_KEY")]
    {
        let config = config(|config| config.llm.base_url = Some(url.into()));
        let models = build(&config, &Secrets::default(), &Environment::default()).models();
        let problem = models[0].problem.clone().unwrap();
        assert!(problem.starts_with("llm.base_url") && problem.contains(expected), "{problem}");
        assert!(!problem.contains("secret"), "{problem}");
    }
    let config = config(|config| config.llm.base_url = Some("http://127.0.0.1:8080?key=secret#x".into()));
    assert_eq!(
        build(&config, &Secrets::default(), &Environment::default()).models()[0].base_url,
        "http://127.0.0.1:8080/v1"
    );
}

#[test]
fn a_rehearsal_never_steps_in_by_itself() {
    let mut config = Config::default();
    config.llm.rehearsal_file = Some("scenes.json".into());
    assert!(
        build(&config, &Secrets::default(), &Environment::default())
            .models()
            .iter()
            .all(|model| model.provider != "rehearsal")
    );
    config.llm.rehearsal_file = None;
    config.llm.provider = Some("rehearsal".into());
    assert_eq!(build(&config, &Secrets::default(), &Environment::default()).models()[0].provider, "rehearsal");
}

#[tokio::test]
async fn a_rehearsal_file_that_is_no_good_is_named() {
    let mut config = Config::default();
    config.llm.provider = Some("rehearsal".into());
    config.llm.rehearsal_file = Some("/nonexistent/scenes.json".into());
    let request = Request::new("s", vec![super::super::Message::User { text: "x".into() }]);
    let error = build(&config, &Secrets::default(), &Environment::default()).ask(&request, None).await.unwrap_err();
    assert!(error.to_string().contains("llm.rehearsal_file /nonexistent/scenes.json"), "{error}");
    let error = check(&config).unwrap_err();
    assert_eq!((error.kind(), error.field_name()), (crate::error::ErrorKind::Validation, Some("llm.rehearsal_file")));
    assert!(error.hint_text().is_some());
    config.llm.provider = None;
    check(&config).unwrap();
}
