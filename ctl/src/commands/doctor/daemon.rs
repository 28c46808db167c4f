//! What the daemon says of itself, and whether it says anything.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
};

use assistant_api::{
    Role, client,
    mail::{MailStatus, Watching},
    sandbox::SandboxStatus,
    status::{ApiInfo, Diagnosis, Status, Warning},
};

use super::{Finding, host::Host, local};
use crate::{
    Cx, access,
    commands::{
        config::{self, daemon},
        models,
    },
    exit::{Code, how_to_start},
    text,
};

/// Seconds by which the clock may have gone wrong since the daemon started.
const STEP: i64 = 5;

pub(super) fn socket(cx: &Cx) -> Finding {
    let path = cx.socket.display();
    match fs::metadata(&cx.socket) {
        Ok(meta) if meta.file_type().is_socket() => {
            Finding::ok("socket", format!("{path}, mode {:04o}", meta.mode() & 0o7777))
        }
        Ok(_) => Finding::error("socket", Code::Unreachable, format!("{path} is no socket"), "name it with --socket"),
        Err(err) if err.kind() == std::io::ErrorKind::PermissionDenied => {
            Finding::error("socket", Code::Denied, format!("you may not look at {path}"), access::way_in())
        }
        Err(_) => Finding::error("socket", Code::Unreachable, format!("there is none at {path}"), how_to_start()),
    }
}

pub(super) fn answering(cx: &Cx, info: &client::Result<ApiInfo>) -> Finding {
    match info {
        Ok(info) => Finding::ok("daemon", format!("assistantd {} answers", info.version)),
        Err(client::Error::Denied(_)) => Finding::error(
            "daemon",
            Code::Denied,
            format!("you may not connect to {}", cx.socket.display()),
            access::way_in(),
        ),
        Err(err) if err.is_unreachable() => {
            Finding::error("daemon", Code::Unreachable, err.to_string(), how_to_start())
        }
        Err(err) => {
            let code = err.kind().map_or(Code::Failed, Code::of);
            let mend =
                if code == Code::Denied { access::way_in() } else { "journalctl -u assistantd -n 50".to_owned() };
            Finding::error("daemon", code, err.to_string(), mend)
        }
    }
}

pub(super) fn role(info: &ApiInfo) -> Finding {
    match info.role {
        Some(Role::Admin) => Finding::ok("rights", "you are admin"),
        Some(Role::Operator) => Finding::ok("rights", "you are operator: everything but stop, erase and configuration"),
        Some(Role::Viewer) => Finding::warning("rights", "you are viewer: you can only look", access::way_in()),
        None => Finding::error("rights", Code::Denied, "you are not let in", access::way_in()),
    }
}

pub(super) fn versions(info: &ApiInfo) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    if info.version == own {
        return Finding::ok("version", format!("daemon and command line are both {own}"));
    }
    Finding::warning(
        "version",
        format!("the daemon is {}, assistantctl is {own}", info.version),
        "sudo systemctl restart assistantd.service",
    )
}

pub(super) async fn configuration(cx: &Cx) -> Finding {
    let file = config::file_in_use(cx).await.filter(|file| file.exists());
    match daemon::check(file.as_deref()) {
        Ok(checked) if checked.ok() => {
            Finding::ok("config", checked.message().lines().last().unwrap_or("it is good").to_owned())
        }
        Ok(checked) => {
            let message = checked.message();
            let first = message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Finding::error("config", checked.code, first, "assistantctl config check")
        }
        Err(failure) => Finding::warning("config", failure.message, failure.hint.unwrap_or_default()),
    }
}

