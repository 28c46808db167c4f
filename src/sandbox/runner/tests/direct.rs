//! The runner where others built the walls: as in a unit, in a container, and with Landlock and the filter alone.
//!
//! Each stands in for its surroundings with a pid namespace and a few mounts, which needs root. A test that ends all
//! processes of a uid must not meet any but its own.

use std::{
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use assistant_sandbox::protocol::{End, Exec, Guarantee, Kind, Level, Limits, Signal};

use crate::client::{Session, Starter, Workspace, exec, sh, starters};

/// The workspace and the program at places of their own, an empty `/run` and an empty `/tmp`.
const SURROUNDINGS: &str = "set -e; mount --bind \"$1\" /mnt; mount -t tmpfs tmpfs /run; touch /run/sandbox
    mount --bind \"$2\" /run/sandbox; mount -t tmpfs tmpfs /tmp; chmod 1777 /tmp
    shift 2; exec setpriv --reuid 65534 --regid 65534 --clear-groups /run/sandbox \"$@\"";

fn start(backend: &str, workspace: &Workspace, arguments: &[&str]) -> Session {
    start_by(Command::new("unshare"), backend, workspace, arguments)
}

/// In an empty network of its own, as systemd and container engines make one.
pub(crate) fn start_apart(backend: &str, workspace: &Workspace, arguments: &[&str]) -> Session {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh", "unshare"]);
    start_by(command, backend, workspace, arguments)
}

fn start_by(mut command: Command, backend: &str, workspace: &Workspace, arguments: &[&str]) -> Session {
    let (ours, theirs) = UnixStream::pair().unwrap();
    command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c", SURROUNDINGS, "sh"]);
    command.arg(workspace.path()).arg(env!("CARGO_BIN_EXE_assistant-sandbox"));
    command.args(["serve", "--backend", backend, "--workspace", "/mnt"]).args(arguments);
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    Session::over(ours, command)
}

fn each(test: impl Fn(&str, &Workspace)) {
    if !starters().contains(&Starter::Root) {
        eprintln!("skipped: only root can make the surroundings of a unit or a container");
        return;
    }
    for backend in ["unit", "docker", "landlock"] {
        test(backend, &Workspace::new());
    }
}

#[test]
fn commands_run_with_every_layer_that_is_to_be_had() {
    each(|backend, workspace| {
        let mut session = start(backend, workspace, &[]);
        let missing: Vec<Guarantee> = session.ready.missing.keys().copied().collect();
        let expected: &[Guarantee] = match backend {
            "landlock" => &[Guarantee::Write, Guarantee::UnixSockets, Guarantee::Resources],
            // Here nobody has prepared the workspace, and no control group bounds anything: it says so.
            "unit" => &[Guarantee::Write, Guarantee::Ipc, Guarantee::Signals, Guarantee::Resources],
            _ => &[],
        };
        assert_eq!(missing, expected, "{:?}", session.ready.missing);
        let done = session.sh("echo a >a && cat a && cd && pwd; id -u; exit 3");
        let home = done.text();
        assert!(home.starts_with("a\n/tmp/") && home.ends_with("/home\n65534\n"), "{}", done.all());
        assert_eq!((done.exit.end, done.exit.code), (End::Exited, Some(3)));
        assert_eq!(workspace.read("a"), "a\n");
        let done = session.sh("cat /etc/shadow; touch /usr/x; touch /var/tmp/x; unshare -U true");
        assert_ne!(done.exit.code, Some(0));
        assert!(done.text().is_empty(), "{}", done.all());
        let read = Exec { level: Level::Read, ..sh("echo x >b; cat a") };
        assert_eq!(session.run(&read).unwrap().text(), "a\n");
        assert!(!workspace.join("b").exists());
        assert_eq!(session.run(&exec(&["none"])).unwrap_err().kind, "not_found");
        assert_eq!(session.run(&Exec { cwd: "..".to_owned(), ..exec(&["true"]) }).unwrap_err().kind, "validation");
        for _ in 0..20 {
            assert_eq!(session.run(&exec(&["true"])).unwrap().exit.code, Some(0));
        }
    });
}

#[test]
fn what_should_be_protected_is_or_the_promise_is_not_made() {
    each(|backend, workspace| {
        workspace.write("r/.git/config", "good");
        workspace.write("r/.git/HEAD", "ref: refs/heads/main\n");
        let mut session = start(backend, workspace, &[]);
        session.sh("echo evil >r/.git/config; mv r q; mkdir r r/.git; echo evil >r/.git/config");
        let kept = workspace.read("r/.git/config") == "good";
        assert_eq!(kept, session.ready.guarantees.contains_key(&Guarantee::Write), "{backend}");
    });
}

#[test]
fn every_process_ends() {
    each(|backend, workspace| {
        let mut session = start(backend, workspace, &["--seconds", "1"]);
        for (script, end) in [
            ("trap '' TERM INT; (setsid sh -c 'trap \"\" TERM; sleep 1000' &); sleep 1000", End::TimedOut),
            ("(setsid sleep 1000 &) ; sleep 1000 & exit 0", End::Exited),
            ("for i in $(seq 50); do (setsid sleep 1000 &) ; done; kill -STOP $$", End::TimedOut),
        ] {
            let begun = Instant::now();
            let done = session.run(&sh(script)).unwrap();
            assert_eq!(done.exit.end, end, "{backend}: {script}");
            assert!(begun.elapsed() < Duration::from_secs(2), "{backend}: {script}");
            let left = processes(&session);
            assert_eq!(left, 1, "{backend}: {script}: {left} processes left, with the runner");
        }
        session.begin(&sh("sleep 1000 & sleep 1000"));
        session.started();
        session.send(Kind::Signal, &serde_json::to_vec(&Signal { number: 9 }).unwrap());
        assert_eq!(session.finish().unwrap().exit.end, End::Cancelled);
        session.begin(&sh("trap 'exit 4' TERM; echo on; while :; do sleep 0.01; done"));
        while session.frame().kind != Kind::Stdout {}
        session.send(Kind::Signal, &serde_json::to_vec(&Signal { number: 15 }).unwrap());
        assert_eq!(session.finish().unwrap().exit.code, Some(4));
    });
}

#[test]
fn a_fork_bomb_ends_in_time() {
    each(|backend, workspace| {
        let mut session = start(backend, workspace, &[]);
        let limits = Limits { seconds: 1, processes: 60, ..Limits::default() };
        let bomb = "python3 -c 'import os
while True:
    try: os.fork()
    except OSError: pass
'";
        let begun = Instant::now();
        let done = session.run(&Exec { limits, ..sh(bomb) }).unwrap();
        assert!(begun.elapsed() < Duration::from_millis(2500), "{backend}: {:?}", begun.elapsed());
        assert!(matches!(done.exit.end, End::TimedOut | End::TooManyProcesses), "{backend}: {:?}", done.exit);
        assert_eq!(processes(&session), 1, "{backend}");
    });
}

#[test]
fn the_session_ends_with_its_socket() {
    each(|backend, workspace| {
        let mut session = start(backend, workspace, &[]);
        session.begin(&sh("trap '' TERM; (setsid sleep 1000 &); sleep 1000"));
        session.started();
        let begun = Instant::now();
        session.socket.shutdown(std::net::Shutdown::Both).unwrap();
        while session.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(1), "{backend}");
            sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn commands_do_not_run_as_root() {
    if !starters().contains(&Starter::Root) {
        return;
    }
    for backend in ["unit", "docker", "landlock", "namespace"] {
        let workspace = Workspace::new();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(workspace.runner());
        command.args(["serve", "--backend", backend, "--workspace"]).arg(workspace.path());
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        let mut session = Session::over(ours, command);
        assert!(session.ready.guarantees.is_empty());
        let refused = session.run(&exec(&["true"])).unwrap_err();
        assert!(refused.kind == "unavailable" && refused.message.contains("never run as root"), "{refused:?}");
    }
}

/// Processes of the commands' uid in the session's pid namespace, whose first process is the child of ours.
fn processes(session: &Session) -> usize {
    let first = format!("/proc/{0}/task/{0}/children", session.child.id());
    let first = std::fs::read_to_string(first).unwrap();
    let listing =
        Command::new("nsenter").args(["-t", first.trim(), "-p", "-m", "ps", "-eo", "uid=,stat="]).output().unwrap();
    String::from_utf8_lossy(&listing.stdout).lines().filter(|line| line.trim_start().starts_with("65534")).count()
}
