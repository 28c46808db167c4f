//! The whole probe through the runner: whatever must fail fails, whatever must work works.

use std::{
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Command, Stdio},
};

use assistant_sandbox::{
    probe::{Conducted, Conductor, Expect, Outcome, Plants, Report},
    protocol::{End, Exec, Level, Limits},
};

use crate::{
    PROBE,
    bridge::Proxy,
    client::{NOBODY, Session, Starter, Workspace, each, exec, starters},
};

/// Smaller than the ordinary ones, so that using them up takes little time and little of the machine.
const LIMITS: Limits = Limits {
    seconds: 300,
    memory_bytes: 256 << 20,
    processes: 128,
    cpu_millis: 2000,
    tmp_bytes: 64 << 20,
    file_bytes: 1 << 30,
    output_bytes: 4 << 20,
};

/// What the backends do not keep, each with the guarantee that is missing for it, or `-` where it is a known gap in one
/// that is promised, and the reason.
const LACKS: &str = include_str!("lacks_of_namespace.txt");
const LACKS_OF_LANDLOCK: &str = include_str!("lacks_of_landlock.txt");

/// The names, once it is sure that the session promises none of them.
fn lacks(session: &Session, list: &'static str) -> Vec<&'static str> {
    let missing = serde_json::to_value(&session.ready.missing).unwrap();
    let line = |line: &'static str| {
        let mut words = line.split(' ');
        let (name, guarantee) = (words.next().unwrap(), words.next().unwrap());
        assert!(guarantee == "-" || missing.get(guarantee).is_some(), "{name}: {guarantee} is promised");
        name
    };
    list.lines().filter(|line| !line.starts_with('#')).map(line).collect()
}

fn arguments() -> Vec<String> {
    [
        ("--memory-bytes", LIMITS.memory_bytes),
        ("--processes", LIMITS.processes),
        ("--tmp-bytes", LIMITS.tmp_bytes),
        ("--file-bytes", LIMITS.file_bytes),
        ("--output-bytes", LIMITS.output_bytes),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value.to_string()])
    .collect()
}

/// A repository and files of the host's own, as a workspace in use has them.
fn furnish(workspace: &Workspace) {
    workspace.write(".git/HEAD", "ref: refs/heads/main\n");
    workspace.write(".git/config", "[core]\n\trepositoryformatversion = 0\n");
    workspace.write(".git/hooks/pre-push.sample", "#!/bin/sh\n");
    workspace.write(".assistant/config.toml", "[x]\n");
    workspace.write(".assistant/cache/x", "x\n");
    std::fs::copy(PROBE, workspace.join("probe")).unwrap();
}

fn run(session: &mut Session, level: Level, plants: &Plants) -> Vec<Report> {
    let conductor = Conductor { probe: "./probe".to_owned(), level, limits: LIMITS, only: Vec::new() };
    let Conducted { reports, denials } = conductor.conduct(&mut session.socket, plants).unwrap();
    let refused = denials.iter().filter(|denial| denial.layer == "seccomp").count();
    assert!(refused > 30, "few refusals were heard: {denials:#?}");
    reports
}

fn hold(starter: Starter, level: Level, reports: &[Report], lacks: &[&str]) {
    let wrong: Vec<_> = reports
        .iter()
        .filter(|report| !report.good())
        .filter(|report| !lacks.contains(&report.name.as_str()))
        // A program may be missing; what must fail is always tried.
        .filter(|report| !(report.expect == Expect::Works && report.outcome == Outcome::Absent))
        .collect();
    assert!(wrong.is_empty(), "{starter:?} {level:?}: {wrong:#?}");
    let count = |outcome| reports.iter().filter(|report| report.outcome == outcome).count();
    assert!(count(Outcome::Denied) >= 140, "{}", count(Outcome::Denied));
    assert!(count(Outcome::Works) >= 30, "{}", count(Outcome::Works));
}

fn probe(level: Level, more: &[&str]) {
    each(|starter, workspace| {
        furnish(workspace);
        let plants = Plants::new("/tmp".as_ref()).unwrap();
        let own = arguments();
        let mut arguments: Vec<_> = own.iter().map(String::as_str).collect();
        arguments.extend(more);
        let mut session = Session::start(starter, workspace, &arguments);
        let reports = run(&mut session, level, &plants);
        hold(starter, level, &reports, &lacks(&session, LACKS));
        assert_eq!(plants.touched().unwrap(), Vec::<String>::new());
        for (path, content) in [
            (".git/config", "[core]\n\trepositoryformatversion = 0\n"),
            (".git/hooks/pre-push.sample", "#!/bin/sh\n"),
            (".assistant/config.toml", "[x]\n"),
        ] {
            assert_eq!(workspace.read(path), content, "{path}");
        }
        assert!(!workspace.join(".git/hooks/pre-commit").exists());
    });
}