pub(super) fn running(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    let database = &status.database;
    findings.push(if database.ok {
        Finding::ok("database", format!("{}, schema {}", text::bytes(database.size_bytes), database.schema_version))
    } else {
        let problem = database.problem.clone().unwrap_or_else(|| "it cannot be used".to_owned());
        Finding::error("database", Code::Retry, problem, "journalctl -u assistantd -n 50")
    });
    findings.push(if status.workspace.ok {
        Finding::ok("workspace", "it can be used")
    } else {
        let problem = status.workspace.problem.clone().unwrap_or_else(|| "it cannot be used".to_owned());
        Finding::error("workspace", Code::Failed, problem, "journalctl -u assistantd -n 50")
    });
    let disk = &status.disk;
    let free = format!("{} of {} free", text::bytes(disk.free_bytes), text::bytes(disk.total_bytes));
    findings.push(if disk.low {
        let low = format!("{free}; below {} new work is refused", text::bytes(disk.min_free_bytes));
        Finding::error("disk", Code::Retry, low, "sudo du -xh --max-depth=2 /var/lib/assistant")
    } else {
        Finding::ok("disk", free)
    });
    let drift = text::now().duration_since(status.started_at).as_secs() - status.uptime_seconds.cast_signed();
    if drift.abs() > STEP {
        let stepped =
            format!("it was set by {drift} s since the daemon started; jobs with a time run by the clock as it is now");
        findings.push(Finding::warning("clock", stepped, "timedatectl"));
    }
    findings.extend(configured_models(status));
    findings.push(match &status.stopped {
        None => Finding::ok("work", format!("{} of {} workers busy", status.workers.busy, status.workers.configured)),
        Some(stopped) => Finding::warning(
            "work",
            format!("all work is stopped since {} by {}", text::utc(stopped.at), stopped.by),
            "assistantctl resume",
        ),
    });
    if status.waiting_total > 0 {
        let waiting =
            format!("{} wait for a person; the status says what each needs", text::grouped(status.waiting_total));
        findings.push(Finding::warning("jobs", waiting, "assistantctl status"));
    }
    findings
}

/// What the daemon could not say.
pub(super) fn failed(name: &'static str, what: &str, err: &client::Error) -> Finding {
    let text = format!("the daemon cannot say {what}: {err}");
    Finding::error(name, Code::Failed, text, "journalctl -u assistantd -n 50")
}

/// The daemon's own warnings, but for those that were found here already.
pub(super) fn add_warnings(findings: &mut Vec<Finding>, warnings: &[Warning]) {
    for warning in warnings {
        let known = findings.iter().any(|finding| {
            finding.text == warning.text || finding.mend.as_deref().is_some_and(|mend| mend == warning.mend)
        });
        if !known {
            findings.push(Finding::warning(
                match warning.name.as_str() {
                    "readable-by-others" => "state",
                    "public-bind" | "no-login" | "docs-exposed" | "openapi-exposed" => "exposure",
                    "unknown-variable" | "unused-variable" => "variables",
                    _ => "secrets",
                },
                &warning.text,
                &warning.mend,
            ));
        }
    }
}

/// Where it listens, and whether it reaches its servers.
pub(super) async fn reach(cx: &Cx, host: &Host, pid: u32) -> Vec<Finding> {
    let found: Diagnosis = match cx.client.request("POST", "/api/doctor").fetch().await {
        Ok(found) => found,
        Err(err) if err.kind() == Some(assistant_api::ErrorKind::Forbidden) => {
            return vec![Finding::skipped("servers", "a viewer may not have servers tried")];
        }
        Err(err) => return vec![failed("servers", "what it reaches", &err)],
    };
    let mut findings: Vec<_> = found.listening.iter().map(listening).collect();
    let known: Vec<_> = found.listening.into_iter().map(|listening| listening.address).collect();
    findings.push(local::network(host, pid, &known));
    findings.extend(found.servers.iter().map(|server| {
        let (purpose, at) = (&server.purpose, &server.host);
        let option = match purpose.as_str() {
            "mail that comes" => "--imap-host",
            "mail that goes out" => "--smtp-host",
            _ => "--base-url",
        };
        match (&server.problem, server.latency_ms) {
            (None, took) => {
                let took = took.map(text::millis).unwrap_or_default();
                Finding::ok("servers", format!("{purpose}: {at} answers in {took}"))
            }
            (Some(problem), _) => Finding::warning(
                "servers",
                format!("{purpose}: {at} cannot be reached from the daemon: {problem}"),
                format!("start it or open the way to it, or name another: sudo assistantctl setup {option}"),
            ),
        }
    }));
    if found.servers.is_empty() {
        findings.push(Finding::skipped("servers", "none is configured"));
    }
    findings.push(mailbox(cx).await);
    findings.push(Finding::skipped("servers", "calendar: not configured"));
    findings
}

/// Whether mail is received, and what waits.
async fn mailbox(cx: &Cx) -> Finding {
    let MailStatus { inbox, sends, unknown, set_aside, .. } = match cx.client.get("/api/mail").await {
        Ok(found) => found,
        Err(err) => return failed("mail", "how it stands with the mailbox", &err),
    };
    let name = inbox.mailbox.unwrap_or_default();
    match inbox.watching {
        Watching::Off if !sends => Finding::skipped("mail", "not configured: sudo assistantctl setup --imap-host HOST"),
        Watching::Failing => {
            let why = inbox.error.unwrap_or_else(|| "no reason given".to_owned());
            let mend = inbox.hint.unwrap_or_else(|| "assistantctl mail test".to_owned());
            Finding::error("mail", Code::Failed, format!("{name} cannot be read: {why}"), mend)
        }
        _ if unknown > 0 => Finding::warning(
            "mail",
            format!("of {unknown} nobody knows whether they arrived"),
            "assistantctl mail outbox --state unknown",
        ),
        _ if set_aside > 0 => Finding::warning(
            "mail",
            format!("{set_aside} could not be read and were set aside"),
            "assistantctl mail --decision set_aside",
        ),
        Watching::Off => Finding::ok("mail", "it is sent and not received"),
        _ => Finding::ok("mail", format!("{name} is watched")),
    }
}

