use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use super::*;

/// A host as the package leaves it, below a directory of its own.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        let own = fs::metadata(place.dir.path()).unwrap();
        let (uid, gid) = (own.uid(), own.gid());
        place.write("/usr/lib/systemd/system/assistantd.service", "");
        place.write("/run/systemd/system/x", "");
        place.write("/etc/passwd", format!("root:x:9990:0:::\nassistant:x:{uid}:{gid}:::\n"));
        place.write(
            "/etc/group",
            format!("assistant-users:x:{gid}:ann\nassistant-admin:x:992:\nassistant-work:x:993:\ndocker:x:994:bob\n"),
        );
        place.write("/run/assistant/api.sock", "");
        place.mode("/run/assistant/api.sock", 0o660);
        place.write("/var/lib/assistant/assistant.db", "");
        place.mode("/var/lib/assistant", 0o700);
        place.write("/proc/sys/kernel/osrelease", "6.12.0-1-amd64\n");
        place.write("/proc/sys/user/max_user_namespaces", "1000\n");
        place.write("/sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n");
        place.write("/sys/kernel/security/lsm", "lockdown,landlock,apparmor\n");
        place
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The database's header with a schema version.
    fn database(&self, version: u32) {
        let mut bytes = b"SQLite format 3\0".to_vec();
        bytes.resize(100, 0);
        bytes[60..64].copy_from_slice(&version.to_be_bytes());
        self.write("/var/lib/assistant/assistant.db", bytes);
    }

    fn host(&self) -> Host {
        self.with_unit("LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n")
    }

    /// One whose service is as `shown` says, and whose credentials all can be decrypted but one named `openai`.
    fn with_unit(&self, shown: &str) -> Host {
        let shown = shown.to_owned();
        Host::fake(self.dir.path(), move |program, arguments| match program {
            "systemctl" if arguments.last() == Some(&"assistantd.service") => Some(shown.clone()),
            "systemctl" => Some("LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n".to_owned()),
            "journalctl" => Some("first line\nopening the database failed\n".to_owned()),
            "timedatectl" => Some("no\n".to_owned()),
            "sh" => Some(if arguments.contains(&"openai-api-key") { "no\n" } else { "yes\n" }.to_owned()),
            _ => None,
        })
    }

    /// All that needs no daemon, without the configuration, which its own program looks at.
    fn look(host: &Host) -> Vec<Finding> {
        let mut findings = units::look(host);
        findings.extend(local::people(host));
        findings.extend(local::socket(host));
        findings.extend(local::credentials(host));
        findings.extend(local::state(host));
        findings.extend(local::kernel(host));
        findings
    }

    /// The table, with the names of this directory taken out.
    fn table(host: &Host) -> String {
        let shown = |(verdict, line): (Option<Verdict>, String)| {
            let verdict = verdict.map_or(String::new(), |verdict| format!("{:<7}", verdict.as_str()));
            format!("{verdict}{line}\n")
        };
        lines(&Self::look(host)).into_iter().map(shown).collect()
    }
}

#[track_caller]
fn is_found(findings: &[Finding], name: &str, verdict: Verdict, text: &str, mend: &str) {
    let found = findings.iter().any(|finding| {
        finding.name == name
            && finding.verdict == verdict
            && finding.text.contains(text)
            && finding.mend.as_deref().unwrap_or_default().contains(mend)
    });
    assert!(found, "{name} {verdict:?} {text:?} {mend:?} is missing in {findings:#?}");
}

#[test]
fn a_healthy_host_has_no_warnings() {
    let place = Place::new();
    place.database(u32::try_from(assistant_api::status::SCHEMA_VERSION).unwrap());
    insta::assert_snapshot!(Place::table(&place.host()));
}

#[test]
fn what_is_broken_is_told_with_the_command_that_mends_it() {
    let place = Place::new();
    place.write("/etc/group", "assistant-admin:x:992:\nassistant-work:x:993:\ndocker:x:994:bob,assistant\n");
    place.write(
        "/etc/systemd/system/assistantd.service.d/override.conf",
        "[Service]\nSupplementaryGroups=docker\nMemoryHigh=1G\nPrivateUsers=yes\nNoNewPrivileges=no\nUser=root\n\
         AmbientCapabilities=CAP_SYS_ADMIN\nEnvironment=OPENAI_API_KEY=canary\n",
    );
    place.write("/etc/systemd/system/assistantd.socket.d/open.conf", "[Socket]\nSocketMode=0666\nListenStream=8000\n");
    place.write("/etc/credstore.encrypted/openai-api-key", "nonsense");
    place.write("/etc/credstore/llm-api-key", "plain");
    place.mode("/etc/credstore/llm-api-key", 0o644);
    place.mode("/run/assistant/api.sock", 0o666);
    place.mode("/var/lib/assistant", 0o755);
    place.database(99);
    place.write("/proc/sys/kernel/osrelease", "5.10.0-9-amd64\n");
    place.write("/sys/kernel/security/lsm", "lockdown,apparmor\n");
    place.write("/sys/fs/cgroup/cgroup.controllers", "hugetlb\n");
    let table = Place::table(&place.with_unit("LoadState=loaded\nActiveState=failed\nResult=exit-code\n"));
    assert!(!table.contains("canary"), "{table}");
    insta::assert_snapshot!(table);
}

