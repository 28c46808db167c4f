//! What Landlock refuses, where the kernel's audit can be read. Auditing is a switch of the whole machine: it is on only
//! while one of these tests runs, one after another, and whatever becomes of the test, it is as before afterwards.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Lines, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
};

use assistant_sandbox::protocol::{Denial, Exec, Level};
use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt},
        time::{TimeVal, TimeValLike as _},
    },
};

use crate::{
    bridge::Proxy,
    client::{Session, Starter, Workspace, own, sh, starters},
};

/// Tells the test binary that it was started to switch.
const SWITCH: &str = "ASSISTANT_TEST_AUDIT_SWITCH";

/// Switched on until this is dropped. A process in a group of its own does it, which survives when a test is ended.
struct Auditing {
    process: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Auditing {
    /// None, with the reason on standard error, where there is no audit to be had.
    fn on() -> Option<Self> {
        if !starters().contains(&Starter::Root) {
            skip("only root may read the audit log");
            return None;
        }
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "audit::switch", "--ignored", "--nocapture"])
            .env(SWITCH, "1")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let said = output.find_map(|line| line.unwrap().strip_prefix("auditing: ").map(str::to_owned));
        let auditing = Self { process, input, output };
        match said.as_deref() {
            Some("on") => Some(auditing),
            other => {
                skip(other.unwrap_or("auditing was not switched on"));
                None
            }
        }
    }
}

impl Drop for Auditing {
    fn drop(&mut self) {
        drop(self.input.take());
        self.output.by_ref().for_each(drop);
        let status = self.process.wait().unwrap();
        assert!(status.success() || thread::panicking(), "auditing may still be on: {status}");
    }
}

/// Says why a test shows nothing here, also to `tests/run.sh`, which counts it.
fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
    if let Some(file) = env::var_os("ASSISTANT_TEST_SKIPS") {
        let mut file = OpenOptions::new().append(true).open(file).unwrap();
        writeln!(file, "what Landlock refuses: {reason}").unwrap();
    }
}

/// Not a test: the process that switches auditing on, and back when its input ends.
#[test]
#[ignore = "is started by the tests here"]
fn switch() {
    if env::var_os(SWITCH).is_none() {
        return;
    }
    let lock = File::create("/run/assistant-audit-test.lock").unwrap();
    lock.lock().unwrap();
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkAudit);
    let before = socket.map_err(io::Error::from).and_then(|socket| Ok((enabled(&socket)?, socket)));
    match before {
        Err(err) => say(&format!("not to be had here: {err}")),
        Ok((former, socket)) => {
            let switched = if former == 0 { enable(&socket, 1) } else { Ok(()) };
            match &switched {
                Ok(()) => say("on"),
                Err(err) => say(&format!("cannot be switched on: {err}")),
            }
            let _ = io::stdin().read_to_end(&mut Vec::new());
            if former == 0 && switched.is_ok() {
                enable(&socket, 0).unwrap();
            }
            assert_eq!(enabled(&socket).unwrap(), former);
        }
    }
}

/// To the test, which may be gone by now.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "\nauditing: {text}");
}

/// Of `linux/audit.h`: `AUDIT_GET`, `AUDIT_SET`, and `struct audit_status`, which begins with a mask and the switch.
const GET: u16 = 1000;
const SET: u16 = 1001;
const STATUS: usize = 40;

fn enabled(socket: &OwnedFd) -> io::Result<u32> {
    let body = ask(socket, GET, &[])?;
    Ok(u32::from_ne_bytes(body[4..8].try_into().unwrap()))
}

fn enable(socket: &OwnedFd, value: u32) -> io::Result<()> {
    let mut status = [0; STATUS];
    status[..4].copy_from_slice(&1_u32.to_ne_bytes());
    status[4..8].copy_from_slice(&value.to_ne_bytes());
    ask(socket, SET, &status).map(drop)
}

/// The body of the answer, or the error that it is.
fn ask(socket: &OwnedFd, kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    const REQUEST: u16 = 1;
    const ACKNOWLEDGE: u16 = 4;
    let flags = if kind == SET { REQUEST | ACKNOWLEDGE } else { REQUEST };
    let length = u32::try_from(16 + body.len()).unwrap();
    let message = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8], body].concat();
    setsockopt(socket, sockopt::ReceiveTimeout, &TimeVal::seconds(10))?;
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    loop {
        let mut answer = vec![0; 4096];
        let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        let body = answer[16..length].to_vec();
        match u16::from_ne_bytes([answer[4], answer[5]]) {
            2 => match i32::from_ne_bytes(body[..4].try_into().unwrap()) {
                0 => return Ok(body),
                errno => return Err(Errno::from_raw(-errno).into()),
            },
            GET if kind == GET => return Ok(body),
            _ => {}
        }
    }
}

