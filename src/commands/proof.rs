//! Proves what the sandbox promises: runs the probe in it, in a directory made for that.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use assistant_api::sandbox::{Attempt, SandboxTest};
use assistant_sandbox::{
    probe::Plants,
    protocol::{Exec, Limits},
};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::run::exited;
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
    cpu_millis: 2000,
    tmp_bytes: 64 << 20,
    file_bytes: 1 << 30,
    output_bytes: 4 << 20,
};

/// One line of the probe.
#[derive(Deserialize)]
struct Line {
    name: String,
    #[serde(default)]
    guarantee: Option<String>,
    expect: String,
    outcome: String,
    detail: String,
}

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
    let probe = sandbox::program_beside_runner(&config.sandbox, PROBE)?;
    let owner =
        if nix::unistd::geteuid().is_root() { Some(sandbox::user(&config.sandbox, cx.root()?.path())?) } else { None };
    let state_dir = cx.state_dir.clone();
    let made = tokio::task::spawn_blocking(move || {
        // Things outside to reach for. Without them, as where /tmp cannot be written, some attempts have no aim.
        Ok((furnish(&state_dir, &probe, owner)?, Plants::new(&std::env::temp_dir()).ok()))
    });
    let (place, plants) = made
        .await
        .map_err(Error::internal)?
        .map_err(|err: io::Error| Error::unavailable("a directory for the test cannot be made").source(err))?;
    let exec = exec(&config.sandbox, plants.as_ref())?;
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
    let (done, lines) = tokio::join!(sandbox::exec_in(cx, place.path(), &exec, said), listen);
    exited(done?)?;
    let attempts: Vec<_> = lines
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Line>(line).ok())
        .map(|line| Attempt {
            // What is not there can neither be reached nor be made to work.
            good: line.outcome == line.expect || line.outcome == "absent",
            name: line.name,
            guarantee: line.guarantee,
            expect: line.expect,
            outcome: line.outcome,
            detail: line.detail,
        })
        .collect();
    if attempts.is_empty() {
        return Err(Error::unavailable("the probe said nothing"));
    }
    Ok(SandboxTest { sandbox, level: level.name().to_owned(), attempts })
}

fn exec(config: &Sandbox, plants: Option<&Plants>) -> Result<Exec> {
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
        "/workspace/.assistant/probe",
        "--i-am-confined",
        "--level",
        level.as_str().unwrap_or_default(),
        "--workspace",
        "/workspace",
        "--limits",
        &serde_json::to_string(&limits)?,
    ];
    let mut argv = argv.map(str::to_owned).to_vec();
    argv.extend(plants.into_iter().flat_map(|plants| plants.outside().arguments()));
    Ok(Exec { argv, cwd: String::new(), env: [].into(), stdin: false, level: config.level.0, limits })
}

/// A workspace as one in use: with a repository and what is ours.
fn furnish(state_dir: &Path, probe: &Path, owner: Option<(u32, u32)>) -> io::Result<tempfile::TempDir> {
    let place = tempfile::Builder::new().prefix("sandbox-test-").tempdir_in(state_dir)?;
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
