//! `assistantctl doctor`: what is wrong, and the command that mends it.

mod checks;

use serde::Serialize;
use serde_json::json;

use crate::{
    Cx,
    exit::{Code, Result},
    output::Style,
    text,
};

/// Find out what is wrong, and how to mend it
///
/// Looks at the socket, your rights, versions, the configuration, the database,
/// the workspace, the disk, the clock, the sandbox and the models. The exit code
/// is 0 when nothing fails (warnings are no failures), else that of the worst finding.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl doctor
  assistantctl doctor --models
  assistantctl doctor -o json")]
pub struct Args {
    /// Also make one real call to each model
    #[arg(long)]
    models: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// What was looked at.
    check: &'static str,
    /// What was found.
    text: String,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
    /// The exit code that it stands for.
    #[serde(skip)]
    code: Code,
}

impl Finding {
    fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, text: text.into(), mend: None, code: Code::Ok }
    }

    fn warn(check: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Warn, mend: Some(mend.into()), ..Self::ok(check, text) }
    }

    fn fail(check: &'static str, code: Code, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Fail, mend: Some(mend.into()), code, ..Self::ok(check, text) }
    }
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    let findings = checks::all(cx, args.models).await;
    let code = worst(&findings);
    if cx.out.json {
        let level =
            [Level::Fail, Level::Warn].into_iter().find(|level| findings.iter().any(|found| found.level == *level));
        cx.out.json(&json!({ "level": level.unwrap_or(Level::Ok), "findings": findings }))?;
        return Ok(code);
    }
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for finding in &findings {
        let level = cx.out.style(Style::of(finding.level.as_str()), &format!("{:<4}", finding.level.as_str()));
        let padding = text::pad(finding.check, width);
        cx.out.line(format!("{level}  {}{padding}  {}", finding.check, text::one_line(&finding.text)))?;
        if let Some(mend) = &finding.mend {
            cx.out.line(format!("      {}  {}", " ".repeat(width), text::one_line(mend)))?;
        }
    }
    Ok(code)
}

/// The code of the first failure: what comes later usually follows from it.
fn worst(findings: &[Finding]) -> Code {
    findings.iter().find(|finding| finding.level == Level::Fail).map_or(Code::Ok, |finding| finding.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_no_failures() {
        let mut findings = vec![Finding::ok("a", "x"), Finding::warn("b", "x", "y")];
        assert_eq!(worst(&findings), Code::Ok);
        findings.push(Finding::fail("c", Code::Config, "x", "y"));
        findings.push(Finding::fail("d", Code::Failed, "x", "y"));
        assert_eq!(worst(&findings), Code::Config);
    }
}
