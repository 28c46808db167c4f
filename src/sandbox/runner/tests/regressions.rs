//! Weaknesses of other sandboxes, by their numbers, where it takes more than one attempt from inside to show that they
//! are not here. The rest are probes of the same names.

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use assistant_sandbox::protocol::{End, Exec, Frame, Kind, Limits, Signal};

use crate::client::{NOBODY, Session, Workspace, each, exec, sh};

/// A directory beside the workspace that everybody on the machine may write to.
fn open_outside(workspace: &Workspace) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let outside = workspace.outside().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o777)).unwrap();
    outside
}

fn assert_empty(directory: &std::path::Path) {
    let found: Vec<_> = fs::read_dir(directory).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(found.is_empty(), "{} has {found:?}", directory.display());
}

/// How long they race: 3 seconds, or what `ASSISTANT_RACE_SECONDS` says.
fn race_time() -> Duration {
    let seconds = std::env::var("ASSISTANT_RACE_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

/// Another session of the workspace swaps directories for links while mounts are made on what is in them, and while a
/// command goes through them.
#[test]
fn cve_2021_30465_links_swapped_while_mounts_are_made() {
    const SWAP: &str = r#"
        while :; do
            mkdir -p a/.git/hooks && mv a b && ln -s "$1" a; rm -f a; mv b a
            mv a/.git/hooks a/.git/aside; ln -s "$1" a/.git/hooks; rm -f a/.git/hooks; mv a/.git/aside a/.git/hooks
            rm -rf a b
        done 2> /dev/null"#;
    // What it reads and writes goes through what is being swapped, several times over.
    const USE: &str = "for i in 1 2 3 4 5 6 7 8; do
            echo x > a/.git/hooks/by-command; echo x > a/by-command; cp -r a copy; cat a/* a/.git/hooks/*; rm -rf copy
        done; echo done";
    each(|starter, workspace| {
        let outside = open_outside(workspace);
        fs::write(outside.join("secret"), "what lies outside").unwrap();
        let mut writer = Session::start(starter, workspace, &[]);
        writer.begin(&exec(&["/bin/sh", "-c", SWAP, "sh", outside.to_str().unwrap()]));
        writer.started();
        let mut session = Session::start(starter, workspace, &[]);
        let until = Instant::now() + race_time();
        let (mut ran, mut refused) = (0_u32, 0_u32);
        while Instant::now() < until {
            match session.run(&sh(USE)) {
                Ok(done) => {
                    assert!(done.text().ends_with("done\n"), "{}", done.all());
                    assert!(!done.all().contains("what lies outside"), "{}", done.all());
                    ran += 1;
                }
                Err(refusal) => {
                    assert_eq!(refusal.kind, "unavailable", "{refusal:?}");
                    refused += 1;
                }
            }
            let found: Vec<_> = fs::read_dir(&outside).unwrap().flatten().map(|entry| entry.file_name()).collect();
            assert_eq!(found, ["secret"]);
            assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "what lies outside");
        }
        assert!(ran > 10, "{ran} ran, {refused} were refused");
    });
}

/// A link that one session leaves is not followed by the mounts of the next.
#[test]
fn cve_2024_42472_links_left_for_the_next_session() {
    for path in [".assistant", "repository/.git/hooks", "repository/.git/config"] {
        each(|starter, workspace| {
            let outside = open_outside(workspace);
            workspace.write("repository/.git/HEAD", "x");
            symlink(&outside, workspace.join(path)).unwrap();
            std::os::unix::fs::lchown(workspace.join(path), Some(NOBODY), Some(NOBODY)).unwrap_or_default();
            let mut session = Session::start(starter, workspace, &[]);
            let script = "cd \"$0\" && echo x > made; cat \"$0\"/*; echo done";
            match session.run(&exec(&["/bin/sh", "-c", script, path])) {
                Ok(done) => assert!(done.text().ends_with("done\n"), "{}", done.all()),
                Err(refused) => {
                    assert_eq!(refused.kind, "unavailable");
                    assert!(refused.message.contains(path), "{refused:?} does not name {path}");
                }
            }
            assert_empty(&outside);
        });
    }
}

/// No frame, whatever it says, moves the walls or begins outside of them.
#[test]
fn cve_2025_59532_the_workspace_is_not_the_frames_to_choose() {
    each(|starter, workspace| {
        let outside = open_outside(workspace);
        workspace.write("inside/x", "");
        symlink(&outside, workspace.join("link")).unwrap();
        let ways = ["..", "inside/../../outside", "/", "/proc/1/cwd", "link", "../proc/self/fd/3", "../../../../tmp"];
        let mut session = Session::start(starter, workspace, &[]);
        for cwd in ways {
            let refused = session.run(&Exec { cwd: cwd.to_owned(), ..sh("pwd; echo x > made") }).unwrap_err();
            assert_eq!(refused.kind, "validation", "{cwd}: {refused:?}");
        }
        assert_empty(&outside);
        for field in ["workspace", "uid", "protect", "backend", "root"] {
            let mut session = Session::start(starter, workspace, &[]);
            let body = format!(r#"{{"argv":["true"],"{field}":"/"}}"#);
            Frame { kind: Kind::Exec, body: body.into_bytes() }.write(&mut session.socket).unwrap();
            // It answers that it refuses, or it ends; it runs nothing.
            let answer = Frame::read(&mut session.socket).ok().flatten();
            assert!(answer.as_ref().is_none_or(|frame| frame.kind == Kind::Refused), "{field}: {answer:?}");
        }
    });
}

/// Those who look after a command are out of its reach: stopped, they could not end it.
#[test]
fn who_looks_after_a_command_is_not_stopped_by_it() {
    const STOP: &str = "for pid in 1 $PPID $(ls /proc | grep -x '[0-9]*'); do
            [ $pid = $$ ] || { kill -STOP $pid; kill -KILL $pid; }
        done 2> /dev/null; kill -STOP -1; echo stopped; while :; do :; done";
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &[]);
        session.begin(&sh(STOP));
        session.started();
        while session.frame().body != b"stopped\n" {}
        let asked = Instant::now();
        Frame::json(Kind::Signal, &Signal { number: 9 }).unwrap().write(&mut session.socket).unwrap();
        assert_eq!(session.finish().unwrap().exit.end, End::Cancelled);
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?} after it was cancelled", asked.elapsed());
        assert_eq!(session.sh("echo still here").text(), "still here\n");
    });
}

/// Who asks for nothing but what is refused keeps the runner from nothing.
#[test]
fn a_flood_of_refusals_delays_no_end() {
    // eight processes of perl, with internet sockets
    const FLOOD: &str = "for i in 1 2 3 4 5 6 7 8; do \
                         perl -e 'print \"on\\n\" if !$n++; $| = 1; while (1) { socket(my $s, 2, 1, 0) }' & done; wait";
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &[]);
        session.begin(&sh(FLOOD));
        session.started();
        std::thread::sleep(Duration::from_secs(3));
        let asked = Instant::now();
        Frame::json(Kind::Signal, &Signal { number: 9 }).unwrap().write(&mut session.socket).unwrap();
        let done = session.finish().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?} after it was cancelled", asked.elapsed());
        assert_eq!(done.exit.end, End::Cancelled);
        let count: u64 = done.exit.denials.iter().map(|denial| denial.count).sum();
        assert!(count > 1000, "{count}");

        let limits = Limits { seconds: 2, ..Limits::default() };
        let begun = Instant::now();
        let done = session.run(&Exec { limits, ..sh(FLOOD) }).unwrap();
        assert_eq!(done.exit.end, End::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert_eq!(session.sh("echo still here").text(), "still here\n");
    });
}