#[test]
fn the_printed_commands_close_what_is_open() {
    let place = Place::new();
    place.mode("/var/lib/assistant", 0o755);
    place.mode("/run/assistant/api.sock", 0o666);
    place.write(
        "/etc/systemd/system/assistantd.service.d/x.conf",
        "[Service]\nUMask=0022\nSupplementaryGroups=docker\n",
    );
    let host = place.host();
    for finding in Place::look(&host).iter().filter(|finding| finding.mend.is_some()) {
        let own = place.dir.path().display().to_string();
        // As on the real host, but below the directory and without the service manager.
        let command = finding.mend.as_deref().unwrap().split(" && ").next().unwrap().replace("sudo ", "");
        let command = command.replace(" /etc/", &format!(" {own}/etc/")).replace(" /var/", &format!(" {own}/var/"));
        let command = command.replace(" /run/", &format!(" {own}/run/"));
        let status = std::process::Command::new("sh").args(["-ec", &command]).status().unwrap();
        assert!(status.success(), "{command}");
    }
    let left = Place::look(&host);
    // The second line of the drop-in has another number once the first is gone.
    assert!(left.iter().filter(|finding| finding.mend.is_some()).count() <= 1, "{left:#?}");
}

#[test]
fn units_that_are_not_as_they_should_be_are_named() {
    let place = Place::new();
    let state = |shown: &str| units::look(&place.with_unit(shown));
    let unit = "assistantd.service";
    for (shown, verdict, text, mend) in [
        ("LoadState=masked\n", Verdict::Error, "is masked", format!("unmask {unit}")),
        ("LoadState=not-found\n", Verdict::Error, "is not there", "install --reinstall assistant".to_owned()),
        ("LoadState=loaded\nActiveState=inactive\n", Verdict::Error, "is inactive", format!("systemctl start {unit}")),
        (
            "LoadState=loaded\nActiveState=active\nUnitFileState=disabled\n",
            Verdict::Warning,
            "is not enabled",
            format!("enable {unit}"),
        ),
        (
            "LoadState=loaded\nActiveState=active\nNeedDaemonReload=yes\n",
            Verdict::Warning,
            "has changed",
            "daemon-reload".to_owned(),
        ),
    ] {
        is_found(&state(shown), "units", verdict, text, &mend);
    }
    fs::remove_dir_all(place.path("/run/systemd")).unwrap();
    is_found(&units::look(&place.host()), "units", Verdict::Skipped, "systemd does not run here", "");
    assert!(units::why_down(&place.host()).is_none());
}

#[test]
fn why_the_daemon_is_down_is_told_with_the_end_of_the_journal() {
    let place = Place::new();
    for (active, status, text, mend, code) in [
        ("inactive", "0", "the service is stopped", "systemctl start assistantd.service", Code::Unreachable),
        ("failed", "78", "refuses its configuration", "config check", Code::Config),
        ("failed", "243", "cannot read a credential", "reset-failed", Code::Failed),
        ("failed", "1", "failed (exit-code, exit status 1)", "reset-failed", Code::Unreachable),
        ("active", "0", "runs and does not answer", "restart", Code::Timeout),
    ] {
        let shown = format!("ActiveState={active}\nResult=exit-code\nExecMainStatus={status}\n");
        let found = units::why_down(&place.with_unit(&shown)).unwrap();
        assert_eq!(found.code, code, "{found:?}");
        assert!(found.text.ends_with("the journal ends with: first line | opening the database failed"), "{found:?}");
        is_found(&[found], "why", Verdict::Error, text, mend);
    }
}