#[test]
fn nothing_gets_out_at_level_work() {
    probe(Level::Work, &[]);
}

/// The kernels of Debian 12 and Ubuntu 24.04 have these versions of Landlock.
#[test]
fn nothing_gets_out_with_an_older_landlock() {
    for version in ["2", "4"] {
        probe(Level::Work, &["--landlock-abi", version]);
    }
}

/// Nothing but Landlock and the filter, as an ordinary user: no more is wrong than what it says that it does not give.
#[test]
fn with_landlock_alone_what_is_promised_holds() {
    let workspace = Workspace::new();
    furnish(&workspace);
    let plants = Plants::new("/tmp".as_ref()).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(workspace.runner());
    command.args(["serve", "--backend", "landlock", "--workspace"]).arg(workspace.path()).args(arguments());
    if starters().contains(&Starter::Root) {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    let mut session = Session::over(ours, command);
    let reports = run(&mut session, Level::Work, &plants);
    hold(Starter::User, Level::Work, &reports, &lacks(&session, LACKS_OF_LANDLOCK));
    let allowed = reports.iter().filter(|report| report.outcome == Outcome::Allowed).count();
    assert!(allowed <= LACKS_OF_LANDLOCK.lines().count(), "{allowed}");
}

#[test]
fn nothing_gets_out_at_level_read() {
    probe(Level::Read, &[]);
}

#[test]
fn nothing_gets_out_at_level_work_net() {
    let proxy = Proxy::start(|_, _| ());
    probe(Level::WorkNet, &["--proxy", &proxy.path()]);
}

/// They need a command each, which is ended as a whole.
#[test]
fn what_is_too_much_only_together_ends_the_command() {
    each(|starter, workspace| {
        furnish(workspace);
        let mut session = Session::start(starter, workspace, &[]);
        let limits = serde_json::to_string(&LIMITS).unwrap();
        for probe in ["memory-bomb-by-children", "memory-bomb-by-memory-files"] {
            let argv = ["/workspace/probe", "--i-am-confined", "--limits", &limits, "--only", probe];
            let done = session.run(&Exec { limits: LIMITS, ..exec(&argv) }).unwrap();
            assert_eq!(done.exit.end, End::OutOfMemory, "{probe}: {}", done.all());
        }
    });
}

/// What is expected of each probe at each level, as a file that shows in a review what is no longer asked for.
#[test]
fn what_is_expected_is_written_down() {
    let mut table =
        String::from("# probe, what must become of it at the levels read, work, work-net, and what a refusal shows\n");
    let at = |level: &str| {
        let output = Command::new(PROBE).args(["--list", "--level", level]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let columns = |line: &str| line.split_whitespace().take(3).map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(columns).collect::<Vec<_>>()
    };
    for ((read, work), net) in at("read").into_iter().zip(at("work")).zip(at("work-net")) {
        table += &[read[0].as_str(), &read[1], &work[1], &net[1], &work[2]].join(" ");
        table.push('\n');
    }
    let written = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expectations.txt");
    if std::env::var_os("WRITE_EXPECTATIONS").is_some() {
        std::fs::write(&written, &table).unwrap();
    }
    assert!(
        std::fs::read_to_string(&written).unwrap_or_default() == table,
        "the probes have changed; run with WRITE_EXPECTATIONS=1 to write {} anew",
        written.display()
    );
}

/// The same without this harness, for whoever has a runner's socket or a runner.
#[test]
fn it_conducts_itself() {
    each(|starter, workspace| {
        furnish(workspace);
        // The copy that is in the workspace already: any user may start it.
        let mut command = Command::new(workspace.join("probe"));
        command.args(["conduct", "--probe", "/workspace/probe", "--only", "read-file-outside", "--only", "threads"]);
        command.arg("--").arg(workspace.runner()).args(["serve", "--backend", "namespace", "--workspace"]);
        command.arg(workspace.path());
        if starter == Starter::Root {
            command.args(["--uid", "65534", "--gid", "65534"]);
        } else if starters().contains(&Starter::Root) {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("\ndenied    read-file-outside "), "{text}");
        assert!(text.contains("2 attempts, 0 wrong"), "{text}");
    });
}
