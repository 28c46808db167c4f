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

/// Role, provider, model and host of every model that works on jobs, with its problem.
fn shown(config: &Config, keys: &[SecretName]) -> Vec<String> {
    all(config, keys).into_iter().filter(|line| !line.starts_with("search ")).collect()
}

/// The same of the one that searches, and whether it can be asked.
fn searches(config: &Config, keys: &[SecretName]) -> Option<(String, bool)> {
    let secrets: Secrets = keys.iter().map(|name| (*name, "a-key".to_owned())).collect();
    let can = chain(config, &secrets, &Environment::default()).unwrap().can_search();
    let line = all(config, keys).into_iter().find_map(|line| line.strip_prefix("search ").map(str::to_owned));
    assert!(line.is_some() || !can);
    Some((line?, can))
}

fn all(config: &Config, keys: &[SecretName]) -> Vec<String> {
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
            "main anthropic claude-sonnet-4-6 api.anthropic.com ! no key for api.anthropic.com: sudo assistantctl secret set anthropic-api-key, or by hand set ANTHROPIC_API_KEY and restart assistantd"
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

#[test]
fn a_provider_that_searches_is_found_by_its_key() {
    use SecretName::{Anthropic, Llm, OpenAi, OpenRouter};
    let (openrouter, anthropic) =
        ("openrouter openai/gpt-4.1-mini openrouter.ai", "anthropic claude-sonnet-4-6 api.anthropic.com");
    let named = |provider: &str| config(|config| config.llm.provider = Some(provider.to_owned()));
    let plain = Config::default();
    for (config, keys, expected) in [
        (&plain, &[OpenRouter, Anthropic][..], Some(openrouter)),
        (&plain, &[Anthropic], Some(anthropic)),
        (&named("anthropic"), &[OpenRouter, Anthropic], Some(anthropic)),
        // Whatever works on the jobs.
        (&named("ollama"), &[OpenRouter], Some(openrouter)),
        (&named("openai"), &[OpenAi, Anthropic], Some(anthropic)),
        (&plain, &[OpenAi, Llm], None),
        (&named("openrouter"), &[], None),
        (&plain, &[], None),
    ] {
        assert_eq!(
            searches(config, keys),
            expected.map(|line| (line.to_owned(), true)),
            "{:?} {keys:?}",
            config.llm.provider
        );
    }
    let own = config(|config| {
        config.llm.provider = Some("anthropic".into());
        config.llm.model = Some("claude-own".into());
    });
    assert_eq!(searches(&own, &[Anthropic]).unwrap().0, "anthropic claude-own api.anthropic.com");
}

#[test]
fn a_named_searching_model_is_taken_or_its_lack_is_told() {
    use SecretName::{Anthropic, OpenRouter};
    let with = |model: &str| config(|config| config.search.model = Some(model.to_owned()));
    let line = |line: &str, can| Some((line.to_owned(), can));
    let sonar = with("perplexity/sonar");
    assert_eq!(searches(&sonar, &[OpenRouter]), line("openrouter perplexity/sonar openrouter.ai", true));
    assert_eq!(searches(&with("claude-x"), &[Anthropic]), line("anthropic claude-x api.anthropic.com", true));
    let prefixed = with("anthropic:claude-x");
    assert_eq!(searches(&prefixed, &[OpenRouter, Anthropic]), line("anthropic claude-x api.anthropic.com", true));
    let without = "openrouter perplexity/sonar openrouter.ai ! no key for openrouter.ai: sudo assistantctl secret set openrouter-api-key, or by hand set OPENROUTER_API_KEY and restart assistantd";
    assert_eq!(searches(&sonar, &[Anthropic]), line(without, false));
    let wrong = "ollama qwen3 127.0.0.1:11434 ! ollama does not search the web: set search.model";
    assert_eq!(searches(&with("ollama:qwen3"), &[OpenRouter]), line(wrong, false));
}

#[test]
fn searches_are_switched_off_and_stay_local_where_everything_does() {
    let off = config(|config| config.search.enabled = false);
    assert_eq!(searches(&off, &[SecretName::OpenRouter]), None);
    let local = config(|config| config.llm.local_only = true);
    assert_eq!(searches(&local, &[SecretName::OpenRouter]), None);
    let named = config(|config| {
        config.llm.local_only = true;
        config.search.model = Some("perplexity/sonar".into());
    });
    let (line, can) = searches(&named, &[SecretName::OpenRouter]).unwrap();
    assert!(line.ends_with("! llm.local_only keeps searches of the web from leaving") && !can, "{line}");
}
