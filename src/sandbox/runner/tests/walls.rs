//! What a command sees and can touch, and what not.

use std::{collections::BTreeMap, fs, os::unix::net::UnixListener, path::Path};

use assistant_sandbox::protocol::{Exec, Guarantee, Level};

use crate::client::{Session, each, exec, sh};

#[test]
fn only_the_workspace_and_temporary_files_are_writable() {
    each(|starter, workspace| {
        fs::write(workspace.outside().join("secret"), "secret").unwrap();
        let mut session = Session::start(starter, workspace, &[]);
        let outside = workspace.outside().display().to_string();
        for script in [
            format!("cat {outside}/secret"),
            "cat ../secret".to_owned(),
            "ls /home || ls /root || ls /run || ls /sys || ls /var/lib".to_owned(),
            "touch /usr/x || touch /etc/x || touch /x || touch /dev/x || mkdir /y".to_owned(),
            "mknod /tmp/x c 1 3".to_owned(),
            "mount -t tmpfs none /tmp".to_owned(),
            "umount /proc".to_owned(),
            "unshare -Ur true".to_owned(),
            "chmod 777 /dev/null".to_owned(),
            "cat /proc/1/environ".to_owned(),
            "ls /proc/1/root/".to_owned(),
        ] {
            let done = session.sh(&script);
            assert_ne!(done.exit.code, Some(0), "{script}: {}", done.all());
            assert!(!done.text().contains("secret"), "{script}");
        }
        let done =
            session.sh("echo a >a && mkdir d && mv a d/b && ln -s d/b s && cat s && echo t >/tmp/t && cat /tmp/t");
        assert_eq!((done.text().as_str(), done.exit.code), ("a\nt\n", Some(0)), "{}", done.all());
        assert_eq!(workspace.read("d/b"), "a\n");
        // The next command has the same temporary files, the next session has not.
        assert_eq!(session.sh("cat /tmp/t").text(), "t\n");
        assert_ne!(Session::start(starter, workspace, &[]).sh("cat /tmp/t").exit.code, Some(0));
    });
}

#[test]
fn a_link_out_of_the_workspace_leads_nowhere() {
    each(|starter, workspace| {
        fs::write(workspace.outside().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(workspace.outside(), workspace.join("out")).unwrap();
        std::os::unix::fs::symlink("../secret", workspace.join("up")).unwrap();
        let mut session = Session::start(starter, workspace, &[]);
        let done = session.sh("cat out/secret; cat up; echo x >out/new; echo x >up");
        assert!(!done.all().contains("secret\nsecret") && done.text().is_empty(), "{}", done.all());
        assert!(!workspace.outside().join("new").exists());
        let refused = session.run(&Exec { cwd: "out".to_owned(), ..exec(&["true"]) }).unwrap_err();
        assert_eq!(refused.kind, "validation");
    });
}

#[test]
fn the_level_read_writes_nothing() {
    each(|starter, workspace| {
        workspace.write("file", "text");
        let mut session = Session::start(starter, workspace, &[]);
        let read = |script: &str| Exec { level: Level::Read, ..sh(script) };
        let done = session
            .run(&read("cat file; echo x >file; echo x >new; mkdir d; rm file; echo t >/tmp/t && cat /tmp/t"))
            .unwrap();
        assert_eq!(done.text(), "textt\n", "{}", done.all());
        assert_eq!(workspace.read("file"), "text");
        assert!(!workspace.join("new").exists());
        // The level is the command's, not the session's.
        assert_eq!(session.sh("echo new >file; cat file").text(), "new\n");
    });
}

#[test]
fn a_command_has_no_privilege_and_a_filter() {
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &[]);
        let text = session.sh("cat /proc/self/status").text();
        let status: BTreeMap<&str, &str> =
            text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect();
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status[set], "0000000000000000", "{set}");
        }
        assert_eq!(status["NoNewPrivs"], "1");
        assert_eq!(status["Seccomp"], "2");
        assert_eq!(status["Uid"].split_whitespace().collect::<Vec<_>>(), ["65534"; 4]);
        assert_eq!(status["Groups"], if status["Groups"].is_empty() { "" } else { "65534" });
        assert_eq!(status["SigBlk"], "0000000000000000");
        assert_eq!(status["SigIgn"], "0000000000000000");
        assert_eq!(session.sh("cat /proc/self/oom_score_adj; umask; hostname").text(), "1000\n0002\nsandbox\n");
        // Its own session, without a terminal; only the three streams.
        assert_eq!(
            session.sh("cat /proc/self/stat | cut -d' ' -f7; ls /proc/self/fd | tr '\\n' ' '").text(),
            "0\n0 1 2 3 "
        );
    });
}

