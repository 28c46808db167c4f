//! `assistantctl doctor`: what is wrong, and the command that mends it.

mod daemon;
mod host;
mod local;
mod public;
#[cfg(test)]
mod tests;
mod units;

use std::path::Path;

use assistant_api::status::{ApiInfo, Status};
use host::Host;
use serde::Serialize;
use serde_json::json;

use crate::{
    Cx,
    exit::{Code, Result},
    output::Style,
    socket, text,
};

/// Find out what is wrong, and how to mend it
///
/// Looks at the socket and the groups, the units and their drop-ins, the
/// configuration, credentials, the database, the disk, the clock, the kernel,
/// the sandbox, what listens where, and whether the servers of the models can be
/// reached. It works without the daemon, too, and then says why it is down; root
/// sees the most. Each error and warning comes with the command that mends it.
///
/// The exit code is 0 when there is no error (warnings are none), else that of
/// the first error: what comes later usually follows from it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sudo assistantctl doctor
  assistantctl doctor --models
  sudo assistantctl doctor --public
  assistantctl doctor --json")]
pub struct Args {
    /// Also make one real call to each model
    #[arg(long)]
    models: bool,
    /// Only look whether this daemon is ready to be reached from the Internet
    #[arg(long, conflicts_with = "models")]
    public: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Skipped,
    Warning,
    Error,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Ok => Style::Good,
            Self::Skipped => Style::Plain,
            Self::Warning => Style::Attention,
            Self::Error => Style::Bad,
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    /// What was looked at; docs/troubleshooting.md has a section for each.
    name: &'static str,
    verdict: Verdict,
    /// What was found, or why it was not looked at.
    text: String,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
    /// The exit code that it stands for.
    #[serde(skip)]
    code: Code,
}

impl Finding {
    fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, text: text.into(), mend: None, code: Code::Ok }
    }

    fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, ..Self::ok(name, why) }
    }

    fn warning(name: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, mend: Some(mend.into()), ..Self::ok(name, text) }
    }

    fn error(name: &'static str, code: Code, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Error, mend: Some(mend.into()), code, ..Self::ok(name, text) }
    }
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    let findings = if args.public { public::look(cx).await } else { look(cx, &Host::real(), args.models).await };
    let code = worst(&findings);
    if cx.out.json {
        let verdict = [Verdict::Error, Verdict::Warning]
            .into_iter()
            .find(|verdict| findings.iter().any(|found| found.verdict == *verdict));
        let verdict = verdict.unwrap_or(Verdict::Ok);
        cx.out.json(&json!({ "verdict": verdict, "exit_code": code as u8, "findings": findings }))?;
        return Ok(code);
    }
    for (verdict, line) in lines(&findings) {
        cx.out.line(match verdict {
            Some(verdict) => format!("{}{line}", cx.out.style(verdict.style(), &format!("{:<7}", verdict.as_str()))),
            None => line,
        })?;
    }
    Ok(code)
}

/// The table: a line for each finding, whose verdict stands before it, and one for what mends it.
fn lines(findings: &[Finding]) -> Vec<(Option<Verdict>, String)> {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for finding in findings {
        let padding = text::pad(finding.name, width);
        let line = format!("  {}{padding}  {}", finding.name, text::one_line(&finding.text));
        lines.push((Some(finding.verdict), line));
        if let Some(mend) = finding.mend.as_deref().filter(|mend| !mend.is_empty()) {
            lines.push((None, format!("{}  {}", " ".repeat(width + 9), text::one_line(mend))));
        }
    }
    lines
}

/// Looks at everything: first at the host, whose faults explain those of the daemon.
async fn look(cx: &Cx, host: &Host, call_models: bool) -> Vec<Finding> {
    // A socket that was named may be that of any daemon; the host is about the packaged one.
    let packaged = host.is_packaged() && (!cx.named || cx.socket == Path::new(socket::SYSTEM));
    let info = cx.client.get::<ApiInfo>("/api").await;
    let status = match &info {
        Ok(_) => Some(cx.client.get::<Status>("/api/status").await),
        Err(_) => None,
    };
    let mut findings = Vec::new();
    if packaged {
        findings.extend(units::look(host));
        findings.extend(local::people(host));
    }
    findings.push(daemon::socket(cx));
    findings.extend(packaged.then(|| local::socket(host)).flatten());
    if packaged {
        findings.extend(local::configuration(host));
        findings.extend(local::credentials(host));
        findings.extend(local::state(host));
    } else {
        findings.push(daemon::configuration(cx).await);
    }
    findings.push(daemon::answering(cx, &info));
    if info.as_ref().is_err_and(assistant_api::client::Error::is_unreachable) {
        findings.extend(packaged.then(|| units::why_down(host)).flatten());
    }
    if let Ok(info) = &info {
        findings.push(daemon::role(info));
        findings.push(daemon::versions(info));
    }
    match status {
        None => findings.push(Finding::skipped("daemon's own view", "the daemon does not answer")),
        Some(Err(err)) => findings.push(daemon::failed("status", "how it is", &err)),
        Some(Ok(status)) => {
            daemon::add_warnings(&mut findings, &status.warnings);
            findings.extend(daemon::running(&status));
            findings.extend(daemon::reach(cx, host, status.pid).await);
            findings.push(daemon::sandbox(cx).await);
            if call_models {
                findings.extend(daemon::called(cx).await);
            }
        }
    }
    findings.extend(local::kernel(host));
    findings.push(daemon::clock(host));
    findings
}

/// The code of the first error: what comes later usually follows from it.
fn worst(findings: &[Finding]) -> Code {
    findings.iter().find(|finding| finding.verdict == Verdict::Error).map_or(Code::Ok, |finding| finding.code)
}
