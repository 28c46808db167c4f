//! However a command ends, all of its processes are gone within a second, and its outcome says how it ended.

use std::{
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use assistant_sandbox::protocol::{End, Exec, Kind, Limits, Signal};
use tempfile::TempDir;

use crate::client::{Done, Session, Starter, Workspace, each, sh};

const SECOND: Duration = Duration::from_secs(1);

/// Ways in which a command may try to outlive its end. Each leaves a process that holds a lock on `lock`.
const STUBBORN: [(&str, &str); 4] = [
    ("it ignores signals", "trap '' TERM INT HUP; HOLD; while :; do sleep 1000; done"),
    (
        "it forks twice into a session of its own",
        "(setsid sh -c 'HOLD; sleep 1000' >/dev/null 2>&1 &) ; HOLD; sleep 1000",
    ),
    ("it stops itself", "HOLD; kill -STOP $$; sleep 1000"),
    ("it has many children", "HOLD; for i in $(seq 50); do sleep 1000 & done; wait"),
];

fn script(stubborn: &str) -> String {
    format!("echo $$ >/dev/null; {}", stubborn.replace("HOLD", "exec 9<>lock; flock -s 9; echo held"))
}

/// Whether any process still has the lock file open: asked of the file, because processes have other numbers inside.
fn held(workspace: &Workspace) -> bool {
    let taken = Command::new("flock").args(["-xn"]).arg(workspace.join("lock")).arg("true").status().unwrap();
    !taken.success()
}

fn wait_for(session: &mut Session, text: &str) {
    let mut seen = String::new();
    while !seen.contains(text) {
        let frame = session.frame();
        assert!(matches!(frame.kind, Kind::Started | Kind::Stdout), "{frame:?}");
        if frame.kind == Kind::Stdout {
            seen += &String::from_utf8_lossy(&frame.body);
        }
    }
}

/// For each stubborn script: start it, end it, look that it is gone in time.
fn each_stubborn(limits: Limits, end: impl Fn(&mut Session) -> Option<Done>, expected: Option<End>) {
    each(|starter, workspace| {
        for (what, stubborn) in STUBBORN {
            workspace.write("lock", "");
            let mut session = Session::start(starter, workspace, &[]);
            session.begin(&Exec { limits, ..sh(&script(stubborn)) });
            wait_for(&mut session, "held");
            assert!(held(workspace), "{what}: the test holds no lock");
            let begun = Instant::now();
            let done = end(&mut session);
            while held(workspace) {
                assert!(begun.elapsed() < limits.time().min(SECOND * 2) + SECOND, "{what}: still there");
                sleep(Duration::from_millis(5));
            }
            assert_eq!(done.map(|done| done.exit.end), expected, "{what}");
            if expected.is_some() {
                assert_eq!(session.sh("echo next").text(), "next\n", "{what}");
            }
        }
    });
}

#[test]
fn a_timeout_ends_everything() {
    let limits = Limits { seconds: 1, ..Limits::default() };
    each_stubborn(limits, |session| session.finish().ok(), Some(End::TimedOut));
}

#[test]
fn a_cancel_ends_everything() {
    let cancel = |session: &mut Session| {
        session.send(Kind::Signal, &serde_json::to_vec(&Signal { number: 9 }).unwrap());
        session.finish().ok()
    };
    each_stubborn(Limits::default(), cancel, Some(End::Cancelled));
}

#[test]
fn the_end_of_the_daemon_ends_everything() {
    let close = |session: &mut Session| {
        session.socket.shutdown(std::net::Shutdown::Both).unwrap();
        None
    };
    each_stubborn(Limits::default(), close, None);
}

#[test]
fn the_end_of_the_runner_ends_everything() {
    let kill = |session: &mut Session| {
        session.child.kill().unwrap();
        None
    };
    each_stubborn(Limits::default(), kill, None);
}

#[test]
fn what_a_command_leaves_ends_with_it() {
    each(|starter, workspace| {
        workspace.write("lock", "");
        let mut session = Session::start(starter, workspace, &[]);
        let done = session.sh("exec 9<>lock; flock -s 9; (setsid sleep 1000 &) ; sleep 1000 & exit 3");
        assert_eq!((done.exit.end, done.exit.code), (End::Exited, Some(3)));
        assert!(done.exit.duration_ms < 1000);
        assert!(!held(workspace));
    });
}

#[test]
fn signals_reach_the_first_process() {
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &[]);
        session.begin(&sh("trap 'echo caught; exit 4' TERM; echo held; while :; do sleep 0.01; done"));
        wait_for(&mut session, "held");
        session.send(Kind::Signal, &serde_json::to_vec(&Signal { number: 15 }).unwrap());
        let done = session.finish().unwrap();
        assert_eq!((done.text().as_str(), done.exit.code), ("caught\n", Some(4)));
    });
}

