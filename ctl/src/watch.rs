//! Waiting for a job: its events say when to look, its log is shown as it grows.

use std::{
    path::PathBuf,
    pin::pin,
    time::{Duration, Instant},
};

use assistant_api::{
    ErrorKind, JobId, client,
    jobs::{JobDetail, JobPoll, JobStatus, LogRow, Poll},
    status::Status,
};
use serde_json::json;

use crate::{
    Cx, approval,
    exit::{Code, Failure, Result},
    output::Style,
    progress::Progress,
    steps::Steps,
    text, transfer,
};

/// Rows that one poll gives at most.
const PAGE: usize = 200;
/// A job's state is looked at this often although no event came.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// A job that has not begun by then may wait for something that its caller should know of.
const BEGINS: Duration = Duration::from_millis(400);
/// And this often while the daemon is away.
const LOOK_SOON: Duration = Duration::from_millis(200);
/// How long a daemon that is away is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where a job does not go on by itself.
pub const RESTS: &[JobStatus] =
    &[JobStatus::Completed, JobStatus::Failed, JobStatus::Cancelled, JobStatus::NeedsReview];

/// What is waited for, and what is shown meanwhile.
pub struct Goal<'a> {
    pub until: &'a [JobStatus],
    pub timeout: Option<Duration>,
    /// Whether the steps are printed.
    pub steps: bool,
    /// Only rows after this one.
    pub after: i64,
    /// Whether the daemon has answered already: then it comes back, and is waited for also before its first event.
    pub met: bool,
}

/// How the waiting ended.
pub enum Ended {
    Reached(Box<Poll>),
    TimedOut,
    /// By Ctrl-C; the job goes on.
    Detached,
}

