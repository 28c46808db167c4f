use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use assistant_api::{
    JobId,
    client::Error,
    jobs::{Job, JobCreated, NewJob, Release, StatusReply},
};
use serde_json::json;

use crate::{
    Cx,
    commands::dollars,
    exit::{Code, Failure, Result},
    local, text,
    transfer::{self, Plan},
    watch::{self, Ended, Goal},
};

/// Characters of a subject; the daemon takes no more.
const SUBJECT: usize = 240;
/// Bytes of a task that are read from a file or the standard input at most.
const MAX_TASK: u64 = 1 << 20;

/// Give the assistant a job
///
/// The task is the text of the command line, of a file, or of the standard
/// input (`-`). Its first line becomes the subject. Attached files and
/// directories are copied to `jobs/<id>/in/` of the workspace and named in the
/// prompt.
///
/// Alone it prints the new job's id and returns at once. With --wait or
/// --follow it ends by printing the answer and the files that were written;
/// Ctrl-C leaves the job running.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl submit \"Read the CSV files in reports/ and write summary.md\"
  assistantctl submit --file task.md --attach report.pdf --wait -o json
  git log --oneline -20 | assistantctl submit - --subject \"Release notes\"
  assistantctl submit \"Tidy the notes\" --at '2026-11-23T09:00[Europe/Berlin]'
  assistantctl submit \"Try it once\" --max-iterations 10 --max-cost 0.50
  assistantctl submit \"Sum up data/\" --attach data --follow --get results")]
pub struct Args {
    /// The task; `-` reads it from the standard input
    #[arg(value_name = "TEXT", required_unless_present = "file", conflicts_with = "file")]
    text: Vec<String>,
    /// Read the task from a file; `-` is the standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Subject of the job [default: the first line of the task]
    #[arg(short, long)]
    subject: Option<String>,
    /// Send a file or directory along; may be given several times
    #[arg(short, long, value_name = "PATH")]
    attach: Vec<PathBuf>,
    /// Higher runs first, -1000 to 1000
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i64>,
    /// Run at this time: RFC 3339, or a wall time in the daemon's zone
    #[arg(long, value_name = "TIME", conflicts_with = "run_in")]
    at: Option<String>,
    /// Run this long from now, such as 2h or "1d 30m"
    #[arg(long = "in", value_name = "TIME")]
    run_in: Option<String>,
    /// Model calls that each run may make, 1 to 10000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=10_000))]
    max_iterations: Option<i64>,
    /// Tokens that each run may use, 1 to 100000000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=100_000_000))]
    max_tokens: Option<i64>,
    /// US dollars that the job may cost in all, 0 for no limit of its own
    #[arg(long, value_name = "DOLLARS", value_parser = dollars, allow_negative_numbers = true)]
    max_cost: Option<f64>,
    /// Show the steps of the job until it rests
    #[arg(long)]
    follow: bool,
    /// Wait until the job rests
    #[arg(short, long)]
    wait: bool,
    /// Copy the files that were written below DIR; implies --wait
    #[arg(long, value_name = "DIR")]
    get: Option<PathBuf>,
    /// Do not look for local paths in the task
    #[arg(long)]
    no_hint: bool,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    let task = task(&args)?;
    let subject = subject(args.subject.as_deref(), &task)?;
    let attachments = attachments(&args.attach)?;
    if !args.no_hint
        && !cx.out.json
        && args.attach.is_empty()
        && let Some(hint) = local::hint(cx, &task).await
    {
        cx.out.note(&hint);
    }
    let new = NewJob {
        subject,
        body: task,
        from_address: None,
        priority: args.priority,
        run_at: args.at,
        run_in: args.run_in,
        hold: !attachments.is_empty(),
        attachments: Vec::new(),
        max_iterations_per_task: args.max_iterations,
        max_tokens_per_task: args.max_tokens,
        max_job_cost_usd: args.max_cost,
    };
    let mut job = create(cx, &new).await?;
    if new.hold {
        if let Some(status) = attach(cx, job.id, &attachments).await? {
            job.status = status.parse().unwrap_or(job.status);
        } else {
            return Ok(Code::Interrupted);
        }
    }
    if !(args.follow || args.wait || args.get.is_some()) {
        return created(cx, &job, &new.subject);
    }
    if !cx.out.json {
        cx.out.note(&format!("job {}: {}", job.id, text::one_line(&new.subject)));
    }
    let goal = Goal { until: watch::RESTS, timeout: None, steps: args.follow, after: 0, met: true };
    match watch::watch(cx, job.id, &goal).await? {
        Ended::Detached => watch::detached(cx, job.id),
        Ended::Reached(_) | Ended::TimedOut => watch::conclude(cx, job.id, args.get.as_ref(), args.follow).await,
    }
}

fn created(cx: &Cx, job: &Job, subject: &str) -> Result {
    if cx.out.json {
        cx.out.json(&json!({ "job": job }))?;
    } else if cx.out.terminal {
        cx.out.line(format!("job {} is {}: {}", job.id, job.status, text::one_line(subject)))?;
        cx.out.note(&format!("follow it with: assistantctl job logs {} -f", job.id));
    } else {
        cx.out.line(job.id.to_string())?;
    }
    Ok(Code::Ok)
}

