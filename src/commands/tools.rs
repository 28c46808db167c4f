//! `command_execute`

use std::time::Duration;

use assistant_api::{effects::EffectState, sandbox::CommandResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Asked, live::Live, run::Ran};
use crate::{
    agent::tools::{Call, Tool, ToolDef},
    config::Config,
    crashpoint::{self, Point},
    cx::Cx,
    error::{Error, ErrorKind, Result},
    jobs,
    ledger::{self, NewEffect},
    policy::{Access, Origin},
    root::Mode,
    workspace,
};

pub(super) const TOOLS: &[ToolDef] = &[ToolDef::of::<CommandExecute>()];

/// What the daemon gets on top of a command's own time, to begin and to end it.
const MARGIN: Duration = Duration::from_secs(20);

/// Run a program in the sandbox: it sees the workspace and the system's programs, and has no network; where `https_proxy`
/// is set, it reaches HTTP and HTTPS servers that the user has listed, and nothing else. The program and its arguments are
/// given one by one, never as a shell line; for pipes and the like run `bash -c`. What a command wrote before it failed
/// stays written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CommandExecute {
    /// The program and its arguments, such as `["python3", "report.py"]`.
    command: Vec<String>,
    /// Seconds until it is ended: 300 unless given.
    #[serde(default)]
    timeout_seconds: Option<u64>,
    /// A directory of the workspace to run in; the workspace itself unless given.
    #[serde(default)]
    workdir: Option<String>,
}

#[derive(Serialize)]
struct Executed {
    #[serde(flatten)]
    result: CommandResult,
    /// Where all of a long standard output is.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip)]
    origin: Origin,
}

impl Tool for CommandExecute {
    const NAME: &'static str = "command_execute";
    const ACCESS: Access = Access::Run;
    const GROUP: &'static str = "Commands";
    const ABSENT: Option<&'static str> = Some("commands are switched off (sandbox.enabled): nothing can be run");
    type Output = Executed;

    fn origin(executed: &Executed) -> Origin {
        executed.origin
    }

    fn exists(cx: &Cx) -> bool {
        cx.config.load().sandbox.enabled
    }

    fn time_limit(arguments: &Value, config: &Config) -> Option<Duration> {
        let asked = arguments.get("timeout_seconds").and_then(Value::as_u64).map(Duration::from_secs);
        let time = asked.unwrap_or(config.limits.tool_timeout_command_seconds.0);
        Some(time.min(config.sandbox.max_timeout_seconds.0) + MARGIN)
    }

    async fn run(self, cx: &Cx, call: &Call) -> Result<Executed> {
        let default = cx.config.load().limits.tool_timeout_command_seconds.0.as_secs();
        let timeout = Some(self.timeout_seconds.unwrap_or(default));
        let asked = Asked::of_job(cx, self.command, self.workdir, timeout);
        let exec = asked.exec(cx)?;
        let id = begin(cx, call, &asked).await?;
        crashpoint::hit(Point::EffectDispatched);
        let live = Live::new(cx, call.job_id, Self::NAME);
        let ran = super::run(cx, Some(call.job_id), &exec, |output| live.see(output)).await;
        live.end().await;
        let (state, detail) = match &ran {
            Ok(ran) => (EffectState::Confirmed, summary(&asked, &ran.result)),
            Err(err) if err.is_in_doubt() => {
                (EffectState::Unknown, json!({ "command": asked.command, "error": err.message() }))
            }
            // Nothing was run for want of a sandbox: that is for the owner to mend.
            Err(err) if err.kind() == ErrorKind::Unavailable => (
                EffectState::Failed,
                json!({ "command": asked.command, "error": err.message(), "hint": err.hint_text(), "misconfigured": true }),
            ),
            Err(err) => (EffectState::Failed, json!({ "command": asked.command, "error": err.message() })),
        };
        let now = cx.clock.now();
        cx.store.write(move |tx| ledger::settle(tx, now, id, state, Some(&detail))).await?;
        crashpoint::hit(Point::EffectSettled);
        match ran {
            Ok(ran) => executed(cx, call, ran).await,
            Err(err) if err.is_in_doubt() => Err(Error::unavailable(format!(
                "{}; nobody knows how far the command came, and it is not run again by itself",
                err.message()
            ))
            .hint("look at what it left in the workspace before anything is repeated")),
            Err(err) => Err(err),
        }
    }
}

