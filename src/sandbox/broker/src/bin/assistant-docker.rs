//! `assistant-docker`: arguments, socket and signals; the broker itself is `docker/`.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::ExitCode,
};

use assistant_broker::{
    docker::{Broker, config::Config},
    journal, listen, peers,
    program::{self, Program, Sockets, notify},
    settings::Fault,
};
use clap::Parser;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

const THREADS: usize = 2;

/// Starts containers for sandboxes, of one fixed kind; the only process that speaks to the container engine.
#[derive(Parser)]
#[command(name = "assistant-docker", version, max_term_width = 80)]
struct Args {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/assistant/docker.toml")]
    config: PathBuf,
    /// Socket for the daemon; not needed when the service manager passes one named "run"
    #[arg(long, value_name = "SOCKET")]
    listen: Option<PathBuf>,
    /// Directory for the sockets of runners, which is this process's alone
    #[arg(long, value_name = "DIR", env = "RUNTIME_DIRECTORY", default_value = "/run/assistant-docker-sessions")]
    runtime_dir: PathBuf,
    /// User that may speak on the socket, beside this process's own
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Check the configuration and exit: 0 if it is good, 78 if it is not
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    program::main::<Args>()
}

impl Program for Args {
    type Config = Config;
    const SOCKETS: &'static [&'static str] = &["run"];

    fn config_file(&self) -> &Path {
        &self.config
    }

    fn only_checks(&self) -> bool {
        self.check
    }

    fn load(file: &Path) -> Result<Config, Fault> {
        Config::load(file)
    }

    fn run(self, config: Config, mut sockets: Sockets) -> io::Result<()> {
        let socket = sockets.take("run", "--listen", self.listen.as_deref(), listen::bind)?;
        run(&self, config, socket)
    }
}

fn run(args: &Args, config: Config, socket: UnixListener) -> io::Result<()> {
    journal::start("assistant-docker");
    let users =
        peers::users(args.user.as_deref()).map_err(|err| io::Error::new(err.kind(), format!("--user: {err}")))?;
    let of_directory =
        |err: io::Error| io::Error::new(err.kind(), format!("--runtime-dir {}: {err}", args.runtime_dir.display()));
    let broker = own(args).and_then(|directory| Broker::new(config, directory)).map_err(of_directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("assistant-docker")
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let socket = tokio::net::UnixListener::from_std(socket)?;
        let mut serving = std::pin::pin!(broker.serve(socket, users));
        tracing::info!("ready");
        notify(&[NotifyState::Ready]);
        loop {
            tokio::select! {
                () = &mut serving => return Ok(()),
                _ = terminate.recv() => stop(&broker),
                _ = interrupt.recv() => stop(&broker),
            }
        }
    })
}

/// The runtime directory, closed to others, without what an earlier process left there.
fn own(args: &Args) -> io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&args.runtime_dir)?;
    fs::set_permissions(&args.runtime_dir, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(&args.runtime_dir)?.filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with("assistant-") {
            let _ = fs::remove_dir_all(entry.path()); // a name that is in use is told when it is wanted
        }
    }
    args.runtime_dir.canonicalize()
}

fn stop(broker: &Broker) {
    notify(&[NotifyState::Stopping]);
    broker.stop();
}
