//! Runs one command to its end and keeps what it says.

use assistant_api::{
    JobId,
    sandbox::{CommandEnd, CommandResult, Denied},
};
use assistant_sandbox::protocol::{Denial, End, Exec, Exit, Level};
use serde_json::json;
use tokio::sync::mpsc;

use super::record::Record;
use crate::{
    cx::Cx,
    error::{Error, ErrorKind, Result},
    events,
    logging::catalog,
    sandbox::{self, Done, Ended, Output},
};

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// A directory of the workspace, as people and models write it.
    pub workdir: String,
    /// Seconds; `sandbox.default_timeout_seconds` unless given.
    pub timeout: Option<u64>,
    pub level: Level,
    pub stdin: bool,
}

impl Asked {
    /// A command of a job, with the level of the configuration.
    pub fn of_job(cx: &Cx, command: Vec<String>, workdir: Option<String>, timeout: Option<u64>) -> Self {
        let level = cx.config.load().sandbox.level.0;
        Self { command, workdir: workdir.unwrap_or_default(), timeout, level, stdin: false }
    }

    /// What the runner is sent, with every field looked at.
    ///
    /// # Errors
    /// `sandbox_disabled`; `validation` naming the field.
    pub fn exec(&self, cx: &Cx) -> Result<Exec> {
        let config = cx.config.load();
        sandbox::check_enabled(&config)?;
        let config = &config.sandbox;
        if self.command.first().is_none_or(|program| program.trim().is_empty()) {
            return Err(Error::validation("the command is empty").field("command"));
        }
        if self.command.iter().any(|argument| argument.contains('\0')) {
            return Err(Error::validation("an argument holds a NUL character").field("command"));
        }
        let most = config.max_timeout_seconds.0.as_secs();
        let seconds = self.timeout.unwrap_or(config.default_timeout_seconds.0.as_secs().min(most));
        if !(1..=most).contains(&seconds) {
            let message = format!("a command runs for 1 to {most} s (sandbox.max_timeout_seconds)");
            return Err(Error::validation(message).field("timeout_seconds"));
        }
        let workdir = if self.workdir.trim().is_empty() { "." } else { &self.workdir };
        let cwd = cx.root()?.rel(workdir).map_err(|err| err.field("workdir"))?;
        let mut limits = sandbox::limits(config);
        limits.seconds = seconds;
        let cwd = if cwd.is_root() { String::new() } else { cwd.as_str().to_owned() };
        let env = [("TZ".to_owned(), cx.config.load().app.timezone.clone())].into();
        Ok(Exec {
            argv: self.command.clone(),
            cwd,
            env,
            stdin: self.stdin,
            level: self.level,
            limits,
            proxy_login: None,
        })
    }
}

/// What became of a command, with all that was kept of its output.
pub struct Ran {
    pub result: CommandResult,
    /// All that was kept, if the answer does not carry it whole.
    pub stdout: Option<Vec<u8>>,
    pub stderr: Option<Vec<u8>>,
}

/// Runs it; `live` sees its output as it comes.
///
/// # Errors
/// `invalid` or `not_found` when the program or the directory cannot be used, `unavailable` when no sandbox can be had:
/// nothing has run. An error in doubt: nobody knows what has run.
pub async fn run(cx: &Cx, job: Option<JobId>, exec: &Exec, live: impl Fn(&Output) + Send) -> Result<Ran> {
    let (kept, shown) = {
        let config = cx.config.load();
        (size(config.sandbox.max_kept.0), size(config.sandbox.max_shown.0))
    };
    let (_nothing, input) = mpsc::channel(1);
    let (said, mut heard) = mpsc::channel(16);
    let listen = async {
        let (mut stdout, mut stderr) = (Record::new(kept, shown), Record::new(kept, shown));
        while let Some(output) = heard.recv().await {
            live(&output);
            match &output {
                Output::Started => {}
                Output::Stdout(bytes) => stdout.push(bytes),
                Output::Stderr(bytes) => stderr.push(bytes),
            }
        }
        (stdout, stderr)
    };
    let (done, (stdout, stderr)) = tokio::join!(sandbox::exec(cx, job, exec, input, said), listen);
    let (backend, exit) = exited(done?)?;
    report(job, &exit);
    if exec.level != Level::Read {
        changed(cx, job).await;
    }
    let result = result(&exit, backend, &stdout, &stderr);
    let whole = |record: Record| record.is_cut().then(|| record.kept().to_vec());
    Ok(Ran { result, stdout: whole(stdout), stderr: whole(stderr) })
}

