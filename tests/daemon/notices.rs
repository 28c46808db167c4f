//! What the service manager hears (`sd_notify(3)`).

use std::{
    os::unix::net::UnixDatagram,
    process::Child,
    time::{Duration, Instant},
};

use nix::sys::signal::{Signal, kill};

use crate::support::process::{Place, Process};

/// A daemon, and a service manager that writes down everything it says, line by line.
pub(super) struct Managed {
    pub(super) place: Place,
    pub(super) process: Process,
    socket: UnixDatagram,
    pub(super) heard: Vec<String>,
}

impl Managed {
    pub(super) fn start(config: &str, variables: &[(&str, &str)]) -> Self {
        let place = Place::new(config);
        let path = place.config_file().with_file_name("manager");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let child: Child = place.command().env("NOTIFY_SOCKET", &path).envs(variables.iter().copied()).spawn().unwrap();
        Self { place, process: Process::of(child), socket, heard: Vec::new() }
    }

    fn listen(&mut self) {
        let mut message = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut message) {
            self.heard.extend(String::from_utf8_lossy(&message[..length]).lines().map(str::to_owned));
        }
    }

    /// Listens until `line` was heard `times` times.
    #[track_caller]
    pub(super) fn hear(&mut self, line: &str, times: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.count(line) < times {
            assert!(Instant::now() < deadline, "{line} is missing in {:?}\n{}", self.heard, self.place.log());
            self.listen();
        }
    }

    pub(super) fn count(&self, line: &str) -> usize {
        self.heard.iter().filter(|heard| *heard == line).count()
    }

    fn position(&self, start: &str) -> usize {
        self.heard.iter().position(|heard| heard.starts_with(start)).unwrap_or_else(|| panic!("{:?}", self.heard))
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(self.process.pid(), signal).unwrap();
    }
}

#[test]
fn ready_comes_after_the_database_and_the_socket_and_stopping_before_the_end() {
    let mut daemon = Managed::start("", &[]);
    daemon.hear("READY=1", 1);
    assert!(daemon.place.database().exists() && daemon.place.socket().exists());
    std::os::unix::net::UnixStream::connect(daemon.place.socket()).unwrap();
    daemon.hear("STATUS=idle", 1);
    assert_eq!(daemon.process.stop(), Some(0), "{}", daemon.place.log());
    daemon.listen();
    assert!(daemon.position("STATUS=opening the database") < daemon.position("EXTEND_TIMEOUT_USEC="));
    assert!(daemon.position("EXTEND_TIMEOUT_USEC=") < daemon.position("READY=1"));
    assert!(daemon.position("READY=1") < daemon.position("STOPPING=1"));
    assert_eq!(daemon.count("READY=1"), 1);
    assert_eq!(daemon.count("WATCHDOG=1"), 0, "nobody asked for it");
}

#[test]
fn a_hangup_is_a_reload_that_ends_with_ready() {
    let mut daemon = Managed::start("[jobs]\nworkers = 2\n", &[]);
    daemon.hear("READY=1", 1);
    std::fs::write(daemon.place.config_file(), "[jobs]\nworkers = 3\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.hear("READY=1", 2);
    let reloading = daemon.position("RELOADING=1");
    assert!(daemon.heard[reloading + 1].starts_with("MONOTONIC_USEC="), "{:?}", daemon.heard);
    assert!(daemon.place.log().contains("jobs.workers"), "{}", daemon.place.log());

    std::fs::write(daemon.place.config_file(), "[jobs]\nworkers = 0\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.hear("READY=1", 3);
    let log = daemon.place.log();
    assert!(log.contains("assistant.toml:2: jobs.workers: 0 is out of range (1 to 64)"), "{log}");
    assert_eq!(daemon.process.stop(), Some(0));
}

#[test]
fn the_watchdog_is_fed_at_half_of_what_it_tolerates() {
    let mut daemon = Managed::start("", &[("WATCHDOG_USEC", "200000")]);
    daemon.hear("READY=1", 1);
    let begin = Instant::now();
    daemon.hear("WATCHDOG=1", 4);
    assert!(begin.elapsed() > Duration::from_millis(250), "not more often than needed: {:?}", begin.elapsed());
}

#[test]
fn a_writer_that_waits_for_another_program_feeds_no_watchdog() {
    let mut daemon = Managed::start("", &[("WATCHDOG_USEC", "200000")]);
    daemon.hear("WATCHDOG=1", 2);
    #[expect(clippy::disallowed_methods, reason = "another program's connection, without the pragmas of the daemon's")]
    let other =
        rusqlite::Connection::open_with_flags(daemon.place.database(), rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE);
    let other = other.unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // One may have been on its way.
    std::thread::sleep(Duration::from_millis(200));
    daemon.listen();
    let fed = daemon.count("WATCHDOG=1");
    std::thread::sleep(Duration::from_secs(1));
    daemon.listen();
    assert_eq!(daemon.count("WATCHDOG=1"), fed, "it was fed while nothing could be written");
    other.execute_batch("ROLLBACK").unwrap();
    daemon.hear("WATCHDOG=1", fed + 2);
}
