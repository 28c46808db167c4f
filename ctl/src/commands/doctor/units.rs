//! The units of the package: there, enabled, running, and not made weaker by a drop-in.

use std::path::Path;

use super::{Finding, host::Host};
use crate::exit::Code;

/// Units that every installation has running.
const UNITS: &[&str] = &["assistantd.socket", "assistantd.service", "assistant-sandbox.socket"];
/// All units whose drop-ins count.
const WITH_DROP_INS: &[&str] = &[
    "assistantd.socket",
    "assistantd.service",
    "assistantd-web.socket",
    "assistant-sandbox.socket",
    "assistant-sandbox@.service",
    "assistant-egress.socket",
    "assistant-egress-control.socket",
    "assistant-egress.service",
];
/// Where an administrator's files win over the package's (systemd.unit(5)).
const ADMINISTRATORS: &[&str] = &["/etc/systemd/system", "/run/systemd/system", "/etc/systemd/system.control"];
const PACKAGES: &[&str] = &["/usr/lib/systemd/system", "/lib/systemd/system"];

/// Where the package's file of a unit is.
pub(super) fn file(host: &Host, unit: &str) -> Option<String> {
    PACKAGES.iter().map(|dir| format!("{dir}/{unit}")).find(|path| host.exists(path))
}

/// What `systemctl show` says of a unit.
pub(super) struct Shown(Vec<(String, String)>);

impl Shown {
    pub(super) fn of(host: &Host, unit: &str) -> Option<Self> {
        let wanted = "--property=LoadState,ActiveState,SubState,UnitFileState,Result,ExecMainStatus,NeedDaemonReload";
        let text = host.ask("systemctl", &["show", wanted, unit])?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Some(Self(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()))
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// All findings about units.
pub(super) fn look(host: &Host) -> Vec<Finding> {
    if !host.has_systemd() {
        return vec![Finding::skipped("units", "systemd does not run here")];
    }
    if !host.is_packaged() {
        return vec![Finding::skipped("units", "the package's units are not installed")];
    }
    let mut findings: Vec<_> = UNITS.iter().filter_map(|unit| state(host, unit)).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("units", format!("{} are enabled and active", UNITS.join(", "))));
    }
    findings.extend(drop_ins(host));
    findings
}

/// What is wrong with the state of one unit, if anything.
fn state(host: &Host, unit: &'static str) -> Option<Finding> {
    let Some(shown) = Shown::of(host, unit) else {
        return Some(Finding::skipped("units", format!("systemctl says nothing about {unit}")));
    };
    let finding = |text: String, mend: String| Some(Finding::error("units", Code::Unreachable, text, mend));
    match (shown.get("LoadState"), shown.get("ActiveState")) {
        ("masked", _) => {
            return finding(
                format!("{unit} is masked"),
                format!("sudo systemctl unmask {unit} && sudo systemctl start {unit}"),
            );
        }
        ("not-found", _) => {
            return finding(format!("{unit} is not there"), "sudo apt install --reinstall assistant".to_owned());
        }
        (_, "active" | "reloading" | "activating") => {}
        (_, "failed") => {
            let reset = format!("sudo systemctl reset-failed {unit} && sudo systemctl restart {unit}");
            return finding(format!("{unit} has failed ({})", shown.get("Result")), reset);
        }
        (_, other) => return finding(format!("{unit} is {other}"), format!("sudo systemctl start {unit}")),
    }
    if shown.get("UnitFileState") == "disabled" {
        let text = format!("{unit} is not enabled: after a reboot nothing starts it");
        return Some(Finding::warning("units", text, format!("sudo systemctl enable {unit}")));
    }
    if shown.get("NeedDaemonReload") == "yes" {
        let mend = "sudo systemctl daemon-reload && sudo systemctl restart assistantd";
        return Some(Finding::warning("units", format!("the file of {unit} has changed since it was loaded"), mend));
    }
    None
}

