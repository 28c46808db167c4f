//! One daemon from start to stop, in order; this file is the table of contents of the program.
//!
//! There is no global state: what stops it, what it listens on and where its files lie come from the caller, so that a
//! test starts a whole daemon in its own process.

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt as _, path::Path, sync::Arc, time::Duration};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    agent,
    backup::swap,
    clock::Clock,
    config::{ConfigError, Loaded, Noticed, Secrets, Sources},
    cx::{Cx, Inner, Process, Wake},
    error::{Error, Result},
    http::{self, Listener},
    jobs::{Claimed, Outcome, runner},
    llm::{self, BoxFuture, Llm},
    logging::Logging,
    loops, mail, sandbox, settings, status,
    store::{StateLock, Store},
    subsystems,
    systemd::{self, Notifier},
    workspace,
};

/// How long the database may take to open and migrate before the service manager gives up.
const MIGRATION_TIME: Duration = Duration::from_mins(30);
/// What is added to the configured graces before tasks that still run are left behind.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// What a daemon is started with.
#[derive(Default)]
pub struct Options {
    pub sources: Sources,
    /// What [`crate::config::load`] made of `sources`.
    pub loaded: Loaded,
    pub secrets: Secrets,
    pub clock: Clock,
    pub systemd: Notifier,
    pub logging: Logging,
    /// Stands in for the models of the configuration.
    pub llm: Option<Arc<dyn Llm>>,
    /// One message per request to reload, as SIGHUP makes them.
    pub reloads: Option<mpsc::Receiver<()>>,
    /// Told once, when the daemon is ready.
    pub ready: Option<oneshot::Sender<Cx>>,
}

impl Options {
    /// Reads the configuration and the secrets of `sources`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let loaded = crate::config::load(&sources)?;
        let secrets = Secrets::load(sources.paths.credentials_dir.as_deref(), &sources.environment);
        Ok(Self { sources, loaded, secrets, ..Self::default() })
    }
}

/// Runs a daemon until `stop` completes. Without listeners it binds `api.sock` in the runtime directory.
///
/// # Errors
/// What kept it from starting: the state directory is in use, the database is newer or damaged, the socket is taken.
pub async fn run(mut options: Options, mut listeners: Vec<Listener>, stop: impl Future<Output = ()>) -> Result<()> {
    let (reloads, ready) = (options.reloads.take(), options.ready.take());
    let paths = options.sources.paths.clone();
    let notifier = options.systemd.clone();
    settings::check(&options.loaded.config, &paths)?;
    http::tls::check(&options.loaded.config, &paths)?;
    http::exposure::guard(&listeners, &options.loaded.config)?;
    make_dir(&paths.state_dir, 0o700)?;
    let _lock = StateLock::take(&paths.state_dir)?;
    if swap::finish(&paths.state_dir)? {
        tracing::info!("finished the restore of a backup that was cut off");
    }

    // What would keep sockets from being bound must not first migrate a database. Where the service manager opens them,
    // it opens all of them.
    let own = listeners.is_empty();
    if own {
        make_dir(&paths.runtime_dir, 0o755)?;
        Listener::check(&paths.socket())?;
        listeners = Listener::bind_web(&options.loaded.config)?;
        http::exposure::guard(&listeners, &options.loaded.config)?;
    }

    notifier.status("opening the database");
    notifier.extend_timeout(MIGRATION_TIME);
    let store = Store::open(&paths.state_dir.join("assistant.db"))?;

    if own {
        listeners.push(Listener::bind(&paths.socket(), &options.loaded.config.api.operator_group)?);
    }

    let listening = http::exposure::listening(&listeners);
    let secrets = options.secrets.clone();
    let cx = build(options, store);
    cx.process.listening.store(Arc::new(listening));
    workspace::attach(&cx).await;
    workspace::sweep(&cx).await;
    status::report_warnings(&cx);
    cx.tasks.spawn(status::date_secrets(cx.clone(), secrets));
    let outcome = serve(&cx, listeners, reloads, ready, stop).await;

    notifier.stopping();
    drain(&cx).await;
    cx.store.close().await;
    if outcome.is_ok() {
        tracing::info!("stopped");
    }
    outcome
}

