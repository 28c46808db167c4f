use proptest::prelude::*;

use super::*;

/// A configuration directory of its own, and what `load` makes of it.
struct Place {
    dir: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Place {
    fn new(main: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("assistant.toml"), main).unwrap();
        Self { dir, environment: Vec::new() }
    }

    fn drop_in(self, name: &str, text: &str) -> Self {
        std::fs::create_dir_all(self.dir.path().join("conf.d")).unwrap();
        std::fs::write(self.dir.path().join("conf.d").join(name), text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        let paths = Paths { config: self.dir.path().join("assistant.toml"), ..Paths::default() };
        load(&Sources { paths, environment: self.environment.iter().cloned().collect() })
    }

    /// The one fault, as `place: key: message` and its hint, without the directory.
    #[track_caller]
    fn fault(&self) -> (String, Option<String>) {
        let mut error = self.load().unwrap_err();
        assert_eq!(error.faults.len(), 1, "{error}");
        let fault = error.faults.remove(0);
        (fault.to_string().replace(&format!("{}/", self.dir.path().display()), ""), fault.hint)
    }

    #[track_caller]
    fn message(&self) -> String {
        self.fault().0
    }

    #[track_caller]
    fn hint(&self) -> String {
        self.fault().1.unwrap()
    }
}

#[test]
fn layers_go_over_each_other_and_each_value_knows_its_origin() {
    let place = Place::new("[llm]\nmodel = \"a\"\nsmall_model = \"s\"\ntemperature = 1\n[jobs]\nworkers = 2\n")
        .drop_in("20-b.toml", "[llm]\nmodel = \"c\"\n")
        .drop_in("10-a.toml", "llm.model = \"b\"\nllm.fallback_model = \"f\"\n")
        .drop_in("ignored.conf", "this is not toml")
        .drop_in(".hidden.toml", "neither is this")
        .env("TASK_AGENT_WORKERS", " 8 ")
        .env("AGENT_LLM_TEMPERATURE", "   ")
        .env("ASSISTANT_LLM_TURN_TIMEOUT", "10m");
    let loaded = place.load().unwrap();
    let llm = &loaded.config.llm;
    assert_eq!((llm.model.as_deref(), llm.small_model.as_deref()), (Some("c"), Some("s")));
    assert_eq!(llm.fallback_model.as_deref(), Some("f"));
    assert!((llm.temperature - 1.0).abs() < f64::EPSILON, "a blank variable overrides nothing");
    assert_eq!(llm.turn_timeout.0.as_secs(), 600);
    assert_eq!(loaded.config.jobs.workers, 8);

    let origin = |key: &str| loaded.origins.of(key).to_string().replace(&place.dir.path().display().to_string(), "");
    assert_eq!(origin("llm.model"), "/conf.d/20-b.toml:2");
    assert_eq!(origin("llm.fallback_model"), "/conf.d/10-a.toml:2");
    assert_eq!(origin("llm.small_model"), "/assistant.toml:3");
    assert_eq!(origin("jobs.workers"), "environment TASK_AGENT_WORKERS");
    assert_eq!(origin("llm.turn_timeout"), "environment ASSISTANT_LLM_TURN_TIMEOUT");
    assert_eq!(origin("llm.provider"), "default");
    assert!(loaded.warnings.is_empty());
}

#[test]
fn without_a_file_everything_is_at_its_default() {
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Paths { config: dir.path().join("assistant.toml"), ..Paths::default() };
    let sources = |paths: &Paths| Sources { paths: paths.clone(), environment: Environment::default() };
    assert_eq!(load(&sources(&paths)).unwrap().config, Config::default());
    paths.config_required = true;
    let error = load(&sources(&paths)).unwrap_err();
    assert!(error.to_string().contains("assistant.toml: cannot read it: No such file"), "{error}");
    paths.config = dir.path().to_owned();
    let error = load(&sources(&paths)).unwrap_err();
    assert!(error.to_string().ends_with("expected a regular file"), "{error}");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
    let place = Place::new("# a comment\n[llm]\nmodel = \"a\"\ntemprature = 1.0\n");
    assert_eq!(place.message(), "assistant.toml:4: llm.temprature: unknown key");
    assert_eq!(place.hint(), "did you mean `temperature`?");
    let place = Place::new("[org]\ncolour = 1\n");
    assert_eq!(place.hint(), "[org] has name, security_email, internal_email_domains");
}

#[test]
fn an_unknown_table_is_refused() {
    let place = Place::new("\n[jbos]\nworkers = 3\n");
    assert_eq!(place.message(), "assistant.toml:2: jbos: unknown table");
    assert_eq!(place.hint(), "did you mean `jobs`?");
    let place = Place::new("[something]\n");
    assert!(place.hint().starts_with("there are the tables app, log, "), "{}", place.hint());
    let place = Place::new("temperature = 1\n");
    assert_eq!(place.message(), "assistant.toml:1: temperature: unknown key");
    assert_eq!(place.hint(), "`temperature` stands in [llm]");
    let place = Place::new("llm = 3\n");
    assert_eq!(place.message(), "assistant.toml:1: llm: expected a table, found integer");
    assert!(Place::new("[[llm]]\nmodel = \"a\"\n").message().ends_with("llm: expected a table, found array"));
}

#[test]
fn a_leading_agent_table_is_refused_with_the_way_out() {
    for text in ["[agent.llm]\nmodel = \"a\"\n", "agent.llm.model = \"a\"\n", "[agent]\n"] {
        let place = Place::new(text);
        assert_eq!(place.message(), "assistant.toml:1: agent: the table `agent` does not exist here");
        assert_eq!(place.hint(), "drop the leading `agent.`: [agent.llm] is [llm]");
    }
}

#[test]
fn wrong_types_and_ranges_say_what_is_expected() {
    let check = |text: &str, expected: &str| assert_eq!(Place::new(text).message(), expected);
    check("[llm]\ntemperature = \"hot\"", "assistant.toml:2: llm.temperature: expected a number, found string");
    check("[llm]\ntemperature = 2.5", "assistant.toml:2: llm.temperature: 2.5 is out of range (0.0 to 2.0)");
    check("jobs.workers = 65", "assistant.toml:1: jobs.workers: 65 is out of range (1 to 64)");
    check("jobs.workers = -1", "assistant.toml:1: jobs.workers: -1 is out of range (0 to 4294967295)");
    check("[jobs]\nlease = \"1s\"", "assistant.toml:2: jobs.lease: 1 is out of range (5 to 3600)");
    check(
        "[limits]\nlimit_approach_factor = 1.5",
        "assistant.toml:2: limits.limit_approach_factor: 1.5 is out of range (0.0 to 1.0)",
    );
    check(
        "[app]\ntimezone = \"Europe/Nowhere\"",
        "assistant.toml:2: app.timezone: \"Europe/Nowhere\" is not a known time zone; expected an IANA name such as \
         \"Europe/Berlin\"",
    );
    check(
        "[llm]\nprovider = \"openia\"",
        "assistant.toml:2: llm.provider: expected one of openai, openrouter, anthropic, ollama, rehearsal, found \
         \"openia\"; did you mean \"openai\"?",
    );
    check(
        "[filesystem]\nshared_file_umask = \"0999\"",
        "assistant.toml:2: filesystem.shared_file_umask: expected an octal mask from \"0000\" to \"0777\", found \"0999\"",
    );
    check(
        "[llm]\nbase_url = \"ftp://host\"",
        "assistant.toml:2: llm.base_url: expected an address such as \"https://host/path\": the scheme is neither http \
         nor https",
    );
    check(
        "[filesystem]\ntrash_directory = \"../trash\"",
        "assistant.toml:2: filesystem.trash_directory: expected a path relative to the workspace, without \"..\", found \
         \"../trash\"",
    );
    check(
        "[log]\nlevel = \"loud\"",
        "assistant.toml:2: log.level: expected error, warn, info, debug or trace, found \"loud\"",
    );
}

#[test]
fn keys_are_held_against_each_other_where_they_stand() {
    let place = Place::new("[jobs]\nbackoff = 60\nmax_backoff = 30\n");
    assert_eq!(place.message(), "assistant.toml:3: jobs.max_backoff: must not be shorter than jobs.backoff");
    let place = Place::new("").env("ASSISTANT_LLM_TURN_TIMEOUT", "10");
    assert_eq!(place.message(), "configuration: llm.request_timeout: must not be longer than llm.turn_timeout");
}

#[test]
fn a_broken_file_is_refused_with_its_line() {
    let message = Place::new("[llm]\nmodel = \"a\ntemperature = 1\n").message();
    assert!(message.starts_with("assistant.toml:2: "), "{message}");
    let message = Place::new("[llm]\nmodel = \"a\"\nmodel = \"b\"\n").message();
    assert!(message.starts_with("assistant.toml:3: duplicate key"), "{message}");
    let place = Place::new("");
    std::fs::write(place.dir.path().join("assistant.toml"), b"\xff\xfe").unwrap();
    assert!(place.message().starts_with("assistant.toml: cannot read it: "), "{}", place.message());
}

#[test]
fn every_fault_is_named_in_one_run() {
    let error = Place::new("[llm]\nmodle = 1\ntemperature = 9\n")
        .drop_in("a.toml", "[jobs]\nworkers = 0\n")
        .env("LOG_LEVEL", "loud")
        .load()
        .unwrap_err();
    assert_eq!(error.faults.len(), 4, "{error}");
}

#[test]
fn environment_errors_name_the_variable() {
    let place = Place::new("").env("AGENT_LLM_TEMPERATURE", "hot");
    assert_eq!(place.message(), "environment AGENT_LLM_TEMPERATURE: llm.temperature: expected a number, found \"hot\"");
    let place = Place::new("").env("ASSISTANT_JOBS_MAX_ATTEMPTS", "0");
    assert_eq!(
        place.message(),
        "environment ASSISTANT_JOBS_MAX_ATTEMPTS: jobs.max_attempts: 0 is out of range (1 to 100)"
    );
    let place = Place::new("").env("AGENT_TOOL_RESULT_CACHE_ENABLED", "maybe");
    assert!(place.message().ends_with("expected true or false, found \"maybe\""), "{}", place.message());
}

#[test]
fn a_misspelt_variable_of_ours_is_pointed_out() {
    let loaded = Place::new("").env("ASSISTANT_JOBS_MAX_ATEMPTS", "5").env("ASSISTANT_SOCKET", "/s").load().unwrap();
    assert_eq!(
        loaded.warnings,
        [
            "environment ASSISTANT_JOBS_MAX_ATEMPTS names no key and has no effect; did you mean ASSISTANT_JOBS_MAX_ATTEMPTS?"
        ]
    );
}

/// Configurations are brought along from elsewhere: what is not here yet is not a misspelling.
#[test]
fn what_this_version_does_not_have_is_called_that() {
    for (text, name) in [
        ("[heartbeat]\nenabled = true\n", "heartbeat"),
        ("[calendar]\nenabled = true\n", "calendar"),
        ("[memory.steward]\nenabled = true\n", "memory"),
    ] {
        let expected = format!("assistant.toml:1: {name}: this version does not have it yet");
        assert_eq!(Place::new(text).message(), expected);
    }
    let message = Place::new("[deep_research]\nenabled = true\n").message();
    assert_eq!(message, "assistant.toml:1: deep_research: this version does not have it yet");

    let loaded = Place::new("")
        .env("AGENT_HEARTBEAT_ENABLED", "true")
        .env("AGENT_LLM_MODLE", "m")
        .env("AGENT_LLM_MODEL", "m")
        .env("SSH_AGENT_PID", "1")
        .load()
        .unwrap();
    let mut warnings = loaded.warnings;
    warnings.sort();
    assert_eq!(
        warnings,
        [
            "environment AGENT_HEARTBEAT_ENABLED has no effect in this version",
            "environment AGENT_LLM_MODLE names no key and has no effect; did you mean AGENT_LLM_MODEL?"
        ]
    );
}

/// What can be reached from outside the containers of the reference system is what can be reached here.
#[test]
fn the_published_address_wins_over_the_bound_one() {
    let place =
        |host: &str| Place::new("").env("AGENT_API_BIND_HOST", host).env("AGENT_API_PUBLISHED_HOST", "127.0.0.1");
    let loaded = place("0.0.0.0").env("AGENT_API_PUBLISHED_PORT", "9001").load().unwrap();
    assert_eq!((loaded.config.api.web_host(), loaded.config.api.port), (Some("127.0.0.1"), 9001));
    assert_eq!(loaded.origins.of("api.port"), Origin::Environment("AGENT_API_PUBLISHED_PORT".into()));
    assert_eq!(
        loaded.warnings,
        ["environment AGENT_API_BIND_HOST=0.0.0.0 has no effect: AGENT_API_PUBLISHED_HOST=127.0.0.1 wins"]
    );
    assert!(place("127.0.0.1").load().unwrap().warnings.is_empty(), "they agree");
}

/// The environment of the broker that ran commands before: each of its names has its effect, or is said to have none.
#[test]
fn every_variable_of_a_sandbox_is_answered() {
    let limits = Place::new("")
        .env("SANDBOX_RUN_MEMORY_BYTES", "1073741824")
        .env("SANDBOX_RUN_CPUS", "1.5")
        .env("SANDBOX_RUN_PIDS_LIMIT", "100")
        .env("SANDBOX_RUN_TMPFS_SIZE", "256m")
        .env("SANDBOX_DEFAULT_TIMEOUT_SECONDS", "60")
        .env("SANDBOX_MAX_TIMEOUT_SECONDS", "600")
        .env("SANDBOX_RUN_IMAGE", "tools:3")
        .env("AGENT_SANDBOX_ENABLED", "false")
        .load()
        .unwrap();
    let sandbox = &limits.config.sandbox;
    assert_eq!((sandbox.memory.0, sandbox.processes, sandbox.tmp.0), (1 << 30, 100, 256 << 20));
    assert!((sandbox.cpus - 1.5).abs() < f64::EPSILON && !sandbox.enabled && sandbox.image == "tools:3");
    assert_eq!((sandbox.default_timeout_seconds.0.as_secs(), sandbox.max_timeout_seconds.0.as_secs()), (60, 600));
    assert!(limits.warnings.is_empty(), "{:?}", limits.warnings);

    let without = [
        "DOCKER_SOCKET",
        "ISOLATION_MODE",
        "RUN_CAP_DROP",
        "RUN_CONTAINER_PREFIX",
        "RUN_DNS_SERVERS",
        "RUN_NETWORK",
        "RUN_NETWORK_MODE",
        "RUN_NETWORK_PREFIX",
        "RUN_RUNTIME",
        "RUN_SECURITY_OPT",
        "RUN_SHARED_ROOT",
        "RUN_USER",
        "SHARED_ROOT",
        "SHARED_ROOT_HOST",
        "SHARED_VOLUME_NAME",
    ];
    for name in without.map(|name| format!("SANDBOX_{name}")) {
        let warnings = Place::new("").env(&name, "x").load().unwrap().warnings;
        assert_eq!(warnings, [format!("environment {name} has no effect in this version")]);
    }
    let misspelt = Place::new("").env("SANDBOX_RUN_MEMORY_BYTE", "1").load().unwrap().warnings;
    assert!(
        misspelt[0].ends_with("names no key and has no effect; did you mean SANDBOX_RUN_MEMORY_BYTES?"),
        "{misspelt:?}"
    );
}

#[test]
fn a_misspelt_choice_is_pointed_out() {
    let message = Place::new("[llm]\nprovider = \"rehersal\"\n").message();
    assert!(message.ends_with("found \"rehersal\"; did you mean \"rehearsal\"?"), "{message}");
    let message = Place::new("[log]\nlevel = \"dbug\"\n").message();
    assert!(message.ends_with("found \"dbug\"; did you mean \"debug\"?"), "{message}");
}

#[test]
fn secrets_in_a_file_are_refused_and_never_shown() {
    for text in [
        "[llm]\napi_key = \"sk-canary\"\n",
        "[llm]\nOPENROUTER_API_KEY = \"sk-canary\"\n",
        "[notify]\nwebhook_token = \"sk-canary\"\n",
        "openai-api-key = \"sk-canary\"\n",
        "[email]\nimap_password = \"sk-canary\"\n",
    ] {
        let place = Place::new(text);
        let (message, hint) = place.fault();
        assert!(message.ends_with("a secret must not stand in a configuration file"), "{message}");
        assert!(hint.as_ref().unwrap().contains("in the environment as "), "{hint:?}");
        assert!(!format!("{message}{hint:?}").contains("canary"));
    }
    let place = Place::new("[llm]\nopenrouter_api_key = \"sk-canary\"\n");
    assert!(place.hint().contains("secret set openrouter-api-key") && place.hint().contains("OPENROUTER_API_KEY"));
    // A misspelt ordinary key is not taken for a secret.
    assert_eq!(Place::new("[llm]\nmax_tokens_per_cal = 5\n").hint(), "did you mean `max_tokens_per_call`?");
}

#[test]
fn texts_carry_units_and_integers_keep_those_of_the_key() {
    let loaded =
        Place::new("[api]\nmax_upload_bytes = \"500MiB\"\nheader_timeout = \"1m 30s\"\n[retention]\ntrash_days = 7\n")
            .env("ASSISTANT_RETENTION_STEP_DAYS", "12h")
            .load()
            .unwrap();
    assert_eq!(loaded.config.api.max_upload_bytes.0, 524_288_000);
    assert_eq!(loaded.config.api.header_timeout.0.as_secs(), 90);
    assert_eq!(loaded.config.retention.trash_days.0.as_secs(), 7 * 86400);
    assert_eq!(loaded.config.retention.step_days.0.as_secs(), 43200);
}

/// Names that make deep paths likely.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("llm".to_owned()),
        Just("jobs".to_owned()),
        Just("agent".to_owned()),
        Just("workers".to_owned()),
        Just("prices".to_owned()),
        Just("rules".to_owned()),
        "[a-z_]{1,12}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        any::<String>().prop_map(|text| toml::Value::String(text).to_string()),
        Just("true".to_owned()),
        Just("1979-05-27T07:32:00Z".to_owned()),
        Just("[1, \"a\", {}]".to_owned()),
        Just("{ input = -1.0, output = nan }".to_owned()),
        Just("99999999999999999999999".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_makes_the_loader_panic(text in any::<String>()) {
        let mut loader = Loader::default();
        loader.file(Path::new("x.toml"), &text);
        let _ = loader.finish();
    }

    #[test]
    fn no_toml_makes_the_loader_panic(lines in prop::collection::vec((name(), name(), name(), value()), 0..8)) {
        let mut loader = Loader::default();
        for (section, key, deeper, value) in &lines {
            loader.file(Path::new("x.toml"), &format!("[{section}]\n{key} = {value}\n"));
            loader.file(Path::new("y.toml"), &format!("{section}.{key}.{deeper} = {value}\n"));
        }
        let _ = loader.finish();
    }

    #[test]
    fn no_environment_makes_the_loader_panic(text in any::<String>()) {
        let mut loader = Loader::default();
        let variables: Vec<_> = Config::default()
            .tables()
            .iter()
            .flat_map(|table| table.keys().iter().map(|key| key.env_name(table.name())))
            .map(|name| (name, text.clone()))
            .collect();
        loader.environment(&variables.into_iter().collect());
        let _ = loader.finish();
    }
}