#[test]
fn input_that_nobody_reads_does_not_keep_a_cancel_away() {
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &[]);
        session.begin(&Exec { stdin: true, ..sh("echo held; sleep 1000") });
        wait_for(&mut session, "held");
        for _ in 0..16 {
            session.send(Kind::Stdin, &vec![b'x'; 60_000]);
        }
        session.send(Kind::Signal, &serde_json::to_vec(&Signal { number: 9 }).unwrap());
        assert_eq!(session.finish().unwrap().exit.end, End::Cancelled);
    });
}

#[test]
fn a_flood_of_output_ends_the_command() {
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &[]);
        let limits = Limits { output_bytes: 3 << 20, ..Limits::default() };
        let done = session.run(&Exec { limits, ..sh("yes >&2 & yes") }).unwrap();
        assert_eq!(done.exit.end, End::TooMuchOutput);
        assert_eq!(done.stdout.len() + done.stderr.len(), 3 << 20);
        // Just as much as allowed is no flood.
        let done = session.run(&Exec { limits, ..sh("head -c 3145728 /dev/zero") }).unwrap();
        assert_eq!((done.exit.end, done.stdout.len()), (End::Exited, 3 << 20));
    });
}

#[test]
fn a_fork_bomb_stays_within_its_processes() {
    each(|starter, workspace| {
        workspace.write("lock", "");
        let mut session = Session::start(starter, workspace, &[]);
        let limits = Limits { processes: 40, seconds: 30, ..Limits::default() };
        let bomb = "exec 9<>lock; flock -s 9; exec python3 -c 'import os
while True:
    try:
        os.fork()
    except OSError:
        pass
'";
        let begun = Instant::now();
        let done = session.run(&Exec { limits, ..sh(bomb) }).unwrap();
        assert_eq!(done.exit.end, End::TooManyProcesses, "{}", done.all());
        assert!(begun.elapsed() < SECOND * 10, "{:?}", begun.elapsed());
        // One that is refused and leaves it at that has an end of its own.
        let many = "for i in $(seq 60); do sleep 1000 & done 2>/dev/null; exit 7";
        let done = session.run(&Exec { limits, ..sh(many) }).unwrap();
        assert_eq!((done.exit.end, done.exit.code), (End::Exited, Some(2)), "{}", done.all());
        let few = "for i in $(seq 38); do sleep 1000 & done; sleep 1; exit 7";
        let done = session.run(&Exec { limits, ..sh(few) }).unwrap();
        assert_eq!((done.exit.end, done.exit.code), (End::Exited, Some(7)), "{}", done.all());
        assert!(!held(workspace));
        assert_eq!(session.sh("echo next").text(), "next\n");
    });
}

#[test]
fn limits_hold_and_a_frame_cannot_raise_them() {
    each(|starter, workspace| {
        let mut session =
            Session::start(starter, workspace, &["--file-bytes", "100000", "--tmp-bytes", "1048576", "--seconds", "2"]);
        let limits = Limits { seconds: 1000, file_bytes: 1 << 30, memory_bytes: 64 << 20, ..Limits::default() };
        let with = |script: &str| Exec { limits, ..sh(script) };
        let done = session.run(&with("head -c 200000 /dev/zero >big; wc -c <big")).unwrap();
        assert_eq!(done.text(), "100000\n");
        let done =
            session.run(&with("for i in $(seq 30); do head -c 90000 /dev/zero >/tmp/$i; done; du -s /tmp")).unwrap();
        assert!(done.all().contains("No space left"), "{}", done.all());
        let done = session.run(&with("ulimit -c; ulimit -d; sleep 1000")).unwrap();
        assert_eq!((done.exit.end, done.text().as_str()), (End::TimedOut, "0\n57344\n"));
    });
}

