use std::io::Read as _;

use assistant_api::{
    ApprovalId, JobId,
    jobs::{Answer as NewAnswer, Decision, EraseReply, JobDetail, Needs, NewInstruction, ReviewOverride, StatusReply},
};
use serde::Serialize;
use serde_json::json;

use super::Which;
use crate::{
    Cx, approval,
    commands::{confirm, dollars},
    exit::{Code, Failure, Result},
    text,
};

/// End a job; what it was doing stops within a second
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl job cancel 7")]
pub struct Cancel {
    #[command(flatten)]
    which: Which,
}

/// Put a job back into the queue, with its attempts counted anew
///
/// A job that waits for an answer goes on without one: the model is told that nobody answered.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl job requeue 7")]
pub struct Requeue {
    #[command(flatten)]
    which: Which,
}

/// Tell a job something; it sees it at its next step
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl job instruct 7 \"use euros\"")]
pub struct Instruct {
    #[command(flatten)]
    which: Which,
    /// What to tell it; `-` reads the standard input
    #[arg(required = true)]
    text: Vec<String>,
}

/// Answer the question of a job, which then goes on
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl job answer 7 \"the second one\"")]
pub struct Answer {
    #[command(flatten)]
    which: Which,
    /// The answer; `-` reads the standard input
    #[arg(required = true)]
    text: Vec<String>,
}

/// Allow the one call that a job asks to be allowed
///
/// Shows the exact call, and allows it once. If the job has come to ask for
/// another call in the meantime, nothing is allowed.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl job approve 7
  assistantctl job approve 7 --approval 3")]
pub struct Approve {
    #[command(flatten)]
    which: Which,
    /// The approval that was shown [default: the one that is asked for now]
    #[arg(long, value_name = "ID")]
    approval: Option<ApprovalId>,
}

/// Refuse the call that a job asks to be allowed; it goes on without it
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl job deny 7 --reason \"write to a new file instead\"")]
pub struct Deny {
    #[command(flatten)]
    which: Which,
    /// The approval that was shown [default: the one that is asked for now]
    #[arg(long, value_name = "ID")]
    approval: Option<ApprovalId>,
    /// Told to the model
    #[arg(long)]
    reason: Option<String>,
}

/// Let a job that reached a limit go on with higher ones
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl job review 7 --max-iterations 80 --instruction \"go on\"
  assistantctl job review 7 --max-tokens 2000000 --no-requeue
  assistantctl job review 7 --max-cost 5")]
pub struct Review {
    #[command(flatten)]
    which: Which,
    /// Model calls that the next run may make, 1 to 10000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=10_000))]
    max_iterations: Option<i64>,
    /// Tokens that the next run may use, 1 to 100000000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=100_000_000))]
    max_tokens: Option<i64>,
    /// US dollars that the job may cost in all, those already spent among them; 0 for no limit of its own
    #[arg(long, value_name = "DOLLARS", value_parser = dollars, allow_negative_numbers = true)]
    max_cost: Option<f64>,
    /// Told to the model
    #[arg(long, value_name = "TEXT")]
    instruction: Option<String>,
    /// Only keep this for the next run; do not start it
    #[arg(long)]
    no_requeue: bool,
}