/// Writes the command into the ledger before it runs: it cannot be undone, and never repeated blindly.
async fn begin(cx: &Cx, call: &Call, asked: &Asked) -> Result<assistant_api::EffectId> {
    let (now, lease) = (cx.clock.now(), call.lease);
    let effect = NewEffect {
        job_id: Some(call.job_id),
        call_key: Some(call.key.as_ref().to_owned()),
        tool: CommandExecute::NAME.to_owned(),
        target: target(&asked.command),
        args_hash: call.args_hash.as_ref().to_owned(),
        origin: call.origin,
        rule: call.rule.as_ref().to_owned(),
        detail: json!({ "command": asked.command, "workdir": asked.workdir }),
    };
    cx.store
        .write(move |tx| {
            jobs::held(tx, &lease)?;
            let id = ledger::prepare(tx, now, &effect)?;
            ledger::dispatch(tx, now, id)?;
            Ok(id)
        })
        .await
}

/// A command as people read it in a list: on one line, not too long.
pub(super) fn target(command: &[String]) -> String {
    let line = command.join(" ").replace(char::is_control, " ");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn summary(asked: &Asked, result: &CommandResult) -> Value {
    json!({
        "command": asked.command,
        "workdir": asked.workdir,
        "outcome": result.outcome,
        "exit_code": result.exit_code,
        "signal": result.signal,
        "duration_ms": result.duration_ms,
        "isolation_mode": result.isolation_mode,
        "run_id": result.run_id,
        "denials": result.denials,
    })
}

async fn executed(cx: &Cx, call: &Call, ran: Ran) -> Result<Executed> {
    let run_id = ran.result.run_id.clone();
    let stdout_path = keep(cx, call, &run_id, "stdout", ran.stdout).await;
    let stderr_path = keep(cx, call, &run_id, "stderr", ran.stderr).await;
    let hint = hint(&ran.result);
    // It may have read any file.
    let origin = workspace::least_origin(cx).await?;
    Ok(Executed { result: ran.result, stdout_path, stderr_path, hint, origin })
}

/// What the model is told of an end that is not its command's own.
fn hint(result: &CommandResult) -> Option<String> {
    let mut hints = Vec::new();
    match result.outcome.as_str() {
        "timed_out" => hints.push("its time was over: give timeout_seconds, or do less at once".to_owned()),
        "out_of_memory" => hints.push("it needed more memory than sandbox.memory allows".to_owned()),
        "too_much_output" => hints.push("it said more than sandbox.max_output allows: write it to a file".to_owned()),
        "too_many_processes" => hints.push("it had more processes than sandbox.processes allows".to_owned()),
        "cancelled" => hints.push("it was cancelled".to_owned()),
        _ => {}
    }
    for denied in result.denials.iter().take(5) {
        let way = denied.suggestion.as_ref().map(|way| format!("; {way}")).unwrap_or_default();
        hints.push(format!("the sandbox refused {} ({}, {}){way}", denied.target, denied.layer, denied.rule));
    }
    (!hints.is_empty()).then(|| hints.join(". "))
}

/// Keeps what the answer does not carry; where, if it could be written.
async fn keep(cx: &Cx, call: &Call, run_id: &str, stream: &str, bytes: Option<Vec<u8>>) -> Option<String> {
    let bytes = bytes?;
    let config = cx.config.load_full();
    if !config.tool_result_cache.enabled {
        return None;
    }
    let (root, job, name) = (cx.root().ok()?, call.job_id, format!("{run_id}-{stream}.txt"));
    let written = tokio::task::spawn_blocking(move || {
        let folder = root.rel(&config.tool_result_cache.root)?.join(&format!("job-{job}"))?;
        root.create_dir_all(&folder)?;
        let path = folder.join(&name)?;
        root.write_atomic(&path, &bytes, Mode::CreateOnly)?;
        Ok::<_, Error>(path.as_str().to_owned())
    });
    match written.await.map_err(Error::internal).flatten() {
        Ok(path) => Some(path),
        Err(err) => {
            tracing::warn!(error = err.chain(), "the output of a command could not be kept");
            None
        }
    }
}
