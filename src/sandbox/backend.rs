//! Which runner is asked: the first in order that gives every guarantee that the configuration requires.
//!
//! What a runner gives it says itself, in the first frame of each session; so no session is used that promises less, even
//! when the host changed since the last one.

use std::path::{Path, PathBuf};

use assistant_api::sandbox::Refusal;
use assistant_sandbox::protocol::{Guarantee, Limits, Ready};
use serde_json::Value;

use super::{
    config::{Choice, Sandbox},
    session::Session,
};
use crate::error::{Error, Result};

/// Who commands are in a workspace of root's: a uid that nobody has (Debian policy 9.2.2 reserves it).
const NOBODYS: u32 = 65533;
/// Where the package installs the runner.
const INSTALLED: &str = "/usr/lib/assistant/assistant-sandbox";

/// Who makes the walls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The runner, with namespaces of its own.
    Namespace,
    /// Landlock and seccomp alone.
    Landlock,
}

impl Backend {
    /// The name in the configuration and in `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Landlock => "landlock",
        }
    }

    /// Those that a choice allows, best first.
    fn candidates(choice: Choice) -> Result<&'static [Self]> {
        match choice {
            Choice::Auto => Ok(&[Self::Namespace, Self::Landlock]),
            Choice::Namespace => Ok(&[Self::Namespace]),
            Choice::Landlock => Ok(&[Self::Landlock]),
            Choice::Unit | Choice::Docker => Err(Error::unavailable("this backend is not installed here")
                .field("sandbox.backend")
                .hint("set sandbox.backend to \"auto\", \"namespace\" or \"landlock\"")),
        }
    }
}

/// A session with the first backend that gives what is required, and why those before it were not taken.
pub(super) async fn open(workspace: &Path, config: &Sandbox) -> (Result<(Backend, Session)>, Vec<Refusal>) {
    let candidates = match Backend::candidates(config.backend) {
        Ok(candidates) => candidates,
        Err(err) => return (Err(err), Vec::new()),
    };
    let mut refusals = Vec::new();
    for backend in candidates {
        match try_open(workspace, config, *backend).await {
            Ok(session) => return (Ok((*backend, session)), refusals),
            Err(err) => {
                let reason = match err.hint_text() {
                    Some(hint) => format!("{}; {hint}", err.message()),
                    None => err.message().to_owned(),
                };
                refusals.push(Refusal { backend: backend.as_str().to_owned(), reason });
            }
        }
    }
    let reasons: Vec<_> = refusals.iter().map(|refusal| format!("{}: {}", refusal.backend, refusal.reason)).collect();
    let message = format!("no sandbox of this host gives what sandbox.require asks for ({})", reasons.join(" | "));
    (
        Err(Error::unavailable(message)
            .field("sandbox.require")
            .hint("assistantctl sandbox test shows each guarantee")),
        refusals,
    )
}

async fn try_open(workspace: &Path, config: &Sandbox, backend: Backend) -> Result<Session> {
    let session = Session::start(&runner(config)?, &arguments(workspace, config, backend)?).await?;
    check(&session.ready, &config.require.0)?;
    Ok(session)
}

/// Refuses a runner that promises less than is required.
pub(super) fn check(ready: &Ready, required: &[Guarantee]) -> Result<()> {
    let lacking: Vec<_> = required.iter().filter(|guarantee| !ready.guarantees.contains_key(guarantee)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let reasons = lacking.into_iter().map(|guarantee| {
        let name = serde_json::to_value(guarantee).ok().and_then(|name| name.as_str().map(str::to_owned));
        let reason = ready.missing.get(guarantee).map_or("not given", String::as_str);
        format!("{} ({reason})", name.unwrap_or_default())
    });
    Err(Error::unavailable(format!("without {}", reasons.collect::<Vec<_>>().join(", "))))
}

/// A program that is installed with the runner.
pub fn program_beside_runner(config: &Sandbox, name: &str) -> Result<PathBuf> {
    let path = Path::new(&runner(config)?).with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::unavailable(format!("{name} is not installed beside the sandbox's runner")).field("sandbox.runner"))
}

/// The runner's program.
fn runner(config: &Sandbox) -> Result<String> {
    let beside = || std::env::current_exe().ok()?.parent().map(|dir| dir.join("assistant-sandbox"));
    let candidates = match &config.runner {
        Some(path) => vec![PathBuf::from(path)],
        None => beside().into_iter().chain([PathBuf::from(INSTALLED)]).collect(),
    };
    let found = candidates.iter().find(|path| path.is_file());
    found.and_then(|path| path.to_str()).map(str::to_owned).ok_or_else(|| {
        let tried: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
        Error::unavailable(format!("the sandbox's runner is not there: {}", tried.join(", ")))
            .field("sandbox.runner")
            .hint("install the package, or build it with packaging/build-sandbox.sh and set sandbox.runner")
    })
}

/// The walls, as the runner's arguments.
fn arguments(workspace: &Path, config: &Sandbox, backend: Backend) -> Result<Vec<String>> {
    let mut arguments = vec!["serve".to_owned(), "--backend".to_owned(), backend.as_str().to_owned()];
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    add("--workspace", utf8(workspace)?);
    if nix::unistd::geteuid().is_root() {
        let (uid, gid) = user(config, workspace)?;
        add("--uid", uid.to_string());
        add("--gid", gid.to_string());
    }
    for path in &config.protect {
        add("--protect", path.clone());
    }
    // The names of the options are those of the fields.
    if let Ok(Value::Object(limits)) = serde_json::to_value(limits(config)) {
        for (name, value) in limits {
            add(&format!("--{}", name.replace('_', "-")), value.to_string());
        }
    }
    Ok(arguments)
}

/// The most that a command of this configuration gets.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range of sandbox.cpus is checked")]
pub fn limits(config: &Sandbox) -> Limits {
    Limits {
        seconds: config.max_timeout_seconds.0.as_secs(),
        memory_bytes: config.memory.0,
        processes: config.processes.into(),
        cpu_millis: (config.cpus * 1000.0) as u64,
        tmp_bytes: config.tmp.0,
        file_bytes: config.max_file.0,
        output_bytes: config.max_output.0,
    }
}

/// Who commands run as when the daemon is root: never root itself.
pub fn user(config: &Sandbox, workspace: &Path) -> Result<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(workspace)
        .map_err(|err| Error::unavailable("the workspace cannot be looked at").source(err))?;
    match config.uid {
        Some(0) => Err(Error::unavailable("commands never run as root").field("sandbox.uid").hint("set another uid")),
        Some(uid) => Ok((uid, if owner.uid() == uid { owner.gid() } else { uid })),
        None if owner.uid() != 0 => Ok((owner.uid(), owner.gid())),
        None => Ok((NOBODYS, NOBODYS)),
    }
}

fn utf8(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::unavailable("the workspace's path is not UTF-8"))
}
