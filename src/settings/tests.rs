use std::path::Path;

use assistant_api::{ErrorKind, EventId};

use super::*;
use crate::{
    clock::Clock,
    config::{Environment, Sources},
    daemon::{self, Options},
    store::Store,
};

/// A daemon that does nothing, with a configuration file that can be changed.
struct Place {
    dir: tempfile::TempDir,
    cx: Cx,
}

impl Place {
    fn new(config: &str, environment: Environment) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), config);
        let mut sources = Sources { environment, ..Sources::default() };
        sources.paths.config = dir.path().join("assistant.toml");
        sources.paths.state_dir = dir.path().to_owned();
        let store = Store::open(&dir.path().join("assistant.db")).unwrap();
        let cx = daemon::build(Options::load(sources).unwrap(), store);
        Self { dir, cx }
    }

    fn write(&self, config: &str) {
        write(self.dir.path(), config);
    }

    fn setting(&self, key: &str) -> Setting {
        let all = list(&self.cx.config.load(), &self.cx.process.origins.load());
        all.settings.into_iter().find(|setting| setting.key == key).unwrap()
    }
}

fn write(dir: &Path, config: &str) {
    std::fs::write(dir.join("assistant.toml"), config).unwrap();
}

#[tokio::test]
async fn a_reload_replaces_everything_and_names_what_changed() {
    let place = Place::new("[jobs]\nworkers = 2\n", Environment::default());
    place.write("[jobs]\nworkers = 3\n[api]\noperator_group = \"people\"\n[llm]\nprovider = \"rehearsal\"\n");
    let done = reload(&place.cx).await.unwrap();
    assert_eq!(done.changed, ["llm.provider", "jobs.workers", "api.operator_group"]);
    assert_eq!(done.restart, ["api.operator_group"]);
    assert_eq!(place.cx.config.load().jobs.workers, 3);
    assert_eq!(place.cx.llm.load().models()[0].provider, "rehearsal");
    assert!(place.setting("jobs.workers").origin.ends_with("assistant.toml:2"));
    let events = place.cx.store.read(|conn| events::after(conn, EventId(0), None, 10)).await.unwrap();
    assert_eq!(events.last().unwrap().kind, "config.reloaded");

    assert!(reload(&place.cx).await.unwrap().changed.is_empty());
}

#[tokio::test]
async fn a_bad_configuration_is_refused_and_the_old_one_stays() {
    let place = Place::new("[jobs]\nworkers = 2\n", Environment::default());
    place.write("[jobs]\nworkers = 3\nlease = 1\n");
    let error = reload(&place.cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation);
    assert!(error.message().ends_with("assistant.toml:3: jobs.lease: 1 is out of range (5 to 3600)"), "{error}");
    assert_eq!(error.field_name(), Some("jobs.lease"));
    assert_eq!(place.cx.config.load().jobs.workers, 2);
    assert!(place.setting("jobs.workers").origin.ends_with("assistant.toml:2"));
}

#[tokio::test]
async fn the_list_shows_no_secret() {
    let environment =
        [("OPENROUTER_API_KEY", "sk-canary"), ("AGENT_LLM_BASE_URL", "http://user:canary@localhost:1/v1")];
    let place = Place::new(
        "[notify]\nwebhook_url = \"https://hooks.example/T0/canary?token=canary\"\n",
        environment.into_iter().collect(),
    );
    let all = list(&place.cx.config.load(), &place.cx.process.origins.load());
    for text in [json(&all).unwrap(), text(&all, true)] {
        assert!(!text.contains("canary"), "{text}");
    }
    assert_eq!(place.setting("notify.webhook_url").value, "https://hooks.example/...");
    assert_eq!(place.setting("llm.base_url").value, "http://localhost:1/v1");
    assert_eq!(place.setting("llm.base_url").origin, "environment AGENT_LLM_BASE_URL");
}

#[test]
fn every_key_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let cx = daemon::idle(dir.path(), Config::default(), Clock::System);
    let all = list(&cx.config.load(), &cx.process.origins.load()).settings;
    assert!(all.iter().all(|setting| setting.origin == "default" && !setting.doc.is_empty()));
    assert!(all.iter().all(|setting| setting.value == setting.default));
    let printed = text(&list(&Config::default(), &Origins::default()), false);
    assert!(printed.contains("jobs.workers = 4\n") && printed.contains("# llm.model is unset\n"), "{printed}");
    for key in AT_START {
        assert!(all.iter().any(|setting| setting.key == *key), "{key} is no key");
    }
}

#[tokio::test]
async fn a_prompt_file_that_is_not_there_is_refused_before_it_is_needed() {
    let place = Place::new("", Environment::default());
    place.write("[prompt]\nagent_file = \"/no/such/AGENT.md\"\n");
    let error = reload(&place.cx).await.unwrap_err();
    assert!(error.message().contains("/no/such/AGENT.md"), "{error}");
    assert_eq!(place.cx.config.load().prompt.agent_file, "AGENT.md");
}
