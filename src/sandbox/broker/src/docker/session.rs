//! One session: a container, and the bytes between its runner and the daemon.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use assistant_sandbox::protocol::{Limits, pass_proxy};
use tokio::{
    io::{AsyncWriteExt as _, copy_bidirectional},
    net::{UnixListener, UnixStream},
    sync::OwnedSemaphorePermit,
    time::timeout,
};

use super::{
    Broker,
    config::{Config, User},
    engine::Engine,
    receive, template,
};
use crate::container::{Open, Opened, Refused, RefusedKind, Reply, Request};

/// How long the daemon may take to say what it wants.
const ASKING: Duration = Duration::from_secs(10);

/// The command that makes the default image.
const BUILD: &str = "/usr/lib/assistant/build-work-image.sh";

/// Name of the socket in a session's directory.
const SOCKET: &str = "runner";

/// Bytes of the longest path of a socket, `unix(7)`: the last is for the end.
const LONGEST: usize = 107;

/// One connection of the daemon.
pub(super) async fn attend(broker: &Arc<Broker>, mut daemon: UnixStream) {
    let ended: io::Result<()> = tokio::select! {
        () = broker.stop.cancelled() => Ok(()),
        ended = serve(broker, &mut daemon) => ended,
    };
    if let Err(err) = ended {
        tracing::debug!(%err, "a connection broke off");
    }
}

async fn serve(broker: &Arc<Broker>, daemon: &mut UnixStream) -> io::Result<()> {
    let (line, proxy) = timeout(ASKING, receive::line(daemon)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let reply = match serde_json::from_slice(&line) {
        Ok(Request::Check(_)) => check(broker).await,
        Ok(Request::Open(open)) => match begin(broker, &open, daemon, proxy).await {
            Ok(mut session) => {
                tell(daemon, &Reply::Opened(session.opened)).await?;
                return copy_bidirectional(daemon, &mut session.runner).await.map(drop);
            }
            Err(refused) => Err(refused),
        },
        Err(err) => Err(refused(RefusedKind::Malformed, format!("the line is no request: {err}"))),
    };
    let reply = reply.unwrap_or_else(|refused| {
        tracing::warn!(kind = ?refused.kind, "{refused}");
        Reply::Refused(refused)
    });
    tell(daemon, &reply).await
}

async fn check(broker: &Broker) -> Result<Reply, Refused> {
    let engine = broker.engine().await?;
    let mut images = BTreeMap::new();
    for name in &broker.config.images {
        images.insert(name.clone(), engine.image(name).await.map_err(failed)?.is_some());
    }
    Ok(Reply::Checked { engine: engine.version, images })
}

/// A session whose runner has connected.
struct Session {
    opened: Opened,
    runner: UnixStream,
    _container: Container,
}

/// A container that exists, perhaps; it does not outlive this.
struct Container {
    name: String,
    directory: PathBuf,
    engine: Arc<Engine>,
    broker: Arc<Broker>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory); // what is left goes at the next start
        let (name, engine, permit) = (std::mem::take(&mut self.name), self.engine.clone(), self.permit.take());
        self.broker.tasks.spawn(async move {
            if let Err(err) = engine.remove(&name).await {
                tracing::error!(%err, container = name, "a container could not be removed");
            }
            drop(permit);
        });
    }
}

async fn begin(
    broker: &Arc<Broker>,
    open: &Open,
    daemon: &UnixStream,
    proxy: Option<OwnedFd>,
) -> Result<Session, Refused> {
    let config = &broker.config;
    if open.net && proxy.is_none() {
        return Err(refused(
            RefusedKind::Malformed,
            "no descriptor of the egress proxy's socket came along".to_owned(),
        ));
    }
    let permit = broker.room.clone().try_acquire_owned().map_err(|_| {
        refused(RefusedKind::TooManySessions, format!("{} containers run already", config.sessions))
            .with_remedy("wait for one to end, or raise `sessions` in docker.toml")
    })?;
    let wanted = open.image.as_ref().or(config.images.first()).cloned().unwrap_or_default();
    if !config.images.contains(&wanted) {
        return Err(refused(RefusedKind::ImageNotAllowed, "the image is not one of those that are allowed".to_owned())
            .with_remedy("add it to `images` in docker.toml"));
    }
    let user = user(config, daemon)?;
    let engine = Arc::new(broker.engine().await?);
    let image = engine.image(&wanted).await.map_err(failed)?.ok_or_else(|| {
        refused(RefusedKind::ImageMissing, format!("the engine has no image {wanted}"))
            .with_remedy(&format!("build it: {BUILD} {wanted}"))
    })?;
    let mut limits = bounded(&open.limits, &config.limits);
    limits.cpu_millis = limits.cpu_millis.min(engine.processors.saturating_mul(1000));

    let name = name().map_err(failed)?;
    let directory = broker.directory.join(&name);
    let listener = listen(&directory).map_err(failed)?;
    let container = Container { name, directory, engine, broker: broker.clone(), permit: Some(permit) };
    let body = template::container(&template::Session {
        image: &image,
        workspace: &config.workspace,
        runner: &config.runner,
        directory: &container.directory,
        socket: SOCKET,
        user,
        limits,
        protect: &open.protect,
        net: open.net,
        apparmor: container.engine.apparmor,
        broker: &broker.label(),
    });
    container.engine.create(&container.name, body).await.map_err(failed)?;
    container.engine.start(&container.name).await.map_err(failed)?;
    let runner = connected(&container, &listener, config.start_seconds).await?;
    // From now on there is no way from inside to this socket.
    let _ = fs::remove_file(container.directory.join(SOCKET));
    if let Some(proxy) = proxy.filter(|_| open.net) {
        pass_proxy(runner.as_fd(), proxy.as_fd()).map_err(failed)?;
    }
    let opened = Opened {
        container: container.name.clone(),
        engine: container.engine.version.clone(),
        image,
        limits,
        process: runner.peer_cred().ok().and_then(|peer| u32::try_from(peer.pid()?).ok()).filter(|pid| *pid != 0),
    };
    Ok(Session { opened, runner, _container: container })
}

