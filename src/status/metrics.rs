//! `/metrics`: what an operator draws and is called for. Labels take their values from lists of this program and from the
//! configured models, never from a caller, so that the number of series has a bound.

use assistant_api::jobs::JobStatus;

use super::{
    database, disk, dollars,
    exposition::Page,
    health,
    process::Usage,
    store::{self, Figures},
};
use crate::{
    config::Config,
    counters::{BOUNDS_MS, LOGIN_FAILURES, Requests, SANDBOX_LAYERS},
    cx::Cx,
    error::Result,
    http::peer::{Peer, Who},
};

/// Whether somebody reads them without a login.
pub(super) fn are_for(config: &Config, peer: &Peer) -> bool {
    config.api.metrics == "loopback" && matches!(peer.who, Who::Web { of_this_host: true, .. })
}

/// Whether they are there at all for a caller.
pub(super) fn are_there(config: &Config, peer: &Peer) -> bool {
    config.api.metrics != "off" || matches!(peer.who, Who::Process { .. })
}

/// All of them, in the text format.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn page(cx: &Cx) -> Result<String> {
    let now = cx.clock.now();
    let figures = cx.store.read(move |conn| store::figures(conn, now)).await?;
    let mut page = Page::default();
    daemon(&mut page, cx).await?;
    jobs(&mut page, cx, &figures);
    models(&mut page, cx, &figures);
    requests(&mut page, cx, &figures);
    storage(&mut page, cx)?;
    sandbox(&mut page, cx);
    process(&mut page);
    Ok(page.into_text())
}