fn listening(found: &assistant_api::status::Listening) -> Finding {
    let said = format!("listens at {} ({}), guarded by: {}", found.address, found.reach, found.guard);
    if matches!(found.reach.as_str(), "every" | "public") {
        return Finding::warning("exposure", said, "sudo assistantctl web disable");
    }
    Finding::ok("exposure", said)
}

/// A session is opened for this.
pub(super) async fn sandbox(cx: &Cx) -> Finding {
    match cx.client.get::<SandboxStatus>("/api/sandbox").await {
        Ok(found) => guarantees(&found),
        Err(err) => failed("sandbox", "what its sandbox is", &err),
    }
}

fn guarantees(found: &SandboxStatus) -> Finding {
    let check = "sandbox";
    if !found.enabled {
        return Finding::ok(check, "it is switched off: no commands run");
    }
    if let Some(problem) = &found.problem {
        let message = format!("commands cannot run, all else works: {problem}");
        return Finding::warning(check, message, "assistantctl sandbox test");
    }
    let mut said = format!("level {}, backend {}", found.level, found.backend.as_deref().unwrap_or("unknown"));
    if let Some(egress) = found.egress.as_ref().filter(|egress| egress.answers) {
        let _ = write!(said, ", the egress proxy answers at {}", egress.detail);
    }
    for refusal in &found.refused {
        let _ = write!(said, "; not {}: {}", refusal.backend, refusal.reason);
    }
    let lacking: Vec<_> =
        found.guarantees.iter().filter(|guarantee| !guarantee.given).map(|guarantee| guarantee.name.as_str()).collect();
    if lacking.is_empty() {
        return Finding::ok(check, said);
    }
    let message = format!("{said}; without {}", lacking.join(", "));
    Finding::warning(check, message, "assistantctl sandbox test")
}

fn configured_models(status: &Status) -> Vec<Finding> {
    if status.models.is_empty() {
        return vec![Finding::warning(
            "models",
            "no model is configured: jobs will wait for one",
            "sudo assistantctl setup",
        )];
    }
    let finding = |model: &assistant_api::status::Model| {
        let name = format!("{}: {} at {}", model.role, model.model, model.host);
        match &model.problem {
            None => Finding::ok("model", name),
            Some(problem) => Finding::warning("model", format!("{name}: {problem}"), "assistantctl models test"),
        }
    };
    status.models.iter().map(finding).collect()
}

pub(super) async fn called(cx: &Cx) -> Vec<Finding> {
    let tests = match models::test(cx).await {
        Ok(tests) => tests,
        Err(failure) => {
            let mend = failure.hint.unwrap_or_default();
            return vec![Finding::error("model call", failure.code, failure.message, mend)];
        }
    };
    let finding = |model: &assistant_api::status::ModelTest| {
        let time = model.latency_ms.map(text::millis).unwrap_or_default();
        let problem = model.problem.as_deref().unwrap_or("no reason given");
        match (model.ok, model.tools) {
            (false, _) => Finding::error(
                "model call",
                Code::Failed,
                format!("{}: {problem}", model.model),
                "assistantctl config show llm",
            ),
            (true, Some(false)) => Finding::error(
                "model call",
                Code::Failed,
                format!("{} answered but cannot use tools", model.model),
                "sudo assistantctl config set llm.model NAME",
            ),
            (true, _) => Finding::ok("model call", format!("{} answered in {time}", model.model)),
        }
    };
    tests.models.iter().map(finding).collect()
}

/// Whether the clock is kept right; without systemd nobody is asked.
pub(super) fn clock(host: &Host) -> Finding {
    let answer = host.ask("timedatectl", &["show", "--property=NTPSynchronized", "--value"]);
    let now = text::utc(text::now());
    match answer.as_deref().map(str::trim) {
        Some("yes") => Finding::ok("time", format!("{now}, synchronised")),
        Some("no") => Finding::warning("time", format!("{now}, not synchronised"), "sudo timedatectl set-ntp true"),
        _ => Finding::ok("time", now),
    }
}