/// Waits until the job rests in one of the states, or cannot reach one any more.
pub async fn watch(cx: &Cx, id: JobId, goal: &Goal<'_>) -> Result<Ended> {
    let mut events = cx.client.events(&format!("/api/events?job={id}"), None);
    let mut steps = Steps::default();
    let mut progress = Progress::new(cx);
    let mut away = Away::default();
    let mut after = goal.after;
    let deadline = async {
        match goal.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let mut deadline = pin!(deadline);
    let mut interrupt = cx.interrupts.expect()?;
    let mut delay = Delay::new();
    // What happens from here on is not missed.
    loop {
        let failure = match events.connect().await {
            Ok(()) => break,
            // A socket that nobody has answered on may be the wrong one, unless somebody has left it behind.
            Err(err @ (client::Error::Refused(_) | client::Error::Lost(_))) => Failure::from(err),
            Err(err) if goal.met => Failure::from(err),
            Err(err) => return Err(err.into()),
        };
        away.bear(cx, &mut progress, failure)?;
        tokio::select! {
            biased;
            () = interrupt.pressed() => return Ok(Ended::Detached),
            () = &mut deadline => return Ok(Ended::TimedOut),
            () = tokio::time::sleep(LOOK_SOON) => {}
        }
    }
    loop {
        let looked = rows(cx, id, &mut after, |row| show(cx, goal, &mut steps, &mut progress, row)).await;
        let (poll, doing) = match looked {
            Ok(poll) => {
                away = Away::default();
                let doing = doing(&steps, poll.job.status);
                (Some(poll), doing)
            }
            // A daemon that restarts takes the job up again.
            Err(failure) => {
                away.bear(cx, &mut progress, failure)?;
                (None, AWAY.to_owned())
            }
        };
        let here = poll.is_some();
        let mut pause = LOOK_SOON;
        if let Some(poll) = poll {
            if goal.until.contains(&poll.job.status) || !poll.job.status.is_open() {
                return Ok(Ended::Reached(Box::new(poll)));
            }
            pause = delay.tell(cx, &poll.job, &mut progress).await;
        }
        let mut look_again = pin!(tokio::time::sleep(pause));
        loop {
            progress.draw(&doing);
            tokio::select! {
                biased;
                () = interrupt.pressed() => return Ok(Ended::Detached),
                () = &mut deadline => return Ok(Ended::TimedOut),
                event = events.next(), if here => {
                    // Rows that are on the screen already need no look.
                    let row = event?.data.get("sequence").and_then(serde_json::Value::as_i64);
                    if row.is_none_or(|row| row > after) {
                        break;
                    }
                }
                () = &mut look_again => break,
                () = progress.tick() => {}
            }
        }
    }
}

const AWAY: &str = "the daemon is away";

/// How long the daemon has not answered, told once.
#[derive(Default)]
struct Away(Option<Instant>);

impl Away {
    /// Gives a failure back that cannot be of a daemon that restarts, or after too long.
    fn bear(&mut self, cx: &Cx, progress: &mut Progress, failure: Failure) -> Result<()> {
        if !may_come_back(&failure) || self.0.is_some_and(|since| since.elapsed() >= PATIENCE) {
            return Err(failure);
        }
        if self.0.is_none() {
            self.0 = Some(Instant::now());
            progress.clear();
            cx.out.note(&format!("{AWAY}; waiting up to {} s until it is back", PATIENCE.as_secs()));
        }
        progress.draw(AWAY);
        Ok(())
    }
}

/// What keeps a job from beginning, told once.
struct Delay {
    since: Instant,
    told: bool,
}

impl Delay {
    fn new() -> Self {
        Self { since: Instant::now(), told: false }
    }

    /// Says why the job has not begun; returns when to look again.
    async fn tell(&mut self, cx: &Cx, job: &JobPoll, progress: &mut Progress) -> Duration {
        if self.told || job.status != JobStatus::Queued {
            return LOOK_AGAIN;
        }
        if self.since.elapsed() < BEGINS {
            return BEGINS;
        }
        self.told = true;
        let detail = cx.client.get::<JobDetail>(&format!("/api/jobs/{}", job.id)).await;
        if let Some(at) = detail.ok().map(|detail| detail.job.run_at).filter(|at| *at > text::now()) {
            let at = if cx.out.error_terminal { text::local(at) } else { text::utc(at) };
            progress.clear();
            cx.out.note(&format!("job {} runs at {at}", job.id));
        }
        let request = cx.client.request("GET", "/api/status").timeout(Some(Duration::from_secs(5)));
        if request.fetch::<Status>().await.is_ok_and(|status| status.stopped.is_some()) {
            progress.clear();
            cx.out.note("all work is stopped; assistantctl resume");
        }
        LOOK_AGAIN
    }
}

/// Whether a failure may be that of a daemon that restarts.
fn may_come_back(failure: &Failure) -> bool {
    failure.code == Code::Unreachable || failure.kind == ErrorKind::Unavailable.as_str()
}

fn doing(steps: &Steps, status: JobStatus) -> String {
    steps.doing().unwrap_or_else(|| match status {
        JobStatus::Running => "the model works".to_owned(),
        other => format!("the job is {}", other.as_str().replace('_', " ")),
    })
}

/// Fetches every row after `after` and hands it on; returns the newest state.
pub async fn rows(cx: &Cx, id: JobId, after: &mut i64, mut each: impl FnMut(&LogRow) -> Result<()>) -> Result<Poll> {
    loop {
        let request = cx.client.request("GET", format!("/api/jobs/{id}/poll"));
        let poll: Poll = request.query("after_sequence", *after).fetch().await?;
        for row in &poll.new_logs {
            *after = (*after).max(row.sequence);
            each(row)?;
        }
        if poll.new_logs.len() < PAGE {
            return Ok(poll);
        }
    }
}

fn show(cx: &Cx, goal: &Goal<'_>, steps: &mut Steps, progress: &mut Progress, row: &LogRow) -> Result<()> {
    if !goal.steps {
        return Ok(());
    }
    if cx.out.json {
        return cx.out.json_line(&json!({ "log": row }));
    }
    progress.clear();
    progress.restart();
    for line in steps.lines(row, &cx.out) {
        cx.out.line(line)?;
    }
    Ok(())
}

/// Says how to look again at a job that was left alone.
pub fn detached(cx: &Cx, id: JobId) -> Result {
    cx.out.note(&format!("\njob {id} goes on; follow it again with: assistantctl job logs {id} -f"));
    if cx.out.json {
        cx.out.json_line(&json!({ "job_id": id, "detached": true }))?;
    }
    Ok(Code::Interrupted)
}

/// Shows how a job ended, its answer and what it wrote, and fetches that.
pub async fn conclude(cx: &Cx, id: JobId, get: Option<&PathBuf>, after_steps: bool) -> Result {
    let (mut away, mut progress) = (Away::default(), Progress::new(cx));
    let detail = loop {
        match cx.client.get::<JobDetail>(&format!("/api/jobs/{id}")).await {
            Ok(detail) => break detail,
            Err(err) => away.bear(cx, &mut progress, err.into())?,
        }
        tokio::time::sleep(LOOK_SOON).await;
    };
    drop(progress);
    let job = &detail.job;
    let answer = job.metadata.get("final_response").and_then(serde_json::Value::as_str).unwrap_or_default();
    let fetched = match get {
        Some(dir) if !detail.written_paths.is_empty() => {
            Some(transfer::fetch_all(cx, &detail.written_paths, dir).await?)
        }
        _ => None,
    };
    if cx.out.json {
        cx.out.json_line(&json!({
            "job": job,
            "usage": detail.usage,
            "answer": answer,
            "written_paths": detail.written_paths,
            "approval": detail.approval,
            "fetched": fetched.as_ref().map(|fetched| &fetched.files),
        }))?;
        return Ok(fetched.map_or(Code::Ok, |fetched| fetched.code()).or(Code::of_job(job.status)));
    }
    if job.status == JobStatus::Completed && !answer.is_empty() {
        let gap = if after_steps { "\n" } else { "" };
        cx.out.text(&format!("{gap}{answer}"))?;
    }
    if !detail.written_paths.is_empty() {
        cx.out.line(format!("\n{}", cx.out.style(Style::Bold, "Files written in the workspace:")))?;
        for path in &detail.written_paths {
            cx.out.line(format!("  {}", text::one_line(path)))?;
        }
    }
    if let Some(fetched) = &fetched {
        fetched.report(cx);
    }
    if let Some(approval) = &detail.approval {
        approval::print(cx, approval)?;
    }
    match outcome(id, job.status, job.last_error.as_deref(), job.needs.as_ref()) {
        Some(failure) => Err(failure),
        None => Ok(fetched.map_or(Code::Ok, |fetched| fetched.code())),
    }
}

/// What to tell about a job that has not completed.
pub fn outcome(
    id: JobId,
    status: JobStatus,
    last_error: Option<&str>,
    needs: Option<&assistant_api::jobs::Needs>,
) -> Option<Failure> {
    let code = Code::of_job(status);
    let failure = match status {
        JobStatus::Completed => return None,
        JobStatus::NeedsReview => match needs {
            Some(needs) => Failure::new(code, format!("job {id} needs {}: {}", article(&needs.what), needs.text))
                .hint(needs.command.clone()),
            None => {
                Failure::new(code, format!("job {id} waits for a person: {}", last_error.unwrap_or("no reason given")))
                    .hint(format!("assistantctl job show {id}"))
            }
        },
        JobStatus::Failed => {
            Failure::new(code, format!("job {id} failed: {}", last_error.unwrap_or("no reason given")))
                .hint(format!("see assistantctl job logs {id}; try again with assistantctl job requeue {id}"))
        }
        JobStatus::Cancelled => Failure::new(code, format!("job {id} was cancelled"))
            .hint(format!("start it again with assistantctl job requeue {id}")),
        open => Failure::new(code, format!("job {id} is still {open}"))
            .hint(format!("it goes on; follow it with assistantctl job logs {id} -f")),
    };
    Some(failure)
}

/// What a waiting job needs, in words.
fn article(what: &str) -> &str {
    match what {
        "answer" => "an answer",
        "approval" => "an approval",
        "limits" => "higher limits",
        "time" => "more time",
        "prompt" => "a prompt that fits",
        "model" => "a model",
        "budget" => "a larger budget",
        _ => "a review",
    }
}
