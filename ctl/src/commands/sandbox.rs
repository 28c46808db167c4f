use std::io::{self, IsTerminal as _};

use assistant_api::{
    JobId,
    effects::{Effect, EffectList},
    sandbox::{CommandEnd, Denied, SandboxTest, StreamKind, read_stream_header},
};
use serde_json::{Value, json};

use crate::{
    Cx,
    commands::{duration, job_id},
    exit::{Code, Failure, Result},
    output::{Table, cell, state},
    progress::Progress,
};

/// Run commands in the sandbox, and find out what it guarantees
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl sandbox run -- python3 script.py
  assistantctl sandbox test
  assistantctl sandbox explain --job 7")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Run a command as a job would, with its streams and its exit code
    ///
    /// It sees the workspace and the system's programs. What ends it but itself
    /// shows in the exit code: 124 when its time was over, 137 when it needed
    /// too much memory or said too much, 128 and the number of a signal.
    #[command(after_help = "Examples:
  assistantctl sandbox run -- python3 script.py
  assistantctl sandbox run --workdir reports -- bash -c 'wc -l *.csv'
  assistantctl sandbox run --level work+net -- curl https://example.org/
  sort names.txt | assistantctl sandbox run -- uniq -c")]
    Run(Run),
    /// Show what this host's sandbox guarantees, and prove it by trying to
    /// break out
    #[command(after_help = "Examples:
  assistantctl sandbox test
  assistantctl sandbox test --all")]
    Test {
        /// Show every attempt, not only those that came out wrong
        #[arg(long)]
        all: bool,
    },
    /// Say what the sandbox refused to a job's commands, and what would allow it
    #[command(after_help = "Examples:
  assistantctl sandbox explain --job 7")]
    Explain {
        /// The job
        #[arg(long, value_name = "ID", value_parser = job_id)]
        job: JobId,
    },
}

#[derive(clap::Args)]
struct Run {
    /// A directory of the workspace to run in [default: the workspace]
    #[arg(long, value_name = "DIR", default_value = "", hide_default_value = true)]
    workdir: String,
    /// Time until it is ended, such as 90s or 10m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<std::time::Duration>,
    /// Let it read the workspace only
    #[arg(long, conflicts_with = "level")]
    read_only: bool,
    /// How much it may: read, work, work+net or container [default: as much as
    /// a job's commands]
    ///
    /// A level beyond that of jobs, which sandbox.level sets, is for admins.
    #[arg(long, value_name = "LEVEL", value_parser = ["read", "work", "work+net", "container"], hide_possible_values = true)]
    level: Option<String>,
    /// The program and its arguments; whatever stands after the program is its own
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    match args.verb {
        Verb::Run(run) => command(run, cx).await,
        Verb::Test { all } => test(all, cx).await,
        Verb::Explain { job } => explain(job, cx).await,
    }
}

async fn command(run: Run, cx: &Cx) -> Result {
    // A terminal is not passed on: it would wait for a person who may not know it.
    let stdin = !io::stdin().is_terminal();
    let command = serde_json::to_string(&run.command).map_err(|err| Failure::usage(err.to_string()))?;
    let request = cx
        .client
        .request("POST", "/api/sandbox/run")
        .query("command", command)
        .query("workdir", &run.workdir)
        .maybe("level", if run.read_only { Some("read") } else { run.level.as_deref() })
        .query("stdin", stdin)
        // A part of a second is one; none at all is refused.
        .maybe("timeout_seconds", run.timeout.map(|time| time.as_millis().div_ceil(1000)));
    let request = if stdin { request.upload(tokio::io::stdin(), None) } else { request.timeout(None) };
    let mut chunks = request.stream().await?;
    let mut waiting: Vec<u8> = Vec::new();
    while let Some(bytes) = chunks.next().await? {
        waiting.extend_from_slice(&bytes);
        while let Some((kind, body)) = take(&mut waiting)? {
            match kind {
                StreamKind::Stdout => pass(&mut io::stdout().lock(), &body)?,
                StreamKind::Stderr => pass(&mut io::stderr().lock(), &body)?,
                StreamKind::End => return ended(&serde_json::from_slice(&body).map_err(unfit)?, cx),
            }
        }
    }
    Err(Failure::new(Code::Failed, "the daemon went away; nobody knows how far the command came"))
}

