//! Where the probe tries: a workspace of its own where the daemon says what the workspace is, else a directory of the
//! daemon's.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use assistant_sandbox::protocol::{End, Exec, Exit, Level};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::super::run::exited;
use crate::{
    cx::Cx,
    error::{Error, ErrorKind, Result},
    sandbox::{self, Backend, Output},
};

/// What stands in it, beside the probe: a repository, and what is ours.
const REPOSITORY: [(&str, &str); 3] = [
    (".git/HEAD", "ref: refs/heads/main\n"),
    (".git/config", "[core]\n\trepositoryformatversion = 0\n"),
    (".git/hooks/pre-push.sample", "#!/bin/sh\n"),
];
const OURS: [(&str, &str); 2] = [("config.toml", "[x]\n"), ("cache/x", "x\n")];

/// Makes a directory of the workspace with a repository in it; a command does it, so that all of it belongs to whom files
/// of commands belong to, and nothing is written that a command could have put a link in place of.
const MAKE: &str = r#"umask 002; mkdir "$1" "$1/.git" "$1/.git/hooks" && cd "$1/.git" && printf "$2" >HEAD && printf "$3" >config && printf "$4" >hooks/pre-push.sample"#;
/// Seconds for making it.
const TIME: u64 = 60;

/// The prepared ground; it goes with its owner.
pub(super) enum Ground {
    /// A workspace of its own.
    Apart(TempDir),
    /// A directory of the workspace, and one below `.assistant`, where the probe lies.
    Within { made: Made, ours: TempDir, backend: Backend },
}

/// A directory of the workspace that a command made. The daemon removes it: commands cannot, what is in it is protected.
pub(super) struct Made {
    cx: Cx,
    name: String,
}

impl Ground {
    pub(super) async fn furnish(cx: &Cx, backend: Backend, probe: PathBuf) -> Result<Self> {
        let root = cx.root()?;
        if !backend.is_started_here() {
            let parent = root.path().join(".assistant");
            let ours = blocking(move || ours(&parent, &probe)).await?;
            return Ok(Self::Within { made: Made::new(cx).await?, ours, backend });
        }
        let config = cx.config.load_full();
        let is_root = nix::unistd::geteuid().is_root();
        let owner = is_root.then(|| sandbox::user(&config.sandbox, root.path())).transpose()?;
        // Where the commands' user comes by, as to the workspace itself.
        let beside = root.path().parent().filter(|_| owner.is_some()).map(Path::to_owned);
        let beside = beside.unwrap_or_else(|| cx.state_dir.clone());
        Ok(Self::Apart(blocking(move || apart(&beside, &probe, owner)).await?))
    }

    /// What stands in the workspace's place, if it is not the workspace.
    pub(super) fn workspace(&self) -> Option<&Path> {
        match self {
            Self::Apart(place) => Some(place.path()),
            Self::Within { .. } => None,
        }
    }

    /// Whether units are tried.
    pub(super) fn is_of_unit(&self) -> bool {
        matches!(self, Self::Within { backend: Backend::Unit, .. })
    }

    /// Where the probe runs, seen from the workspace.
    pub(super) fn cwd(&self) -> String {
        match self {
            Self::Apart(_) => String::new(),
            Self::Within { made, .. } => made.name.clone(),
        }
    }

    /// The probe from there, and what it is told of the place: by whatever path a command finds the workspace.
    pub(super) fn probe(&self) -> Vec<String> {
        match self {
            Self::Apart(_) => ["./.assistant/probe", "--workspace", "."].map(str::to_owned).to_vec(),
            Self::Within { ours, .. } => {
                let name = ours.path().file_name().unwrap_or_default().to_string_lossy();
                let ours = format!("../.assistant/{name}");
                vec![format!("{ours}/probe"), "--workspace".to_owned(), ".".to_owned(), "--ours".to_owned(), ours]
            }
        }
    }
}

