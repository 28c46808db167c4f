//! Which backend makes the walls: the first in order that gives every guarantee that the configuration requires.
//!
//! What a runner gives it says itself, in the first frame of each session; so no session is used that promises less, even
//! when the host changed since the last one.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use assistant_api::sandbox::Refusal;
use assistant_sandbox::protocol::{Guarantee, Level, Limits, Net, Place, Ready};
use futures_util::future::BoxFuture;

use super::{
    begin::limits,
    config::{Choice, JobLevel, Sandbox, names},
    session::Session,
};
use crate::error::{Error, Result};

#[cfg(test)]
mod tests;

/// Who makes the walls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// systemd, which starts a runner for each connection.
    Unit,
    /// The runner, with namespaces of its own.
    Namespace,
    /// A container engine, through the broker.
    Docker,
    /// Landlock and seccomp alone.
    Landlock,
}

impl Backend {
    /// All of them, best first.
    pub(super) const ALL: [Self; 4] = [Self::Unit, Self::Namespace, Self::Docker, Self::Landlock];

    /// The name in the configuration and in `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Namespace => "namespace",
            Self::Docker => "docker",
            Self::Landlock => "landlock",
        }
    }

    /// Whether its runner is told by the daemon where the workspace is; the others have that from their own configuration.
    pub const fn is_started_here(self) -> bool {
        matches!(self, Self::Namespace | Self::Landlock)
    }

    pub(super) const fn can(self, level: Level) -> bool {
        match level {
            // Whether it has a way to the egress proxy says its runner.
            Level::Read | Level::Work | Level::WorkNet => true,
            Level::Container => matches!(self, Self::Docker),
        }
    }

    /// Those that may be asked, best first.
    pub(super) fn candidates(choice: Choice, level: Level) -> Result<Vec<Self>> {
        let allowed = |backend: &Self| match choice {
            Choice::Auto => true,
            Choice::Unit => *backend == Self::Unit,
            Choice::Namespace => *backend == Self::Namespace,
            Choice::Docker => *backend == Self::Docker,
            Choice::Landlock => *backend == Self::Landlock,
        };
        let candidates: Vec<_> =
            Self::ALL.into_iter().filter(|backend| allowed(backend) && backend.can(level)).collect();
        if !candidates.is_empty() {
            return Ok(candidates);
        }
        let name = JobLevel(level).name();
        Err(Error::unavailable(format!("the backend that sandbox.backend names cannot give the level {name}"))
            .field("sandbox.level")
            .hint("set sandbox.level = \"work\", or another sandbox.backend"))
    }
}

/// What a session has to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) guarantees: Vec<Guarantee>,
    pub(super) protect: Vec<String>,
    pub(super) workspace: Place,
    pub(super) level: Level,
    pub(super) limits: Limits,
}

impl Wanted {
    pub(super) fn of(config: &Sandbox, workspace: &Path, level: Level) -> Result<Self> {
        let place = std::fs::metadata(workspace)
            .map_err(|err| Error::unavailable("the workspace cannot be looked at").source(err))?;
        Ok(Self {
            guarantees: config.require.0.clone(),
            protect: config.protect.clone(),
            workspace: Place { device: place.dev(), inode: place.ino() },
            level,
            limits: limits(config),
        })
    }