/// Lists the drop-ins, and names each line that takes a wall away.
fn drop_ins(host: &Host) -> Vec<Finding> {
    let (mut files, mut findings) = (Vec::new(), Vec::new());
    for unit in WITH_DROP_INS {
        for dir in ADMINISTRATORS {
            let whole = format!("{dir}/{unit}");
            // A link to the package's own file is how a unit is enabled under another name.
            if host.path(&whole).symlink_metadata().is_ok_and(|meta| meta.is_file()) {
                files.push((*unit, whole));
            }
            let below = format!("{dir}/{unit}.d");
            match host.list(&below) {
                Ok(names) => {
                    let conf =
                        names.into_iter().filter(|name| Path::new(name).extension().is_some_and(|end| end == "conf"));
                    files.extend(conf.map(|name| (*unit, format!("{below}/{name}"))));
                }
                Err(err) => findings.push(Finding::skipped("drop-ins", format!("{below} cannot be listed: {err}"))),
            }
        }
    }
    for (unit, file) in &files {
        match host.read(file) {
            Ok(text) => findings.extend(weaker(unit, file, &text)),
            Err(err) => findings.push(Finding::skipped("drop-ins", format!("{file} cannot be read: {err}"))),
        }
    }
    let names: Vec<_> = files.iter().map(|(_, file)| file.as_str()).collect();
    let listed = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    findings.insert(0, Finding::ok("drop-ins", listed));
    findings
}

/// The lines of a drop-in that make a unit weaker, each with the command that takes it out.
fn weaker(unit: &str, file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let (name, value) = (name.trim(), value.trim());
        let Some((serious, why)) = weakness(unit, name, value) else { continue };
        let restart = if unit.starts_with("assistantd") { "assistantd.socket assistantd.service" } else { unit };
        let restart = restart.replace("@.service", "@*.service");
        let mend = format!(
            "sudo sed -i {}d {file} && sudo systemctl daemon-reload && sudo systemctl restart {restart}",
            at + 1
        );
        let shown = if name == "Environment" { "Environment=..." } else { &format!("{name}={value}") };
        let text = format!("{file} weakens {unit}: {shown} {why}");
        findings.push(if serious {
            Finding::error("drop-ins", Code::Failed, text, mend)
        } else {
            Finding::warning("drop-ins", text, mend)
        });
    }
    findings
}

/// Whether a line takes a wall away, how bad that is, and why.
fn weakness(unit: &str, name: &str, value: &str) -> Option<(bool, &'static str)> {
    let yes = matches!(value, "yes" | "true" | "1" | "on");
    let no = matches!(value, "no" | "false" | "0" | "off");
    let words: Vec<&str> = value.split_whitespace().collect();
    let daemon = unit == "assistantd.service";
    Some(match name {
        "SupplementaryGroups" | "Group" | "SocketGroup"
            if words.iter().any(|word| ["docker", "root", "sudo", "disk", "lxd", "shadow"].contains(word)) =>
        {
            (true, "gives it what only root has")
        }
        "User" if matches!(value, "root" | "0") => (true, "makes it root"),
        "PrivateUsers" if daemon && !no => (true, "hides from it who is at the socket, so nobody is let in"),
        "RuntimeDirectory" if daemon && words.contains(&"assistant") => {
            (true, "takes the API's socket away at every restart")
        }
        "AmbientCapabilities" if !value.is_empty() => (true, "gives it capabilities"),
        "CapabilityBoundingSet" if !value.is_empty() => (true, "lets it have capabilities"),
        "SocketMode" if u32::from_str_radix(value, 8).is_ok_and(|mode| mode & 0o007 != 0) => {
            (true, "lets every user of this machine connect")
        }
        "ListenStream" if unit == "assistantd.socket" && !value.is_empty() && !value.starts_with('/') => {
            (true, "opens the API's own door to the network")
        }
        "NoNewPrivileges"
        | "ProtectSystem"
        | "ProtectHome"
        | "PrivateTmp"
        | "PrivateDevices"
        | "PrivateMounts"
        | "PrivateIPC"
        | "ProtectHostname"
        | "ProtectClock"
        | "ProtectKernelTunables"
        | "ProtectKernelModules"
        | "ProtectKernelLogs"
        | "ProtectControlGroups"
        | "LockPersonality"
        | "MemoryDenyWriteExecute"
        | "RestrictNamespaces"
        | "RestrictRealtime"
        | "RestrictSUIDSGID"
        | "PrivateNetwork"
        | "DynamicUser"
            if no =>
        {
            (false, "takes a wall away")
        }
        "SystemCallFilter" | "RestrictAddressFamilies" | "SystemCallArchitectures" if value.is_empty() => {
            (false, "takes a wall away")
        }
        "ProtectProc" if value == "default" => (false, "shows it other processes"),
        "UMask" if u32::from_str_radix(value, 8).is_ok_and(|mask| mask & 0o007 != 0o007) => {
            (false, "makes files that others can read")
        }
        "ReadWritePaths" if words.iter().any(|path| !path.contains("assistant")) => {
            (false, "lets it write outside of its state")
        }
        "Environment" if ["KEY=", "PASSWORD=", "TOKEN="].iter().any(|secret| value.contains(secret)) => {
            (false, "holds a secret, which everybody can read there")
        }
        "StateDirectoryMode" if u32::from_str_radix(value, 8).is_ok_and(|mode| mode & 0o027 != 0) => {
            (false, "opens the state to others")
        }
        "PrivateUsers" if !daemon && no && !yes => (false, "takes a wall away"),
        _ => return None,
    })
}

