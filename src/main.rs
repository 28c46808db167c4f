//! Arguments, configuration and the runtime; the daemon itself is `daemon.rs`.
//!
//! `main` is synchronous: the environment and inherited descriptors are read before any thread exists, and a wrong
//! usage (exit status 64) or configuration (78, sysexits.h) ends the program before anything is bound.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use assistant_api::status::Warning;
use assistantd::{
    config::{self, ConfigError, Environment, Noticed, Paths, Sources, Wanted},
    crashpoint,
    daemon::{self, Options},
    error::{Error, ErrorKind, Result},
    http::{Listener, tls},
    logging::{Logging, catalog},
    settings, status,
    systemd::{self, Inherited, Notifier},
};
use clap::{Parser, ValueEnum};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

const FAILURE: u8 = 1;
const USAGE: u8 = 64;
const CONFIG: u8 = 78;

/// Threads that run requests, loops and workers; what blocks has a pool of its own that shrinks when idle.
const THREADS: usize = 2;
const BLOCKING_THREADS: usize = 32;

/// A self-hosted AI personal assistant: give it a task, walk away, come back to results.
///
/// Talk to it with assistantctl. Without options it finds its places by itself: those that systemd names, else fixed
/// ones for root (/etc/assistant, /var/lib/assistant, /run/assistant), else the XDG directories of the user.
#[derive(Parser)]
#[command(name = "assistantd", version, max_term_width = 80)]
struct Args {
    /// Configuration file; drop-ins are read from conf.d beside it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the database and the workspace
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Directory of the socket, api.sock
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// Check the configuration and exit: 0 if it is good, 78 if it is not
    #[arg(long)]
    check: bool,
    /// With --check: take the variables of this file, as the service manager
    /// reads it, instead of those of the environment
    #[arg(long, value_name = "FILE", requires = "check")]
    environment: Option<PathBuf>,
    /// Print the configuration in force and exit
    #[arg(long, conflicts_with = "check")]
    show_config: bool,
    /// With --show-config: say where each value came from
    #[arg(long, requires = "show_config")]
    origin: bool,
    /// With --show-config: how to print it
    #[arg(short, long, value_name = "FORMAT", requires = "show_config", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    let mut environment = Environment::capture();
    let inherited = systemd::inherited();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(err) => {
            let _ = err.print();
            return if err.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    if let Some(file) = &args.environment {
        match config::read_environment_file(file) {
            Ok(pairs) => environment = environment.of_service(pairs),
            Err(err) => {
                complain(&format!("reading {}: {err}", file.display()), None);
                return FAILURE.into();
            }
        }
    }
    let options = match load(&args, environment.clone()) {
        Ok(options) => options,
        Err(err) => {
            for fault in &err.faults {
                refuse(&args, &environment, &fault.to_string(), fault.hint.as_deref());
            }
            return CONFIG.into();
        }
    };
    let outcome = if args.check {
        check(&options, args.environment.is_some())
    } else if args.show_config {
        show(&options, &args)
    } else {
        inherited.and_then(|sockets| start(options, sockets))
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            refuse(&args, &environment, &err.chain(), err.hint_text());
            if err.kind() == ErrorKind::Validation { CONFIG.into() } else { FAILURE.into() }
        }
    }
}

fn load(args: &Args, environment: Environment) -> Result<Options, ConfigError> {
    let wanted = Wanted {
        config: args.config.clone(),
        state_dir: args.state_dir.clone(),
        runtime_dir: args.runtime_dir.clone(),
    };
    let paths = Paths::find(&wanted, &environment, nix::unistd::geteuid().is_root())?;
    Options::load(Sources { paths, environment })
}

/// Says why the daemon does not start, to the journal if that is where it writes.
fn refuse(args: &Args, environment: &Environment, message: &str, hint: Option<&str>) {
    if args.check || args.show_config || !Logging::start("info", environment).is_journal() {
        return complain(message, hint);
    }
    let way_out = hint.map_or_else(String::new, |hint| format!("; {hint}"));
    tracing::error!(target: catalog::START_REFUSED, reason = message, hint, "it does not start: {message}{way_out}");
}

fn complain(message: &str, hint: Option<&str>) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "error: {message}");
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}

fn check(options: &Options, service: bool) -> Result<()> {
    settings::check(&options.loaded.config, &options.sources.paths)?;
    tls::check(&options.loaded.config, &options.sources.paths)?;
    let environment = &options.sources.environment;
    let mut settings = options.loaded.warnings.clone();
    if service {
        settings.extend(config::strange_names(environment.names()));
    }
    let noticed = Noticed { settings, secrets: options.secrets.weak().to_vec() };
    for Warning { text, mend, .. } in status::before_start(environment, &noticed, service) {
        let _ = writeln!(io::stderr(), "warning: {text}\nhint: {mend}");
    }
    let file = &options.sources.paths.config;
    let end = if file.exists() { "" } else { " (no such file: defaults, and conf.d beside it)" };
    writeln!(io::stdout(), "the configuration is good: {}{end}", file.display()).map_err(Error::internal)
}

fn show(options: &Options, args: &Args) -> Result<()> {
    let mut settings = settings::list(&options.loaded.config, &options.loaded.origins);
    settings.file = options.sources.paths.config.display().to_string();
    let text = match args.output {
        Output::Json => settings::json(&settings)?,
        Output::Text => settings::text(&settings, args.origin),
    };
    io::stdout().lock().write_all(text.as_bytes()).map_err(Error::internal)
}

fn start(mut options: Options, inherited: Vec<Inherited>) -> Result<()> {
    if let Some(point) = options.sources.environment.get(crashpoint::VARIABLE) {
        crashpoint::arm(point)?;
    }
    let listeners = inherited.into_iter().map(Listener::inherit).collect::<Result<_>>()?;
    options.logging = Logging::start(&options.loaded.config.log.level, &options.sources.environment);
    options.systemd = Notifier::from_environment(&options.sources.environment);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("assistantd")
        .enable_all()
        .build()
        .map_err(Error::internal)?;
    let outcome = runtime.block_on(async {
        let signal = |kind| signal(kind).map_err(Error::internal);
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let hangup = signal(SignalKind::hangup())?;
        let (request, reloads) = mpsc::channel(1);
        options.reloads = Some(reloads);
        tokio::select! {
            outcome = daemon::run(options, listeners, either(terminate, interrupt)) => outcome,
            () = ask_to_reload(hangup, request) => Ok(()),
        }
    });
    // What a left-behind task blocks on must not hold the process.
    runtime.shutdown_background();
    outcome
}

async fn either(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// A hangup while a reload waits to be done is the same reload.
async fn ask_to_reload(mut hangup: Signal, request: mpsc::Sender<()>) {
    while hangup.recv().await.is_some() {
        let _ = request.try_send(());
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_manual_page_is_up_to_date() {
        let man = clap_mangen::Man::new(Args::command()).section("8").manual("Assistant");
        let mut page = Vec::new();
        man.render_title(&mut page).unwrap();
        man.render_name_section(&mut page).unwrap();
        man.render_synopsis_section(&mut page).unwrap();
        man.render_description_section(&mut page).unwrap();
        man.render_options_section(&mut page).unwrap();
        page.extend_from_slice(include_bytes!("../docs/man/assistantd.end"));
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man/assistantd.8");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &page).unwrap();
        }
        let found = std::fs::read(&file).unwrap_or_default();
        assert!(found == page, "docs/man/assistantd.8 is stale: BLESS=1 cargo test --bin assistantd");
    }
}