/// The first whole chunk of what has come.
fn take(waiting: &mut Vec<u8>) -> Result<Option<(StreamKind, Vec<u8>)>> {
    let Some(header) = waiting.first_chunk::<8>() else { return Ok(None) };
    let (kind, length) = read_stream_header(*header).ok_or_else(|| unfit("not a chunk"))?;
    if waiting.len() < 8 + length {
        return Ok(None);
    }
    let body = waiting[8..8 + length].to_vec();
    waiting.drain(..8 + length);
    Ok(Some((kind, body)))
}

fn unfit(err: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Failed, format!("the daemon's answer does not fit: {err}"))
}

/// What the command says goes on byte by byte, as from a command that was called directly.
fn pass(to: &mut impl io::Write, bytes: &[u8]) -> Result<()> {
    to.write_all(bytes)?;
    Ok(to.flush()?)
}

fn ended(end: &CommandEnd, cx: &Cx) -> Result {
    if let Some(error) = &end.error {
        return Err(Failure::new(Code::Failed, error.clone()));
    }
    for denied in &end.denials {
        cx.out.note(&format!("sandbox: {}", sentence(denied)));
    }
    let code = match end.outcome.as_str() {
        "timed_out" => 124,
        "exited" => end.exit_code.unwrap_or_else(|| 128 + end.signal.unwrap_or(0)),
        _ => 137,
    };
    match end.outcome.as_str() {
        "exited" => {}
        "timed_out" => cx.out.note("sandbox: ended because its time was over (--timeout)"),
        "out_of_memory" => cx.out.note("sandbox: ended because it needed too much memory (sandbox.memory)"),
        "too_much_output" => cx.out.note("sandbox: ended because it said too much (sandbox.max_output)"),
        "too_many_processes" => cx.out.note("sandbox: ended because it had too many processes (sandbox.processes)"),
        other => cx.out.note(&format!("sandbox: {other}")),
    }
    // The command's own code, whatever it means; a thread that reads a terminal would keep an ordinary end waiting.
    std::process::exit(code)
}

fn sentence(denied: &Denied) -> String {
    let times = if denied.count > 1 { format!(" ({} times)", denied.count) } else { String::new() };
    let way = denied.suggestion.as_ref().map(|way| format!("; would be allowed by: {way}")).unwrap_or_default();
    format!("{} refused {}{times}: {}{way}", denied.layer, denied.target, denied.rule)
}

async fn test(all: bool, cx: &Cx) -> Result {
    let mut progress = Progress::new(cx);
    let request = cx.client.request("POST", "/api/sandbox/test").timeout(None);
    let mut call = std::pin::pin!(request.fetch());
    let test: SandboxTest = loop {
        progress.draw("trying to break out");
        tokio::select! {
            test = &mut call => break test?,
            () = progress.tick() => {}
        }
    };
    drop(progress);
    // What is promised was tried, and everything came out as it should.
    let tried = |name: &str| {
        let mut of = test.attempts.iter().filter(|attempt| attempt.guarantee.as_deref() == Some(name));
        of.any(|attempt| attempt.outcome != "absent")
    };
    let good = test.sandbox.problem.is_none()
        && test.attempts.iter().all(|attempt| attempt.good)
        && test.sandbox.guarantees.iter().all(|guarantee| !guarantee.given || tried(&guarantee.name));
    let code = if good { Code::Ok } else { Code::Failed };
    if cx.out.json {
        cx.out.json(&test)?;
        return Ok(code);
    }
    let backend = test.sandbox.backend.as_deref().unwrap_or("none");
    cx.out.line(format!("backend {backend}, level {}, Landlock ABI {}", test.level, test.sandbox.landlock_abi))?;
    if let Some(problem) = &test.sandbox.problem {
        cx.out.text(problem)?;
    }
    let mut table = Table::new(&["GUARANTEE", "REQUIRED", "STATE", "ATTEMPTS", "BY"]);
    for guarantee in &test.sandbox.guarantees {
        // What had nothing to be tried on shows nothing either way.
        let of = test.attempts.iter().filter(|attempt| attempt.guarantee.as_deref() == Some(&*guarantee.name));
        let tried: Vec<_> = of.filter(|attempt| attempt.outcome != "absent").collect();
        let refused = tried.iter().filter(|attempt| attempt.good).count();
        let ok = guarantee.given && !tried.is_empty() && tried.len() == refused;
        table.row([
            cell(&guarantee.name),
            cell(if guarantee.required { "yes" } else { "no" }),
            state(if ok { "ok" } else { "fail" }),
            cell(format!("{refused} of {} refused", tried.len())),
            cell(&guarantee.reason),
        ]);
    }
    cx.out.table(&table, "no guarantees")?;
    let wrong = test.attempts.iter().filter(|attempt| all || !attempt.good);
    let mut table = Table::new(&["ATTEMPT", "SHOULD", "CAME OUT", "DETAIL"]);
    for attempt in wrong {
        let came = if attempt.good {
            cell(&attempt.outcome)
        } else {
            (attempt.outcome.as_str().into(), crate::output::Style::Bad)
        };
        table.row([cell(&attempt.name), cell(&attempt.expect), came, cell(&attempt.detail)]);
    }
    if !table.is_empty() {
        cx.out.table(&table, "")?;
    }
    // What had nothing to be tried on says nothing, and is said.
    let (absent, tried): (Vec<_>, Vec<_>) =
        test.attempts.iter().partition(|attempt| attempt.good && attempt.outcome == "absent");
    if !absent.is_empty() && !all {
        let mut table = Table::new(&["NOT TRIED", "WHY"]);
        for attempt in &absent {
            table.row([cell(&attempt.name), cell(&attempt.detail)]);
        }
        cx.out.table(&table, "")?;
    }
    let good = tried.iter().filter(|attempt| attempt.good).count();
    let not = if absent.is_empty() { String::new() } else { format!("; {} could not be tried", absent.len()) };
    cx.out.line(format!("{good} of {} attempts came out as they should{not}", tried.len()))?;
    Ok(code)
}

