//! The daemon's side of the sandbox. It runs nothing itself; it asks a runner (`runner/`), which makes the walls.
//!
//! `session.rs` speaks with one runner, `begin.rs` starts it or connects to it, `backend.rs` and `choice.rs` say which,
//! `egress.rs` has the proxy let its commands in.

mod apart;
mod backend;
mod begin;
mod choice;
pub mod config;
#[cfg(test)]
mod double;
mod egress;
mod session;
mod survey;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use assistant_api::{
    ErrorKind, JobId,
    sandbox::{EgressStatus, SandboxBrief, SandboxStatus},
};
use assistant_sandbox::protocol::{Exec, Level};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

pub use self::{
    apart::{Program, apart},
    backend::Backend,
    begin::{limits, program_beside_runner, user},
    session::{Ended, Input, Output},
};
use self::{backend::Wanted, choice::Choices, config::Sandbox, egress::Egress, session::Session};
use crate::{
    config::Config,
    counters::{self, SANDBOX_LAYERS},
    cx::Cx,
    error::{Error, Result},
};

/// The sessions of this process.
#[derive(Default)]
pub struct Sessions {
    /// One per job that runs: commands of a job follow each other in it.
    of_jobs: Mutex<HashMap<JobId, Held>>,
    slots: OnceLock<Arc<Semaphore>>,
    choices: Choices,
    /// What was last seen of the egress proxy.
    egress: Mutex<Option<EgressStatus>>,
}

/// A session that waits for its job's next command.
struct Held {
    backend: Backend,
    session: Session,
    level: Level,
    /// At level `work+net`.
    egress: Option<Egress>,
    /// What it was made from; another configuration needs another session.
    made_from: Sandbox,
    _slot: OwnedSemaphorePermit,
}

