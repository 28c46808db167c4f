//! `assistantctl config ...`: the daemon's configuration.

pub mod daemon;
pub mod drop_in;
mod set;

use std::{path::PathBuf, time::Duration};

use assistant_api::config::{Setting, Settings};
use serde_json::{Value, json};

use crate::{
    Cx,
    exit::{Code, Failure, Result},
    output::{Table, cell},
    text,
};

/// Look at the configuration, check it, change it
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  assistantctl config check
  assistantctl config show --origin
  assistantctl config set limits.max_iterations_per_task 80"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Check(Check),
    Show(Show),
    Set(set::Set),
}

/// Check the files of the configuration
///
/// Says what is wrong, where, and the nearest key that there is. It needs no
/// running daemon; if there is one, its files are checked. The exit code is 0
/// or 78.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl config check
  assistantctl config check --config ./assistant.toml")]
struct Check {
    /// The file to check, with conf.d beside it [default: the daemon's]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Show the configuration in force
///
/// Asks the running daemon; without one, the files are read. Secrets are no
/// part of it and are never shown.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl config show
  assistantctl config show --origin
  assistantctl config show limits llm.model")]
struct Show {
    /// Only these keys, or sections
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// Say where each value came from
    #[arg(long)]
    origin: bool,
    /// Only what differs from its default
    #[arg(long)]
    changed: bool,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    match args.verb {
        Verb::Check(args) => check(args, cx).await,
        Verb::Show(args) => show(args, cx).await,
        Verb::Set(args) => set::run(args, cx).await,
    }
}

/// The file that the running daemon reads, if it runs and says so. A daemon that hangs must not keep anybody from
/// mending its configuration.
pub async fn file_in_use(cx: &Cx) -> Option<PathBuf> {
    let request = cx.client.request("GET", "/api/config").timeout(Some(Duration::from_secs(2)));
    let settings: Settings = request.fetch().await.ok()?;
    Some(PathBuf::from(settings.file)).filter(|file| file.is_absolute())
}

async fn check(args: Check, cx: &Cx) -> Result {
    let config = match args.config {
        Some(config) => Some(config),
        // One that need not exist does not: then the defaults are what is checked.
        None => match file_in_use(cx).await {
            Some(missing) if !missing.exists() => {
                let missing = missing.display();
                cx.out.note(&format!(
                    "{missing}, which the running daemon reads, does not exist; assistantd checks its default file"
                ));
                None
            }
            file => file,
        },
    };
    let checked = daemon::check(config.as_deref())?;
    if cx.out.json {
        cx.out.json(&json!({ "ok": checked.ok(), "message": checked.message(), "exit_code": checked.code as u8 }))?;
        return Ok(checked.code);
    }
    if checked.ok() {
        cx.out.text(&checked.message())?;
    } else {
        cx.out.note(&checked.message());
    }
    Ok(checked.code)
}

async fn show(args: Show, cx: &Cx) -> Result {
    let settings: Settings = match cx.client.get("/api/config").await {
        Err(err) if err.is_unreachable() => {
            let settings = daemon::show()?;
            cx.out.note("the daemon is not running; this is what its files say");
            settings
        }
        other => other?,
    };
    let wanted = |setting: &&Setting| {
        let named = args.keys.is_empty()
            || args.keys.iter().any(|key| {
                setting.key.strip_prefix(key.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
        named && (!args.changed || setting.origin != "default")
    };
    let shown: Vec<&Setting> = settings.settings.iter().filter(wanted).collect();
    if shown.is_empty() && !args.keys.is_empty() && !args.changed {
        return Err(Failure::new(Code::NotFound, format!("there is no key {}", args.keys.join(", ")))
            .hint("assistantctl config show lists them all"));
    }
    if cx.out.json {
        cx.out.json(&json!({ "file": settings.file, "settings": shown }))?;
        return Ok(Code::Ok);
    }
    let value = |value: &Value| if value.is_null() { "-".to_owned() } else { value.to_string() };
    let mut table = Table::new(if args.origin { &["KEY", "VALUE", "ORIGIN"] } else { &["KEY", "VALUE"] });
    for setting in shown {
        let cells = [cell(&setting.key), cell(value(&setting.value)), cell(text::one_line(&setting.origin))];
        table.row(cells.into_iter().take(if args.origin { 3 } else { 2 }));
    }
    cx.out.table(&table, "everything has its default")?;
    Ok(Code::Ok)
}
