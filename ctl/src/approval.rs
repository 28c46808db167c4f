//! The call that a job asks to be allowed, shown so that a person can decide: whole, and unable to drive the terminal.

use assistant_api::jobs::Approval;

use crate::{Cx, exit::Result, output, text};

/// All of it, as lines.
pub fn lines(approval: &Approval) -> Vec<String> {
    let mut lines = vec![format!("approval {}: {}", approval.id, text::one_line(&approval.reason))];
    lines.push(format!("tool: {}", text::one_line(&approval.tool)));
    lines.push("arguments:".to_owned());
    lines.extend(output::exact(&approval.args).lines().map(|line| format!("  {line}")));
    lines.push(format!("hash: {}", text::one_line(&approval.args_hash)));
    lines.push(format!("rule: {}", text::one_line(&approval.rule)));
    lines
}

/// Prints it.
pub fn print(cx: &Cx, approval: &Approval) -> Result<()> {
    cx.out.line(format!("\n{}", cx.out.style(output::Style::Bold, "The call that waits for a yes:")))?;
    lines(approval).iter().try_for_each(|line| cx.out.line(format!("  {line}")))
}