async fn daemon(page: &mut Page, cx: &Cx) -> Result<()> {
    page.gauge("assistant_build_info", "Always 1; the version is a label.")
        .put(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge("assistant_uptime_seconds", "Time since the start, suspends left out.").is(cx.uptime().as_secs());
    page.gauge("assistant_ready", "Whether GET /health/ready answers 200.")
        .is(u8::from(health::ready(cx).await.is_ok()));
    let found = health::found(cx).await?.degraded;
    let mut degraded = page.gauge("assistant_degraded", "Whether this part does not go; GET /health says why.");
    for part in ["stopped", "model", "workspace", "disk", "sandbox"] {
        degraded.put(&[("part", part)], u8::from(found.iter().any(|reason| reason.name == part)));
    }
    let warnings = super::warnings(cx).len();
    page.gauge("assistant_warnings", "What should be mended; assistantctl status lists it.").is(warnings);
    Ok(())
}

fn jobs(page: &mut Page, cx: &Cx, figures: &Figures) {
    let mut jobs = page.gauge("assistant_jobs", "Jobs by status.");
    for (status, count) in &figures.jobs {
        jobs.put(&[("status", status)], count);
    }
    let mut ended = page.counter("assistant_jobs_ended_total", "Jobs that ended, by outcome.");
    for status in [JobStatus::Completed, JobStatus::Failed, JobStatus::Cancelled] {
        ended.put(&[("outcome", status.as_str())], figures.count("ended", status.as_str()));
    }
    page.gauge("assistant_queue_oldest_seconds", "How long the job that is due longest has waited; 0 without one.")
        .is(figures.oldest_seconds);
    page.gauge("assistant_workers", "Jobs that may run at the same time.").is(cx.config.load().jobs.workers);
    let mut effects =
        page.gauge("assistant_effects", "Entries of the ledger by state; unknown ones wait for a person.");
    for state in ["prepared", "dispatched", "confirmed", "failed", "unknown"] {
        effects.put(&[("state", state)], figures.count("effects", state));
    }
    page.gauge("assistant_approvals_pending", "Calls that wait for somebody's approval.").is(figures.approvals);
}

fn models(page: &mut Page, cx: &Cx, figures: &Figures) {
    page.counter("assistant_model_calls_total", "Answers of models.").is(figures.calls);
    page.counter("assistant_model_tokens_total", "Tokens that they took.").is(figures.tokens);
    page.counter("assistant_model_cost_usd_total", "Dollars that they cost.").is(dollars(figures.settled_nanos));
    page.gauge("assistant_model_cost_usd_today", "Dollars of this day of UTC, with what is reserved.")
        .is(dollars(figures.today_nanos));
    page.gauge("assistant_model_cost_usd_daily_limit", "limits.max_daily_cost_usd; 0: none.").is(cx
        .config
        .load()
        .limits
        .max_daily_cost_usd);
    let models = cx.llm.load().models();
    let mut paused = page.gauge("assistant_model_paused", "Whether a model is left alone after failures.");
    for model in &models {
        paused.put(&[("role", &model.role), ("model", &model.model)], u8::from(model.paused.is_some()));
    }
    let mut usable = page.gauge("assistant_model_usable", "Whether a model can be asked.");
    for model in &models {
        usable.put(&[("role", &model.role), ("model", &model.model)], u8::from(model.problem.is_none()));
    }
    let help = "Questions that a model did not answer, since the configuration was loaded.";
    let mut failures = page.counter("assistant_model_failures_total", help);
    for model in &models {
        for (kind, count) in &model.failed {
            failures.put(&[("role", &model.role), ("model", &model.model), ("kind", kind)], count);
        }
    }
}

fn requests(page: &mut Page, cx: &Cx, figures: &Figures) {
    let counters = &cx.process.counters;
    let doors: [(&str, &Requests); 2] = [("socket", &counters.socket), ("web", &counters.web)];
    let help = "Answered requests by where they came in and class of status.";
    let mut answers = page.counter("assistant_http_requests_total", help);
    for (door, requests) in doors {
        for (class, count) in requests.by_class() {
            answers.put(&[("door", door), ("class", class)], count);
        }
    }
    let help = "Time until the head of an answer was ready.";
    let mut latency = page.histograms("assistant_http_request_duration_seconds", help);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds and microseconds of requests")]
    for (door, requests) in doors {
        let bounds = BOUNDS_MS.iter().map(|bound| *bound as f64 / 1e3);
        let sum = requests.latency.sum_micros() as f64 / 1e6;
        latency.histogram(&[("door", door)], bounds, requests.latency.cumulative(), sum);
    }
    page.counter(
        "assistant_http_refused_total",
        "Requests refused by their head alone: Host, Origin, a doubtful length.",
    )
    .is(counters.refused.get());
    page.counter("assistant_http_turned_away_total", "Connections above the bounds of all and of one address.")
        .is(counters.turned_away.get());
    page.gauge("assistant_event_listeners", "Listeners of the event stream.").is(counters.listeners.get());
    let mut failures = page.counter("assistant_login_failures_total", "Logins over the network that were refused.");
    for (reason, counter) in LOGIN_FAILURES.iter().zip(&counters.login_failures) {
        failures.put(&[("reason", reason)], counter.get());
    }
    page.gauge("assistant_web_sessions", "Browsers that are logged in.").is(figures.sessions);
}

fn storage(page: &mut Page, cx: &Cx) -> Result<()> {
    page.gauge("assistant_database_bytes", "The database with its log.").is(database(cx).size_bytes);
    let disk = disk(cx)?;
    page.gauge("assistant_disk_free_bytes", "Free on the disk of the state directory.").is(disk.free_bytes);
    page.gauge("assistant_disk_total_bytes", "Size of that disk.").is(disk.total_bytes);
    page.gauge("assistant_disk_min_free_bytes", "retention.min_free_bytes: below it no work is taken.")
        .is(disk.min_free_bytes);
    Ok(())
}

fn sandbox(page: &mut Page, cx: &Cx) {
    let counters = &cx.process.counters;
    let sessions = cx.process.sandbox.count(&cx.config.load().sandbox);
    page.gauge("assistant_sandbox_sessions", "Sandbox sessions that are open.").is(sessions);
    page.counter("assistant_sandbox_commands_total", "Commands that were given to the sandbox.")
        .is(counters.commands.get());
    let mut denials = page.counter("assistant_sandbox_denials_total", "What was refused to commands, by layer.");
    for (layer, counter) in SANDBOX_LAYERS.iter().zip(&counters.denials) {
        denials.put(&[("layer", layer)], counter.get());
    }
}

/// Under the names that every client library of Prometheus uses.
fn process(page: &mut Page) {
    let usage = Usage::now();
    let mut gauge = |name: &str, help: &str, value: Option<u64>| {
        if let Some(value) = value {
            page.gauge(name, help).is(value);
        }
    };
    gauge("process_resident_memory_bytes", "Resident memory.", usage.resident_bytes);
    gauge("process_virtual_memory_bytes", "Virtual memory.", usage.virtual_bytes);
    gauge("process_threads", "Threads.", usage.threads);
    gauge("process_open_fds", "Open file descriptors.", usage.open_fds.map(|count| count as u64));
    gauge("process_max_fds", "File descriptors that may be open.", usage.max_fds);
    if let Some(seconds) = usage.cpu_seconds {
        page.counter("process_cpu_seconds_total", "Processor time.").is(seconds);
    }
}
