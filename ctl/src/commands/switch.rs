//! What acts on the daemon as a whole: stop, resume, reload.

use std::time::Duration;

use assistant_api::{ErrorKind, config::Reloaded, jobs::StatusReply};

use crate::{
    Cx,
    exit::{Code, Failure, Result},
    text,
};

/// How long a reload may take until it is done.
const RELOAD: Duration = Duration::from_secs(90);

/// Stop all work until it is resumed
///
/// Running jobs are interrupted within a second and go back to the queue;
/// nothing starts until `assistantctl resume`, not even after a restart of the
/// daemon. New jobs are still taken in. For administrators.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl stop --all")]
pub struct Stop {
    /// Everything; there is no smaller stop than `job cancel`
    #[arg(long, required = true)]
    all: bool,
}

/// Let work go on after a stop
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl resume")]
pub struct Resume {}

/// Have the daemon read its configuration again
///
/// The new configuration is checked first; if it is wrong the daemon keeps the
/// one that it has, and this command says what is wrong and ends with 78. Else
/// it says what changed, and what of it waits for a restart. For administrators.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl reload --wait")]
pub struct Reload {
    /// Return only when the new configuration is in use
    #[arg(short, long)]
    wait: bool,
}

pub async fn stop(_: Stop, cx: &Cx) -> Result {
    let reply: StatusReply = cx.client.request("POST", "/api/stop").fetch().await?;
    told(cx, &reply, "all work is stopped until: assistantctl resume")
}

pub async fn resume(_: Resume, cx: &Cx) -> Result {
    let reply: StatusReply = cx.client.request("POST", "/api/resume").fetch().await?;
    told(cx, &reply, "work goes on")
}

fn told(cx: &Cx, reply: &StatusReply, sentence: &str) -> Result {
    if cx.out.json {
        cx.out.json(reply)?;
    } else {
        cx.out.line(sentence)?;
    }
    Ok(Code::Ok)
}

pub async fn reload(args: Reload, cx: &Cx) -> Result {
    let request = cx.client.request("POST", "/api/reload").maybe("wait", args.wait.then_some(true));
    let done: Reloaded = request.timeout(Some(RELOAD)).fetch().await.map_err(|err| {
        let wrong = matches!(err.kind(), Some(ErrorKind::Validation | ErrorKind::Invalid));
        let failure = Failure::from(err);
        // The same as `config check` says of the same file.
        if wrong { Failure { code: Code::Config, ..failure } } else { failure }
    })?;
    if cx.out.json {
        cx.out.json(&done)?;
        return Ok(Code::Ok);
    }
    let changed = if done.changed.is_empty() { "nothing".to_owned() } else { done.changed.join(", ") };
    cx.out.line(format!("the configuration was read again; changed: {}", text::one_line(&changed)))?;
    if !done.restart.is_empty() {
        let restart = text::one_line(&done.restart.join(", "));
        cx.out.line(format!("in force only when the daemon starts again: {restart}"))?;
    }
    for warning in &done.warnings {
        cx.out.note(&format!("warning: {}", text::one_line(warning)));
    }
    Ok(Code::Ok)
}