#[test]
fn the_environment_is_made_from_nothing() {
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &[]);
        let mut command = exec(&["env"]);
        command.env.insert("MINE".to_owned(), "1".to_owned());
        let text = session.run(&command).unwrap().text();
        let mut names: Vec<&str> = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "GIT_CONFIG_COUNT",
                "GIT_CONFIG_KEY_0",
                "GIT_CONFIG_VALUE_0",
                "HOME",
                "LANG",
                "MINE",
                "NPM_CONFIG_CACHE",
                "PATH",
                "PIP_CACHE_DIR",
                "TMPDIR",
                "USER"
            ]
        );
        assert_eq!(session.sh("cd && pwd && touch x && echo ok").text(), "/tmp/home\nok\n");
    });
}

#[test]
fn no_socket_of_the_host_is_there() {
    each(|starter, workspace| {
        let _listener = UnixListener::bind(workspace.outside().join("host.sock")).unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let script = format!(
            "import socket\n\
             def attempt(family, address):\n\
             \x20   try:\n\
             \x20       s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(2); s.connect(address); print('REACHED', address)\n\
             \x20   except OSError as e: print('REFUSED', e)\n\
             attempt(socket.AF_INET, ('127.0.0.1', {port}))\n\
             attempt(socket.AF_UNIX, '{}/host.sock')\n\
             attempt(socket.AF_UNIX, '/run/docker.sock')\n",
            workspace.outside().display()
        );
        workspace.write("reach.py", &script);
        let mut session = Session::start(starter, workspace, &[]);
        let done = session.sh("python3 reach.py");
        assert_eq!(done.text().matches("REFUSED").count(), 3, "{}", done.all());
        let refused = done.exit.denials.iter().any(|denial| denial.layer == "seccomp");
        assert!(refused, "{:?}", done.exit.denials);
    });
}

#[test]
fn older_landlock_versions_do_from_two_on() {
    each(|starter, workspace| {
        for version in [1_u32, 2, 4, 7] {
            let mut session = Session::start(starter, workspace, &["--landlock-abi", &version.to_string()]);
            let outcome = session.run(&sh("echo x >file && cat file"));
            if version < 2 {
                assert!(session.ready.guarantees.is_empty());
                assert!(session.ready.missing[&Guarantee::Read].contains("kernel 5.19"), "{:?}", session.ready.missing);
                assert_eq!(outcome.unwrap_err().kind, "unavailable");
            } else {
                assert_eq!(outcome.unwrap().text(), "x\n");
                assert!(session.ready.landlock_abi <= version);
            }
        }
    });
}

#[test]
fn the_time_is_that_of_the_host() {
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &[]);
        let done = session.sh("cat /etc/localtime");
        assert_eq!(done.stdout, fs::read("/etc/localtime").unwrap_or_default());
        let offset = std::process::Command::new("date").arg("+%z").env_remove("TZ").output().unwrap();
        assert_eq!(session.sh("date +%z").stdout, offset.stdout);
        let zone = |name: &str| {
            let env = [("TZ".to_owned(), name.to_owned())].into();
            Exec { env, ..sh("date -d 2026-07-01T12:00Z +%H:%M") }
        };
        assert_eq!(session.run(&zone("Asia/Kathmandu")).unwrap().text(), "17:45\n");
        assert_eq!(session.run(&zone("Europe/Berlin")).unwrap().text(), "14:00\n");
    });
}

#[test]
fn the_usual_programs_work() {
    each(|starter, workspace| {
        workspace.write("hello.c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n");
        workspace.write("Makefile", "hello: hello.c\n\tcc -o hello hello.c\n");
        let mut session = Session::start(starter, workspace, &[]);
        for (program, script, expected) in [
            (
                "python3",
                "python3 -c 'import os, threading, tempfile, subprocess; print(subprocess.check_output([\"echo\", \"hi\"]).decode().strip())'",
                "hi\n",
            ),
            (
                "git",
                "git init -q r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first && git log --format=%s",
                "first\n",
            ),
            ("gcc", "make -s hello && ./hello", "hello\n"),
            ("node", "node -e 'console.log(6 * 7)'", "42\n"),
            ("bash", "bash -c 'cat <(echo piped) | tr a-z A-Z'", "PIPED\n"),
            ("date", "TZ=Europe/Berlin date -d @0 +%H", "01\n"),
            ("sh", "echo é >ü && cat ü && head -c 4 /dev/urandom | wc -c && echo x >/dev/null", "é\n4\n"),
            ("id", "id -un", "work\n"),
        ] {
            if !["/bin", "/usr/bin", "/usr/local/bin"].iter().any(|dir| Path::new(dir).join(program).exists()) {
                eprintln!("skipped: {program} is not installed");
                continue;
            }
            let done = session.sh(script);
            assert_eq!((done.text().as_str(), done.exit.code), (expected, Some(0)), "{program}: {}", done.all());
        }
    });
}
