//! The daemon's side of the sandbox. It runs nothing itself; it asks a runner (`runner/`), which makes the walls.
//!
//! `session.rs` speaks with one runner, `backend.rs` chooses it.

mod backend;
pub mod config;
mod session;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use assistant_api::{
    ErrorKind, JobId,
    sandbox::{GuaranteeStatus, SandboxStatus},
};
use assistant_sandbox::protocol::{Exec, Guarantee, Level};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

pub use self::{
    backend::{Backend, limits, program_beside_runner, user},
    session::{Ended, Input, Output},
};
use self::{config::Sandbox, session::Session};
use crate::{
    config::Config,
    cx::Cx,
    error::{Error, Result},
};

/// The sessions of this process.
#[derive(Default)]
pub struct Sessions {
    /// One per job that runs: commands of a job follow each other in it.
    of_jobs: Mutex<HashMap<JobId, Held>>,
    slots: OnceLock<Arc<Semaphore>>,
}

/// A session that waits for its job's next command.
struct Held {
    backend: Backend,
    session: Session,
    /// What it was made from; another configuration needs another session.
    made_from: Sandbox,
    _slot: OwnedSemaphorePermit,
}

impl Sessions {
    fn take(&self, job: JobId, config: &Sandbox) -> Option<Held> {
        let held = self.lock().remove(&job)?;
        (held.made_from == *config).then_some(held)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Held>> {
        self.of_jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn slot(&self, config: &Sandbox) -> Result<OwnedSemaphorePermit> {
        let slots = self.slots.get_or_init(|| Arc::new(Semaphore::new(config.max_sessions as usize)));
        Arc::clone(slots).acquire_owned().await.map_err(Error::internal)
    }

    fn count(&self, config: &Sandbox) -> usize {
        let free = self.slots.get().map(|slots| slots.available_permits());
        free.map_or(0, |free| (config.max_sessions as usize).saturating_sub(free))
    }
}

/// Ends the session of a job when its run ends, in whatever way.
pub struct OfRun<'a>(pub &'a Cx, pub JobId);

impl Drop for OfRun<'_> {
    fn drop(&mut self) {
        self.0.process.sandbox.lock().remove(&self.1);
    }
}

/// How a command ended, and where.
pub struct Done {
    pub backend: Backend,
    pub ended: Ended,
}

/// Whether commands may run at all.
///
/// # Errors
/// `sandbox_disabled`.
pub fn check_enabled(config: &Config) -> Result<()> {
    if config.sandbox.enabled {
        return Ok(());
    }
    let message = "running commands is switched off";
    Err(Error::new(ErrorKind::SandboxDisabled, message).field("sandbox.enabled").hint("set sandbox.enabled = true"))
}

/// Runs one command, in the session of a job or in one of its own. A future that is dropped ends the command. What it
/// says has to be received meanwhile: the command waits for that.
///
/// # Errors
/// `sandbox_disabled`; `unavailable` when no backend gives what is required, then nothing has run; an error in doubt
/// when the runner broke off, then nobody knows what has run.
pub async fn exec(
    cx: &Cx,
    job: Option<JobId>,
    exec: &Exec,
    input: mpsc::Receiver<Input>,
    output: mpsc::Sender<Output>,
) -> Result<Done> {
    let config = cx.config.load_full();
    check_enabled(&config)?;
    let config = &config.sandbox;
    check_level(exec.level)?;
    let sessions = &cx.process.sandbox;
    let mut held = if let Some(held) = job.and_then(|job| sessions.take(job, config)) {
        held
    } else {
        let slot = sessions.slot(config).await?;
        let (backend, session) = backend::open(cx.root()?.path(), config).await.0?;
        Held { backend, session, made_from: config.clone(), _slot: slot }
    };
    let ended = held.session.run(exec, input, output).await.map_err(Error::in_doubt)?;
    let backend = held.backend;
    if let Some(job) = job.filter(|_| held.session.is_reusable()) {
        sessions.lock().insert(job, held);
    }
    Ok(Done { backend, ended })
}

/// Refuses levels that nothing here can give.
fn check_level(level: Level) -> Result<()> {
    let (name, what) = match level {
        Level::Read | Level::Work => return Ok(()),
        Level::WorkNet => ("work+net", "the egress proxy"),
        Level::Container => ("container", "the container backend"),
    };
    Err(Error::unavailable(format!("the level {name} needs {what}, which is not installed here"))
        .field("sandbox.level")
        .hint("set sandbox.level = \"work\""))
}

/// A command in a session of its own, with another directory in the workspace's place; for trying the sandbox itself.
///
/// # Errors
/// As [`exec`].
pub async fn exec_in(cx: &Cx, workspace: &Path, exec: &Exec, output: mpsc::Sender<Output>) -> Result<Done> {
    let config = cx.config.load_full();
    check_enabled(&config)?;
    check_level(exec.level)?;
    let _slot = cx.process.sandbox.slot(&config.sandbox).await?;
    let (backend, mut session) = backend::open(workspace, &config.sandbox).await.0?;
    let (_nothing, input) = mpsc::channel(1);
    let ended = session.run(exec, input, output).await.map_err(Error::in_doubt)?;
    Ok(Done { backend, ended })
}

/// What this host's sandbox is, found out by opening a session.
pub async fn status(cx: &Cx) -> SandboxStatus {
    let all = cx.config.load_full();
    let config = &all.sandbox;
    let (opened, refused) = match check_enabled(&all) {
        Ok(()) => match cx.root() {
            Ok(root) => backend::open(root.path(), config).await,
            Err(err) => (Err(err), Vec::new()),
        },
        Err(err) => (Err(err), Vec::new()),
    };
    let level = config.level.name().to_owned();
    let sessions = cx.process.sandbox.count(config);
    let (backend, ready, problem) = match opened {
        Ok((backend, session)) => (Some(backend.as_str().to_owned()), Some(session.ready.clone()), None),
        Err(err) => {
            let hint = err.hint_text().map(|hint| format!("; {hint}")).unwrap_or_default();
            (None, None, Some(format!("{}{hint}", err.message())))
        }
    };
    let guarantees = Guarantee::ALL.into_iter().map(|guarantee| {
        let given = ready.as_ref().and_then(|ready| ready.guarantees.get(&guarantee));
        let missing = || ready.as_ref().and_then(|ready| ready.missing.get(&guarantee));
        GuaranteeStatus {
            name: config::names(&[guarantee]).concat(),
            required: config.require.0.contains(&guarantee),
            given: given.is_some(),
            reason: given.or_else(missing).cloned().unwrap_or_default(),
        }
    });
    SandboxStatus {
        enabled: config.enabled,
        backend,
        level,
        guarantees: guarantees.collect(),
        refused,
        problem,
        landlock_abi: ready.as_ref().map_or(0, |ready| ready.landlock_abi),
        sessions,
    }
}
