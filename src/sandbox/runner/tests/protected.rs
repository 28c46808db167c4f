//! Paths inside the workspace that stay as they are, whatever a command tries.

use std::{
    fs,
    time::{Duration, Instant},
};

use assistant_sandbox::protocol::Kind;

use crate::client::{Session, Workspace, each, sh};

/// Ways to change a protected path, or to put another in its place.
const TRICKS: [&str; 16] = [
    "echo evil >>PATH/file",
    "echo evil >PATH/new",
    "rm -rf PATH",
    "mv PATH elsewhere",
    "mv PATH/file elsewhere",
    "mv -T other PATH",
    "mv TOP elsewhere",
    "mv -T other TOP",
    "rm -rf TOP",
    "ln -f other/file PATH/file",
    "ln -sfn ../other PATH",
    "cp -r --remove-destination other/file PATH/file",
    "chmod 777 PATH",
    "python3 -c 'import os; os.rename(\"TOP\", \"elsewhere\"); os.symlink(\"other\", \"TOP\")'",
    "python3 -c 'import ctypes, os; print(ctypes.CDLL(None).renameat2(-100, b\"TOP\", -100, b\"other\", 2)); os.stat(\"TOP/evil\")'",
    "ln PATH/file hard && echo evil >>hard",
];

fn prepare(workspace: &Workspace) {
    workspace.write(".assistant/file", "good");
    workspace.write("a/b/repo/.git/hooks/file", "good");
    workspace.write("a/b/repo/.git/config", "good");
    workspace.write("a/b/repo/.git/HEAD", "ref: refs/heads/main\n");
    workspace.write("x/keep/file", "good");
    workspace.write("x/envrc", "good");
    workspace.write("other/file", "evil");
    workspace.write("other/evil", "evil");
}

fn check(workspace: &Workspace, trick: &str) {
    for path in [".assistant/file", "a/b/repo/.git/hooks/file", "a/b/repo/.git/config", "x/keep/file", "x/envrc"] {
        assert_eq!(fs::read_to_string(workspace.join(path)).ok().as_deref(), Some("good"), "{path} after {trick}");
    }
    for path in [".assistant", "a", "a/b", "a/b/repo", "a/b/repo/.git", "a/b/repo/.git/hooks", "x", "x/keep"] {
        assert!(fs::symlink_metadata(workspace.join(path)).unwrap().is_dir(), "{path} after {trick}");
    }
    for path in [".assistant", "a/b/repo/.git/hooks", "x/keep"] {
        let entries = fs::read_dir(workspace.join(path)).unwrap().count();
        assert_eq!(entries, 1, "{path} after {trick}");
    }
}

#[test]
fn no_trick_changes_a_protected_path() {
    each(|starter, workspace| {
        prepare(workspace);
        let mut session = Session::start(starter, workspace, &["--protect", "x/keep/", "--protect", "x/envrc"]);
        for (path, top) in [
            (".assistant", ".assistant"),
            ("a/b/repo/.git/hooks", "a/b/repo/.git/hooks"),
            ("a/b/repo/.git/hooks", "a/b/repo/.git"),
            ("a/b/repo/.git/hooks", "a/b/repo"),
            ("a/b/repo/.git/hooks", "a/b"),
            ("a/b/repo/.git/hooks", "a"),
            ("x/keep", "x"),
        ] {
            for trick in TRICKS {
                let script = trick.replace("PATH", path).replace("TOP", top);
                // `rm -rf` of a parent takes what is not protected; that is allowed, and has to be there for the next trick.
                let done = session.sh(&script);
                assert_ne!(done.exit.code, Some(0), "{script}: {}", done.all());
                for (path, content) in
                    [("a/b/repo/.git/HEAD", "ref: refs/heads/main\n"), ("other/file", "evil"), ("other/evil", "evil")]
                {
                    workspace.write(path, content);
                }
                check(workspace, &script);
            }
        }
        for script in
            ["echo evil >a/b/repo/.git/config", "echo evil >>x/envrc", "rm -f x/envrc", "mv -f other/file x/envrc"]
        {
            assert_ne!(session.sh(script).exit.code, Some(0), "{script}");
            check(workspace, script);
        }
        // Around them, everything goes on.
        let done = session.sh("echo new >a/b/repo/file && mkdir a/c && mv a/b/repo/file a/c/ && echo x >a/b/repo/.git/index && cat a/c/file");
        assert_eq!(done.text(), "new\n", "{}", done.all());
    });
}