pub(crate) fn build(options: Options, store: Store) -> Cx {
    let Options { sources, loaded, secrets, clock, systemd, logging, llm, .. } = options;
    let Loaded { config, origins, warnings } = loaded;
    let noticed = Noticed { settings: warnings, secrets: secrets.weak().to_vec() };
    let llm = llm.unwrap_or_else(|| llm::build(&config, &secrets, &sources.environment));
    let state_dir = sources.paths.state_dir.clone();
    let process = Process {
        sources,
        origins: ArcSwap::from_pointee(origins),
        secrets: ArcSwap::from_pointee(secrets.states()),
        noticed: ArcSwap::from_pointee(noticed),
        systemd,
        logging,
        mail: mail::Live::of(&secrets),
        ..Process::default()
    };
    Cx::new(Inner {
        store,
        clock,
        config: ArcSwap::from_pointee(config),
        llm: ArcSwap::from_pointee(llm),
        root: ArcSwapOption::empty(),
        root_problem: ArcSwapOption::empty(),
        state_dir,
        wake: Wake::default(),
        process,
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
        subsystems: subsystems::ALL,
    })
}

/// The run of one job; what its commands left running ends with it.
fn run_job<'a>(cx: &'a Cx, claimed: &'a Claimed, cancel: &'a CancellationToken) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let _session = sandbox::OfRun(cx, claimed.job.id);
        agent::run(cx, claimed, cancel).await
    })
}

/// Everything between the open store and the drain.
async fn serve(
    cx: &Cx,
    listeners: Vec<Listener>,
    reloads: Option<mpsc::Receiver<()>>,
    ready: Option<oneshot::Sender<Cx>>,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    // Before any request: effects that are open now are what a former process left.
    runner::start(cx, run_job).await?;
    http::start(cx, listeners)?;
    for def in cx.subsystems.iter().flat_map(|subsystem| subsystem.loops) {
        loops::spawn(cx, def);
    }

    cx.process.systemd.ready();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), state = %cx.state_dir.display(), "ready");
    if let Some(ready) = ready {
        let _ = ready.send(cx.clone());
    }

    tokio::select! {
        () = stop => Ok(()),
        () = systemd::watchdog(cx) => Ok(()),
        () = status::keep_shown(cx) => Ok(()),
        () = reload_on_request(cx, reloads) => Ok(()),
    }
}

async fn reload_on_request(cx: &Cx, reloads: Option<mpsc::Receiver<()>>) {
    if let Some(mut reloads) = reloads {
        while reloads.recv().await.is_some() {
            // A bad configuration is logged where it is refused; the old one stays.
            let _ = settings::reload(cx).await;
        }
    }
    std::future::pending::<()>().await;
}

/// Nothing new is accepted, open requests and running jobs get their graces, loops end; then everything is bounded.
async fn drain(cx: &Cx) {
    let config = cx.config.load_full();
    let bound = config.api.stop_grace.0.max(config.jobs.stop_grace.0) + LAST_GRACE;
    cx.process.systemd.extend_timeout(bound + LAST_GRACE);
    cx.stop.cancel();
    cx.tasks.close();
    tokio::select! {
        ended = tokio::time::timeout(bound, cx.tasks.wait()) => if ended.is_err() {
            tracing::warn!(tasks = cx.tasks.len(), "some tasks did not end in time and are left behind");
        },
        () = systemd::watchdog(cx) => {}
    }
}

/// A daemon in which everything is open and nothing happens.
#[cfg(test)]
pub(crate) fn idle(state_dir: &Path, config: crate::config::Config, clock: Clock) -> Cx {
    let store = Store::open(&state_dir.join("assistant.db")).unwrap();
    let mut options = Options { loaded: Loaded { config, ..Loaded::default() }, clock, ..Options::default() };
    options.sources.paths.state_dir = state_dir.to_owned();
    build(options, store)
}

/// Makes a directory if it is missing. What exists keeps its mode: it may be the administrator's choice.
fn make_dir(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|err| {
        Error::unavailable(format!("making the directory {}: {err}", path.display()))
            .hint("give a directory that this user may write with --state-dir and --runtime-dir")
    })
}
