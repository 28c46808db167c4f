//! How a session with each backend begins.

use std::{
    fs, io,
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use assistant_broker::container::{self, Fault, Open};
use assistant_sandbox::protocol::{self, Level, Limits, Wishes};
use serde_json::Value;
use tokio::{net::UnixStream, sync::Semaphore, time::timeout};

use super::{backend::Backend, config::Sandbox, session::Session};
use crate::error::{Error, Result};

#[cfg(test)]
mod tests;

/// Who commands are in a workspace of root's: a uid that nobody has (Debian policy 9.2.2 reserves it).
const NOBODYS: u32 = 65533;
/// Where the package installs the runner.
const INSTALLED: &str = "/usr/lib/assistant/assistant-sandbox";
/// Units that are being started.
static STARTING: Semaphore = Semaphore::const_new(8);
/// How long systemd may take to accept.
const ACCEPT_TIME: Duration = Duration::from_secs(5);
/// How long a container may take to start.
const CONTAINER_TIME: Duration = Duration::from_secs(60);

/// A session with this backend, whatever it promises.
pub(super) async fn begin(backend: Backend, workspace: &Path, config: &Sandbox, level: Level) -> Result<Session> {
    match backend {
        Backend::Unit => {
            wish(config, level).await;
            unit(Path::new(&config.unit_socket), proxy(config, level)?).await
        }
        Backend::Docker => docker(Path::new(&config.docker_socket), config, proxy(config, level)?).await,
        Backend::Namespace | Backend::Landlock => {
            let mut arguments = arguments(workspace, config, backend)?;
            if level == Level::WorkNet {
                arguments.extend(["--proxy".to_owned(), config.egress_socket.clone()]);
            }
            Session::start(&runner(config)?, &arguments).await
        }
    }
}

/// Writes what is asked of a unit, unless it stands there already. Nothing depends on it: what was not granted is seen by
/// what the runner says.
async fn wish(config: &Sandbox, level: Level) {
    let net = level == Level::WorkNet;
    let wishes = Wishes { protect: config.protect.clone(), limits: Some(limits(config)), net };
    let path = PathBuf::from(&config.unit_wishes);
    let written = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let text = serde_json::to_vec(&wishes)?;
        if fs::read(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let new = path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(new, path)
    });
    if let Ok(Err(err)) = written.await {
        tracing::debug!(%err, path = config.unit_wishes, "what is asked of units cannot be written");
    }
}

/// A descriptor that leads to the egress proxy, and only there, for a level that needs one; commands have no path to it.
fn proxy(config: &Sandbox, level: Level) -> Result<Option<fs::File>> {
    if level != Level::WorkNet {
        return Ok(None);
    }
    let path = Path::new(&config.egress_socket);
    let opened = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_PATH).open(path);
    opened.map(Some).map_err(|err| unreachable("sandbox.egress_socket", path, &err))
}

async fn unit(path: &Path, proxy: Option<fs::File>) -> Result<Session> {
    // So many at once that come at the same time are each ready in time.
    let _starting = STARTING.acquire().await.map_err(Error::internal)?;
    let connected = timeout(ACCEPT_TIME, UnixStream::connect(path)).await;
    let socket = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|err| {
        unreachable("sandbox.unit_socket", path, &err)
            .hint("where the units are installed: sudo systemctl enable --now assistant-sandbox.socket")
    })?;
    if let Some(proxy) = proxy {
        let passed = protocol::pass_proxy(socket.as_fd(), proxy.as_fd());
        passed.map_err(|err| unreachable("sandbox.unit_socket", path, &err))?;
    }
    Session::begin(socket, None).await.map_err(|err| {
        let hint = err.hint_text().map(str::to_owned);
        err.hint(hint.unwrap_or_else(|| "journalctl -u 'assistant-sandbox@*' -n 50 says more".to_owned()))
    })
}

async fn docker(path: &Path, config: &Sandbox, proxy: Option<fs::File>) -> Result<Session> {
    let (image, protect) = (Some(config.image.clone()), config.protect.clone());
    let open = Open { image, limits: limits(config), protect, net: proxy.is_some() };
    let opened = timeout(CONTAINER_TIME, container::open(path, open, proxy.as_ref().map(fs::File::as_fd))).await;
    let (stream, opened) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(Fault::Refused(refused))) => {
            let err = Error::unavailable(refused.message);
            return Err(match refused.remedy {
                Some(remedy) => err.hint(remedy),
                None => err,
            });
        }
        Ok(Err(Fault::Io(err))) => {
            return Err(unreachable("sandbox.docker_socket", path, &err).hint("install the package assistant-docker"));
        }
        Err(_) => {
            return Err(Error::unavailable(format!("no container came up within {} s", CONTAINER_TIME.as_secs())));
        }
    };
    let mut session = Session::begin(stream, None).await?;
    // Inside it counts from 1; the proxy sees what the broker sees.
    session.ready.pid = opened.process;
    Ok(session)
}

pub(super) fn unreachable(key: &'static str, path: &Path, err: &io::Error) -> Error {
    let path = path.display();
    let message = match err.kind() {
        io::ErrorKind::NotFound => format!("not installed: there is no {path}"),
        io::ErrorKind::ConnectionRefused => format!("nobody listens at {path}"),
        io::ErrorKind::PermissionDenied => format!("the daemon may not connect to {path}"),
        io::ErrorKind::InvalidInput => format!("{path} is longer than the path of a socket can be"),
        _ => format!("{path} does not answer: {err}"),
    };
    Error::unavailable(message).field(key)
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
    let owner =
        fs::metadata(workspace).map_err(|err| Error::unavailable("the workspace cannot be looked at").source(err))?;
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
