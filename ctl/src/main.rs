//! `assistantctl`: the command line of the assistant daemon. It speaks only the public API.

#![expect(unreachable_pub, reason = "in a program `pub` says what a module offers to the others")]
#![expect(clippy::doc_markdown, reason = "comments of arguments are the help, where backticks would be shown")]
#![expect(clippy::needless_pass_by_value, reason = "a command owns its arguments")]

mod access;
mod approval;
mod commands;
mod credstore;
mod exit;
mod host;
mod interrupt;
mod local;
mod output;
mod password;
mod progress;
mod prompt;
mod reminder;
mod replace;
mod socket;
mod steps;
mod text;
mod transfer;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use assistant_api::client::Client;
use clap::{Args, Parser, Subcommand};
use commands::{
    backup, completion, config, dashboard, doctor, effects, events, files, job, jobs, log, mail, models, notifications,
    query, sandbox, secret, setup, status, storage, submit, switch, token, tools, web,
};
use exit::{Code, Failure};
use interrupt::Interrupts;
use output::{Format, Output};

/// Gives work to the assistant daemon, watches it and fetches its results.
#[derive(Parser)]
#[command(name = "assistantctl", version, max_term_width = 80, after_help = root_help())]
#[command(infer_subcommands = false, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// The daemon's socket [default: the system's, else this user's]
    #[arg(long, global = true, env = "ASSISTANT_SOCKET", value_name = "PATH", hide_env_values = true)]
    socket: Option<PathBuf>,
    /// How to print: table, table=COLUMN,... or name for people, json or
    /// ndjson for programs
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Short for --output json
    #[arg(long, global = true, hide_short_help = true)]
    json: bool,
    /// Leave out the heads of tables
    #[arg(long, global = true, hide_short_help = true)]
    no_headers: bool,
    /// Say what is asked of the daemon, with request ids
    #[arg(long, global = true, hide_short_help = true)]
    debug: bool,
}

#[derive(Subcommand)]
enum Command {
    Submit(submit::Args),
    Jobs(jobs::Args),
    Job(job::Args),
    Stop(switch::Stop),
    Resume(switch::Resume),
    Files(files::Args),
    Tools(tools::Args),
    Effects(effects::Args),
    Mail(mail::Args),
    Status(status::Args),
    Storage(storage::Args),
    Doctor(doctor::Args),
    Config(config::Args),
    Models(models::Args),
    Notifications(notifications::Args),
    Sandbox(sandbox::Args),
    Secret(secret::Args),
    Setup(Box<setup::Args>),
    Backup(backup::Args),
    Dashboard(dashboard::Args),
    Web(web::Args),
    Token(token::Args),
    Reload(switch::Reload),
    Events(events::Args),
    Log(log::Args),
    Query(query::Args),
    Completion(completion::Args),
}

impl Command {
    /// Whether it shows what waits for a person itself, or has nothing to do with the daemon.
    const fn shows_what_waits(&self) -> bool {
        matches!(
            self,
            Self::Status(_)
                | Self::Doctor(_)
                | Self::Notifications(_)
                | Self::Setup(_)
                | Self::Backup(_)
                | Self::Dashboard(_)
                | Self::Completion(_)
        )
    }
}

/// What every command works with.
pub struct Cx {
    pub client: Client,
    pub out: Output,
    pub socket: PathBuf,
    /// Whether the caller named the socket, and so one daemon.
    pub named: bool,
    pub interrupts: Interrupts,
}

impl Cx {
    fn new(global: Global) -> Self {
        let named = global.socket.is_some();
        let socket = socket::find(global.socket);
        let format = if global.json { Format::Json } else { global.output };
        let mut client = Client::new(&socket);
        if global.debug {
            client = client.observe(|method, path, answer| {
                let id = answer.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("-");
                progress::say(&format!("debug: {method} {path} -> {}, request id {id}", answer.status()));
            });
        }
        let out = Output::detect(format, !global.no_headers);
        Self { client, out, socket, named, interrupts: Interrupts::default() }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => return usage(&err).into(),
    };
    let debug = cli.global.debug;
    let cx = Cx::new(cli.global);
    let shows_all = cli.command.shows_what_waits();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(async {
            tokio::select! {
                result = async {
                    let code = run(cli.command, &cx).await?;
                    if !shows_all {
                        reminder::remind(&cx).await;
                    }
                    Ok(code)
                } => result,
                code = cx.interrupts.unexpected() => Ok(code),
            }
        }),
        Err(err) => Err(Failure::new(Code::Failed, format!("starting: {err}"))),
    };
    match result {
        Ok(code) => code,
        Err(failure) if failure.is_broken_pipe() => Code::Ok,
        Err(failure) => {
            cx.out.failure(&failure, debug);
            failure.code
        }
    }
    .into()
}

