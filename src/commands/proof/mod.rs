//! Proves what the sandbox promises: runs the probe in it, in a directory made for that.

mod ground;

use std::io;

use self::ground::Ground;
use super::run::outcome;
use crate::{
    cx::Cx,
    error::{Error, Result},
    sandbox::{self, config::Sandbox},
};
use assistant_api::sandbox::{Attempt, SandboxTest};
use assistant_sandbox::{
    probe::{self, Outcome, Plants, Report},
    protocol::{End, Exec, Limits},
};
use serde::Serialize;

const PROBE: &str = "assistant-sandbox-probe";
/// Bounds that are quick to come to; never above those of the configuration.
const BOUNDS: Limits = Limits {
    seconds: 240,
    memory_bytes: 512 << 20,
    processes: 128,
    cpu_millis: 1000,
    tmp_bytes: 64 << 20,
    file_bytes: 1 << 30,
    output_bytes: 4 << 20,
};

/// Runs it at the level of jobs.
///
/// # Errors
/// `sandbox_disabled`; `unavailable` when the probe is not installed or cannot be run.
pub(super) async fn run(cx: &Cx) -> Result<SandboxTest> {
    let config = cx.config.load_full();
    sandbox::check_enabled(&config)?;
    let level = config.sandbox.level;
    let sandbox = sandbox::status(cx).await;
    if sandbox.problem.is_some() {
        return Ok(SandboxTest { sandbox, level: level.name().to_owned(), attempts: Vec::new() });
    }
    let program = sandbox::program_beside_runner(&config.sandbox, PROBE)?;
    let ground = Ground::furnish(cx, sandbox::chosen(cx)?, program).await?;
    // Things outside to reach for. Without them, as where /tmp cannot be written, some attempts have no aim.
    let planted = tokio::task::spawn_blocking(|| Plants::new(&std::env::temp_dir()).ok()).await;
    let plants = planted.map_err(Error::internal)?;
    let all = exec(&config.sandbox, &ground, plants.as_ref(), None)?;
    let (said, end) = attempts(cx, &ground, &all).await?;
    let mut reports = through(said, end)?;
    for stopped in probe::alone(level.0) {
        let exec = exec(&config.sandbox, &ground, plants.as_ref(), Some(&stopped.name))?;
        let (said, end) = attempts(cx, &ground, &exec).await?;
        reports.extend(if end == End::OutOfMemory { vec![stopped] } else { through(said, end)? });
    }
    let touched = plants.as_ref().map(Plants::touched).transpose();
    let touched = touched
        .map_err(|err: io::Error| Error::unavailable("what was planted outside cannot be looked at").source(err))?;
    let mut attempts = reports.into_iter().map(attempt).collect::<Result<Vec<_>>>()?;
    attempts.extend(touched.into_iter().flatten().map(|thing| Attempt {
        name: "leave-what-is-outside-alone".to_owned(),
        guarantee: Some("write".to_owned()),
        expect: "denied".to_owned(),
        outcome: "allowed".to_owned(),
        detail: format!("{thing} was touched"),
        good: false,
    }));
    Ok(SandboxTest { sandbox, level: level.name().to_owned(), attempts })
}

/// What the probe says in one command, and how that ended.
async fn attempts(cx: &Cx, ground: &Ground, exec: &Exec) -> Result<(Vec<Report>, End)> {
    let (lines, _, exit) = ground::hear(cx, ground.workspace(), exec).await?;
    let lines = lines.split(|byte| *byte == b'\n');
    Ok((lines.filter_map(|line| serde_json::from_slice(line).ok()).collect(), exit.end))
}

/// What the probe said, if it came to its end.
fn through(reports: Vec<Report>, end: End) -> Result<Vec<Report>> {
    if end == End::Exited && !reports.is_empty() {
        return Ok(reports);
    }
    let message = format!("the probe did not come to its end: {} after {} attempts", outcome(end), reports.len());
    Err(Error::unavailable(message))
}

fn attempt(report: Report) -> Result<Attempt> {
    Ok(Attempt {
        // What is not there can neither be reached nor be made to work.
        good: report.good() || report.outcome == Outcome::Absent,
        name: report.name,
        guarantee: report.guarantee.map(word).transpose()?,
        expect: word(report.expect)?,
        outcome: word(report.outcome)?,
        detail: report.detail,
    })
}

/// A word of the protocol as it is written.
fn word(of: impl Serialize) -> Result<String> {
    Ok(serde_json::to_value(of)?.as_str().unwrap_or_default().to_owned())
}

/// All attempts of one command, or one of those that want a command for themselves.
fn exec(config: &Sandbox, ground: &Ground, plants: Option<&Plants>, only: Option<&str>) -> Result<Exec> {
    let most = sandbox::limits(config);
    // Memory and processors a unit bounds for its session as a whole.
    let mut bounds = BOUNDS;
    if ground.is_of_unit() {
        (bounds.memory_bytes, bounds.cpu_millis) = (most.memory_bytes, most.cpu_millis);
    }
    let limits = Limits {
        seconds: bounds.seconds.min(most.seconds),
        memory_bytes: bounds.memory_bytes.min(most.memory_bytes),
        processes: bounds.processes.min(most.processes),
        cpu_millis: bounds.cpu_millis.min(most.cpu_millis),
        tmp_bytes: most.tmp_bytes,
        file_bytes: bounds.file_bytes.min(most.file_bytes),
        output_bytes: bounds.output_bytes.min(most.output_bytes),
    };
    let level = serde_json::to_value(config.level.0)?;
    let level = level.as_str().unwrap_or_default();
    let mut argv = ground.probe();
    argv.extend(["--i-am-confined", "--level", level, "--limits", &serde_json::to_string(&limits)?].map(str::to_owned));
    argv.extend(only.into_iter().flat_map(|name| ["--only".to_owned(), name.to_owned()]));
    argv.extend(plants.into_iter().flat_map(|plants| plants.outside().arguments()));
    Ok(Exec { argv, cwd: ground.cwd(), env: [].into(), stdin: false, level: config.level.0, limits, proxy_login: None })
}
