//! `assistant-egress`: arguments, sockets and signals; the proxy itself is `egress/`.

use std::{
    io::{self, Write as _},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::ExitCode,
};

use assistant_broker::{
    config::Config,
    egress::{Egress, network::Internet},
    journal, listen, peers,
};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

const FAILURE: u8 = 1;
const USAGE: u8 = 64;
const CONFIG: u8 = 78;

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
    let inherited = listen::inherited(&["proxy", "control"]);
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(err) => {
            let _ = err.print();
            return if err.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(fault) => return complain(&fault.to_string(), CONFIG),
    };
    if args.check {
        let _ = writeln!(io::stdout(), "the configuration is good: {}", args.config.display());
        return ExitCode::SUCCESS;
    }
    let outcome = inherited.and_then(|mut inherited| {
        let mut take = |name: &str, path: &Option<PathBuf>, bind: fn(&Path) -> io::Result<UnixListener>| match (
            inherited.remove(name),
            path,
        ) {
            (Some(socket), None) => Ok(socket),
            (None, Some(path)) => {
                bind(path).map_err(|err| io::Error::new(err.kind(), format!("listening at {}: {err}", path.display())))
            }
            (Some(_), Some(_)) => Err(io::Error::other(format!("the {name} socket is both inherited and an argument"))),
            (None, None) => Err(io::Error::other(format!("there is no {name} socket: give --listen and --control"))),
        };
        // Commands run as users of their own; what lets them in is their token.
        let sockets =
            (take("proxy", &args.listen, listen::bind_for_all)?, take("control", &args.control, listen::bind)?);
        run(&args, config, sockets)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => complain(&err.to_string(), FAILURE),
    }
}

fn complain(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {message}");
    code.into()
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

/// Tells the service manager, if there is one.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(err) = sd_notify::notify(state) {
        tracing::debug!(%err, "the service manager does not listen");
    }
}
