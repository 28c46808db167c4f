use assistant_api::jobs::{JobList, JobListItem, JobStatus};
use serde_json::json;

use crate::{
    Cx,
    exit::{Code, Result},
    output::{Table, cell, state},
    text,
};

/// Jobs that one page holds at most.
const PAGE: u32 = 200;

/// List jobs, newest first
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl jobs
  assistantctl jobs --status running,queued
  assistantctl jobs --status needs_review --all -o json")]
pub struct Args {
    /// Only jobs in these states, separated by commas: queued, running,
    /// waiting, needs_review, completed, failed, cancelled
    #[arg(short, long, value_delimiter = ',', value_name = "STATUS")]
    status: Vec<JobStatus>,
    /// How many, 1 to 200
    #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Where an earlier list ended
    #[arg(long, conflicts_with = "all")]
    cursor: Option<String>,
    /// All of them, page after page
    #[arg(long)]
    all: bool,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    let states: Vec<_> = args.status.iter().map(|status| status.as_str()).collect();
    let states = (!states.is_empty()).then(|| states.join(","));
    let limit = if args.all { PAGE } else { args.limit };
    let mut cursor = args.cursor;
    let mut jobs: Vec<JobListItem> = Vec::new();
    loop {
        let request = cx.client.request("GET", "/api/jobs").query("limit", limit);
        let page: JobList = request.maybe("status", states.as_ref()).maybe("cursor", cursor.as_ref()).fetch().await?;
        jobs.extend(page.jobs);
        cursor = page.next_cursor;
        if !args.all || cursor.is_none() {
            break;
        }
    }
    if cx.out.json {
        cx.out.json(&json!({ "jobs": jobs, "next_cursor": cursor }))?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["ID", "STATUS", "PRIO", "UPDATED", "COST", "SUBJECT"]);
    for item in &jobs {
        let job = &item.job;
        table.row([
            cell(job.id.to_string()),
            state(job.status.as_str()),
            cell(job.priority.to_string()),
            cell(cx.out.when(job.updated_at)),
            cell(text::dollars(item.cost_total)),
            cell(item.trigger_subject.as_deref().unwrap_or(&job.task_summary)),
        ]);
    }
    cx.out.table(&table, "no jobs")?;
    if let Some(cursor) = cursor.filter(|_| cx.out.terminal) {
        cx.out.note(&format!("there are more: --all, or --cursor {cursor}"));
    }
    Ok(Code::Ok)
}