/// The last lines of the journal that may say why: not those in which systemd counts its attempts.
pub(super) fn reasons(journal: &str) -> Vec<&str> {
    let counts = |line: &&str| {
        let rest = line.strip_prefix("assistantd.service: ").unwrap_or(line);
        ["Start request repeated", "Scheduled restart job", "Main process exited", "Failed with result", "Consumed "]
            .iter()
            .any(|start| rest.starts_with(start))
            || ["Starting ", "Started ", "Stopping ", "Stopped ", "Failed to start "]
                .iter()
                .any(|start| line.starts_with(start) && line.contains("assistantd.service"))
    };
    let lines: Vec<_> = journal.lines().filter(|line| !line.trim().is_empty()).collect();
    let telling: Vec<_> = lines.iter().copied().filter(|line| !counts(line)).collect();
    let chosen = if telling.is_empty() { lines } else { telling };
    chosen[chosen.len().saturating_sub(4)..].to_vec()
}

/// Why the daemon does not answer, as far as the service manager and the journal say.
pub(super) fn why_down(host: &Host) -> Option<Finding> {
    if !host.has_systemd() || !host.is_packaged() {
        return None;
    }
    let shown = Shown::of(host, "assistantd.service")?;
    let (active, result, status) = (shown.get("ActiveState"), shown.get("Result"), shown.get("ExecMainStatus"));
    let journal = host.ask("journalctl", &["--unit=assistantd", "--lines=60", "--output=cat", "--no-pager"]);
    let last = reasons(journal.as_deref().unwrap_or_default());
    let said = if last.is_empty() {
        "the journal says nothing that you may read (sudo journalctl -u assistantd)".to_owned()
    } else {
        format!("the journal ends with: {}", last.join(" | "))
    };
    let restart = "sudo systemctl reset-failed assistantd.service && sudo systemctl restart assistantd.service";
    let (code, why, mend) = match (active, status) {
        ("active" | "reloading", _) => (
            Code::Timeout,
            "the service runs and does not answer".to_owned(),
            "sudo systemctl restart assistantd.service",
        ),
        ("activating", _) => (Code::Retry, "the service is just starting".to_owned(), "assistantctl doctor"),
        (_, "78") => (Code::Config, "it refuses its configuration".to_owned(), "sudo assistantctl config check"),
        (_, "243") => (Code::Failed, "systemd cannot read a credential of the service".to_owned(), restart),
        ("failed", _) => (Code::Unreachable, format!("the service failed ({result}, exit status {status})"), restart),
        _ => (Code::Unreachable, "the service is stopped".to_owned(), "sudo systemctl start assistantd.service"),
    };
    Some(Finding::error("why", code, format!("{why}; {said}"), mend))
}
