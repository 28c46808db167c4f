//! Proves what the sandbox promises: runs the probe in it, in a directory made for that.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use assistant_api::sandbox::{Attempt, SandboxTest};
use assistant_sandbox::{
    probe::{self, Outcome, Plants, Report},
    protocol::{End, Exec, Limits},
};
use serde::Serialize;
use tokio::sync::mpsc;

use super::run::{exited, outcome};
use crate::{
    cx::Cx,
    error::{Error, Result},
    sandbox::{self, Output, config::Sandbox},
};

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
    let owner =
        if nix::unistd::geteuid().is_root() { Some(sandbox::user(&config.sandbox, cx.root()?.path())?) } else { None };
    // Where the commands' user comes by, as to the workspace itself.
    let beside = cx.root()?.path().parent().filter(|_| owner.is_some()).map(Path::to_owned);
    let beside = beside.unwrap_or_else(|| cx.state_dir.clone());
    let made = tokio::task::spawn_blocking(move || {
        // Things outside to reach for. Without them, as where /tmp cannot be written, some attempts have no aim.
        Ok((furnish(&beside, &program, owner)?, Plants::new(&std::env::temp_dir()).ok()))
    });
    let (place, plants) = made
        .await
        .map_err(Error::internal)?
        .map_err(|err: io::Error| Error::unavailable("a directory for the test cannot be made").source(err))?;
    let all = exec(&config.sandbox, plants.as_ref(), None)?;
    let (said, end) = attempts(cx, place.path(), &all).await?;
    let mut reports = through(said, end)?;
    for stopped in probe::alone(level.0) {
        let exec = exec(&config.sandbox, plants.as_ref(), Some(&stopped.name))?;
        let (said, end) = attempts(cx, place.path(), &exec).await?;
        reports.extend(if end == End::OutOfMemory { vec![stopped] } else { through(said, end)? });
    }
    let touched = plants.as_ref().map(Plants::touched).transpose();
    let touched =
        touched.map_err(|err| Error::unavailable("what was planted outside cannot be looked at").source(err))?;
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
async fn attempts(cx: &Cx, place: &Path, exec: &Exec) -> Result<(Vec<Report>, End)> {
    let (said, mut heard) = mpsc::channel(16);
    let listen = async {
        let mut lines = Vec::new();
        while let Some(output) = heard.recv().await {
            if let Output::Stdout(bytes) = output {
                lines.extend(bytes);
            }
        }
        lines
    };
    let (done, lines) = tokio::join!(sandbox::exec_in(cx, place, exec, said), listen);
    let (_, exit) = exited(done?)?;
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
fn exec(config: &Sandbox, plants: Option<&Plants>, only: Option<&str>) -> Result<Exec> {
    let most = sandbox::limits(config);
    let limits = Limits {
        seconds: BOUNDS.seconds.min(most.seconds),
        memory_bytes: BOUNDS.memory_bytes.min(most.memory_bytes),
        processes: BOUNDS.processes.min(most.processes),
        cpu_millis: BOUNDS.cpu_millis.min(most.cpu_millis),
        tmp_bytes: most.tmp_bytes,
        file_bytes: BOUNDS.file_bytes.min(most.file_bytes),
        output_bytes: BOUNDS.output_bytes.min(most.output_bytes),
    };
    let level = serde_json::to_value(config.level.0)?;
    let argv = [
        // The workspace itself is where a command begins, by whatever path it finds it.
        "./.assistant/probe",
        "--i-am-confined",
        "--level",
        level.as_str().unwrap_or_default(),
        "--workspace",
        ".",
        "--limits",
        &serde_json::to_string(&limits)?,
    ];
    let mut argv = argv.map(str::to_owned).to_vec();
    argv.extend(only.into_iter().flat_map(|name| ["--only".to_owned(), name.to_owned()]));
    argv.extend(plants.into_iter().flat_map(|plants| plants.outside().arguments()));
    Ok(Exec {
        argv,
        cwd: String::new(),
        env: [].into(),
        stdin: false,
        level: config.level.0,
        limits,
        proxy_login: None,
    })
}

/// A workspace as one in use: with a repository and what is ours.
fn furnish(beside: &Path, probe: &Path, owner: Option<(u32, u32)>) -> io::Result<tempfile::TempDir> {
    let place = tempfile::Builder::new().prefix("sandbox-test-").tempdir_in(beside)?;
    for (path, content) in [
        (".git/HEAD", "ref: refs/heads/main\n"),
        (".git/config", "[core]\n\trepositoryformatversion = 0\n"),
        (".git/hooks/pre-push.sample", "#!/bin/sh\n"),
        (".assistant/config.toml", "[x]\n"),
        (".assistant/cache/x", "x\n"),
    ] {
        let path = place.path().join(path);
        path.parent().map(fs::create_dir_all).transpose()?;
        fs::write(path, content)?;
    }
    fs::copy(probe, place.path().join(".assistant/probe"))?;
    fs::set_permissions(place.path().join(".assistant/probe"), fs::Permissions::from_mode(0o755))?;
    if let Some((uid, gid)) = owner {
        for path in [".", ".git", ".git/HEAD", ".git/config", ".git/hooks", ".git/hooks/pre-push.sample"] {
            chown(place.path().join(path), Some(uid), Some(gid))?;
        }
        for path in
            [".assistant", ".assistant/config.toml", ".assistant/cache", ".assistant/cache/x", ".assistant/probe"]
        {
            chown(place.path().join(path), Some(uid), Some(gid))?;
        }
    }
    Ok(place)
}