impl Sessions {
    fn take(&self, job: JobId, level: Level, config: &Sandbox) -> Option<Held> {
        let held = self.lock().remove(&job)?;
        // One whose runner ended meanwhile, as a unit does when its time is over, is not asked for anything.
        let usable = held.session.is_reusable() && held.egress.as_ref().is_none_or(Egress::is_alive);
        (usable && held.level == level && held.made_from == *config).then_some(held)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Held>> {
        self.of_jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was last seen of the egress proxy, at the level that needs it.
    fn egress(&self, config: &Sandbox) -> Option<EgressStatus> {
        let seen = self.egress.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.filter(|_| config.level.0 == Level::WorkNet)
    }

    async fn slot(&self, config: &Sandbox) -> Result<OwnedSemaphorePermit> {
        let slots = self.slots.get_or_init(|| Arc::new(Semaphore::new(config.max_sessions as usize)));
        Arc::clone(slots).acquire_owned().await.map_err(Error::internal)
    }

    /// How many are open.
    pub fn count(&self, config: &Sandbox) -> usize {
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
    let sessions = &cx.process.sandbox;
    let mut held = if let Some(held) = job.and_then(|job| sessions.take(job, exec.level, config)) {
        held
    } else {
        let slot = sessions.slot(config).await?;
        let egress = reach_egress(cx, config, job, exec.level).await?;
        let root = cx.root()?;
        let (backend, session) = sessions.choices.open(&cx.clock, root.path(), config, exec.level, false).await?;
        if let Some(egress) = &egress {
            egress.grant(config, &session.ready).await?;
        }
        Held { backend, session, level: exec.level, egress, made_from: config.clone(), _slot: slot }
    };
    let ended = run(cx, &mut held.session, held.egress.as_mut(), exec, input, output).await?;
    let backend = held.backend;
    if let Some(job) = job.filter(|_| held.session.is_reusable()) {
        sessions.lock().insert(job, held);
    }
    Ok(Done { backend, ended })
}

/// The egress proxy, for a level that needs it.
async fn reach_egress(cx: &Cx, config: &Sandbox, job: Option<JobId>, level: Level) -> Result<Option<Egress>> {
    if level != Level::WorkNet {
        return Ok(None);
    }
    let sessions = &cx.process.sandbox;
    let egress = Egress::reach(cx, config, job).await;
    *sessions.egress.lock().unwrap_or_else(PoisonError::into_inner) = Some(EgressStatus {
        answers: egress.is_ok(),
        detail: egress.as_ref().err().map_or_else(|| config.egress_control.clone(), backend::with_hint),
    });
    egress.map(Some).inspect_err(|err| sessions.choices.failed(&cx.clock, config, err))
}

/// Runs it with what the proxy lets it in by, and adds what the proxy refused it to what the runner did.
async fn run(
    cx: &Cx,
    session: &mut Session,
    egress: Option<&mut Egress>,
    exec: &Exec,
    input: mpsc::Receiver<Input>,
    output: mpsc::Sender<Output>,
) -> Result<Ended> {
    let counters = &cx.process.counters;
    counters.commands.add(1);
    let mut ended = match &egress {
        None => session.run(exec, input, output).await?,
        Some(egress) => {
            let exec = Exec { proxy_login: Some(egress.login()), ..exec.clone() };
            session.run(&exec, input, output).await?
        }
    };
    if let Ended::Exited(exit) = &mut ended {
        if let Some(egress) = egress {
            exit.denials.extend(egress.denials().await);
        }
        for denial in &exit.denials {
            counters::count(&counters.denials, &SANDBOX_LAYERS, &denial.layer, denial.count);
        }
    }
    Ok(ended)
}

/// The backend that was chosen last.
///
/// # Errors
/// `unavailable` when none was.
pub fn chosen(cx: &Cx) -> Result<Backend> {
    let last = cx.process.sandbox.choices.last(&cx.config.load().sandbox);
    last.and_then(|last| last.backend).ok_or_else(|| Error::unavailable("no sandbox was chosen yet"))
}

/// A command in a session of its own, with another directory in the workspace's place if one is given; for trying the
/// sandbox itself. It runs in the backend that was chosen last, which has to be one that the daemon starts for that.
///
/// # Errors
/// As [`exec`].
pub async fn exec_in(cx: &Cx, place: Option<&Path>, exec: &Exec, output: mpsc::Sender<Output>) -> Result<Done> {
    let config = cx.config.load_full();
    check_enabled(&config)?;
    let config = &config.sandbox;
    let (sessions, backend, root) = (&cx.process.sandbox, chosen(cx)?, cx.root()?);
    let workspace = place.unwrap_or_else(|| root.path());
    let _slot = sessions.slot(config).await?;
    let mut egress = reach_egress(cx, config, None, exec.level).await?;
    let mut session = begin::begin(backend, workspace, config, exec.level).await?;
    Wanted::of(config, workspace, exec.level)?.check(&session.ready)?;
    if let Some(egress) = &egress {
        egress.grant(config, &session.ready).await?;
    }
    let (_nothing, input) = mpsc::channel(1);
    let ended = run(cx, &mut session, egress.as_mut(), exec, input, output).await?;
    Ok(Done { backend, ended })
}

/// What was last seen of the sandbox, without opening a session.
pub fn brief(cx: &Cx) -> SandboxBrief {
    let all = cx.config.load();
    let config = &all.sandbox;
    let last = cx.process.sandbox.choices.last(config).filter(|_| config.enabled);
    SandboxBrief {
        enabled: config.enabled,
        level: config.level.name().to_owned(),
        seen_at: last.as_ref().map(|last| last.at),
        backend: last.as_ref().and_then(|last| last.backend).map(|backend| backend.as_str().to_owned()),
        problem: last.as_ref().and_then(|last| last.problem.clone()),
        egress: cx.process.sandbox.egress(config),
        refused: last.map(|last| last.refused).unwrap_or_default(),
    }
}

/// What this host's sandbox is, found out by opening a session.
pub async fn status(cx: &Cx) -> SandboxStatus {
    let all = cx.config.load_full();
    let config = &all.sandbox;
    let choices = &cx.process.sandbox.choices;
    let opened = async {
        check_enabled(&all)?;
        let _egress = reach_egress(cx, config, None, config.level.0).await?;
        let root = cx.root()?;
        choices.open(&cx.clock, root.path(), config, config.level.0, true).await
    };
    let (taken, problem) = match opened.await {
        Ok((backend, session)) => (Some((backend, session.ready.clone())), None),
        Err(err) => (None, Some(backend::with_hint(&err))),
    };
    let ready = taken.as_ref().map(|(_, ready)| ready);
    let backends = match cx.root() {
        Ok(root) if config.enabled => {
            let taken = taken.as_ref().map(|(backend, ready)| (*backend, ready));
            survey::survey(root.path(), config, taken).await
        }
        _ => Vec::new(),
    };
    let refused = choices.last(config).filter(|_| config.enabled).map(|last| last.refused).unwrap_or_default();
    let level = config.level.name().to_owned();
    let sessions = cx.process.sandbox.count(config);
    SandboxStatus {
        enabled: config.enabled,
        backend: taken.as_ref().map(|(backend, _)| backend.as_str().to_owned()),
        level,
        guarantees: survey::guarantees(config, ready),
        refused,
        backends,
        problem,
        landlock_abi: ready.map_or(0, |ready| ready.landlock_abi),
        egress: cx.process.sandbox.egress(config),
        sessions,
    }
}
