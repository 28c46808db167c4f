use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    process::Command,
};

use assistant_api::{
    Role, client,
    sandbox::SandboxStatus,
    status::{ApiInfo, Status},
};

use super::Finding;
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

/// Looks at everything; what cannot be looked at for lack of a daemon is left out.
pub(super) async fn all(cx: &Cx, call_models: bool) -> Vec<Finding> {
    let mut findings = vec![socket(cx)];
    let info = cx.client.get::<ApiInfo>("/api").await;
    findings.push(answering(cx, &info));
    if let Ok(info) = &info {
        findings.push(role(info));
        findings.push(versions(info));
    }
    findings.push(configuration(cx).await);
    if info.is_ok() {
        match cx.client.get::<Status>("/api/status").await {
            Ok(status) => findings.extend(running(&status)),
            Err(err) => findings.push(Finding::fail(
                "status",
                Code::Failed,
                format!("the daemon cannot say how it is: {err}"),
                "journalctl -u assistantd -n 50",
            )),
        }
        findings.push(match cx.client.get::<SandboxStatus>("/api/sandbox").await {
            Ok(found) => sandbox(&found),
            Err(err) => Finding::fail(
                "sandbox",
                Code::Failed,
                format!("the daemon cannot say what its sandbox is: {err}"),
                "journalctl -u assistantd -n 50",
            ),
        });
        if call_models {
            findings.extend(called(cx).await);
        }
    }
    findings.push(clock());
    findings
}

fn socket(cx: &Cx) -> Finding {
    let path = cx.socket.display();
    match fs::metadata(&cx.socket) {
        Ok(meta) if meta.file_type().is_socket() => {
            Finding::ok("socket", format!("{path}, mode {:04o}", meta.mode() & 0o7777))
        }
        Ok(_) => Finding::fail("socket", Code::Unreachable, format!("{path} is no socket"), "name it with --socket"),
        Err(err) if err.kind() == std::io::ErrorKind::PermissionDenied => {
            Finding::fail("socket", Code::Denied, format!("you may not look at {path}"), access::way_in())
        }
        Err(_) => Finding::fail("socket", Code::Unreachable, format!("there is none at {path}"), how_to_start()),
    }
}

fn answering(cx: &Cx, info: &client::Result<ApiInfo>) -> Finding {
    match info {
        Ok(info) => Finding::ok("daemon", format!("assistantd {} answers", info.version)),
        Err(client::Error::Denied(_)) => Finding::fail(
            "daemon",
            Code::Denied,
            format!("you may not connect to {}", cx.socket.display()),
            access::way_in(),
        ),
        Err(err) if err.is_unreachable() => Finding::fail("daemon", Code::Unreachable, err.to_string(), how_to_start()),
        Err(err) => {
            let code = err.kind().map_or(Code::Failed, Code::of);
            let mend =
                if code == Code::Denied { access::way_in() } else { "journalctl -u assistantd -n 50".to_owned() };
            Finding::fail("daemon", code, err.to_string(), mend)
        }
    }
}

fn role(info: &ApiInfo) -> Finding {
    match info.role {
        Some(Role::Admin) => Finding::ok("rights", "you are admin"),
        Some(Role::Operator) => Finding::ok("rights", "you are operator: everything but stop, erase and configuration"),
        Some(Role::Viewer) => Finding::warn("rights", "you are viewer: you can only look", access::way_in()),
        None => Finding::fail("rights", Code::Denied, "you are not let in", access::way_in()),
    }
}

fn versions(info: &ApiInfo) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    if info.version == own {
        return Finding::ok("version", format!("daemon and command line are both {own}"));
    }
    Finding::warn(
        "version",
        format!("the daemon is {}, assistantctl is {own}", info.version),
        "sudo systemctl restart assistantd after an upgrade",
    )
}

async fn configuration(cx: &Cx) -> Finding {
    let file = config::file_in_use(cx).await.filter(|file| file.exists());
    match daemon::check(file.as_deref()) {
        Ok(checked) if checked.ok() => {
            Finding::ok("config", checked.message().lines().last().unwrap_or("it is good").to_owned())
        }
        Ok(checked) => {
            let message = checked.message();
            let first = message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Finding::fail("config", checked.code, first, "assistantctl config check")
        }
        Err(failure) => Finding::warn("config", failure.message, failure.hint.unwrap_or_default()),
    }
}

