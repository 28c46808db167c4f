//! As many processors as a session may use, where no control group counts its time.

use std::collections::BTreeSet;

use assistant_sandbox::protocol::{Exec, Guarantee, Limits};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::client::{Session, Workspace, each, sh, starters};

/// Those that a command may run on.
fn allowed(session: &mut Session, limits: Limits) -> String {
    let done = session.run(&Exec { limits, ..sh("grep Cpus_allowed_list /proc/self/status; nproc") }).unwrap();
    done.text()
}

fn ours() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap()).collect()
}

#[test]
fn a_session_has_no_more_than_it_may_use_and_sessions_spread() {
    if ours().len() < 2 {
        eprintln!("skipped: one processor cannot be shared out");
        return;
    }
    let workspace = Workspace::new();
    let starter = starters()[0];
    let mut seen = BTreeSet::new();
    for _ in 0..24 {
        let mut session = Session::start(starter, &workspace, &["--cpu-millis", "1000"]);
        assert!(session.ready.guarantees[&Guarantee::Resources].contains("processors"), "{:?}", session.ready);
        let text = allowed(&mut session, Limits::default());
        assert!(text.ends_with("\n1\n"), "{text}");
        assert_eq!(allowed(&mut session, Limits::default()), text, "a session keeps its own");
        seen.insert(text);
    }
    assert!(seen.len() > 1, "all on the same: {seen:?}");

    // Whoever starts the runner says on which at most.
    let one = ours()[1];
    let before = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut set = CpuSet::new();
    set.set(one).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
    let mut session = Session::start(starter, &workspace, &["--cpu-millis", "1000"]);
    sched_setaffinity(Pid::from_raw(0), &before).unwrap();
    let text = allowed(&mut session, Limits::default());
    assert!(text.contains(&format!("\t{one}\n")), "{text} is not on {one}");
}

#[test]
fn a_part_of_a_processor_is_not_promised() {
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &["--cpu-millis", "500"]);
        let missing = &session.ready.missing[&Guarantee::Resources];
        assert!(missing.contains("sandbox.cpus"), "{missing}");
        // Who does without the promise has the next whole one.
        assert!(allowed(&mut session, Limits::default()).ends_with("\n1\n"));
    });
}

#[test]
fn a_command_that_may_use_less_than_its_session_does() {
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &["--cpu-millis", "1000000"]);
        assert!(session.ready.missing.is_empty(), "{:?}", session.ready.missing);
        let all = allowed(&mut session, Limits { cpu_millis: 1_000_000, ..Limits::default() });
        assert!(all.ends_with(&format!("\n{}\n", ours().len())), "{all}");
        let one = allowed(&mut session, Limits { cpu_millis: 1000, ..Limits::default() });
        assert!(one.ends_with("\n1\n"), "{one}");
        let part = Limits { cpu_millis: 500, ..Limits::default() };
        let refused = session.run(&Exec { limits: part, ..sh("echo ran") }).unwrap_err();
        assert!(refused.kind == "unavailable" && refused.message.contains("cpu_millis"), "{refused:?}");
        let limits = Limits { cpu_millis: 1_000_000, ..Limits::default() };
        let choose = sh("taskset -p 1 $$ >/dev/null && echo chosen");
        let all = session.run(&Exec { limits, ..choose }).unwrap();
        assert_eq!(all.text(), "chosen\n", "nothing depends on it: {}", all.all());
    });
}
