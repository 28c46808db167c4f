//! What every part of the daemon is handed: the store, the clock, the configuration, the models, the workspace root.

use std::{
    ops::Deref,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use assistant_api::secrets::SecretState;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    agent::{Toolbox, tools::ToolDef},
    clock::Clock,
    config::{Config, Noticed, Origins, Sources},
    error::{Error, Result},
    llm::Llm,
    logging::Logging,
    root::Root,
    store::{Store, space},
    subsystems::Subsystem,
    systemd::Notifier,
};

/// Cheap to clone; always called `cx` and passed first.
#[derive(Clone)]
pub struct Cx(Arc<Shared>);

struct Shared {
    inner: Inner,
    started_at: Timestamp,
    /// On the monotonic clock, where a step of the wall clock does not count.
    started: Duration,
}

/// The fields; a literal of it is the only way to make a [`Cx`], so that nothing is forgotten.
pub struct Inner {
    pub store: Store,
    pub clock: Clock,
    /// Replaced as a whole on reload.
    pub config: ArcSwap<Config>,
    /// Replaced on reload; says itself when no model is configured.
    pub llm: ArcSwap<Arc<dyn Llm>>,
    /// The workspace; `None` when it cannot be used, with the reason in `root_problem`.
    pub root: ArcSwapOption<Root>,
    pub root_problem: ArcSwapOption<String>,
    /// Private to the daemon.
    pub state_dir: PathBuf,
    pub wake: Wake,
    pub process: Process,
    /// Every task is spawned here, so that the daemon can wait for all of them.
    pub tasks: TaskTracker,
    /// Cancelled when the daemon stops.
    pub stop: CancellationToken,
    /// What the daemon is made of; passed in so that mechanism names no subsystem.
    pub subsystems: &'static [Subsystem],
}

/// What belongs to the process as a whole: what a reload reads and whom it tells.
///
/// The default is that of a test: no files, no service manager, no log.
#[derive(Default)]
pub struct Process {
    pub sources: Sources,
    /// Where the values of [`Inner::config`] came from; replaced with it.
    pub origins: ArcSwap<Origins>,
    /// What there is of each secret, without its value; replaced with the configuration.
    pub secrets: ArcSwap<Vec<SecretState>>,
    /// What is odd about them; replaced with them.
    pub noticed: ArcSwap<Noticed>,
    /// The warnings that the journal has already.
    pub reported: Mutex<Vec<assistant_api::status::Warning>>,
    /// Where the API listens; set at the start.
    pub listening: ArcSwap<Vec<assistant_api::status::Listening>>,
    /// The certificate of HTTPS.
    pub tls: crate::http::tls::Served,
    /// Held while the configuration is replaced.
    pub reload: tokio::sync::Mutex<()>,
    pub systemd: Notifier,
    pub logging: Logging,
    /// What models are told of the tools, made at the first run of a job.
    pub toolbox: ArcSwapOption<Toolbox>,
    /// What happened since the start, for `/metrics`.
    pub counters: crate::counters::Counters,
    /// What was last found of the daemon's health.
    pub health: Mutex<Option<FoundHealth>>,
    /// Failed logins over the network.
    pub logins: crate::http::login::Attempts,
    /// Links that log a browser in once.
    pub links: crate::http::login::Links,
    /// Held while a password is hashed, which takes memory.
    pub hashing: tokio::sync::Mutex<()>,
    /// The mailbox.
    pub mail: crate::mail::Live,
    /// What was last found to lie on the disk.
    pub storage: crate::retention::Measured,
    /// The sandbox sessions that are open.
    pub sandbox: crate::sandbox::Sessions,
}

/// What `GET /health` tells.
#[derive(Clone)]
pub struct FoundHealth {
    /// On the monotonic clock.
    pub at: Duration,
    /// What does not go.
    pub degraded: Vec<assistant_api::status::Warning>,
    /// Whether somebody could log in over the network, if they have to.
    pub can_log_in: bool,
}

/// Who is woken by a write. Typed fields, so that a wake cannot be misspelt.
pub struct Wake {
    /// A job may have become ready.
    pub jobs: Notify,
    /// Changes when the event stream may have grown; see [`Wake::announce`].
    pub events: watch::Sender<u64>,
    /// The retention pass should run now.
    pub retention: Notify,
    /// The event stream may have grown, or who is to be told of it may have changed.
    pub notify: Notify,
    /// The same, for whom it is told by mail.
    pub told: Notify,
    /// The mailbox should be looked at now, or its settings changed.
    pub mailbox: Notify,
    /// Mail may be waiting to be sent.
    pub outbox: Notify,
    /// Attachments may be waiting to be made readable.
    pub artifacts: Notify,
    /// The jobs that run in this process, so that a cancel reaches them.
    pub running: crate::jobs::Running,
    /// Whether the scheduler of jobs is alive.
    pub pulse: crate::jobs::Pulse,
}

impl Default for Wake {
    fn default() -> Self {
        Self {
            jobs: Notify::new(),
            events: watch::Sender::new(0),
            retention: Notify::new(),
            notify: Notify::new(),
            told: Notify::new(),
            mailbox: Notify::new(),
            outbox: Notify::new(),
            artifacts: Notify::new(),
            running: crate::jobs::Running::default(),
            pulse: crate::jobs::Pulse::default(),
        }
    }
}

impl Wake {
    /// Tells the listeners of the event stream to look in the database; called after a write that emitted events.
    pub fn announce(&self) {
        self.events.send_modify(|turn| *turn = turn.wrapping_add(1));
        self.notify.notify_one();
        self.told.notify_one();
    }
}

impl Cx {
    /// Wraps the fields.
    pub fn new(inner: Inner) -> Self {
        let (started_at, started) = (inner.clock.now(), inner.clock.monotonic());
        Self(Arc::new(Shared { inner, started_at, started }))
    }

    /// When the daemon started.
    pub fn started_at(&self) -> Timestamp {
        self.0.started_at
    }

    /// How long it has run, suspends left out.
    pub fn uptime(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.0.started)
    }

    /// The workspace, or why there is none.
    ///
    /// # Errors
    /// `unavailable`, naming the reason.
    pub fn root(&self) -> Result<Arc<Root>> {
        self.root.load_full().ok_or_else(|| {
            let reason = self.root_problem.load_full().map_or_else(String::new, |reason| format!(": {reason}"));
            Error::unavailable(format!("the workspace cannot be used{reason}"))
        })
    }

    /// Refuses new work when the state directory's disk is fuller than `retention.min_free_bytes` allows.
    ///
    /// # Errors
    /// `storage_full`, with the figures.
    pub fn check_space(&self) -> Result<()> {
        space::check(&self.state_dir, self.config.load().retention.min_free_bytes.0)
    }

    /// Every tool of every subsystem that exists under the present configuration.
    pub fn tools(&self) -> impl Iterator<Item = &'static ToolDef> + use<> {
        self.tools_that(true)
    }

    /// Every tool that does not.
    pub fn missing_tools(&self) -> impl Iterator<Item = &'static ToolDef> + use<> {
        self.tools_that(false)
    }

    fn tools_that(&self, exist: bool) -> impl Iterator<Item = &'static ToolDef> + use<> {
        let cx = self.clone();
        self.subsystems.iter().flat_map(|subsystem| subsystem.tools).filter(move |tool| (tool.exists)(&cx) == exist)
    }
}

impl Deref for Cx {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0.inner
    }
}
