//! `POST /api/reload` and `GET /api/config` on a whole daemon.

use assistant_api::{
    ErrorKind,
    client::Error,
    config::{Reloaded, Settings},
};
use serde_json::Value;

use crate::support::daemon::Daemon;

#[tokio::test]
async fn a_reload_answers_with_what_changed_or_with_what_is_wrong() {
    let daemon = Daemon::start("[jobs]\nworkers = 2\n").await;
    let file = daemon.cx.process.sources.paths.config.clone();
    let client = daemon.client();

    std::fs::write(&file, "[jobs]\nworkers = 5\n").unwrap();
    let done: Reloaded = client.post("/api/reload", &Value::Null).await.unwrap();
    assert_eq!(done.changed, ["jobs.workers"]);
    let settings: Settings = client.get("/api/config").await.unwrap();
    let workers = settings.settings.iter().find(|setting| setting.key == "jobs.workers").unwrap();
    assert_eq!((workers.value.clone(), workers.default.clone()), (5.into(), 4.into()));
    assert!(workers.origin.ends_with("assistant.toml:2"), "{}", workers.origin);

    std::fs::write(&file, "[jobs]\nworkers = \"many\"\n").unwrap();
    let refused = client.post::<Reloaded>("/api/reload", &Value::Null).await.unwrap_err();
    let Error::Problem { problem, .. } = refused else { panic!("{refused:?}") };
    assert_eq!((problem.status, problem.kind), (422, ErrorKind::Validation));
    assert!(problem.title.contains("expected an integer, found string"), "{}", problem.title);
    assert_eq!(problem.field.as_deref(), Some("jobs.workers"));
    assert_eq!(daemon.cx.config.load().jobs.workers, 5);
    daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_starts_again_on_the_same_files() {
    let daemon = Daemon::start("").await;
    let daemon = daemon.restart("[llm]\nprovider = \"rehearsal\"\n").await;
    assert_eq!(daemon.cx.llm.load().models()[0].provider, "rehearsal");
    daemon.stop().await;
}
