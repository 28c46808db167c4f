//! The filter alone, on a process without capabilities: what it must refuse by itself, what ordinary programs need of
//! it, and that every refusal is heard.

use std::{
    os::{fd::AsFd as _, unix::net::UnixStream, unix::process::CommandExt as _},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use assistant_sandbox::{
    probe::{Expect, Outcome},
    protocol::{Denial, Level},
    seccomp::{self, Around, Listener, Program, Tally},
};

use crate::{PROBE, reports};

/// Beside the probes called `call-…`, those that the filter refuses with nothing else in force.
const REFUSES: &[&str] = &[
    "cve-2017-5226-tiocsti",
    "cve-2019-10063-tiocsti-high-bits",
    "trace-parent",
    "cve-2024-1086-new-user-namespace",
    "new-mount-namespace",
    "new-network-namespace",
    "new-time-namespace",
    "clone-new-user-namespace",
    "clone3-new-user-namespace",
    "make-set-user-id-file",
    "make-set-group-id-file",
    "make-set-user-id-file-when-opening",
    "make-set-user-id-file-by-openat2",
    "make-device-file",
    "x32-call",
    "i386-call",
    "internet-socket",
    "raw-socket",
    "ping-socket",
    "packet-socket",
    "netlink-socket",
    "cve-2024-1086-netfilter-socket",
    "vsock-socket",
    "crypto-socket",
    "other-socket-families",
    "multipath-tcp-socket",
    "cve-2016-3135-replace-packet-rules",
    "internet-socketpair",
];

/// What must work but is not the filter's to give.
const NOT_THE_FILTERS: &[&str] = &["temporary-directories-are-private"];

/// Runs the probe below the filter; what it said, and what was heard.
fn confined(level: Level, arguments: &[&str]) -> (Output, Vec<Denial>) {
    let program = Program::new(level, Around { apart: true, roaming: true }).unwrap();
    let workspace = tempfile::tempdir().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(PROBE);
    command.args(arguments).current_dir(workspace.path()).env("TMPDIR", workspace.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[expect(unsafe_code, reason = "between fork and exec: system calls alone")]
    unsafe {
        command.pre_exec(move || {
            let head = [0x2008_0522_u32, 0];
            let none = [0_u32; 6];
            libc::syscall(libc::SYS_capset, head.as_ptr(), none.as_ptr());
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let listener = program.install()?;
            seccomp::send_fd(theirs.as_fd(), listener.as_fd())
        });
    }
    let child = command.spawn().unwrap();
    drop(command);
    let mut listener = Listener::new(seccomp::receive_fd(ours.as_fd()).unwrap().unwrap());
    let heard = thread::spawn(move || {
        let mut tally = Tally::default();
        while listener.fd().is_some() {
            match listener.receive() {
                Some(denied) => tally.add(&denied),
                None => thread::sleep(Duration::from_millis(1)),
            }
        }
        tally.denials()
    });
    (child.wait_with_output().unwrap(), heard.join().unwrap())
}

fn names() -> Vec<(String, Expect)> {
    let output = Command::new(PROBE).arg("--list").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let expect = |word: &str| if word == "works" { Expect::Works } else { Expect::Denied };
    text.lines()
        .map(|line| line.split_whitespace())
        .map(|mut words| (words.next().unwrap().to_owned(), expect(words.next().unwrap())))
        .collect()
}

#[test]
fn the_filter_alone_refuses_what_is_its_own_and_says_so() {
    let names = names();
    let chosen: Vec<_> = names
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| name.starts_with("call-") || REFUSES.contains(name))
        .collect();
    assert!(chosen.len() > 75, "{}", chosen.len());
    let mut arguments = vec!["--i-am-confined"];
    arguments.extend(chosen.iter().flat_map(|name| ["--only", *name]));
    let (output, denials) = confined(Level::Work, &arguments);
    let reports = reports(&output.stdout, &output.stderr);
    let wrong: Vec<_> = reports.iter().filter(|report| report.outcome != Outcome::Denied).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(reports.len(), chosen.len());

    let count = |target: &str| denials.iter().filter(|denial| denial.target == target).map(|denial| denial.count).sum();
    let counts = [("ptrace", 2), ("keyctl", 1), ("io_uring_setup", 1), ("unshare", 4), ("clone", 1), ("reboot", 1)];
    for (target, expected) in counts {
        let heard: u64 = count(target);
        assert_eq!(heard, expected, "{target} in {denials:#?}");
    }
    let sockets: u64 = count("socket");
    assert!(sockets > 80, "{sockets}");
    assert!(denials.iter().any(|denial| denial.suggestion.as_deref().is_some_and(|way| way.contains("work+net"))));
}

#[test]
fn ordinary_programs_run_below_the_filter() {
    let names = names();
    let mut arguments = vec!["--i-am-confined"];
    let chosen =
        names.iter().filter(|(name, expect)| *expect == Expect::Works && !NOT_THE_FILTERS.contains(&name.as_str()));
    arguments.extend(chosen.flat_map(|(name, _)| ["--only", name]));
    let (output, denials) = confined(Level::Work, &arguments);
    let reports = reports(&output.stdout, &output.stderr);
    let wrong: Vec<_> =
        reports.iter().filter(|report| !matches!(report.outcome, Outcome::Works | Outcome::Absent)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{denials:#?}");
    assert!(reports.iter().filter(|report| report.outcome == Outcome::Works).count() >= 30);
    // What ordinary work is refused is told to the model: it should be little, and known.
    let surprises: Vec<_> = denials.iter().filter(|denial| !EXPECTED.contains(&denial.target.as_str())).collect();
    assert!(surprises.is_empty(), "{surprises:#?}");
}

/// Calls that ordinary programs try and do without.
const EXPECTED: &[&str] = &["io_uring_setup", "socket"];

#[test]
fn internet_sockets_are_for_the_level_with_network() {
    for (level, name, outcome) in [
        (Level::Read, "read", Outcome::Denied),
        (Level::Work, "work", Outcome::Denied),
        (Level::WorkNet, "work-net", Outcome::Works),
        (Level::Container, "container", Outcome::Denied),
    ] {
        let (output, _) = confined(level, &["--i-am-confined", "--level", name, "--only", "internet-socket"]);
        assert_eq!(reports(&output.stdout, &output.stderr)[0].outcome, outcome, "{name}");
    }
}