/// The runner's connection, unless its container ends first.
async fn connected(container: &Container, listener: &UnixListener, seconds: u32) -> Result<UnixStream, Refused> {
    let limit = Duration::from_secs(seconds.into());
    let first = async {
        tokio::select! {
            accepted = listener.accept() => accepted.map(|(stream, _)| stream).map_err(failed),
            status = container.engine.ended(&container.name) => {
                let status = status.map_or_else(String::new, |status| format!(" with status {status}"));
                Err(failed(format!("the container ended{status} before its runner connected")))
            }
        }
    };
    timeout(limit, first).await.unwrap_or_else(|_| Err(failed(format!("the runner did not connect in {seconds} s"))))
}

/// A name that no other container has, of this broker or of another one.
fn name() -> io::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(named(u128::from_ne_bytes(bytes)))
}

fn named(number: u128) -> String {
    format!("assistant-{number:032x}")
}

/// Whether the sockets of sessions can be made below a directory: the kernel bounds the length of their paths.
///
/// # Errors
/// How much too long its path is.
pub(super) fn check_length(directory: &Path) -> io::Result<()> {
    let (length, longest) =
        (directory.as_os_str().len(), LONGEST - Path::new(&named(0)).join(SOCKET).as_os_str().len() - 1);
    if length <= longest {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "its path has {length} bytes, and below a path of more than {longest} no socket can be made: name a shorter one"
    )))
}

/// The socket for the runner, in a directory that the container gets. Other users stop at the directory above.
fn listen(directory: &Path) -> io::Result<UnixListener> {
    fs::DirBuilder::new().mode(0o711).create(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o711))?;
    let path = directory.join(SOCKET);
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Who commands are: the user who asks, which is the daemon; where that is root, the workspace's owner.
fn user(config: &Config, daemon: &UnixStream) -> Result<User, Refused> {
    if let Some(user) = config.user {
        return Ok(user);
    }
    let asker = daemon.peer_cred().map_err(failed)?;
    if asker.uid() != 0 && asker.gid() != 0 {
        return Ok(User { uid: asker.uid(), gid: asker.gid() });
    }
    let owner = fs::metadata(&config.workspace)
        .map_err(|err| failed(format!("the workspace {}: {err}", config.workspace.display())))?;
    match (owner.uid(), owner.gid()) {
        (0, _) | (_, 0) => Err(failed("the workspace belongs to root, and commands never run as root")
            .with_remedy("set `user` in docker.toml")),
        (uid, gid) => Ok(User { uid, gid }),
    }
}

/// What is asked for, but at most what is configured. Nothing is 0, which means `no bound` to an engine.
fn bounded(asked: &Limits, most: &Limits) -> Limits {
    let bound = |asked: u64, most: u64| asked.clamp(1, most.max(1));
    Limits {
        seconds: bound(asked.seconds, most.seconds),
        memory_bytes: bound(asked.memory_bytes, most.memory_bytes),
        processes: bound(asked.processes, most.processes),
        cpu_millis: bound(asked.cpu_millis, most.cpu_millis),
        tmp_bytes: bound(asked.tmp_bytes, most.tmp_bytes),
        file_bytes: bound(asked.file_bytes, most.file_bytes),
        output_bytes: bound(asked.output_bytes, most.output_bytes),
    }
}

fn refused(kind: RefusedKind, message: String) -> Refused {
    Refused { kind, message, remedy: None }
}

/// Something that should have worked did not.
pub(super) fn failed(err: impl std::fmt::Display) -> Refused {
    refused(RefusedKind::StartFailed, format!("no container was started: {err}"))
}

async fn tell(daemon: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    daemon.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_is_too_long_before_a_socket_in_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let of = |length: usize| {
            let path = dir.path().join("x".repeat(length - dir.path().as_os_str().len() - 1));
            fs::create_dir(&path).unwrap();
            path
        };
        let (longest, longer) = (of(57), of(58));
        check_length(&longest).unwrap();
        listen(&longest.join(named(u128::MAX))).unwrap();
        let message = check_length(&longer).unwrap_err().to_string();
        assert!(message.contains("58 bytes") && message.contains("more than 57"), "{message}");
        listen(&longer.join(named(0))).unwrap_err();
    }

    #[test]
    fn bounds_are_never_absent_and_never_above_the_configured() {
        let most = Limits { memory_bytes: 100, processes: 5, ..Limits::default() };
        let asked = Limits { memory_bytes: 0, processes: 50, seconds: 3, tmp_bytes: 0, ..Limits::default() };
        let bounded = bounded(&asked, &most);
        assert_eq!((bounded.memory_bytes, bounded.processes, bounded.seconds, bounded.tmp_bytes), (1, 5, 3, 1));
    }
}
