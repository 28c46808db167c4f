//! What runners can do wrong.

#![expect(clippy::disallowed_methods, reason = "counterparts, not part of the daemon")]

use std::time::Instant;

use assistant_sandbox::protocol::{Level, Place};

use super::*;
use crate::sandbox::double::{exec, exit, hear, ready, say, say_json, serve, started};

const PLACE: Place = Place { device: 1, inode: 2 };

/// A session whose runner is what is done with the socket.
async fn begin<F: Future<Output = ()> + Send + 'static>(runner: impl FnOnce(UnixStream) -> F) -> Result<Session> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    tokio::spawn(runner(theirs));
    Session::begin(ours, None).await
}

/// One that is ready, and has been sent a command.
async fn asked<F: Future<Output = ()> + Send + 'static>(
    runner: impl FnOnce(UnixStream) -> F + Send + 'static,
) -> Result<Session> {
    begin(async |mut socket| {
        say_json(&mut socket, Kind::Ready, &ready(PLACE)).await;
        assert_eq!(hear(&mut socket).await.unwrap().kind, Kind::Exec);
        runner(socket).await;
    })
    .await
}

/// Runs one command without input.
async fn run(session: &mut Session) -> (Result<Ended>, Vec<Output>) {
    let (_nothing, input) = mpsc::channel(1);
    let (said, mut heard) = mpsc::channel(100);
    let ended = session.run(&exec(Level::Work), input, said).await;
    let mut outputs = Vec::new();
    while let Ok(output) = heard.try_recv() {
        outputs.push(output);
    }
    (ended, outputs)
}

#[tokio::test]
async fn what_does_not_begin_as_a_runner_is_refused() {
    let wrong_version = begin(async |mut socket| {
        say_json(&mut socket, Kind::Ready, &Ready { version: 99, ..ready(PLACE) }).await;
        hear(&mut socket).await;
    });
    let err = wrong_version.await.unwrap_err();
    assert!(err.message().contains("it speaks version 99 of the protocol, the daemon 1"), "{err}");
    for (bytes, reason) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "a frame of 1347703880 bytes; 1 to 1048576"),
        (&[2, 0, 0, 0, 99, 0], "an unknown frame kind: 99"),
        (&[3, 0, 0, 0, 16, b'{', b'}'], "a Ready frame: missing field"),
        (&[1, 0, 0, 0, 20], "it began with Exit"),
        (&[9, 0, 0, 0, 16], "eof"),
        (&[], "it ended at once"),
    ] {
        let err = begin(async move |mut socket| socket.write_all(bytes).await.unwrap()).await.unwrap_err();
        assert!(err.message().contains(reason), "{bytes:?}: {err}");
        assert_eq!(err.kind(), ErrorKind::Unavailable);
        assert!(!err.is_in_doubt(), "nothing was sent to run");
    }
}

#[tokio::test]
async fn a_runner_that_dies_at_once_has_the_last_word() {
    let script = "echo first >&2; echo 'error: the workspace is gone' >&2; exit 3";
    let err = Session::start("/bin/sh", &["-c".to_owned(), script.to_owned()]).await.unwrap_err();
    assert!(err.message().ends_with("it ended at once: error: the workspace is gone"), "{err}");
    let err = Session::start("/nonexistent/runner", &[]).await.unwrap_err();
    assert_eq!(err.field_name(), Some("sandbox.runner"), "{err}");
}

#[tokio::test(start_paused = true)]
async fn one_that_says_nothing_is_not_waited_for() {
    let err = begin(async |mut socket| drop(hear(&mut socket).await)).await.unwrap_err();
    assert!(err.message().contains("it was not ready within 30 s"), "{err}");
}

