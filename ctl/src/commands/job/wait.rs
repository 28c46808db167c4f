use std::time::Duration;

use assistant_api::jobs::{JobDetail, JobStatus};
use serde_json::json;

use super::Which;
use crate::{
    Cx, approval,
    commands::duration,
    exit::{Code, Result},
    watch::{self, Ended, Goal},
};

/// Wait until a job rests
///
/// The exit code says how it ended: 0 completed, 1 failed, 9 it waits for a
/// person, 10 cancelled, 7 not in time. With --for it is 0 once the job is in
/// one of the named states.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl job wait 7 --timeout 10m
  assistantctl job wait 7 --for running --timeout 30s
  assistantctl job wait 7 && assistantctl files get summary.md")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// States to wait for [default: completed, failed, cancelled, needs_review]
    #[arg(long = "for", value_delimiter = ',', value_name = "STATUS")]
    states: Vec<JobStatus>,
    /// Give up after this long, such as 90s or 10m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    let id = args.which.id;
    let until = if args.states.is_empty() { watch::RESTS } else { &args.states };
    let goal = Goal { until, timeout: args.timeout, steps: false, after: i64::MAX, met: false };
    let (poll, timed_out) = match watch::watch(cx, id, &goal).await? {
        Ended::Detached => return watch::detached(cx, id),
        Ended::Reached(poll) => (*poll, false),
        Ended::TimedOut => (watch::rows(cx, id, &mut i64::MAX.clone(), |_| Ok(())).await?, true),
    };
    let job = &poll.job;
    let wanted = args.states.contains(&job.status);
    let code = if wanted { Code::Ok } else { Code::of_job(job.status) };
    // A job that ended otherwise than wanted has not succeeded, even if it completed.
    let code = if !wanted && !args.states.is_empty() && code == Code::Ok { Code::Failed } else { code };
    let code = if timed_out { Code::Timeout } else { code };
    if cx.out.json {
        cx.out.json(&json!({ "job": job, "timed_out": timed_out }))?;
        return Ok(code);
    }
    if wanted || job.status == JobStatus::Completed {
        cx.out.line(format!("job {id} is {}", job.status))?;
        return Ok(code);
    }
    if job.needs.as_ref().is_some_and(|needs| needs.approval_id.is_some()) {
        let detail: JobDetail = cx.client.get(&format!("/api/jobs/{id}")).await?;
        detail.approval.iter().try_for_each(|approval| approval::print(cx, approval))?;
    }
    match watch::outcome(id, job.status, job.last_error.as_deref(), job.needs.as_ref()) {
        Some(mut failure) => {
            failure.code = code;
            Err(failure)
        }
        None => Ok(code),
    }
}