#[test]
fn memory_is_bounded_for_all_processes_together() {
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &[]);
        let limits = Limits { memory_bytes: 100 << 20, seconds: 20, ..Limits::default() };
        let hold = "python3 -c 'import time; x = bytearray(MIB << 20); print(len(x), flush=True); time.sleep(1000)'";
        // One alone is told that there is no more.
        let done = session.run(&Exec { limits, ..sh(&hold.replace("MIB", "200")) }).unwrap();
        assert!(done.all().contains("MemoryError"), "{}", done.all());
        // Several together are ended.
        let many = format!("for i in 1 2 3; do {} & done; wait", hold.replace("MIB", "60"));
        let done = session.run(&Exec { limits, ..sh(&many) }).unwrap();
        assert_eq!(done.exit.end, End::OutOfMemory, "{}", done.all());
        // What forked processes share counts once.
        let forked = "python3 -c 'import os, time; x = bytearray(60 << 20); [os.fork() for _ in range(3)]; time.sleep(0.7); print(\"ok\")'";
        let done = session.run(&Exec { limits, ..sh(forked) }).unwrap();
        assert_eq!((done.exit.end, done.text().matches("ok").count() > 0), (End::Exited, true), "{}", done.all());
    });
}

/// The daemon may be gone while a command starts, at any moment.
#[test]
fn nothing_survives_a_runner_that_dies_at_any_moment() {
    each(|starter, workspace| {
        for micros in (0..6000).step_by(400) {
            workspace.write("lock", "");
            let mut session = Session::start(starter, workspace, &[]);
            session.begin(&sh("exec 9<>lock; flock -s 9; sleep 1000"));
            sleep(Duration::from_micros(micros));
            session.child.kill().unwrap();
            session.child.wait().unwrap();
            sleep(Duration::from_millis(20));
            let begun = Instant::now();
            while held(workspace) {
                assert!(begun.elapsed() < SECOND, "after {micros} µs");
            }
        }
    });
}

#[test]
fn two_sessions_at_once_do_not_meet() {
    each(|starter, workspace| {
        let outside = TempDir::new().unwrap();
        assert!(fs::exists(outside.path()).unwrap());
        let mut one = Session::start(starter, workspace, &[]);
        let mut two = Session::start(starter, workspace, &[]);
        one.begin(&sh("echo secret >/tmp/mine; echo held; sleep 1000"));
        wait_for(&mut one, "held");
        let done = two.sh("cat /tmp/mine; ls /proc | grep -c '^[0-9]'; kill -9 -1; echo shared >file");
        assert!(!done.all().contains("secret"), "{}", done.all());
        one.send(Kind::Signal, &serde_json::to_vec(&Signal { number: 9 }).unwrap());
        let first = one.finish().unwrap();
        assert_eq!(first.exit.end, End::Cancelled, "the other session ended it");
        assert_eq!(one.sh("cat file; cat /tmp/mine").text(), "shared\nsecret\n");
    });
}

#[test]
fn fifty_sessions_at_once() {
    let starter = *crate::client::starters().last().unwrap();
    let workspace = Workspace::new();
    let mut sessions: Vec<Session> = (0..50).map(|_| Session::start(starter, &workspace, &[])).collect();
    for session in &mut sessions {
        session.begin(&sh("echo $((6 * 7))"));
    }
    for session in &mut sessions {
        assert_eq!(session.finish().unwrap().text(), "42\n");
    }
}

#[test]
fn frames_that_make_no_sense_end_the_session() {
    let starter: Starter = *crate::client::starters().last().unwrap();
    let workspace = Workspace::new();
    for (kind, body) in
        [(Kind::Ready, &b"{}"[..]), (Kind::Exec, b"{"), (Kind::Exec, br#"{"argv":["true"],"workspace":"/"}"#)]
    {
        let mut session = Session::start(starter, &workspace, &[]);
        session.send(kind, body);
        assert!(!session.child.wait().unwrap().success());
    }
    let mut session = Session::start(starter, &workspace, &[]);
    session.begin(&sh("sleep 1000"));
    session.started();
    session.begin(&sh("true"));
    assert!(!session.child.wait().unwrap().success());
}