fn running(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    let database = &status.database;
    findings.push(if database.ok {
        Finding::ok("database", format!("{}, schema {}", text::bytes(database.size_bytes), database.schema_version))
    } else {
        let problem = database.problem.clone().unwrap_or_else(|| "it cannot be used".to_owned());
        Finding::fail("database", Code::Retry, problem, "make room on the disk, or see journalctl -u assistantd")
    });
    findings.push(if status.workspace.ok {
        Finding::ok("workspace", "it can be used")
    } else {
        let problem = status.workspace.problem.clone().unwrap_or_else(|| "it cannot be used".to_owned());
        Finding::fail("workspace", Code::Failed, problem, "journalctl -u assistantd -n 50")
    });
    let disk = &status.disk;
    let free = format!("{} of {} free", text::bytes(disk.free_bytes), text::bytes(disk.total_bytes));
    findings.push(if disk.low {
        let low = format!("{free}; below {} new work is refused", text::bytes(disk.min_free_bytes));
        Finding::fail("disk", Code::Retry, low, "make room on the disk of the state directory")
    } else {
        Finding::ok("disk", free)
    });
    let drift = text::now().duration_since(status.started_at).as_secs() - status.uptime_seconds.cast_signed();
    if drift.abs() > STEP {
        let stepped = format!("it was set by {drift} s since the daemon started");
        findings.push(Finding::warn(
            "clock",
            stepped,
            "see timedatectl; jobs with a time run by the clock as it is now",
        ));
    }
    findings.extend(configured_models(status));
    findings.push(match &status.stopped {
        None => Finding::ok("work", format!("{} of {} workers busy", status.workers.busy, status.workers.configured)),
        Some(stopped) => Finding::warn(
            "work",
            format!("all work is stopped since {} by {}", text::utc(stopped.at), stopped.by),
            "assistantctl resume",
        ),
    });
    if status.waiting_total > 0 {
        let waiting = format!("{} wait for a person", text::grouped(status.waiting_total));
        findings.push(Finding::warn("jobs", waiting, "assistantctl status says what each needs"));
    }
    findings
}

/// A session was opened for this.
fn sandbox(found: &SandboxStatus) -> Finding {
    let check = "sandbox";
    if !found.enabled {
        return Finding::ok(check, "it is switched off: no commands run");
    }
    if let Some(problem) = &found.problem {
        let message = format!("commands cannot run: {problem}");
        return Finding::warn(check, message, "assistantctl sandbox test shows each guarantee; all else works without");
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
    Finding::warn(check, message, "name what must be given in sandbox.require; assistantctl sandbox test says how")
}

fn configured_models(status: &Status) -> Vec<Finding> {
    if status.models.is_empty() {
        return vec![Finding::fail(
            "models",
            Code::Config,
            "no model is configured: jobs will wait for one",
            "assistantctl config set llm.model NAME, with OPENROUTER_API_KEY or another key set for the daemon",
        )];
    }
    let finding = |model: &assistant_api::status::Model| {
        let name = format!("{}: {} at {}", model.role, model.model, model.host);
        match &model.problem {
            None => Finding::ok("model", name),
            Some(problem) => Finding::warn("model", format!("{name}: {problem}"), "assistantctl models test"),
        }
    };
    status.models.iter().map(finding).collect()
}

async fn called(cx: &Cx) -> Vec<Finding> {
    let tests = match models::test(cx).await {
        Ok(tests) => tests,
        Err(failure) => {
            let mend = failure.hint.unwrap_or_default();
            return vec![Finding::fail("model call", failure.code, failure.message, mend)];
        }
    };
    let finding = |model: &assistant_api::status::ModelTest| {
        let time = model.latency_ms.map(text::millis).unwrap_or_default();
        let problem = model.problem.as_deref().unwrap_or("no reason given");
        match (model.ok, model.tools) {
            (false, _) => Finding::fail(
                "model call",
                Code::Failed,
                format!("{}: {problem}", model.model),
                "assistantctl config show llm",
            ),
            (true, Some(false)) => Finding::fail(
                "model call",
                Code::Failed,
                format!("{} answered but cannot use tools", model.model),
                "choose a model that can: assistantctl config set llm.model NAME",
            ),
            (true, _) => Finding::ok("model call", format!("{} answered in {time}", model.model)),
        }
    };
    tests.models.iter().map(finding).collect()
}

/// Whether the clock is kept right; without systemd nobody is asked.
fn clock() -> Finding {
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    let answer = asked.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let now = text::utc(text::now());
    match answer.as_deref() {
        Some("yes") => Finding::ok("time", format!("{now}, synchronised")),
        Some("no") => Finding::warn("time", format!("{now}, not synchronised"), "sudo timedatectl set-ntp true"),
        _ => Finding::ok("time", now),
    }
}
