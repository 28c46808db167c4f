//! The same of every backend that this machine has: a daemon as a process of its own with that backend and no other.
//!
//! Containers need an engine, which `src/sandbox/broker/tests/docker/engine.sh` starts and names in the environment. Units
//! are met in the booted systemd.

mod containers;
mod kills;
mod owners;
mod sessions;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use assistant_api::{
    client::{Client, Error},
    sandbox::{CommandResult, SandboxStatus, ScriptReply, ScriptRequest},
};
use tempfile::TempDir;

use super::{ModelServer, config, empty, inside, runner};
use crate::support::{
    process::{Place, Process},
    skip,
};

/// Whoever commands are where the daemon is root.
const NOBODY: u32 = 65534;

/// A backend, and whoever the daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NamespaceOfRoot,
    NamespaceOfUser,
    Landlock,
    Docker,
}

impl Kind {
    const fn backend(self) -> &'static str {
        match self {
            Self::NamespaceOfRoot | Self::NamespaceOfUser => "namespace",
            Self::Landlock => "landlock",
            Self::Docker => "docker",
        }
    }
}

/// A daemon as a process, with one backend.
struct Host {
    kind: Kind,
    place: Place,
    process: Process,
    dir: TempDir,
    broker: Option<Broker>,
}

/// `assistant-docker`, before a real engine; it ends with this.
struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Host {
    /// Starts one; `more` are further keys of `[sandbox]`. None where this machine cannot have it, which is said.
    fn start(kind: Kind, model: &ModelServer, more: &str) -> Option<Self> {
        let is_root = nix::unistd::geteuid().is_root();
        if !is_root && kind != Kind::NamespaceOfUser {
            skip(&format!("{kind:?}: needs root"));
            return None;
        }
        let dir = tempfile::Builder::new().prefix("host-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let workspace = dir.path().join("workspace");
        fs::create_dir(&workspace).unwrap();
        if is_root {
            chown(&workspace, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let broker = match kind {
            Kind::Docker => Some(Broker::start(dir.path())?),
            _ => None,
        };
        let place = Place::new(&text(kind, model, dir.path(), more));
        let process = start(kind, &place, dir.path());
        Some(Self { kind, place, process, dir, broker })
    }

    fn workspace(&self) -> PathBuf {
        self.dir.path().join("workspace")
    }

    fn client(&self) -> Client {
        self.place.client()
    }

    /// The answer to a command of a person.
    async fn ask(&self, argv: &[&str], seconds: Option<u64>) -> Result<ScriptReply, Error> {
        let command = argv.iter().map(ToString::to_string).collect();
        let asked = ScriptRequest { command, timeout_seconds: seconds, ..empty() };
        self.client().post("/api/workspace/script-runs", &asked).await
    }

    /// What became of a command of a person.
    async fn person(&self, argv: &[&str]) -> CommandResult {
        let reply = self.ask(argv, None).await.unwrap();
        reply.result.unwrap_or_else(|| panic!("{:?}: {:?}", self.kind, reply.error))
    }

    async fn bash(&self, script: &str) -> CommandResult {
        self.person(&["bash", "-c", script]).await
    }

    /// Makes sure that it is this backend which gives the sandbox.
    async fn check(&self) {
        let status: SandboxStatus = self.client().get("/api/sandbox").await.unwrap();
        assert_eq!(status.backend.as_deref(), Some(self.kind.backend()), "{status:?}");
    }
}

/// The configuration of a host.
fn text(kind: Kind, model: &ModelServer, dir: &Path, more: &str) -> String {
    let accepted = match kind {
        Kind::Landlock => "require = [\"read\", \"network\", \"ipc\", \"signals\", \"syscalls\"]\n",
        _ => "",
    };
    format!(
        "{}[filesystem]\nshared_root = \"{}\"\n[sandbox]\nbackend = \"{}\"\nrunner = \"{}\"\ndocker_socket = \"{}\"\n{accepted}{more}",
        config(model),
        dir.join("workspace").display(),
        kind.backend(),
        program(kind, dir, &runner()).display(),
        dir.join("docker.sock").display(),
    )
}

/// Starts the daemon; as an ordinary user where that is the kind.
fn start(kind: Kind, place: &Place, dir: &Path) -> Process {
    let is_root = nix::unistd::geteuid().is_root();
    if kind != Kind::NamespaceOfUser || !is_root {
        let process = place.start(&[]);
        assert!(process.ready, "{}", place.log());
        return process;
    }
    let daemon = program(kind, dir, Path::new(env!("CARGO_BIN_EXE_assistantd")));
    own(place.config_file().parent().unwrap());
    let script = format!(
        "shift; exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --bounding-set -all '{}' \"$@\"",
        daemon.display()
    );
    let process = place.start_as(place.command_through(&["sh", "-c", &script, "sh"]), &[]);
    assert!(process.ready, "{}", place.log());
    process
}

/// A program where any user may start it, which the directory of the build need not be.
fn program(kind: Kind, dir: &Path, built: &Path) -> PathBuf {
    if kind != Kind::NamespaceOfUser {
        return built.to_owned();
    }
    let copy = dir.join(built.file_name().unwrap());
    if !copy.exists() {
        fs::copy(built, &copy).unwrap();
    }
    copy
}

/// Gives a directory and all in it to whoever runs the commands.
fn own(path: &Path) {
    if nix::unistd::geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            own(&entry.unwrap().path());
        }
    }
}

/// What `engine.sh` put into the environment: the engine's socket, the static runner, the broker's program.
fn engine() -> Option<[String; 3]> {
    let of = |name| std::env::var(name).ok();
    let all = ["ASSISTANT_TEST_ENGINE", "ASSISTANT_TEST_RUNNER", "ASSISTANT_TEST_BROKER"].map(of);
    let [Some(engine), Some(runner), Some(broker)] = all else {
        skip("no container engine for tests: engine.sh starts one, which needs root");
        return None;
    };
    Some([engine, runner, broker])
}

/// Where the sockets of a broker's runners are; short, as the path of a socket has to be.
fn sessions(dir: &Path) -> PathBuf {
    dir.join("s")
}

impl Broker {
    /// Starts it for the workspace in `dir`, listening beside it.
    fn start(dir: &Path) -> Option<Self> {
        Self::start_with(dir, "")
    }

    /// The same with more keys of its configuration.
    fn start_with(dir: &Path, more: &str) -> Option<Self> {
        let [engine, runner, program] = engine()?;
        let text = format!(
            "engine = \"{engine}\"\nrunner = \"{runner}\"\nworkspace = \"{}\"\n{more}",
            dir.join("workspace").display()
        );
        fs::write(dir.join("docker.toml"), text).unwrap();
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
        command.arg("--config").arg(dir.join("docker.toml")).arg("--listen").arg(dir.join("docker.sock"));
        command.arg("--runtime-dir").arg(sessions(dir));
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = log.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("ready")), "assistant-docker does not start");
        // What it says later is read so that it never waits for somebody to do so.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self(child))
    }
}

/// One test for each kind of host, named after what it tries.
macro_rules! on_every_host {
    ($($test:ident)*) => {
        $(mod $test {
            use super::super::Kind;

            #[tokio::test(flavor = "multi_thread")]
            async fn in_namespaces_of_root() {
                super::$test(Kind::NamespaceOfRoot).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn in_namespaces_of_a_user() {
                super::$test(Kind::NamespaceOfUser).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn with_landlock_alone() {
                super::$test(Kind::Landlock).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn in_containers() {
                super::$test(Kind::Docker).await;
            }
        })*
    };
}
use on_every_host;