fn by_landlock(denials: &[Denial]) -> Vec<&Denial> {
    denials.iter().filter(|denial| denial.layer == "landlock").collect()
}

#[test]
fn what_landlock_refuses_is_among_the_denials() {
    let Some(_auditing) = Auditing::on() else { return };
    let workspace = Workspace::new();
    let secret = workspace.outside().join("a \"secret\"");
    fs::write(&secret, "text").unwrap();
    own(&secret);
    let script = format!("cat '{0}'; cat '{0}'; echo x >'{0}'; echo x >/proc/self/comm", secret.display());

    let mut session = Session::start_with("landlock", Starter::Root, &workspace, &[]);
    if session.ready.landlock_abi < 7 {
        skip("the kernel's Landlock logs nothing before version 7");
        return;
    }
    for _ in 0..2 {
        let done = session.sh(&script);
        let path = secret.display().to_string();
        let of = |rule: &str| {
            let found = done.exit.denials.iter().find(|told| told.target == path && told.rule == rule);
            found.unwrap_or_else(|| panic!("{rule}: {:?}", done.exit.denials))
        };
        let read = of("fs.read_file");
        assert_eq!((read.layer.as_str(), read.count), ("landlock", 2));
        assert!(read.suggestion.as_ref().is_some_and(|way| way.contains("workspace")), "{read:?}");
        assert_eq!(of("fs.write_file").count, 1);
    }
    // The next one has nothing of that, and neither has one that is refused nothing.
    assert_eq!(by_landlock(&session.sh("true").exit.denials), Vec::<&Denial>::new());

    let mut session = Session::start(Starter::Root, &workspace, &[]);
    let done = session.sh("echo x >/proc/self/comm");
    // As the command sees it: the host has another number for that process.
    let comm = by_landlock(&done.exit.denials).into_iter().find(|told| told.target == "/proc/2/comm");
    assert_eq!(comm.map(|told| (told.rule.as_str(), told.count)), Some(("fs.write_file", 1)), "{done:?}");
    // Ordinary work is refused nothing there.
    let done = session.sh("ls -l / /proc /usr/bin && echo x >f && mkdir d && mv f d/ && cp -r d /tmp/");
    assert_eq!((done.exit.code, by_landlock(&done.exit.denials)), (Some(0), Vec::new()));

    let proxy = Proxy::start(|_, _| ());
    let mut session = Session::start(Starter::Root, &workspace, &["--proxy", &proxy.path()]);
    let connect = Exec { level: Level::WorkNet, ..sh("bash -c 'echo >/dev/tcp/127.0.0.1/9'") };
    let done = session.run(&connect).unwrap();
    let told = by_landlock(&done.exit.denials);
    let port = told.iter().find(|told| told.target == "TCP port 9").unwrap_or_else(|| panic!("{done:?}"));
    assert_eq!(port.rule, "net.connect_tcp");

    // Nobody may read the log as an ordinary user, and an older version writes none.
    for (starter, arguments) in [(Starter::User, &[][..]), (Starter::Root, &["--landlock-abi", "6"])] {
        let mut session = Session::start_with("landlock", starter, &workspace, arguments);
        let done = session.sh(&script);
        assert!(done.all().contains("Permission denied"), "{}", done.all());
        assert_eq!(by_landlock(&done.exit.denials), Vec::<&Denial>::new());
    }
}

#[test]
fn two_sessions_at_once_are_told_their_own_only() {
    let Some(_auditing) = Auditing::on() else { return };
    let workspaces = [Workspace::new(), Workspace::new()];
    let mut sessions = workspaces.each_ref().map(|workspace| {
        fs::write(workspace.outside().join("secret"), "text").unwrap();
        Session::start_with("landlock", Starter::Root, workspace, &[])
    });
    if sessions[0].ready.landlock_abi < 7 {
        skip("the kernel's Landlock logs nothing before version 7");
        return;
    }
    let secret = |index: usize| workspaces[index].outside().join("secret").display().to_string();
    for (index, session) in sessions.iter_mut().enumerate() {
        session.begin(&sh(&format!("for i in 1 2 3 4 5; do cat {}; sleep 0.1; done", secret(index))));
    }
    for (index, session) in sessions.iter_mut().enumerate() {
        let done = session.finish().unwrap();
        let count = |path: String| {
            let told = done.exit.denials.iter().filter(|told| told.layer == "landlock" && told.target == path);
            told.map(|told| told.count).sum::<u64>()
        };
        assert_eq!((count(secret(index)), count(secret(1 - index))), (5, 0), "{:?}", done.exit.denials);
    }
}
