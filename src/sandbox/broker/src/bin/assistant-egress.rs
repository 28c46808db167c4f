//! `assistant-egress`: arguments, sockets and signals; the proxy itself is `egress/`.

use std::{
    io,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::ExitCode,
};

use assistant_broker::{
    config::Config,
    egress::{Egress, network::Internet},
    journal, listen, peers,
    program::{self, Program, Sockets, notify},
    settings::Fault,
};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

const THREADS: usize = 2;
/// A name that is being resolved takes one.
const BLOCKING_THREADS: usize = 32;

/// The only way out of a sandbox: a proxy for HTTP and HTTPS to listed hosts.
///
/// SIGHUP reads the configuration again; one with a fault is refused, and the old one stays in force.
#[derive(Parser)]
#[command(name = "assistant-egress", version, max_term_width = 80)]
struct Args {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/assistant/egress.toml")]
    config: PathBuf,
    /// Socket for commands; not needed when the service manager passes one named "proxy"
    #[arg(long, value_name = "SOCKET")]
    listen: Option<PathBuf>,
    /// Socket for the daemon; not needed when the service manager passes one named "control"
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// User that may speak on the control socket, beside this process's own
    #[arg(long, value_name = "USER")]
    control_user: Option<String>,
    /// Check the configuration and exit: 0 if it is good, 78 if it is not
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    program::main::<Args>()
}

impl Program for Args {
    type Config = Config;
    const SOCKETS: &'static [&'static str] = &["proxy", "control"];

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
        // Commands run as users of their own; what lets them in is their token.
        let proxy = sockets.take("proxy", "--listen", self.listen.as_deref(), listen::bind_for_all)?;
        let control = sockets.take("control", "--control", self.control.as_deref(), listen::bind)?;
        run(&self, config, (proxy, control))
    }
}

fn run(args: &Args, config: Config, (proxy, control): (UnixListener, UnixListener)) -> io::Result<()> {
    journal::start("assistant-egress");
    let users = peers::users(args.control_user.as_deref())
        .map_err(|err| io::Error::new(err.kind(), format!("--control-user: {err}")))?;
    // Two descriptors a tunnel; the soft limit is the 1024 of select(2).
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("assistant-egress")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let (proxy, control) =
            (tokio::net::UnixListener::from_std(proxy)?, tokio::net::UnixListener::from_std(control)?);
        tracing::info!(hosts = config.allow.len(), "ready");
        let egress = Egress::new(config, args.config.display().to_string(), Internet);
        let mut serving = std::pin::pin!(egress.serve(proxy, control, users));
        notify(&[NotifyState::Ready]);
        loop {
            tokio::select! {
                () = &mut serving => return Ok(()),
                _ = terminate.recv() => stop(&egress),
                _ = interrupt.recv() => stop(&egress),
                _ = hangup.recv() => reload(&egress, args),
            }
        }
    });
    // A name that is still being resolved must not hold the process.
    runtime.shutdown_background();
    outcome
}

fn stop(egress: &Egress) {
    notify(&[NotifyState::Stopping]);
    egress.stop();
}

fn reload(egress: &Egress, args: &Args) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
    match Config::load(&args.config) {
        Ok(config) => {
            tracing::info!(hosts = config.allow.len(), "the configuration is read again");
            egress.reload(config);
            notify(&[NotifyState::Status("")]);
        }
        Err(fault) => {
            tracing::error!("the configuration has a fault, and the old one stays in force: {fault}");
            notify(&[NotifyState::Status("the configuration has a fault; the old one is in force")]);
        }
    }
    notify(&[NotifyState::Ready]);
}