#[test]
fn the_version_of_the_database_is_held_against_that_of_the_program() {
    let place = Place::new();
    let schema = |text: &str, verdict| {
        is_found(&local::state(&place.host()), "schema", verdict, text, "");
    };
    schema("there is no database yet", Verdict::Ok);
    place.database(u32::try_from(assistant_api::status::SCHEMA_VERSION).unwrap());
    schema("no upgrade is pending", Verdict::Ok);
    place.database(99);
    schema("newer than", Verdict::Error);
    place.write("/var/lib/assistant/assistant.db", "no database at all ".repeat(20));
    schema("is damaged", Verdict::Error);
    let mend = |part: &str| is_found(&local::state(&place.host()), "schema", Verdict::Error, "is damaged", part);
    mend("backup list && ");
    for (file, part) in [
        ("assistant-20261121T030000Z.tar.zst", "restore assistant-20261121T030000Z.tar.zst --force"),
        ("assistant-20261122T030000Z.tar.zst.age", "restore assistant-20261122T030000Z.tar.zst.age --identity KEYFILE"),
        ("assistant-20261123T030000Z.tar.zst.json", "restore assistant-20261122T"),
        ("unrelated.txt", "restore assistant-20261122T"),
    ] {
        place.write(&format!("/var/lib/assistant/backups/{file}"), "");
        mend(part);
    }
    fs::remove_dir_all(place.path("/var/lib/assistant")).unwrap();
    is_found(&local::state(&place.host()), "state", Verdict::Skipped, "there is no", "");
}

#[test]
fn a_socket_of_the_network_that_the_daemon_does_not_tell_of_is_found() {
    let place = Place::new();
    let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   990        0 4711 1\n";
    place.write("/proc/42/net/tcp", format!("{head}{line}"));
    place.write("/proc/42/net/tcp6", head);
    fs::create_dir_all(place.path("/proc/42/fd")).unwrap();
    std::os::unix::fs::symlink(Path::new("socket:[4711]"), place.path("/proc/42/fd/7")).unwrap();
    let look = |known: &[String]| local::network(&place.host(), 42, known);
    is_found(&[look(&[])], "exposure", Verdict::Error, "[8080]", "restart assistantd.socket");
    is_found(&[look(&["127.0.0.1:8080".to_owned()])], "exposure", Verdict::Ok, "1 sockets", "");
}

#[test]
fn variables_and_clock_are_told() {
    let message =
        "the configuration is good: /x\nwarning: environment AGENT_NAM names no key\nhint: sudo sed -i 1d x\n";
    is_found(&local::warned(message), "variables", Verdict::Warning, "AGENT_NAM", "sudo sed -i 1d x");
    let place = Place::new();
    place.write("/etc/default/assistant", "#OPENAI_API_KEY=x\nSMTP_PASSWORD=canary\n");
    place.mode("/etc/default/assistant", 0o644);
    let found = local::open_variables(&place.host()).unwrap();
    assert!(!found.text.contains("canary"));
    is_found(&[found], "variables", Verdict::Warning, "holds SMTP_PASSWORD", "chmod 0600");
    place.mode("/etc/default/assistant", 0o600);
    assert!(local::open_variables(&place.host()).is_none());
    is_found(&[daemon::clock(&place.host())], "time", Verdict::Warning, "not synchronised", "set-ntp true");
}

#[test]
fn warnings_are_no_errors_and_the_first_error_counts() {
    let mut findings = vec![Finding::ok("a", "x"), Finding::warning("b", "x", "y"), Finding::skipped("c", "z")];
    assert_eq!(worst(&findings), Code::Ok);
    findings.push(Finding::error("d", Code::Config, "x", "y"));
    findings.push(Finding::error("e", Code::Failed, "x", "y"));
    assert_eq!(worst(&findings), Code::Config);
}

#[test]
fn a_warning_that_both_found_stands_there_once() {
    let warning = |text: &str, mend: &str| assistant_api::status::Warning {
        name: "readable-by-others".into(),
        text: text.into(),
        mend: mend.into(),
    };
    let mut findings = vec![Finding::warning("state", "mode 0755", "sudo chmod 0700 /x")];
    daemon::add_warnings(&mut findings, &[warning("other words", "sudo chmod 0700 /x"), warning("more", "do it")]);
    assert_eq!(findings.len(), 2, "{findings:?}");
}

#[test]
fn how_often_systemd_tried_does_not_hide_why() {
    let journal = "error: the database is damaged\nassistantd.service: Main process exited, code=exited, status=1/FAILURE\n\
        assistantd.service: Failed with result 'exit-code'.\nFailed to start assistantd.service - Assistant.\n\
        assistantd.service: Scheduled restart job, restart counter is at 20.\nStopped assistantd.service - Assistant.\n\
        assistantd.service: Start request repeated too quickly.\n";
    assert_eq!(units::reasons(journal), ["error: the database is damaged"]);
    let credentials = "assistantd.service: Failed at step CREDENTIALS spawning /usr/bin/assistantd: Bad message\n";
    assert_eq!(units::reasons(credentials), [credentials.trim_end()]);
    assert_eq!(units::reasons("a\nb\n\nc\nd\ne\n"), ["b", "c", "d", "e"]);
    assert_eq!(units::reasons("Stopped assistantd.service - Assistant.\n").len(), 1);
}