#[test]
fn what_is_missing_is_made_and_protected() {
    each(|starter, workspace| {
        workspace.write("repo/.git/HEAD", "ref: refs/heads/main\n");
        workspace.write("sub/.git", "gitdir: ../repo/.git/modules/sub\n");
        let mut session = Session::start(starter, workspace, &["--protect", "deep/down/"]);
        // The parents of a protected path are not invented.
        assert!(session.run(&sh("true")).unwrap_err().message.contains("deep/down"));
        fs::create_dir(workspace.join("deep")).unwrap();
        crate::client::own(&workspace.join("deep"));
        for script in [
            "mkdir .assistant/x",
            "touch repo/.git/hooks/post-commit",
            "echo evil >>repo/.git/config",
            "rm -rf repo/.git/hooks",
            "touch deep/down/x",
            "echo evil >sub/.git",
            "mv sub elsewhere",
        ] {
            assert_ne!(session.sh(script).exit.code, Some(0), "{script}");
        }
        assert!(workspace.join("repo/.git/hooks").is_dir());
        assert_eq!(workspace.read("repo/.git/config"), "");
    });
}

#[test]
fn links_stay_and_what_they_point_to() {
    each(|starter, workspace| {
        workspace.write("r/.git/HEAD", "ref: refs/heads/main\n");
        workspace.write("r/githooks/pre-commit", "good");
        workspace.write("q/real/config", "good");
        for (target, link) in [("../githooks", "r/.git/hooks"), ("/nowhere", "r/.git/config"), ("real", "q/.git")] {
            std::os::unix::fs::symlink(target, workspace.join(link)).unwrap();
        }
        let mut session = Session::start(starter, workspace, &[]);
        assert_eq!(session.sh("cat r/.git/hooks/pre-commit").text(), "good");
        for script in [
            "rm r/.git/hooks",
            "mv r/.git/hooks x",
            "ln -sfn ../evil r/.git/hooks",
            "echo evil >r/.git/hooks/pre-commit",
            "echo evil >r/githooks/pre-commit",
            "mv r/githooks x",
            "rm r/.git/config",
            "rm q/.git",
            "mv -T r/.git/HEAD r/.git/config",
        ] {
            assert_ne!(session.sh(script).exit.code, Some(0), "{script}");
        }
        assert_eq!(workspace.read("r/githooks/pre-commit"), "good");
        assert_eq!(fs::read_link(workspace.join("r/.git/hooks")).unwrap().to_str(), Some("../githooks"));
    });
}

#[test]
fn a_new_repository_works_and_is_protected_from_the_next_command_on() {
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &[]);
        let commit = "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m";
        let done =
            session.sh(&format!("git init -q n && cd n && git config x.y z && {commit} one && git log --format=%s"));
        assert_eq!(done.text(), "one\n", "{}", done.all());
        let done =
            session.sh(&format!("cd n && {commit} two && git branch b && git checkout -q b && git log --format=%s"));
        assert_eq!(done.text(), "two\none\n", "{}", done.all());
        assert_ne!(session.sh("cd n && git config core.hooksPath /tmp").exit.code, Some(0));
        assert_ne!(session.sh("cd n && echo x >.git/hooks/post-commit").exit.code, Some(0));
    });
}

/// One session swaps links and renames directories while another starts commands among them.
#[test]
fn a_racing_session_leads_no_mount_astray() {
    each(|starter, workspace| {
        fs::write(workspace.outside().join("file"), "outside").unwrap();
        workspace.write("a/repo/.git/hooks/file", "good");
        workspace.write("a/repo/.git/config", "good");
        workspace.write("keep/repo/.git/hooks/file", "good");
        let mut racer = Session::start(starter, workspace, &[]);
        let mut session = Session::start(starter, workspace, &[]);
        // What it swaps it made itself, so nothing pins it in its own mounts.
        racer.begin(&sh(
            "mkdir -p m/repo/.git/hooks; ln -s /workspace/.. l; ln -s ../.. m2; echo held\n\
             while :; do mv m n; mv -T l m; mv -T m l; mv n m; mv m/repo m/oper; ln -s /etc m/repo; rm m/repo; mv m/oper m/repo; done 2>/dev/null",
        ));
        while racer.frame().kind != Kind::Stdout {}
        let begun = Instant::now();
        let mut ran = 0;
        while begun.elapsed() < Duration::from_secs(3) {
            match session.run(&sh("echo evil >>keep/repo/.git/hooks/file; echo evil >>a/repo/.git/config; for f in m l n; do echo evil >$f/file; cat $f/file; done 2>/dev/null")) {
                Ok(done) => {
                    ran += 1;
                    assert!(!done.text().contains("outside"), "{}", done.all());
                }
                Err(refused) => assert!(refused.message.contains("protect") || refused.message.contains("m/"), "{refused:?}"),
            }
            assert_eq!(workspace.read("keep/repo/.git/hooks/file"), "good");
            assert_eq!(workspace.read("a/repo/.git/config"), "good");
            assert_eq!(fs::read_to_string(workspace.outside().join("file")).unwrap(), "outside");
        }
        assert!(ran > 20, "only {ran} commands ran");
    });
}