async fn explain(job: JobId, cx: &Cx) -> Result {
    // Everything, newest first.
    let (mut effects, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let request = cx.client.request("GET", "/api/effects").query("job", job).query("limit", 200);
        let list: EffectList = request.maybe("cursor", cursor).fetch().await?;
        effects.extend(list.effects);
        cursor = list.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if effects.is_empty() {
        // A job that there is not has none, too.
        cx.client.request("GET", format!("/api/jobs/{job}")).fetch::<Value>().await?;
    }
    let mut rows = Vec::new();
    for effect in effects.iter().rev() {
        let denials = effect.detail.get("denials").cloned().unwrap_or_default();
        let denials: Vec<Denied> = serde_json::from_value(denials).unwrap_or_default();
        rows.extend(denials.into_iter().map(|denied| (effect.id, effect.target.clone(), denied)));
    }
    if cx.out.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(id, target, denied)| json!({ "effect_id": id, "command": target, "denied": denied }))
            .collect();
        cx.out.json(&json!({ "job_id": job, "denials": rows }))?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["COMMAND", "LAYER", "REFUSED", "TIMES", "RULE", "WHAT WOULD ALLOW IT"]);
    for (_, target, denied) in &rows {
        table.row([
            cell(target),
            cell(&denied.layer),
            cell(&denied.target),
            cell(denied.count.to_string()),
            cell(&denied.rule),
            cell(denied.suggestion.as_deref().unwrap_or("nothing: it is never allowed")),
        ]);
    }
    if table.is_empty() {
        let commands = effects.iter().filter(|effect| effect.tool == "command_execute").count();
        cx.out.line(match commands {
            0 => format!("job {job} ran no commands"),
            1 => format!("the sandbox refused nothing to the one command of job {job}"),
            _ => format!("the sandbox refused nothing to the {commands} commands of job {job}"),
        })?;
    } else {
        cx.out.table(&table, "")?;
    }
    // The kernel tells of those only whoever may read its audit.
    let unseen = |effect: &Effect| matches!(effect.detail["isolation_mode"].as_str(), Some("unit" | "docker"));
    if effects.iter().any(unseen) {
        cx.out.note("what was refused of files and directories is not in this list; the commands' own output says it");
    }
    Ok(Code::Ok)
}

#[cfg(test)]
mod tests {
    use assistant_api::sandbox::stream_header;

    use super::*;

    #[test]
    fn chunks_are_taken_whole() {
        let mut wire = Vec::new();
        for (kind, text) in [(StreamKind::Stdout, "ab"), (StreamKind::Stderr, ""), (StreamKind::End, "{}")] {
            wire.extend(stream_header(kind, text.len()));
            wire.extend(text.as_bytes());
        }
        let (mut waiting, mut taken) = (Vec::new(), Vec::new());
        for byte in wire {
            waiting.push(byte);
            while let Some((kind, body)) = take(&mut waiting).ok().flatten() {
                taken.push((kind, String::from_utf8(body).unwrap()));
            }
        }
        let expected = [(StreamKind::Stdout, "ab"), (StreamKind::Stderr, ""), (StreamKind::End, "{}")];
        assert_eq!(taken, expected.map(|(kind, text)| (kind, text.to_owned())));
        assert!(take(&mut vec![9; 8]).is_err());
    }
}