async fn run(command: Command, cx: &Cx) -> exit::Result {
    match command {
        Command::Submit(args) => submit::run(args, cx).await,
        Command::Jobs(args) => jobs::run(args, cx).await,
        Command::Job(args) => job::run(args, cx).await,
        Command::Stop(args) => switch::stop(args, cx).await,
        Command::Resume(args) => switch::resume(args, cx).await,
        Command::Files(args) => files::run(args, cx).await,
        Command::Tools(args) => tools::run(args, cx).await,
        Command::Effects(args) => effects::run(args, cx).await,
        Command::Mail(args) => mail::run(args, cx).await,
        Command::Status(args) => status::run(args, cx).await,
        Command::Storage(args) => storage::run(args, cx).await,
        Command::Doctor(args) => doctor::run(args, cx).await,
        Command::Config(args) => config::run(args, cx).await,
        Command::Models(args) => models::run(args, cx).await,
        Command::Notifications(args) => notifications::run(args, cx).await,
        Command::Sandbox(args) => sandbox::run(args, cx).await,
        Command::Secret(args) => secret::run(args, cx).await,
        Command::Setup(args) => setup::run(*args, cx).await,
        Command::Backup(args) => backup::run(args, cx),
        Command::Dashboard(args) => dashboard::run(args, cx).await,
        Command::Web(args) => web::run(args, cx).await,
        Command::Token(args) => token::run(args, cx).await,
        Command::Reload(args) => switch::reload(args, cx).await,
        Command::Events(args) => events::run(args, cx).await,
        Command::Log(args) => log::run(args, cx).await,
        Command::Query(args) => query::run(args, cx).await,
        Command::Completion(args) => completion::run(args),
    }
}

/// Shows what clap found wrong, or the help that was asked for.
fn usage(err: &clap::Error) -> Code {
    if !err.use_stderr() {
        // A reader that went away is no failure.
        _ = err.print();
        return Code::Ok;
    }
    let arguments: Vec<String> = std::env::args().collect();
    if is_group_alone(err) {
        progress::page(&help_of(&arguments));
        return Code::Usage;
    }
    let json = arguments.iter().enumerate().any(|(at, argument)| {
        let format = match argument.as_str() {
            "--json" => return true,
            "-o" | "--output" => arguments.get(at + 1).map_or("", String::as_str),
            joined => joined.strip_prefix("--output=").or_else(|| joined.strip_prefix("-o")).unwrap_or_default(),
        };
        matches!(format, "json" | "ndjson")
    });
    let rendered = err.render().to_string();
    let mut parts = rendered.splitn(2, "\n\n");
    let message = parts.next().unwrap_or_default().trim().trim_start_matches("error: ");
    let rest = parts.next().unwrap_or_default();
    let tip = rest.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let more = "for more, see assistantctl --help, or --help after a command";
    let failure = Failure::usage(message).hint(tip.map_or_else(|| more.to_owned(), str::to_owned));
    Output::detect(if json { Format::Json } else { Format::default() }, true).failure(&failure, false);
    Code::Usage
}

/// Whether a group of commands was called without one of them. That an option is set by the environment hides this from
/// clap's own handling.
fn is_group_alone(err: &clap::Error) -> bool {
    use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
    matches!(err.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand)
}

/// The help of the innermost command that the arguments name.
fn help_of(arguments: &[String]) -> String {
    use clap::CommandFactory as _;
    let mut root = Cli::command();
    root.build();
    let mut command = &root;
    for argument in arguments.iter().skip(1) {
        command = command.find_subcommand(argument).unwrap_or(command);
    }
    command.clone().render_help().to_string()
}

fn root_help() -> String {
    use std::fmt::Write as _;
    let mut help = String::from(
        "Examples:
  assistantctl submit \"Sort the mails of May into a table\" --follow
  assistantctl submit --file task.md --attach report.pdf --wait -o json
  assistantctl jobs --status running,queued
  assistantctl job logs 7 -f

Exit codes:\n",
    );
    for (code, meaning) in Code::ALL {
        _ = writeln!(help, "{:>5}  {meaning}", *code as u8);
    }
    help.truncate(help.trim_end().len());
    help
}

#[cfg(test)]
mod tests;
