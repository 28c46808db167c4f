//! What a person sees: the program on a pseudo-terminal.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use nix::pty::{Winsize, openpty};
use serde_json::json;

use crate::{answers, fake::Daemon};

/// Runs a command on a terminal of 60 columns, types `input`, and returns the code and what the screen was sent.
fn on_terminal(daemon: &Daemon, arguments: &[&str], environment: &[(&str, &str)], input: &str) -> (i32, String) {
    let size = Winsize { ws_row: 24, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).unwrap();
    let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
    let mut command = daemon.command(arguments);
    command.envs(environment.iter().copied());
    command.stdin(end(&pty.slave)).stdout(end(&pty.slave)).stderr(end(&pty.slave));
    let mut child = command.spawn().unwrap();
    drop((command, pty.slave));
    let mut master = File::from(pty.master);
    master.write_all(input.as_bytes()).unwrap();
    let mut screen = Vec::new();
    let mut buffer = [0; 4096];
    // Reading fails with EIO once the program has gone.
    while let Ok(read @ 1..) = master.read(&mut buffer) {
        screen.extend_from_slice(&buffer[..read]);
    }
    (child.wait().unwrap().code().unwrap(), String::from_utf8(screen).unwrap().replace("\r\n", "\n"))
}

/// Runs a command on a terminal, types `input` once `question` is there, and returns the code and what the screen was sent.
pub fn spawn_on_terminal(mut command: Command, question: &str, input: &str) -> (i32, String) {
    let pty = openpty(None, None).unwrap();
    let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
    command.stdin(end(&pty.slave)).stdout(end(&pty.slave)).stderr(end(&pty.slave));
    let mut child = command.spawn().unwrap();
    drop((command, pty.slave));
    let mut master = File::from(pty.master);
    let (mut screen, mut buffer, mut typed) = (Vec::new(), [0; 4096], false);
    while let Ok(read @ 1..) = master.read(&mut buffer) {
        screen.extend_from_slice(&buffer[..read]);
        if !typed && String::from_utf8_lossy(&screen).contains(question) {
            typed = true;
            master.write_all(input.as_bytes()).unwrap();
        }
    }
    (child.wait().unwrap().code().unwrap(), String::from_utf8(screen).unwrap().replace("\r\n", "\n"))
}

/// The text without the colours that this program gives it.
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut parts = text.split('\u{1b}');
    plain.push_str(parts.next().unwrap());
    for part in parts {
        let end = part.find(['m', 'K']).unwrap();
        plain.push_str(&part[end + 1..]);
    }
    plain
}

#[test]
fn tables_fit_and_have_colours() {
    let daemon = Daemon::new();
    let (code, screen) = on_terminal(&daemon, &["jobs"], &[], "");
    assert_eq!(code, 0);
    assert!(screen.contains("\u{1b}[36mrunning\u{1b}[0m"), "{screen:?}");
    assert!(plain(&screen).contains(" ago"), "{screen:?}");
    assert!(
        plain(&screen).lines().filter(|line| !line.starts_with("there")).all(|line| line.chars().count() <= 60),
        "{screen}"
    );
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (_, screen) = on_terminal(&daemon, &["jobs"], &[environment], "");
        assert!(!screen.contains('\u{1b}'), "{screen:?}");
    }
}

#[test]
fn the_answer_cannot_drive_the_terminal() {
    let daemon = Daemon::new();
    for command in
        [&["job", "show", "7"][..], &["job", "logs", "7"], &["status"], &["effects"], &["jobs", "-o", "json"]]
    {
        let (_, screen) = on_terminal(&daemon, command, &[("NO_COLOR", "1")], "");
        let bad = |char: char| char.is_control() && char != '\n' || char == '\u{202e}';
        assert!(!screen.contains(bad), "{command:?} {screen:?}");
    }
}

#[test]
fn erasing_asks_first() {
    let daemon = Daemon::new();
    let (code, screen) = on_terminal(&daemon, &["job", "erase", "7"], &[], "n\n");
    assert!(code == 1 && screen.contains("Erase job 7 for good? [y/N]") && daemon.seen().is_empty(), "{screen}");
    let (code, screen) = on_terminal(&daemon, &["job", "erase", "7"], &[], "y\n");
    assert!(code == 0 && screen.contains("erased jobs 7, 8"), "{screen}");
}

#[test]
fn waiting_shows_progress_and_leaves_no_trace_of_it() {
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let daemon = Daemon::with(move |_, path, _| {
        let seen = || looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        path.starts_with("/api/jobs/7/poll")
            .then(|| (200, answers::poll(if seen() > 10 { "completed" } else { "running" }, json!([]))))
    });
    let (code, screen) = on_terminal(&daemon, &["job", "wait", "7"], &[], "");
    assert_eq!(code, 0);
    assert!(screen.contains("… the model works (0 s)"), "{screen:?}");
    assert!(screen.contains("\r\u{1b}[Kjob 7 is completed\n"), "{screen:?}");
}

#[test]
fn a_new_job_is_told_with_how_to_follow_it() {
    let (code, screen) = on_terminal(&Daemon::new(), &["submit", "Sum up"], &[], "");
    assert_eq!((code, screen.as_str()), (0, "job 7 is queued: Sum up\nfollow it with: assistantctl job logs 7 -f\n"));
}

#[test]
fn what_no_mail_tells_stands_below_what_was_asked_for() {
    let untold = json!({
        "no_mail": "admin.email is not set", "waiting": 2, "failed": 1, "failed_jobs": [9],
        "commands": "\u{1b}[2Jno unit",
    });
    let daemon = Daemon::with(move |_, path, _| (path == "/api/notifications/untold").then(|| (200, untold.clone())));
    let (code, screen) = on_terminal(&daemon, &["effects"], &[("NO_COLOR", "1")], "");
    let expected = "\n2 jobs wait for a person: assistantctl status\n1 job has failed: assistantctl job show 9\n\
                    commands cannot run: no unit: assistantctl doctor\nNo mail tells of it: admin.email is not set.\n";
    assert!(code == 0 && screen.ends_with(expected), "{screen:?}");
    let asked = || daemon.asked("POST", "/api/notifications/untold").len();
    assert_eq!(asked(), 1);
    // Neither where it stands anyway nor where a program reads.
    for command in [&["status"][..], &["effects", "-o", "json"], &["notifications"]] {
        on_terminal(&daemon, command, &[], "");
    }
    assert!(daemon.command(&["effects"]).output().unwrap().status.success());
    assert_eq!(asked(), 1, "{:?}", daemon.seen());
}
