//! `assistantd` as the service manager sees it.

use std::{
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    process::Stdio,
    time::{Duration, Instant},
};

use crate::support::process::Place;

fn ended(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let output = place.command().args(arguments).stderr(Stdio::piped()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn starts_says_ready_and_stops_on_term() {
    let place = Place::new("");
    let mut process = place.start(&[]);
    assert!(process.ready, "{}", place.log());
    let mode = place.socket().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "the socket is for its owner and group");
    assert_eq!(place.state().metadata().unwrap().permissions().mode() & 0o777, 0o700, "the state is private");
    assert_eq!(process.stop(), Some(0), "{}", place.log());
    assert!(!place.socket().exists(), "the socket goes with the daemon");
}

#[test]
fn a_second_daemon_is_refused_with_the_first_ones_pid() {
    let place = Place::new("");
    let process = place.start(&[]);
    let (code, message) = ended(&place, &[]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains(&process.pid().to_string()), "{message}");
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_refused() {
    let place = Place::new("");
    place.start(&[]).kill();
    assert!(place.socket().exists(), "a killed daemon leaves its socket behind");
    let mut process = place.start(&[]);
    assert!(process.ready, "{}", place.log());
    assert_eq!(process.stop(), Some(0));

    let _other = UnixListener::bind(place.socket()).unwrap();
    let (code, message) = ended(&place, &[]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("api.sock"), "{message}");
}

#[test]
fn wrong_usage_and_wrong_configuration_end_before_anything_is_bound() {
    let place = Place::new("[jobs]\nworkrs = 3\n");
    let (code, message) = ended(&place, &["--no-such-option"]);
    assert_eq!(code, Some(64), "{message}");
    let (code, message) = ended(&place, &[]);
    assert_eq!(code, Some(78), "{message}");
    for part in ["assistant.toml", "2", "workrs", "workers"] {
        assert!(message.contains(part), "the message names {part}: {message}");
    }
    assert!(!place.state().exists());
    assert!(!place.socket().exists());
}

#[test]
fn check_reads_the_configuration_and_starts_nothing() {
    let good = Place::new("[jobs]\nworkers = 3\n");
    let (code, message) = ended(&good, &["--check"]);
    assert_eq!(code, Some(0), "{message}");
    assert!(!good.state().exists());
    let bad = Place::new("[agent]\nname = 1\n");
    let (code, message) = ended(&bad, &["--check"]);
    assert_eq!(code, Some(78), "{message}");
}

#[test]
fn an_unknown_crash_point_is_refused() {
    let place = Place::new("");
    let output =
        place.command().env(assistantd::crashpoint::VARIABLE, "nowhere").stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

/// A client that opens a connection and says nothing cannot hold the daemon.
#[test]
fn stops_in_bound_with_an_idle_connection() {
    let place = Place::new("[api]\nstop_grace = \"1s\"\n[jobs]\nstop_grace = \"1s\"\n");
    let mut process = place.start(&[]);
    let _idle = std::os::unix::net::UnixStream::connect(place.socket()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let begin = Instant::now();
    assert_eq!(process.stop(), Some(0), "{}", place.log());
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
}