/// The task's text from where the arguments say.
fn task(args: &Args) -> Result<String> {
    let given = args.text.join(" ");
    let file = args.file.as_deref().or_else(|| (given == "-").then_some(Path::new("-")));
    let task = match file {
        None => given,
        Some(file) => {
            let mut bytes = Vec::new();
            let read = if file == Path::new("-") {
                std::io::stdin().lock().take(MAX_TASK + 1).read_to_end(&mut bytes)
            } else {
                std::fs::File::open(file).and_then(|file| file.take(MAX_TASK + 1).read_to_end(&mut bytes))
            };
            read.map_err(|err| Failure::file("reading the task from", file, &err))?;
            if bytes.len() as u64 > MAX_TASK {
                return Err(Failure::usage(format!("the task is longer than {}", text::bytes(MAX_TASK)))
                    .hint("send what it works on with --attach"));
            }
            String::from_utf8(bytes).map_err(|_| {
                Failure::usage(format!("the task in {} is not UTF-8 text", file.display()))
                    .hint("send other files with --attach")
            })?
        }
    };
    if task.trim().is_empty() {
        return Err(Failure::usage("the task is empty"));
    }
    Ok(task)
}

fn subject(given: Option<&str>, task: &str) -> Result<String> {
    if let Some(given) = given {
        let subject = text::one_line(given);
        return match subject.chars().count() {
            0 => Err(Failure::usage("the subject is empty")),
            1..=SUBJECT => Ok(subject),
            _ => Err(Failure::usage(format!("the subject is longer than {SUBJECT} characters"))),
        };
    }
    let first = task.lines().map(text::one_line).find(|line| !line.is_empty()).unwrap_or_default();
    let subject = first.trim_start_matches(['#', ' ']);
    Ok(match subject.chars().count() {
        0 => "Task".to_owned(),
        1..=SUBJECT => subject.to_owned(),
        _ => subject.chars().take(SUBJECT - 1).chain(['…']).collect(),
    })
}

/// What is attached, with the names that it will have; everything is looked at before anything is sent.
fn attachments(paths: &[PathBuf]) -> Result<Vec<(PathBuf, String)>> {
    let mut named: Vec<(PathBuf, String)> = Vec::new();
    for path in paths {
        let wanted = transfer::name(path)?;
        Plan::default().add(path, &wanted)?;
        let (stem, extension) = match wanted.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
            _ => (wanted.as_str(), String::new()),
        };
        let free = |name: &String| !named.iter().any(|(_, taken)| taken == name);
        let numbered = (2..).map(|number| format!("{stem}-{number}{extension}"));
        let name = std::iter::once(wanted.clone()).chain(numbered).find(free).unwrap_or(wanted.clone());
        named.push((path.clone(), name));
    }
    Ok(named)
}

/// Creates the job once, even if the first answer is lost.
async fn create(cx: &Cx, new: &NewJob) -> Result<Job> {
    let key = key()?;
    let ask = || cx.client.request("POST", "/api/jobs").header("idempotency-key", &key).json(new).fetch();
    let created: JobCreated = match ask().await {
        Err(Error::Lost(_)) => ask().await?,
        other => other?,
    };
    Ok(created.job)
}

/// A name for one request that nobody else uses.
fn key() -> Result<String> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    std::fs::File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|err| Failure::file("reading", source, &err))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Sends the attachments of a held job and lets it go. If that fails, or Ctrl-C ends it (`None`), the job is cancelled,
/// so that nothing half-sent is worked on.
async fn attach(cx: &Cx, id: JobId, attachments: &[(PathBuf, String)]) -> Result<Option<String>> {
    let mut interrupt = cx.interrupts.expect()?;
    let sent = tokio::select! {
        sent = send(cx, id, attachments) => sent.map(Some),
        () = interrupt.pressed() => Ok(None),
    };
    drop(interrupt);
    if let Ok(Some(status)) = sent {
        return Ok(Some(status));
    }
    let cancel = cx.client.request("POST", format!("/api/jobs/{id}/cancel"));
    if cancel.fetch::<StatusReply>().await.is_ok() {
        cx.out.note(&format!("job {id} was cancelled, because its attachments were not sent"));
    } else {
        cx.out.note(&format!("job {id} is held without its attachments: assistantctl job cancel {id}"));
    }
    sent.map(|_| None)
}

async fn send(cx: &Cx, id: JobId, attachments: &[(PathBuf, String)]) -> Result<String> {
    let mut names = Vec::new();
    for (local, name) in attachments {
        let remote = format!("jobs/{id}/in/{name}");
        let mut plan = Plan::default();
        plan.add(local, &remote)?;
        plan.warn(cx);
        plan.send(cx, false).await?;
        names.push(remote);
    }
    let release = Release { attachments: names };
    let reply: StatusReply = cx.client.post(&format!("/api/jobs/{id}/release"), &release).await?;
    Ok(reply.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_is_the_first_line() {
        for (task, expected) in [
            ("Sum up\nthe reports", "Sum up"),
            ("\n\n  # Monthly totals  \nbody", "Monthly totals"),
            ("\u{1b}[31mred\u{7}", "red"),
            ("###", "Task"),
        ] {
            assert_eq!(subject(None, task).unwrap(), expected, "{task:?}");
        }
        let long = subject(None, &"ä".repeat(500)).unwrap();
        assert_eq!((long.chars().count(), long.ends_with('…')), (240, true));
        assert!(subject(Some(" "), "x").is_err());
        assert!(subject(Some(&"x".repeat(241)), "x").is_err());
    }

    #[test]
    fn attachments_of_one_name_do_not_collide() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a", "b"] {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::write(path(name).join("report.pdf"), name).unwrap();
        }
        let found = attachments(&[path("a/report.pdf"), path("b/report.pdf"), path("a"), path("a/.")]).unwrap();
        let names: Vec<_> = found.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["report.pdf", "report-2.pdf", "a", "a-2"]);
        assert_eq!(attachments(&[path("none")]).unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn keys_differ() {
        assert_ne!(key().unwrap(), key().unwrap());
    }
}