#[tokio::test]
async fn a_command_whose_runner_fails_is_in_doubt() {
    for (bytes, reason) in [
        (&[][..], "it went away"),
        (&[255, 255, 255, 255, 18], "a frame of 4294967295 bytes"),
        (&[3, 0, 0, 0, 16, b'{', b'}'], "it sent Ready"),
    ] {
        let mut session = asked(async move |mut socket| {
            say_json(&mut socket, Kind::Started, &started()).await;
            say(&mut socket, Frame { kind: Kind::Stdout, body: b"half".to_vec() }).await;
            socket.write_all(bytes).await.unwrap();
        })
        .await
        .unwrap();
        let (ended, said) = run(&mut session).await;
        let err = ended.unwrap_err();
        assert!(err.is_in_doubt() && err.message().contains(reason), "{err}");
        assert_eq!(said, [Output::Started, Output::Stdout(b"half".to_vec())]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_never_ended_is_given_up() {
    let begun = tokio::time::Instant::now();
    let mut session = asked(async |mut socket| {
        say_json(&mut socket, Kind::Started, &started()).await;
        hear(&mut socket).await;
    })
    .await
    .unwrap();
    let err = run(&mut session).await.0.unwrap_err();
    assert!(err.is_in_doubt() && err.message().contains("it did not end a command of 1 s within 11 s"), "{err}");
    assert_eq!(begun.elapsed().as_secs(), 11);
}

#[tokio::test]
async fn a_session_serves_one_command_after_another() {
    let mut session = begin(async |socket| drop(serve(socket, &ready(PLACE)).await)).await.unwrap();
    for _ in 0..3 {
        let (ended, said) = run(&mut session).await;
        assert_eq!(ended.unwrap(), Ended::Exited(exit()));
        assert_eq!(said, [Output::Started]);
        assert!(session.is_reusable());
    }
}

#[tokio::test]
async fn what_says_more_after_the_end_or_goes_is_not_used_again() {
    for more in [&[2, 0, 0, 0, 18, b'x'][..], &[]] {
        let (told, done) = tokio::sync::oneshot::channel();
        let mut session = asked(async move |mut socket| {
            say_json(&mut socket, Kind::Started, &started()).await;
            say_json(&mut socket, Kind::Exit, &exit()).await;
            socket.write_all(more).await.unwrap();
            drop(if more.is_empty() { None } else { Some(socket) }.map(|socket| told.send(socket)));
        })
        .await
        .unwrap();
        let (ended, said) = run(&mut session).await;
        assert_eq!(ended.unwrap(), Ended::Exited(exit()));
        assert_eq!(said, [Output::Started], "nothing of what came later");
        let _open = done.await; // it has said all, or has gone
        assert!(!session.is_reusable());
    }
}

#[tokio::test]
async fn input_goes_out_no_faster_than_it_is_taken() {
    const SENT: usize = 3 * STDIN_WINDOW / 2;
    async fn read(socket: &mut UnixStream, most: usize) -> usize {
        let mut got = 0;
        while got < most {
            let Ok(frame) = tokio::time::timeout(Duration::from_millis(300), hear(socket)).await else { break };
            match frame.unwrap() {
                Frame { kind: Kind::Stdin, body } => got += body.len(),
                frame => panic!("{:?}", frame.kind),
            }
        }
        got
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut session = asked(async |mut socket| {
        say_json(&mut socket, Kind::Started, &started()).await;
        let first = read(&mut socket, usize::MAX).await;
        say_json(&mut socket, Kind::Taken, &Taken { bytes: first as u64 }).await;
        let second = read(&mut socket, SENT - first).await;
        let last = hear(&mut socket).await.unwrap().kind;
        say_json(&mut socket, Kind::Exit, &exit()).await;
        tell.send((first, second, last)).unwrap();
    })
    .await
    .unwrap();
    let (feed, input) = mpsc::channel(1);
    let (said, _heard) = mpsc::channel(100);
    tokio::spawn(async move {
        feed.send(Input::Stdin(vec![7; SENT])).await.unwrap();
        feed.send(Input::End).await.unwrap();
    });
    let begun = Instant::now();
    let command = Exec { stdin: true, ..exec(Level::Work) };
    assert_eq!(session.run(&command, input, said).await.unwrap(), Ended::Exited(exit()));
    assert_eq!(told.await.unwrap(), (STDIN_WINDOW, SENT - STDIN_WINDOW, Kind::StdinEnd));
    assert!(begun.elapsed() > Duration::from_millis(250), "it waited");
}

#[tokio::test]
async fn the_end_of_a_unit_is_told_with_its_reason() {
    async fn over(result: &str, status: &str) -> Result<Ended> {
        let said = Over { result: result.to_owned(), status: status.to_owned() };
        let mut session = asked(async move |mut socket| {
            say_json(&mut socket, Kind::Started, &started()).await;
            say_json(&mut socket, Kind::Over, &said).await;
        })
        .await
        .unwrap();
        let (ended, _) = run(&mut session).await;
        assert!(!session.is_reusable());
        ended
    }
    let Ended::Exited(exit) = over("oom-kill", "KILL").await.unwrap() else { panic!("it ran") };
    assert_eq!((exit.end, exit.code, exit.signal), (End::OutOfMemory, None, Some(9)));
    for (result, status, reason) in [
        ("timeout", "KILL", "the time of its session was over"),
        ("signal", "SEGV", "ended by the signal SEGV"),
        ("exit-code", "3", "exit code 3"),
        ("resources", "", "its unit ended: resources"),
    ] {
        let err = over(result, status).await.unwrap_err();
        assert!(err.is_in_doubt() && err.message().contains(reason), "{err:?}");
    }
}