/// Remove a job and all that belongs to it from the database
///
/// Jobs that it started go with it; files in the workspace stay. It cannot be
/// undone. For administrators.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl job erase 7 --yes")]
pub struct Erase {
    #[command(flatten)]
    which: Which,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub async fn cancel(args: Cancel, cx: &Cx) -> Result {
    change(cx, args.which.id, "cancel", &json!({})).await
}

pub async fn requeue(args: Requeue, cx: &Cx) -> Result {
    change(cx, args.which.id, "requeue", &json!({})).await
}

pub async fn instruct(args: Instruct, cx: &Cx) -> Result {
    change(cx, args.which.id, "instructions", &NewInstruction { instruction: words(&args.text)? }).await
}

pub async fn answer(args: Answer, cx: &Cx) -> Result {
    change(cx, args.which.id, "answer", &NewAnswer { answer: words(&args.text)? }).await
}

pub async fn approve(args: Approve, cx: &Cx) -> Result {
    let decision = decision(cx, args.which.id, args.approval, None).await?;
    change(cx, args.which.id, "approve", &decision).await
}

pub async fn deny(args: Deny, cx: &Cx) -> Result {
    let decision = decision(cx, args.which.id, args.approval, args.reason).await?;
    change(cx, args.which.id, "deny", &decision).await
}

pub async fn review(args: Review, cx: &Cx) -> Result {
    let review = ReviewOverride {
        instruction: args.instruction,
        max_iterations_per_task: args.max_iterations,
        max_tokens_per_task: args.max_tokens,
        max_job_cost_usd: args.max_cost,
        requeue: !args.no_requeue,
    };
    change(cx, args.which.id, "review-override", &review).await
}

pub async fn erase(args: Erase, cx: &Cx) -> Result {
    let id = args.which.id;
    confirm(args.yes, &format!("Erase job {id} for good?"))?;
    let reply: EraseReply = cx.client.delete(&format!("/api/jobs/{id}")).await?;
    if cx.out.json {
        cx.out.json(&reply)?;
        return Ok(Code::Ok);
    }
    let ids: Vec<String> = reply.erased.job_ids.iter().map(ToString::to_string).collect();
    cx.out.line(format!("erased {} {}", if ids.len() == 1 { "job" } else { "jobs" }, ids.join(", ")))?;
    for (table, count) in &reply.erased.deleted {
        cx.out.line(format!("  {} {}", count, text::one_line(&table.replace('_', " "))))?;
    }
    Ok(Code::Ok)
}

/// Asks for a change and says what the job is now.
async fn change(cx: &Cx, id: JobId, verb: &str, body: &impl Serialize) -> Result {
    let reply: StatusReply = cx.client.post(&format!("/api/jobs/{id}/{verb}"), body).await?;
    if cx.out.json {
        cx.out.json(&json!({ "job_id": id, "status": reply.status }))?;
        return Ok(Code::Ok);
    }
    let state = text::one_line(&reply.status);
    cx.out.line(match state.as_str() {
        "approved" => format!("the call is allowed once; job {id} goes on"),
        "denied" => format!("the call is refused; job {id} goes on without it"),
        "created" => format!("job {id} will see it at its next step"),
        "requeued" => format!("job {id} is queued and will see it"),
        _ => format!("job {id} is {state}"),
    })?;
    if matches!(state.as_str(), "queued" | "requeued") && cx.out.terminal {
        cx.out.note(&format!("follow it with: assistantctl job logs {id} -f"));
    }
    Ok(Code::Ok)
}

/// The decision about exactly the call that is shown here.
async fn decision(cx: &Cx, id: JobId, approval: Option<ApprovalId>, reason: Option<String>) -> Result<Decision> {
    if approval.is_some() {
        return Ok(Decision { approval_id: approval, reason });
    }
    let detail: JobDetail = cx.client.get(&format!("/api/jobs/{id}")).await?;
    if let Some(shown) = &detail.approval {
        cx.out.note(&approval::lines(shown).join("\n"));
        return Ok(Decision { approval_id: Some(shown.id), reason });
    }
    let Some(Needs { approval_id: Some(approval), text, .. }) = detail.job.needs else {
        return Err(Failure::new(Code::Conflict, format!("job {id} asks for no approval"))
            .hint(format!("it is {}: assistantctl job show {id}", detail.job.status)));
    };
    cx.out.note(&text);
    Ok(Decision { approval_id: Some(approval), reason })
}

/// The words of the command line, or the standard input for `-`.
fn words(words: &[String]) -> Result<String> {
    let mut text = words.join(" ");
    if text == "-" {
        text.clear();
        let read = std::io::stdin().lock().take(1 << 20).read_to_string(&mut text);
        read.map_err(|err| Failure::usage(format!("reading the standard input: {err}")))?;
    }
    if text.trim().is_empty() {
        return Err(Failure::usage("the text is empty"));
    }
    Ok(text)
}
