//! Commands run, and what they say and how they end arrives.

use assistant_sandbox::protocol::{End, Exec, Guarantee, Kind, VERSION};

use crate::client::{Session, each, exec, sh};

#[test]
fn a_session_promises_everything_and_runs_commands() {
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &[]);
        assert_eq!(session.ready.version, VERSION);
        assert_eq!(session.ready.guarantees.len(), Guarantee::ALL.len(), "{:?}", session.ready.missing);
        let done = session.run(&exec(&["echo", "a  b", "$HOME"])).unwrap();
        assert_eq!(done.text(), "a  b $HOME\n");
        assert_eq!((done.exit.end, done.exit.code, done.exit.signal), (End::Exited, Some(0), None));
        let done = session.sh("echo out; echo err >&2; exit 7");
        assert_eq!((done.stdout.as_slice(), done.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(done.exit.code, Some(7));
        let done = session.sh("kill -TERM $$");
        assert_eq!((done.exit.end, done.exit.code, done.exit.signal), (End::Exited, None, Some(15)));
    });
}

#[test]
fn input_goes_through() {
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &[]);
        let text: Vec<u8> = (0..700_000_u32).map(|number| b'a' + u8::try_from(number % 26).unwrap()).collect();
        session.begin(&Exec { stdin: true, ..exec(&["cat"]) });
        for part in text.chunks(50_000) {
            session.send(Kind::Stdin, part);
        }
        session.send(Kind::StdinEnd, b"");
        let done = session.finish().unwrap();
        assert!(done.stdout == text);
        // Nobody reads: the rest is dropped, and the command's end is an ordinary one.
        session.begin(&Exec { stdin: true, ..exec(&["true"]) });
        session.send(Kind::Stdin, &text);
        assert_eq!(session.finish().unwrap().exit.code, Some(0));
        assert_eq!(session.sh("cat; echo end").text(), "end\n");
    });
}

#[test]
fn what_cannot_run_is_refused() {
    each(|starter, workspace| {
        workspace.write("data", "no program");
        workspace.write("sub/x", "");
        let mut session = Session::start(starter, workspace, &[]);
        let mut env = exec(&["true"]);
        env.env.insert("LD_PRELOAD".to_owned(), "x.so".to_owned());
        for (exec, kind, reason) in [
            (exec(&["no-such-program"]), "not_found", "`no-such-program`"),
            (exec(&["./no-such-program"]), "not_found", "no-such-program"),
            (exec(&["./data"]), "not_executable", "Permission denied"),
            (exec(&[]), "validation", "argv: empty"),
            (exec(&["a\0b"]), "validation", "NUL"),
            (Exec { cwd: "..".to_owned(), ..exec(&["true"]) }, "validation", "out of the workspace"),
            (Exec { cwd: "/etc".to_owned(), ..exec(&["true"]) }, "validation", "not relative"),
            (Exec { cwd: "none".to_owned(), ..exec(&["true"]) }, "validation", "No such file"),
            (env, "validation", "LD_PRELOAD"),
        ] {
            let refused = session.run(&exec).unwrap_err();
            assert_eq!(refused.kind, kind, "{exec:?}: {refused:?}");
            assert!(refused.message.contains(reason), "{refused:?}");
        }
        let done = session.run(&Exec { cwd: "sub".to_owned(), ..sh("pwd; ls") }).unwrap();
        assert_eq!(done.text(), "/workspace/sub\nx\n");
    });
}
