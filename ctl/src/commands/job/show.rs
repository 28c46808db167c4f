use std::collections::VecDeque;

use assistant_api::{
    JobId,
    jobs::{Approval, JobDetail, LogRow, Needs},
};
use serde_json::{Value, json};

use super::Which;
use crate::{
    Cx, approval,
    commands::effects,
    exit::{Code, Result},
    output::Style,
    steps::Steps,
    text,
    watch::{self, Ended, Goal},
};

/// Show a job: its state, what it needs, its answer and its effects
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl job show 7
  assistantctl job show 7 -o json")]
pub struct Show {
    #[command(flatten)]
    which: Which,
}

/// Show the steps of a job
///
/// Every model call and every tool call is one line. With -f it goes on until
/// the job rests; Ctrl-C ends only the showing.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl job logs 7
  assistantctl job logs 7 -f
  assistantctl job logs 7 -n 20 -o json")]
pub struct Logs {
    #[command(flatten)]
    which: Which,
    /// Go on until the job rests
    #[arg(short, long)]
    follow: bool,
    /// Only the newest N rows
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
}

pub async fn show(args: Show, cx: &Cx) -> Result {
    let detail: JobDetail = cx.client.get(&format!("/api/jobs/{}", args.which.id)).await?;
    if cx.out.json {
        cx.out.json(&detail)?;
        return Ok(Code::Ok);
    }
    let job = &detail.job;
    let subject = detail.trigger_email.as_ref().map_or(&job.task_summary, |email| &email.subject);
    let when = |at: jiff::Timestamp| if cx.out.terminal { text::local(at) } else { text::utc(at) };
    let maybe = |at: Option<jiff::Timestamp>| at.map(when).unwrap_or_default();
    let waits = job.status == assistant_api::jobs::JobStatus::Queued && job.run_at > job.created_at;
    let usage = &detail.usage;
    // What it needs says the reason already.
    let said = |reason: &&str| !job.needs.as_ref().is_some_and(|needs| needs.text.contains(reason.trim()));
    let reason = job.last_error.as_deref().filter(said).unwrap_or_default();
    cx.out.fields([
        ("job", job.id.to_string()),
        ("subject", text::one_line(subject)),
        ("status", cx.out.style(Style::of(job.status.as_str()), job.status.as_str())),
        ("reason", text::one_line(reason)),
        ("priority", job.priority.to_string()),
        ("attempts", format!("{} of {}", job.attempts, job.max_attempts)),
        ("created", when(job.created_at)),
        ("runs at", if waits { when(job.run_at) } else { String::new() }),
        ("completed", maybe(job.completed_at)),
        (
            "used",
            format!(
                "{} model calls, {} tokens, {}",
                text::grouped(usage.api_call_count),
                text::grouped(usage.total_tokens),
                text::dollars(usage.cost_total)
            ),
        ),
    ])?;
    if let Some(needs) = &job.needs {
        needed(cx, needs, detail.approval.as_ref())?;
    }
    // That of `other` only refers to the reason, which stands above.
    if let Some(diagnostics) = detail.review_diagnostics.as_ref().filter(|found| found.stop_reason != "other") {
        cx.out.text(&format!("\n{}", diagnostics.explanation))?;
    }
    if let Some(email) = &detail.trigger_email {
        section(cx, "Task", email.body_text.as_deref().unwrap_or_default())?;
    }
    section(cx, "Answer", job.metadata.get("final_response").and_then(Value::as_str).unwrap_or_default())?;
    section(cx, "Files written in the workspace", &detail.written_paths.join("\n"))?;
    if !detail.effects.is_empty() {
        cx.out.line(format!("\n{}", cx.out.style(Style::Bold, "Effects:")))?;
        effects::table(cx, &detail.effects, "")?;
    }
    if cx.out.terminal && !detail.logs.is_empty() {
        cx.out.note(&format!("\nits steps: assistantctl job logs {}", job.id));
    }
    Ok(Code::Ok)
}

fn needed(cx: &Cx, needs: &Needs, approval: Option<&Approval>) -> Result<()> {
    match approval {
        Some(approval) => approval::print(cx, approval)?,
        None => section(cx, "Needs", &format!("{}: {}", needs.what, needs.text))?,
    }
    cx.out.line(format!("\n  {}", cx.out.style(Style::Attention, &text::one_line(&needs.command))))
}

fn section(cx: &Cx, title: &str, body: &str) -> Result<()> {
    let body = text::clean(body);
    if body.trim().is_empty() {
        return Ok(());
    }
    cx.out.line(format!("\n{}", cx.out.style(Style::Bold, &format!("{title}:"))))?;
    body.trim_end().lines().try_for_each(|line| cx.out.line(format!("  {line}").trim_end()))
}

pub async fn logs(args: Logs, cx: &Cx) -> Result {
    let id = args.which.id;
    let mut after = 0;
    if let Some(most) = args.lines {
        after = newest(cx, id, most, args.follow).await?;
    }
    if !args.follow {
        if args.lines.is_none() {
            let mut steps = Steps::default();
            watch::rows(cx, id, &mut after, |row| print(cx, &mut steps, row)).await?;
        }
        return Ok(Code::Ok);
    }
    let goal = Goal { until: watch::RESTS, timeout: None, steps: true, after, met: args.lines.is_some() };
    match watch::watch(cx, id, &goal).await? {
        Ended::Detached => watch::detached(cx, id),
        Ended::TimedOut => Ok(Code::Timeout),
        Ended::Reached(poll) => {
            if cx.out.terminal {
                cx.out.note(&format!("job {id} is {}: assistantctl job show {id}", poll.job.status));
            }
            Ok(Code::Ok)
        }
    }
}

/// Prints the newest rows and returns the sequence of the last.
async fn newest(cx: &Cx, id: JobId, most: usize, follow: bool) -> Result<i64> {
    let mut after = 0;
    let mut kept: VecDeque<LogRow> = VecDeque::new();
    watch::rows(cx, id, &mut after, |row| {
        kept.push_back(row.clone());
        if kept.len() > most {
            kept.pop_front();
        }
        Ok(())
    })
    .await?;
    let mut steps = Steps::default();
    kept.iter().try_for_each(|row| print(cx, &mut steps, row))?;
    // The result of a call may be still to come; then the following shows it.
    if !follow
        && !cx.out.json
        && let Some(last) = kept.back()
    {
        steps.unanswered(last, &cx.out).into_iter().try_for_each(|line| cx.out.line(line))?;
    }
    Ok(after)
}

fn print(cx: &Cx, steps: &mut Steps, row: &LogRow) -> Result<()> {
    if cx.out.json {
        return cx.out.json_line(&json!({ "log": row }));
    }
    steps.lines(row, &cx.out).into_iter().try_for_each(|line| cx.out.line(line))
}
