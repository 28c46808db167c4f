//! Every backend that this program can be by itself, at every level and with every version of Landlock that is about: what
//! is promised is tried and holds, and nothing is promised that was not tried.
//!
//! `matrix.json` says what each place promises and what comes out otherwise there than it should; `BLESS=1` writes it
//! anew. Containers have the same test in the broker, units in the booted systemd.

use std::{path::Path, process::Command};

use assistant_sandbox::{
    probe::{Cell, Conducted, Conductor, Plants},
    protocol::{Exec, Guarantee, Level, Limits, Net},
};

use crate::{
    PROBE,
    bridge::Proxy,
    client::{Session, Starter, Workspace, exec, starters},
};

/// Smaller than the ordinary ones, so that using them up takes little time and little of the machine.
pub(crate) const LIMITS: Limits = Limits {
    seconds: 300,
    memory_bytes: 256 << 20,
    processes: 128,
    cpu_millis: 1000,
    tmp_bytes: 64 << 20,
    file_bytes: 1 << 30,
    output_bytes: 4 << 20,
};

/// The newest; those of Ubuntu 24.04's and of Debian 12's kernel.
const VERSIONS: [u32; 3] = [7, 4, 2];

/// What is promised without these attempts, and why.
const KNOWN: &str = include_str!("lacks_of_landlock.txt");

const CELLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/matrix.json");

fn arguments() -> Vec<String> {
    [
        ("--memory-bytes", LIMITS.memory_bytes),
        ("--processes", LIMITS.processes),
        ("--cpu-millis", LIMITS.cpu_millis),
        ("--tmp-bytes", LIMITS.tmp_bytes),
        ("--file-bytes", LIMITS.file_bytes),
        ("--output-bytes", LIMITS.output_bytes),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value.to_string()])
    .collect()
}

/// A repository and files of the host's own, as a workspace in use has them.
const FURNITURE: [(&str, &str); 5] = [
    (".git/HEAD", "ref: refs/heads/main\n"),
    (".git/config", "[core]\n\trepositoryformatversion = 0\n"),
    (".git/hooks/pre-push.sample", "#!/bin/sh\n"),
    (".assistant/config.toml", "[x]\n"),
    (".assistant/cache/x", "x\n"),
];

pub(crate) fn furnish(workspace: &Workspace) {
    for (path, content) in FURNITURE {
        workspace.write(path, content);
    }
    std::fs::copy(PROBE, workspace.join("probe")).unwrap();
}

/// The attempts at a level that tell something there: older versions of Landlock change nothing of what must work, and
/// bounds that nobody promises are not worth the time of going to them.
fn telling(level: Level, version: u32, session: &Session) -> Vec<String> {
    let level = serde_json::to_value(level).unwrap();
    let list = Command::new(PROBE).args(["--list", "--level", level.as_str().unwrap()]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let bounded = session.ready.guarantees.contains_key(&Guarantee::Resources);
    let tells = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let tells = (version == VERSIONS[0] || words[1] == "denied") && (bounded || words[2] != "resources");
        tells.then(|| words[0].to_owned())
    };
    let telling: Vec<_> = list.lines().filter_map(tells).collect();
    assert!(telling.len() > 150, "{}", telling.len());
    telling
}

/// Runs the probe in one backend at one level, with each version of Landlock.
fn hold(backend: &str, starter: Starter, level: Level) {
    if !starters().contains(&starter) {
        eprintln!("skipped: only root can start the runner as root");
        return;
    }
    let known: Vec<_> = match backend {
        "landlock" => KNOWN.lines().filter_map(|line| line.split_once(" - ")).map(|(name, _)| name).collect(),
        _ => Vec::new(),
    };
    let proxy = Proxy::start(|_, _| ());
    for version in VERSIONS {
        let workspace = Workspace::new();
        furnish(&workspace);
        let plants = Plants::new("/tmp".as_ref()).unwrap();
        let (own, number, proxy) = (arguments(), version.to_string(), proxy.path());
        let mut arguments: Vec<_> = own.iter().map(String::as_str).collect();
        arguments.extend(["--landlock-abi", &number, "--proxy", &proxy]);
        let mut session = Session::start_with(backend, starter, &workspace, &arguments);
        let name = format!("{backend}, started by {starter:?}, {level:?}, Landlock {version}").to_lowercase();
        if level == Level::WorkNet && matches!(session.ready.net, Net::Missing(_)) {
            assert_eq!(backend, "landlock", "{name}: {:?}", session.ready.net);
            let refused = session.run(&Exec { level, ..exec(&["true"]) }).unwrap_err();
            assert_eq!(refused.kind, "unavailable", "{name}: what is not to be had is not run");
            continue;
        }
        let only = telling(level, version, &session);
        let conductor = Conductor { probe: "./probe".to_owned(), level, limits: LIMITS, only };
        let Conducted { reports, denials } = conductor.conduct(&mut session.socket, &plants).unwrap();
        let refused = denials.iter().filter(|denial| denial.layer == "seccomp").count();
        assert!(refused > 30, "few refusals were heard: {denials:#?}");

        let cell = Cell::of(&session.ready, &reports);
        assert_eq!(cell.doubts(&reports, &known), Vec::<String>::new(), "{name}");
        cell.hold(Path::new(CELLS), &name, std::env::var_os("BLESS").is_some()).unwrap().unwrap();
        if backend == "namespace" {
            assert!(cell.missing.is_empty() && cell.otherwise.is_empty(), "{name}: {cell:?}");
            for (path, content) in FURNITURE {
                assert_eq!(workspace.read(path), content, "{name}: {path}");
            }
            assert!(!workspace.join(".git/hooks/pre-commit").exists());
            assert_eq!(plants.touched().unwrap(), Vec::<String>::new());
        }
    }
}

macro_rules! places {
    ($($test:ident: $backend:literal $starter:ident $level:ident;)*) => {
        $(#[test] fn $test() { hold($backend, Starter::$starter, Level::$level); })*
    };
}

places! {
    namespace_of_root_at_read: "namespace" Root Read;
    namespace_of_root_at_work: "namespace" Root Work;
    namespace_of_root_at_work_net: "namespace" Root WorkNet;
    namespace_of_a_user_at_read: "namespace" User Read;
    namespace_of_a_user_at_work: "namespace" User Work;
    namespace_of_a_user_at_work_net: "namespace" User WorkNet;
    landlock_of_root_at_read: "landlock" Root Read;
    landlock_of_root_at_work: "landlock" Root Work;
    landlock_of_root_at_work_net: "landlock" Root WorkNet;
    landlock_of_a_user_at_read: "landlock" User Read;
    landlock_of_a_user_at_work: "landlock" User Work;
    landlock_of_a_user_at_work_net: "landlock" User WorkNet;
}
