//! What commands leave belongs to the user of the daemon afterwards, who can list, read, move and erase all of it, and the
//! next session goes on with it.

use std::{os::unix::process::CommandExt as _, process::Command};

use assistant_sandbox::protocol::Signal;

use crate::client::{NOBODY, Session, Starter, Workspace, each, sh, starters};

/// Directories and files that nobody else may read, and some that not even their owner may.
const LEAVE: &str = "umask 077
    mkdir private closed closed/below && echo a > private/file && echo b > closed/below/file && ln private/file linked
    echo c > unreadable && ln unreadable linked-unreadable && mkfifo pipe && ln -s /etc/passwd link
    chmod 000 unreadable closed/below/file closed/below closed && chmod 400 private/file && chmod 500 private
    echo left";

/// The daemon's user, at the files: root where root started the runner.
fn daemon(starter: Starter, workspace: &Workspace, script: &str) -> String {
    let mut command = Command::new("/bin/sh");
    command.args(["-ec", script]).current_dir(workspace.path());
    if starter == Starter::User && starters().contains(&Starter::Root) {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{starter:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// For the namespaces of each starter, and for a session of this user's without.
fn each_backend(test: impl Fn(&dyn Fn() -> Session, Starter, &Workspace)) {
    each(|starter, workspace| test(&|| Session::start(starter, workspace, &[]), starter, workspace));
    let workspace = Workspace::new();
    test(&|| Session::start_with("landlock", Starter::User, &workspace, &[]), Starter::User, &workspace);
}

#[test]
fn unreadable_files_are_listed_read_moved_and_erased() {
    each_backend(|start, starter, workspace| {
        let mut session = start();
        assert_eq!(session.sh(LEAVE).text(), "left\n");
        let all = "find . -path ./.assistant -prune -o -type f -print | sort | while read -r f; do echo \"$f\" $(cat \"$f\"); done";
        let found = daemon(starter, workspace, all);
        let expected = "./closed/below/file b\n./linked a\n./linked-unreadable c\n./private/file a\n./unreadable c\n";
        assert_eq!(found, expected);
        let archive = "tar -cf - --exclude .assistant . | tar -tf - | grep -c -v '/$'";
        assert_eq!(daemon(starter, workspace, archive), "7\n");
        daemon(
            starter,
            workspace,
            "mv closed/below/file taken && mv private moved && rm -r closed moved && test ! -e closed",
        );
        daemon(starter, workspace, "rm taken linked unreadable linked-unreadable pipe link && test -z \"$(ls)\"");
    });
}

#[test]
fn what_an_ended_command_left_is_readable_as_well() {
    each_backend(|start, starter, workspace| {
        let mut session = start();
        session.begin(&sh(&format!("{LEAVE}; sleep 1000")));
        session.started();
        while session.frame().body != b"left\n" {}
        session.send(assistant_sandbox::protocol::Kind::Signal, &serde_json::to_vec(&Signal { number: 9 }).unwrap());
        session.finish().unwrap();
        assert_eq!(daemon(starter, workspace, "cat unreadable closed/below/file"), "c\nb\n");

        let mut session = start();
        session.begin(&sh("chmod 000 unreadable closed; echo left; sleep 1000"));
        session.started();
        while session.frame().body != b"left\n" {}
        drop(session); // which waits for the runner
        assert_eq!(daemon(starter, workspace, "cat unreadable closed/below/file"), "c\nb\n");
    });
}

#[test]
fn temporary_files_of_a_killed_runner_are_removed_by_the_next() {
    let workspace = Workspace::new();
    let start = || Session::start_with("landlock", Starter::User, &workspace, &[]);
    let place = |session: &mut Session| session.sh("echo $TMPDIR").text().trim().to_owned();
    let (mut killed, mut living) = (start(), start());
    let (left, kept) = (place(&mut killed), place(&mut living));
    killed.sh("mkdir -p $TMPDIR/a/b; echo x > $TMPDIR/a/b/c; chmod 000 $TMPDIR/a/b $TMPDIR/a");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert!(std::path::Path::new(&left).exists());
    let mut next = start();
    let own = place(&mut next);
    assert!(!std::path::Path::new(&left).exists(), "{left} is still there");
    assert_eq!(living.sh("echo x > $TMPDIR/y && cat $TMPDIR/y").text(), "x\n", "{kept} was in use");
    drop((living, next));
    for path in [kept, own] {
        assert!(!std::path::Path::new(&path).exists(), "{path} is still there");
    }
}

#[test]
fn a_repository_goes_on_in_the_next_session() {
    if !std::path::Path::new("/usr/bin/git").exists() {
        eprintln!("skipped: no git");
        return;
    }
    each_backend(|start, starter, workspace| {
        let first = "umask 077; mkdir r && cd r && git init -q -b main . && echo one > file && git add file \
                     && git -c user.name=a -c user.email=a@b.c commit -qm one && echo done";
        let done = start().sh(first);
        assert_eq!(done.text(), "done\n", "{}", done.all());
        daemon(starter, workspace, "cat r/.git/HEAD r/.git/index > /dev/null; ls -R r > /dev/null");
        let second = "cd r && echo two >> file && git -c user.name=a -c user.email=a@b.c commit -qam two \
                      && git gc -q && git log --format=%s";
        let done = start().sh(second);
        assert_eq!(done.text(), "two\none\n", "{}", done.all());
    });
}
