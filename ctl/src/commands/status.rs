use assistant_api::{
    sandbox::SandboxBrief,
    status::{Part, Status},
};

use crate::{
    Cx,
    exit::{Code, Result},
    output::{Style, Table, cell, state},
    text,
};

/// Show what the daemon does, and what waits for you
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl status
  assistantctl status -o json")]
pub struct Args {}

pub async fn run(_: Args, cx: &Cx) -> Result {
    let status: Status = cx.client.get("/api/status").await?;
    if cx.out.json {
        cx.out.json(&status)?;
        return Ok(Code::Ok);
    }
    cx.out.fields([
        (
            "daemon",
            format!(
                "{}, pid {}, up {}",
                text::one_line(&status.version),
                status.pid,
                text::seconds(status.uptime_seconds)
            ),
        ),
        ("work", work(cx, &status)),
        ("jobs", counts(cx, &status)),
        ("spent", spent(&status)),
        (
            "database",
            part(cx, status.database.ok, status.database.problem.as_deref(), text::bytes(status.database.size_bytes)),
        ),
        ("workspace", workspace(cx, &status.workspace)),
        ("disk", disk(cx, &status)),
        ("network", network(&status)),
        ("prompts", prompts(&status)),
        ("sandbox", sandbox(cx, &status.sandbox)),
    ])?;
    warnings(cx, &status)?;
    models(cx, &status)?;
    waiting(cx, &status)?;
    Ok(Code::Ok)
}

fn work(cx: &Cx, status: &Status) -> String {
    match &status.stopped {
        Some(stopped) => {
            let since = format!("stopped {} by {}", cx.out.when(stopped.at), text::one_line(&stopped.by));
            format!("{}; go on with: assistantctl resume", cx.out.style(Style::Attention, &since))
        }
        None => format!("{} of {} workers busy", status.workers.busy, status.workers.configured),
    }
}

fn counts(cx: &Cx, status: &Status) -> String {
    let counts: Vec<String> = assistant_api::jobs::JobStatus::ALL
        .iter()
        .filter_map(|state| {
            let count = *status.jobs.get(state.as_str())?;
            let text = format!("{} {}", text::grouped(count), state.as_str().replace('_', " "));
            (count > 0).then(|| cx.out.style(Style::of(state.as_str()), &text))
        })
        .collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

fn spent(status: &Status) -> String {
    let today = text::dollars(status.spend.today);
    match status.spend.daily_limit {
        0.0 => format!("{today} today, no limit"),
        limit => format!("{today} of {} today", text::dollars(limit)),
    }
}

fn part(cx: &Cx, ok: bool, problem: Option<&str>, more: String) -> String {
    if ok { more } else { cx.out.style(Style::Bad, &text::one_line(problem.unwrap_or("cannot be used"))) }
}

fn workspace(cx: &Cx, workspace: &Part) -> String {
    part(cx, workspace.ok, workspace.problem.as_deref(), "ok".to_owned())
}

fn disk(cx: &Cx, status: &Status) -> String {
    let disk = &status.disk;
    let free = format!("{} of {} free", text::bytes(disk.free_bytes), text::bytes(disk.total_bytes));
    if !disk.low {
        return free;
    }
    let low = format!("{free}, below the mark of {}: new work is refused", text::bytes(disk.min_free_bytes));
    cx.out.style(Style::Bad, &low)
}

/// Where it listens beside its socket.
fn network(status: &Status) -> String {
    let outside = status.listening.iter().filter(|one| one.reach != "socket");
    let said: Vec<_> = outside
        .map(|one| format!("listens on {} ({})", text::one_line(&one.address), text::one_line(&one.reach)))
        .collect();
    if said.is_empty() { "listens on no address".to_owned() } else { said.join(", ") }
}

fn prompts(status: &Status) -> String {
    match status.prompt_hosts.as_slice() {
        [] => "seen by no host".to_owned(),
        hosts => format!("seen by {}", text::one_line(&hosts.join(", "))),
    }
}

/// The choice of a backend, and why none before it was taken.
fn sandbox(cx: &Cx, sandbox: &SandboxBrief) -> String {
    let level = text::one_line(&sandbox.level);
    if !sandbox.enabled {
        return "off: no commands run".to_owned();
    }
    if let Some(problem) = &sandbox.problem {
        return cx.out.style(Style::Bad, &format!("commands cannot run: {}", text::one_line(problem)));
    }
    let Some(backend) = &sandbox.backend else {
        return format!("level {level}, not used yet: assistantctl sandbox test");
    };
    let refused: Vec<_> = sandbox.refused.iter().map(|refusal| text::one_line(&refusal.backend)).collect();
    let refused = if refused.is_empty() { String::new() } else { format!(", not {}", refused.join(", ")) };
    let egress = match &sandbox.egress {
        Some(egress) if egress.answers => ", the egress proxy answers",
        _ => "",
    };
    format!("level {level}, backend {}{refused}{egress}", text::one_line(backend))
}

fn warnings(cx: &Cx, status: &Status) -> Result<()> {
    for warning in &status.warnings {
        cx.out.line(format!("\n{}", cx.out.style(Style::Attention, &text::one_line(&warning.text))))?;
        cx.out.line(format!("    {}", text::one_line(&warning.mend)))?;
    }
    Ok(())
}

fn models(cx: &Cx, status: &Status) -> Result<()> {
    if status.models.is_empty() {
        return cx.out.line(format!(
            "\n{}",
            cx.out.style(Style::Attention, "No model is configured; jobs will wait for one: assistantctl doctor")
        ));
    }
    let mut table = Table::new(&["MODEL", "NAME", "PROVIDER", "HOST", "STATE"]);
    for model in &status.models {
        let problem = model.problem.as_deref();
        table.row([
            cell(&model.role),
            cell(&model.model),
            cell(&model.provider),
            cell(&model.host),
            problem.map_or_else(|| state("ok"), |problem| (problem.into(), Style::Bad)),
        ]);
    }
    cx.out.line("")?;
    cx.out.table(&table, "")
}

fn waiting(cx: &Cx, status: &Status) -> Result<()> {
    if status.waiting.is_empty() {
        return Ok(());
    }
    cx.out.line(format!("\n{}", cx.out.style(Style::Bold, "Waiting for you:")))?;
    for job in &status.waiting {
        cx.out.line(text::shorten(&format!("  job {}: {}", job.id, text::one_line(&job.subject)), cx.out.columns()))?;
        if let Some(needs) = &job.needs {
            let needed = format!("    {}: {}", text::one_line(&needs.what), text::one_line(&needs.text));
            cx.out.line(text::shorten(&needed, cx.out.columns()))?;
            cx.out.line(format!("    {}", cx.out.style(Style::Attention, &text::one_line(&needs.command))))?;
        }
    }
    let more = status.waiting_total - i64::try_from(status.waiting.len()).unwrap_or(i64::MAX);
    if more > 0 {
        cx.out.line(format!("  and {more} more: assistantctl jobs --status needs_review"))?;
    }
    Ok(())
}
