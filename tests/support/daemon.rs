//! A whole daemon in the test's own process: a real database file, a real socket, the typed client.

use std::{path::PathBuf, sync::Arc};

use assistant_api::client::Client;
use assistantd::{
    config::{Environment, Paths, Sources},
    cx::Cx,
    daemon::{self, Options},
    error::Result,
};
use tokio::{sync::oneshot, task::JoinHandle};

/// A running daemon; it is stopped, and waited for, by [`Daemon::stop`].
pub(crate) struct Daemon {
    pub(crate) cx: Cx,
    dir: Arc<tempfile::TempDir>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<()>>,
}

impl Daemon {
    /// Starts one; `config` is the text of `assistant.toml`. Its models are those of the configuration.
    pub(crate) async fn start(config: &str) -> Self {
        let dir = Arc::new(tempfile::Builder::new().prefix("assistant-test-").tempdir().unwrap());
        Self::start_in(dir, config, Environment::default()).await
    }

    /// The same, with variables of the environment such as passwords.
    pub(crate) async fn start_with(config: &str, variables: &[(&str, &str)]) -> Self {
        let dir = Arc::new(tempfile::Builder::new().prefix("assistant-test-").tempdir().unwrap());
        Self::start_in(dir, config, variables.iter().copied().collect()).await
    }

    async fn start_in(dir: Arc<tempfile::TempDir>, config: &str, environment: Environment) -> Self {
        let paths = Paths {
            config: dir.path().join("assistant.toml"),
            config_required: true,
            state_dir: dir.path().join("state"),
            runtime_dir: dir.path().join("run"),
            credentials_dir: None,
        };
        std::fs::write(&paths.config, config).unwrap();
        let sources = Sources { paths, environment };
        let (ready, is_ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let options = Options { ready: Some(ready), ..Options::load(sources).unwrap() };
        #[expect(clippy::disallowed_methods, reason = "the daemon itself is the task")]
        let mut running = tokio::spawn(daemon::run(options, Vec::new(), async {
            let _ = stopped.await;
        }));
        let cx = tokio::select! {
            cx = is_ready => cx.ok(),
            ended = &mut running => panic!("the daemon does not start: {:?}", ended.unwrap()),
        };
        Self { cx: cx.unwrap(), dir, stop, running }
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("run/api.sock")
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.socket())
    }

    /// The files of the jobs.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.dir.path().join("state/workspace")
    }

    /// The text of its configuration file.
    pub(crate) fn config_text(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("assistant.toml")).unwrap()
    }

    /// Stops it as the service manager would, and waits for its end.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.running.await.unwrap().unwrap();
    }

    /// Stops it and starts another on the same files.
    pub(crate) async fn restart(self, config: &str) -> Self {
        let dir = Arc::clone(&self.dir);
        let environment = self.cx.process.sources.environment.clone();
        self.stop().await;
        Self::start_in(dir, config, environment).await
    }
}