impl Made {
    async fn new(cx: &Cx) -> Result<Self> {
        // At level `read` no command could make it.
        let level = match cx.config.load().sandbox.level.0 {
            Level::Container => Level::Container,
            _ => Level::Work,
        };
        let name = format!(".sandbox-test-{:012x}", fastrand::u64(..1 << 48));
        let mut argv = ["sh", "-c", MAKE, "sh", &name].map(str::to_owned).to_vec();
        argv.extend(REPOSITORY.map(|(_, content)| content.to_owned()));
        // From here on it may be there, and is removed in whatever way this ends.
        let made = Self { cx: cx.clone(), name };
        command(cx, argv, level).await?;
        Ok(made)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let (cx, name) = (self.cx.clone(), std::mem::take(&mut self.name));
        self.cx.tasks.spawn_blocking(move || {
            let remove = || {
                let root = cx.root()?;
                root.remove(&root.locate(&root.rel(&name)?)?)
            };
            match remove() {
                Ok(()) => {}
                Err(err) if err.kind() == ErrorKind::NotFound => {}
                Err(err) => {
                    tracing::warn!(
                        directory = name,
                        error = err.chain(),
                        "what the test of the sandbox made is still there"
                    );
                }
            }
        });
    }
}

/// Runs a short command of our own in the workspace.
async fn command(cx: &Cx, argv: Vec<String>, level: Level) -> Result<()> {
    let mut limits = sandbox::limits(&cx.config.load().sandbox);
    limits.seconds = limits.seconds.min(TIME);
    let exec = Exec { argv, cwd: String::new(), env: [].into(), stdin: false, level, limits, proxy_login: None };
    let (_, said, exit) = hear(cx, None, &exec).await?;
    if exit.end == End::Exited && exit.code == Some(0) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let said = said.lines().next().map_or_else(String::new, |line| format!(": {line}"));
    Err(Error::unavailable(format!("no directory for the test can be made in the workspace{said}")))
}

/// Runs a command for the test: its standard output, its standard error, and its end.
pub(super) async fn hear(cx: &Cx, workspace: Option<&Path>, exec: &Exec) -> Result<(Vec<u8>, Vec<u8>, Exit)> {
    let (said, mut heard) = mpsc::channel(16);
    let listen = async {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(output) = heard.recv().await {
            match output {
                Output::Started => {}
                Output::Stdout(bytes) => stdout.extend(bytes),
                Output::Stderr(bytes) => stderr.extend(bytes),
            }
        }
        (stdout, stderr)
    };
    let (done, (stdout, stderr)) = tokio::join!(sandbox::exec_in(cx, workspace, exec, said), listen);
    let (_, exit) = exited(done?)?;
    Ok((stdout, stderr, exit))
}

async fn blocking(make: impl FnOnce() -> io::Result<TempDir> + Send + 'static) -> Result<TempDir> {
    let tried = tokio::task::spawn_blocking(make).await.map_err(Error::internal)?;
    tried.map_err(|err| Error::unavailable("a directory for the test cannot be made").source(err))
}

/// A workspace as one in use, for the user of commands.
fn apart(beside: &Path, probe: &Path, owner: Option<(u32, u32)>) -> io::Result<TempDir> {
    let place = tempfile::Builder::new().prefix("sandbox-test-").tempdir_in(beside)?;
    let write = |path: &Path, content: &str| {
        path.parent().map(fs::create_dir_all).transpose()?;
        fs::write(path, content)
    };
    for (path, content) in REPOSITORY {
        write(&place.path().join(path), content)?;
    }
    for (path, content) in OURS {
        write(&place.path().join(".assistant").join(path), content)?;
    }
    executable(probe, &place.path().join(".assistant/probe"))?;
    if let Some((uid, gid)) = owner {
        for path in [".", ".git", ".git/HEAD", ".git/config", ".git/hooks", ".git/hooks/pre-push.sample"] {
            chown(place.path().join(path), Some(uid), Some(gid))?;
        }
        for path in ["", "config.toml", "cache", "cache/x", "probe"] {
            chown(place.path().join(".assistant").join(path), Some(uid), Some(gid))?;
        }
    }
    Ok(place)
}

/// A directory of ours, which no command writes and every one may read.
fn ours(parent: &Path, probe: &Path) -> io::Result<TempDir> {
    fs::create_dir_all(parent)?;
    let ours = tempfile::Builder::new().prefix("sandbox-test-").tempdir_in(parent)?;
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    open(ours.path(), 0o755)?;
    fs::create_dir(ours.path().join("cache"))?;
    open(&ours.path().join("cache"), 0o777)?;
    for (path, content) in OURS {
        let path = ours.path().join(path);
        fs::write(&path, content)?;
        // By its mode anybody may: only the sandbox keeps it.
        open(&path, 0o666)?;
    }
    executable(probe, &ours.path().join("probe"))?;
    Ok(ours)
}

fn executable(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
}
