//! The daemon's state for people and programs: health, status, counts, what is configured, which tools there are.

mod api;
mod config;
mod exposition;
mod health;
mod line;
mod metrics;
mod process;
mod secrets;
mod store;
#[cfg(test)]
mod tests;
mod warnings;

use std::os::unix::fs::MetadataExt as _;

use assistant_api::status::{
    Costs, Database, Day, DayStats, Diagnosis, Disk, Model, Part, Spend, Stats, Status, StatusCount, Tool, Workers,
};
use jiff::{ToSpan as _, tz::TimeZone};
use nix::sys::statvfs::statvfs;

pub use self::{
    config::config_status,
    health::{health, ready},
    line::{keep_shown, line},
    secrets::date_secrets,
    warnings::{before_start, report_warnings, warnings},
};
use crate::{
    agent::{control, tools::ToolDef},
    cx::Cx,
    error::{Error, Result},
    llm::prompt_hosts,
    mail,
    policy::Access,
    sandbox,
    store::migrations,
    subsystems::Subsystem,
};

/// What this subsystem adds to the daemon.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "status", routes: api::routes, tools: &[], loops: &[] };

/// Everything that `assistantctl status` shows.
pub async fn status(cx: &Cx) -> Result<Status> {
    let now = cx.clock.now();
    let seen = cx.store.read(move |conn| store::overview(conn, now)).await?;
    let config = cx.config.load();
    let llm = cx.llm.load_full();
    llm.prepare().await;
    let models = llm.models();
    let secrets = secrets::states(cx, &models);
    let models: Vec<Model> = models.into_iter().map(Model::from).collect();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at: cx.started_at(),
        uptime_seconds: cx.uptime().as_secs(),
        stopped: seen.stopped,
        workers: Workers { configured: config.jobs.workers, busy: seen.jobs.get("running").copied().unwrap_or(0) },
        waiting_total: seen.jobs.get("needs_review").copied().unwrap_or(0),
        jobs: seen.jobs,
        waiting: seen.waiting,
        prompt_hosts: prompt_hosts(&models),
        models,
        workspace: part(cx.root().err().map(|err| err.message().to_owned())),
        database: database(cx),
        disk: disk(cx)?,
        spend: Spend { today: dollars(seen.spent_today), daily_limit: config.limits.max_daily_cost_usd },
        sandbox: sandbox::brief(cx),
        secrets,
        listening: Vec::clone(&cx.process.listening.load()),
        warnings: warnings(cx),
    })
}

/// What only the daemon itself can find out.
pub async fn diagnosis(cx: &Cx) -> Diagnosis {
    let llm = cx.llm.load_full();
    let (mut servers, mail) = futures_util::future::join(llm.reach(), mail::reach(cx)).await;
    servers.extend(mail);
    Diagnosis { listening: Vec::clone(&cx.process.listening.load()), servers }
}

/// Counts and costs.
pub async fn stats(cx: &Cx) -> Result<Stats> {
    let now = cx.clock.now();
    let counts = cx.store.read(move |conn| store::counts(conn, now)).await?;
    let lifetime = dollars(counts.lifetime_nanos);
    #[expect(clippy::cast_precision_loss, reason = "a number of jobs")]
    let average = if counts.charged_jobs > 0 { lifetime / counts.charged_jobs as f64 } else { 0.0 };
    Ok(Stats {
        costs: Costs {
            currency: "USD".into(),
            lifetime_total: lifetime,
            month_total: dollars(counts.month_nanos),
            average_per_job: average,
            job_count: counts.jobs.iter().map(|(_, count)| count).sum(),
            charged_job_count: counts.charged_jobs,
            api_call_count: counts.calls,
        },
        jobs: counts.jobs.into_iter().map(|(status, count)| StatusCount { status, count }).collect(),
        projects: Vec::new(),
        reminders: Vec::new(),
        deep_research: Vec::new(),
        email_count: counts.emails,
        log_count: counts.logs,
        contact_count: 0,
        memory_count: 0,
        active_memory_count: 0,
        expired_memory_count: 0,
    })
}

/// Costs and outcomes of the last `count` days of UTC, today among them.
pub async fn days(cx: &Cx, count: i64) -> Result<DayStats> {
    let today = cx.clock.now().to_zoned(TimeZone::UTC).date();
    let first = today.checked_sub((count - 1).days()).map_err(Error::internal)?;
    let mut found = cx.store.read(move |conn| store::days(conn, first)).await?;
    let dates = first.series(1.day()).take_while(|date| *date <= today).map(|date| date.to_string());
    let days = dates.map(|date| found.remove(&date).unwrap_or_else(|| Day { date, ..Day::default() }));
    Ok(DayStats { days: days.collect() })
}

/// Every tool, by name; with those that steer the run itself.
pub fn tools(cx: &Cx) -> Vec<Tool> {
    let mut tools: Vec<Tool> = cx.tools().map(tool).chain(control_tools()).collect();
    tools.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    tools
}

/// One tool.
///
/// # Errors
/// `not_found`.
pub fn tool_named(cx: &Cx, name: &str) -> Result<Tool> {
    let found = cx.tools().find(|def| def.name == name).map(tool);
    found.or_else(|| control_tools().find(|tool| tool.name == name)).ok_or_else(|| {
        Error::new(assistant_api::ErrorKind::NotFound, "there is no such tool").hint("assistantctl tools lists them")
    })
}

fn tool(def: &ToolDef) -> Tool {
    let spec = def.spec();
    Tool {
        name: spec.name,
        description: spec.description,
        access: def.access.as_str().to_owned(),
        group: def.group.to_owned(),
        parameters: spec.parameters,
    }
}

/// Those that the loop itself knows, and that no subsystem lists.
fn control_tools() -> impl Iterator<Item = Tool> {
    control::specs(true).iter().cloned().map(|spec| Tool {
        name: spec.name,
        description: spec.description,
        access: Access::Control.as_str().to_owned(),
        group: "Control".to_owned(),
        parameters: spec.parameters,
    })
}

fn part(problem: Option<String>) -> Part {
    Part { ok: problem.is_none(), problem }
}

fn database(cx: &Cx) -> Database {
    let size = |suffix: &str| {
        let mut path = cx.store.path().as_os_str().to_owned();
        path.push(suffix);
        std::fs::metadata(path).map_or(0, |metadata| metadata.size())
    };
    let Part { ok, problem } = part(cx.store.health().problem());
    Database { ok, problem, size_bytes: size("") + size("-wal"), schema_version: migrations::current() as u64 }
}

fn disk(cx: &Cx) -> Result<Disk> {
    let disk = statvfs(&cx.state_dir)
        .map_err(|err| Error::unavailable("the disk of the state directory cannot be asked").source(err))?;
    let min_free_bytes = cx.config.load().retention.min_free_bytes.0;
    let free_bytes = disk.blocks_available() * disk.fragment_size();
    Ok(Disk {
        free_bytes,
        total_bytes: disk.blocks() * disk.fragment_size(),
        min_free_bytes,
        low: free_bytes < min_free_bytes,
    })
}

/// A URL as it may be shown: without user information, query and fragment; nothing if it is not a URL.
fn without_secrets(url: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(url) else { return String::new() };
    if url.cannot_be_a_base() {
        return String::new();
    }
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

#[expect(clippy::cast_precision_loss, reason = "shown to people; sums are kept in whole nano-dollars")]
fn dollars(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}
