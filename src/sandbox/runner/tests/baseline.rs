//! Nothing confines the probe here: what must fail inside must not fail for reasons of its own.

use std::process::{Command, Stdio};

use assistant_sandbox::probe::{Expect, Outcome, Plants};

use crate::{PROBE, reports};

/// What this kernel, this user or the test itself refuses without any sandbox.
const REFUSED_ANYWAY: &str = include_str!("refused_anyway.txt");

#[test]
fn unconfined_the_attempts_succeed() {
    let plants = Plants::new("/tmp".as_ref()).unwrap();
    // The probe begins on one processor, so that there are others to choose.
    let mut one = nix::sched::CpuSet::new();
    one.set(nix::sched::sched_getcpu().unwrap()).unwrap();
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &one).unwrap();
    let workspace = tempfile::tempdir().unwrap();
    let output = Command::new(PROBE)
        .arg("--baseline")
        .args(plants.outside().arguments())
        .current_dir(workspace.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let anyway: Vec<_> = REFUSED_ANYWAY
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let reports = reports(&output.stdout, &output.stderr);
    let mut wrong = Vec::new();
    let mut allowed = 0;
    for report in &reports {
        allowed += usize::from(report.outcome == Outcome::Allowed);
        let fine = match report.outcome {
            Outcome::Allowed | Outcome::Works => true,
            Outcome::Denied => anyway.contains(&report.name.as_str()) || ordinary_user(),
            // there is no environment of the runner's here
            Outcome::Failed => report.name == "temporary-directories-are-private",
            Outcome::Absent => report.expect == Expect::Works,
            Outcome::Broken | Outcome::Crashed | Outcome::Hung => false,
        };
        if !fine {
            wrong.push(report);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(allowed >= if ordinary_user() { 60 } else { 105 }, "{allowed} of {}", reports.len());
}

#[test]
fn it_does_not_run_unconfined_by_mistake() {
    for arguments in [&[][..], &["--i-am-confined"], &["--i-am-confined", "--baseline"]] {
        let output = Command::new(PROBE).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
    let output = Command::new(PROBE).args(["--baseline", "--only", "no-such-probe"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output =
        Command::new(PROBE).args(["--baseline", "--only", "call-reboot", "--only", "threads"]).output().unwrap();
    let ran = reports(&output.stdout, &output.stderr);
    assert_eq!(ran.len(), 1, "a harmful probe ran: {ran:?}");
}

fn ordinary_user() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) != 0
}