/// Who looks at the workspace is told that it may be another one: nobody knows what a command wrote.
async fn changed(cx: &Cx, job: Option<JobId>) {
    let (now, data) = (cx.clock.now(), json!({ "op": "command", "path": "." }));
    match cx.store.write(move |tx| events::emit(tx, now, "workspace.changed", job, &data).map(drop)).await {
        Ok(()) => cx.wake.announce(),
        Err(err) => tracing::warn!(error = err.chain(), "that a command has ended was not announced"),
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Where and how a command ended, or why it was not run.
pub(super) fn exited(done: Done) -> Result<(sandbox::Backend, Exit)> {
    match done.ended {
        Ended::Exited(exit) => Ok((done.backend, exit)),
        Ended::Refused(refused) => Err(match refused.kind.as_str() {
            "not_found" => {
                let message = refused.message.strip_prefix("argv: ").unwrap_or(&refused.message).to_owned();
                Error::new(ErrorKind::NotFound, message).field("command").hint(
                    "in the sandbox there are the system's \
                    programs and the workspace; a program of the workspace is named with its path, such as ./tool",
                )
            }
            "unavailable" => Error::unavailable(refused.message),
            _ => match refused.message.strip_prefix("cwd: ") {
                Some(message) => Error::new(ErrorKind::Invalid, message.to_owned()).field("workdir"),
                None => Error::new(ErrorKind::Invalid, refused.message.clone()).field("command"),
            },
        }),
    }
}

/// The end of a command whose output was streamed.
pub(super) fn end(backend: sandbox::Backend, exit: &Exit) -> CommandEnd {
    CommandEnd {
        exit_code: exit.code,
        signal: exit.signal,
        outcome: outcome(exit.end).to_owned(),
        duration_ms: exit.duration_ms,
        cpu_ms: exit.cpu_ms,
        peak_bytes: exit.peak_bytes,
        denials: denials(exit),
        isolation_mode: backend.as_str().to_owned(),
        error: None,
    }
}

/// Writes into the journal what was refused, and the bounds that it came to.
pub(super) fn report(job: Option<JobId>, exit: &Exit) {
    let (job_id, peak_bytes, duration_ms) = (job.map(|job| job.0), exit.peak_bytes, exit.duration_ms);
    match exit.end {
        End::OutOfMemory => tracing::warn!(
            target: catalog::JOB_OOM,
            job_id,
            peak_bytes,
            "a command was ended because it took too much memory"
        ),
        End::TimedOut => {
            tracing::warn!(target: catalog::JOB_TIMEOUT, job_id, duration_ms, "a command was ended because its time was over");
        }
        _ => {}
    }
    for denial in &exit.denials {
        tracing::info!(
            target: catalog::SANDBOX_DENIED,
            job_id,
            layer = denial.layer,
            refused = denial.target,
            rule = denial.rule,
            suggestion = denial.suggestion,
            count = denial.count,
            "the sandbox refused {} ({}: {})",
            denial.target,
            denial.layer,
            denial.rule
        );
    }
}

fn denials(exit: &Exit) -> Vec<Denied> {
    let denied = |denial: &Denial| Denied {
        layer: denial.layer.clone(),
        target: denial.target.clone(),
        rule: denial.rule.clone(),
        suggestion: denial.suggestion.clone(),
        count: denial.count,
    };
    exit.denials.iter().map(denied).collect()
}

pub(super) const fn outcome(end: End) -> &'static str {
    match end {
        End::Exited => "exited",
        End::TimedOut => "timed_out",
        End::Cancelled => "cancelled",
        End::OutOfMemory => "out_of_memory",
        End::TooMuchOutput => "too_much_output",
        End::TooManyProcesses => "too_many_processes",
    }
}

fn result(exit: &Exit, backend: sandbox::Backend, stdout: &Record, stderr: &Record) -> CommandResult {
    let ((stdout, stdout_omitted_bytes), (stderr, stderr_omitted_bytes)) = (stdout.shown(), stderr.shown());
    CommandResult {
        exit_code: exit.code,
        signal: exit.signal,
        stdout,
        stderr,
        stdout_omitted_bytes,
        stderr_omitted_bytes,
        duration_ms: exit.duration_ms,
        timed_out: exit.end == End::TimedOut,
        outcome: outcome(exit.end).to_owned(),
        cpu_ms: exit.cpu_ms,
        peak_bytes: exit.peak_bytes,
        denials: denials(exit),
        isolation_mode: backend.as_str().to_owned(),
        run_id: format!("{:012x}", fastrand::u64(..1 << 48)),
    }
}
