use assistant_api::jobs::{JobList, JobListItem, JobStatus};
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
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
  assistantctl jobs --search 'invoice march' --since 7d
  assistantctl jobs --status needs_review --all -o json")]
pub struct Args {
    /// Only jobs in these states, separated by commas: queued, running,
    /// waiting, needs_review, completed, failed, cancelled
    #[arg(short, long, value_delimiter = ',', value_name = "STATUS")]
    status: Vec<JobStatus>,
    /// Only jobs asked for by these, separated by commas: owner, host, contact,
    /// tool, memory, attachment, web, stranger
    #[arg(long, value_delimiter = ',', value_name = "ORIGIN")]
    origin: Vec<String>,
    /// Only jobs with all of these words in subject, sender, summary or answer
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// Only jobs made at this time or later: 2026-11-01, 2026-11-01T09:30:00Z,
    /// or that long ago, as 90m, 12h, 7d, 4w
    #[arg(long, value_name = "TIME", value_parser = point)]
    since: Option<Timestamp>,
    /// Only jobs made before this time
    #[arg(long, value_name = "TIME", value_parser = point)]
    until: Option<Timestamp>,
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
    let origins = (!args.origin.is_empty()).then(|| args.origin.join(","));
    let wanted = if args.all { u32::MAX } else { args.limit };
    let mut cursor = args.cursor;
    let mut jobs: Vec<JobListItem> = Vec::new();
    // A page may be short, or empty, and not be the last.
    loop {
        let left = wanted.saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
        let request = cx.client.request("GET", "/api/jobs").query("limit", left.min(PAGE));
        let request = request.maybe("status", states.as_ref()).maybe("origin", origins.as_ref());
        let request = request.maybe("q", args.search.as_ref()).maybe("since", args.since).maybe("until", args.until);
        let page: JobList = request.maybe("cursor", cursor.as_ref()).fetch().await?;
        jobs.extend(page.jobs);
        cursor = page.next_cursor;
        if cursor.is_none() || u32::try_from(jobs.len()).is_ok_and(|found| found >= wanted) {
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

/// A time as a person writes it: an instant, a date in the zone of this machine, or so long ago.
fn point(text: &str) -> std::result::Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(date) = text.parse::<civil::Date>()
        && let Ok(zoned) = date.to_zoned(TimeZone::system())
    {
        return Ok(zoned.timestamp());
    }
    ago(text).and_then(|ago| text::now().checked_sub(ago).ok()).ok_or_else(|| {
        "give a date as 2026-11-01, a time as 2026-11-01T09:30:00Z, or so long ago as 90m, 12h, 7d or 4w".to_owned()
    })
}

/// A count and its unit.
fn ago(text: &str) -> Option<SignedDuration> {
    let (at, unit) = text.char_indices().last()?;
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        'w' => 7 * 24 * 60,
        _ => return None,
    };
    let count: u32 = text.get(..at)?.parse().ok()?;
    Some(SignedDuration::from_mins(i64::from(count) * minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_instants_dates_or_so_long_ago() {
        assert_eq!(point("2026-11-01T09:30:00Z").unwrap().to_string(), "2026-11-01T09:30:00Z");
        let date = point("2026-11-01").unwrap().to_zoned(TimeZone::system());
        assert_eq!(date.date(), civil::date(2026, 11, 1));
        for (text, minutes) in [("90m", 90), ("2h", 120), ("7d", 7 * 24 * 60), ("4w", 28 * 24 * 60)] {
            let at = point(text).unwrap();
            let ago = text::now().duration_since(at);
            assert_eq!(ago.as_mins(), minutes, "{text}");
        }
        for text in ["", "d", "7", "-7d", "7y", "yesterday", "99999999999w", "é"] {
            assert!(point(text).unwrap_err().contains("2026-11-01"), "{text}");
        }
    }
}
