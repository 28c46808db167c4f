//! `POST /api/reload` and `GET /api/config` on a whole daemon.

use std::sync::Arc;

use assistant_api::{
    ErrorKind,
    client::Error,
    config::{Reloaded, Settings},
    status::Listening,
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

/// The socket is there already when the configuration changes, as one of the service manager always is.
#[tokio::test]
async fn a_reload_lets_nobody_in_whom_the_start_would_keep_out() {
    let daemon = Daemon::start("").await;
    let place = |address: &str| Listening { address: address.into(), reach: "private".into(), guard: "a login".into() };
    let file = daemon.cx.process.sources.paths.config.clone();
    let client = daemon.client();
    for (address, config, field) in [
        ("192.168.77.5:8000", "auth = \"none\"\n", Some("api.auth")),
        ("[fd00::5]:8000", "auth = \"none\"\n", Some("api.auth")),
        ("203.0.113.9:8000", "", Some("api.bind_host")),
        ("203.0.113.9:8000", "allow_public_bind = true\n", None),
        ("192.168.77.5:8000", "auth = \"none\"\nallow_public_bind = true\n", None),
        ("127.0.0.1:8000", "auth = \"none\"\n", None),
        ("192.168.77.5:8000", "", None),
    ] {
        daemon.cx.process.listening.store(Arc::new(vec![place(address)]));
        std::fs::write(&file, format!("[api]\n{config}[jobs]\nworkers = 5\n")).unwrap();
        match (client.post::<Reloaded>("/api/reload", &Value::Null).await, field) {
            (Ok(_), None) => {}
            (Err(Error::Problem { problem, .. }), Some(field)) => {
                assert_eq!(problem.field.as_deref(), Some(field), "{address}, {config}: {}", problem.title);
                assert!(problem.title.contains(address), "{}", problem.title);
                assert_eq!(daemon.cx.config.load().api.auth, "login", "{address}, {config}");
            }
            (outcome, _) => panic!("{address}, {config}: {outcome:?}"),
        }
        std::fs::write(&file, "").unwrap();
        daemon.cx.process.listening.store(Arc::default());
        client.post::<Reloaded>("/api/reload", &Value::Null).await.unwrap();
    }
    daemon.stop().await;
}