    /// Refuses a runner that promises less.
    pub(super) fn check(&self, ready: &Ready) -> Result<()> {
        let lacking = self.guarantees.iter().filter(|guarantee| !ready.guarantees.contains_key(guarantee));
        // Each reason once, with all that are lacking for it.
        let mut reasons: Vec<(&str, Vec<Guarantee>)> = Vec::new();
        for guarantee in lacking {
            let reason = ready.missing.get(guarantee).map_or("not given", String::as_str);
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, of)) => of.push(*guarantee),
                None => reasons.push((reason, vec![*guarantee])),
            }
        }
        if !reasons.is_empty() {
            let said = reasons.iter().map(|(reason, of)| format!("{} ({reason})", names(of).join(", ")));
            return Err(Error::unavailable(format!("without {}", said.collect::<Vec<_>>().join(", "))));
        }
        if let (Level::WorkNet, Net::Missing(reason)) = (self.level, &ready.net) {
            return Err(Error::unavailable(format!("without the level work+net ({reason})")));
        }
        if let Some(path) = self.protect.iter().find(|path| !ready.protect.contains(path)) {
            return Err(Error::unavailable(format!("it does not protect {path}, which sandbox.protect names"))
                .hint("have its runner started with --protect for each of sandbox.protect"));
        }
        if let Some(message) = self.bound_otherwise(ready.limits) {
            return Err(Error::unavailable(message).hint(
                "lower the key, or raise the bound of the unit with systemctl edit assistant-sandbox@.service, or that \
                 of docker.toml",
            ));
        }
        if ready.workspace != Some(self.workspace) {
            return Err(Error::unavailable("its commands find another workspace than the daemon's")
                .hint("have its runner started with the workspace of the daemon"));
        }
        Ok(())
    }

    /// What a session bounds otherwise than it was asked. A runner gives a command no more than it was asked for of all
    /// but processors, which only its session as a whole can have fewer of, and `/tmp`, which is made before.
    fn bound_otherwise(&self, given: Option<Limits>) -> Option<String> {
        let Some(given) = given else { return Some("it does not say what it bounds".to_owned()) };
        let asked = &self.limits;
        let less = [
            ("memory", asked.memory_bytes, given.memory_bytes),
            ("processes", asked.processes, given.processes),
            ("max_timeout_seconds", asked.seconds, given.seconds),
            ("max_file", asked.file_bytes, given.file_bytes),
            ("max_output", asked.output_bytes, given.output_bytes),
        ];
        // No session has more processors than the machine.
        let processors = std::thread::available_parallelism().map_or(u64::MAX, |number| number.get() as u64 * 1000);
        let cpus = (asked.cpu_millis.min(processors)..=asked.cpu_millis).contains(&given.cpu_millis);
        let tmp = whole(asked.tmp_bytes) == whole(given.tmp_bytes);
        let other = [
            (!cpus).then_some(("cpus", asked.cpu_millis, given.cpu_millis)),
            (!tmp).then_some(("tmp", asked.tmp_bytes, given.tmp_bytes)),
        ];
        let less = less.into_iter().find(|(_, asked, given)| given < asked);
        let (key, asked, given) = less.or_else(|| other.into_iter().flatten().next())?;
        Some(format!("it bounds what sandbox.{key} is about at {given}, and {asked} was asked for"))
    }
}

/// A size in memory, as the kernel rounds it.
const fn whole(bytes: u64) -> u64 {
    bytes.next_multiple_of(4096)
}

/// A session with the first candidate that gives what is wanted, and why those before it were not taken.
pub(super) async fn choose<'a>(
    candidates: &[Backend],
    wanted: &Wanted,
    open: impl Fn(Backend) -> BoxFuture<'a, Result<Session>>,
) -> (Option<(Backend, Session)>, Vec<Refusal>) {
    let mut refused = Vec::new();
    for backend in candidates {
        let session = open(*backend).await.and_then(|session| wanted.check(&session.ready).map(|()| session));
        match session {
            Ok(session) => return (Some((*backend, session)), refused),
            Err(err) => refused.push(Refusal { backend: backend.as_str().to_owned(), reason: with_hint(&err) }),
        }
    }
    (None, refused)
}

/// What is said when no candidate was taken.
pub(super) fn nobody(refused: &[Refusal]) -> Error {
    let reasons: Vec<_> = refused.iter().map(|refusal| format!("{}: {}", refusal.backend, refusal.reason)).collect();
    let message = format!("no sandbox of this host gives what sandbox.require asks for ({})", reasons.join(" | "));
    Error::unavailable(message).field("sandbox.require").hint("assistantctl sandbox test shows each guarantee")
}

/// An error in one line.
pub(super) fn with_hint(err: &Error) -> String {
    err.hint_text().map_or_else(|| err.message().to_owned(), |hint| format!("{}; {hint}", err.message()))
}
