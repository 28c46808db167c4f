//! One attempt in a process of its own, with a bound in time.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsRawFd as _, FromRawFd as _},
    time::Instant,
};

use super::{
    Expect, Place, Probe, Stop, Tried,
    report::{Outcome, Report},
};

impl Probe {
    /// Makes the attempt and says how it went.
    pub(super) fn report(&self, place: &Place) -> Report {
        let expect = self.rule.at(place.level);
        let (outcome, detail) = match self.apart(place) {
            Ok(Ended::Said(tried)) => judge(expect, tried),
            Ok(Ended::Killed(signal)) if expect == Expect::Denied && ENDS.contains(&signal) => {
                (Outcome::Denied, format!("ended by signal {signal}"))
            }
            Ok(Ended::Killed(signal)) => (Outcome::Crashed, format!("ended by signal {signal}")),
            Ok(Ended::Late) => (Outcome::Hung, format!("not done after {} s", self.limit.as_secs())),
            Err(err) => (Outcome::Broken, err.to_string()),
        };
        Report { name: self.name.to_owned(), guarantee: self.proves(place.level), expect, outcome, detail }
    }

    fn apart(&self, place: &Place) -> io::Result<Ended> {
        let (mut from, mut to) = pipe()?;
        let child = fork()?;
        if child == 0 {
            drop(from);
            own_group();
            let text = match self.go(place) {
                Ok(done) => format!("+{done}"),
                Err(Stop::Refused(reason)) => format!("-{reason}"),
                Err(Stop::Absent(reason)) => format!("?{reason}"),
                Err(Stop::Broken(reason)) => format!("!{reason}"),
            };
            let _ = to.write_all(text.as_bytes());
            leave();
        }
        drop(to);
        let deadline = Instant::now() + self.limit;
        let mut text = Vec::new();
        let mut late = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !readable(&from, left)? {
                late = true;
                break;
            }
            let mut chunk = [0; 4096];
            match from.read(&mut chunk)? {
                0 => break,
                read => text.extend_from_slice(&chunk[..read]),
            }
        }
        end_group(child);
        let status = wait(child)?;
        Ok(match text.split_first() {
            _ if late => Ended::Late,
            Some((kind, rest)) => {
                let rest = String::from_utf8_lossy(rest).into_owned();
                Ended::Said(match kind {
                    b'+' => Ok(rest),
                    b'-' => Err(Stop::Refused(rest)),
                    b'?' => Err(Stop::Absent(rest)),
                    _ => Err(Stop::Broken(rest)),
                })
            }
            None if libc::WIFSIGNALED(status) => Ended::Killed(libc::WTERMSIG(status)),
            None => Ended::Said(Err(Stop::Broken(format!("left with status {status:#x} and no word")))),
        })
    }
}

/// Signals by which a sandbox ends an attempt: a filter's, an out-of-memory kill, a limit's.
const ENDS: [i32; 4] = [libc::SIGSYS, libc::SIGKILL, libc::SIGXFSZ, libc::SIGXCPU];

enum Ended {
    Said(Tried),
    Killed(i32),
    Late,
}

fn judge(expect: Expect, tried: Tried) -> (Outcome, String) {
    match (expect, tried) {
        (Expect::Denied, Ok(detail)) => (Outcome::Allowed, detail),
        (Expect::Works, Ok(detail)) => (Outcome::Works, detail),
        (_, Err(Stop::Absent(detail))) => (Outcome::Absent, detail),
        (Expect::Denied, Err(Stop::Refused(detail))) => (Outcome::Denied, detail),
        (Expect::Denied, Err(Stop::Broken(detail))) => (Outcome::Broken, detail),
        (Expect::Works, Err(Stop::Refused(detail) | Stop::Broken(detail))) => (Outcome::Failed, detail),
    }
}

fn pipe() -> io::Result<(File, File)> {
    let mut ends = [0; 2];
    #[expect(unsafe_code, reason = "a pipe; both ends are taken at once")]
    unsafe {
        check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        Ok((File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])))
    }
}

/// Forks; the program has one thread, so that the child may do whatever it likes.
pub(super) fn fork() -> io::Result<i32> {
    #[expect(unsafe_code, reason = "the program has one thread when it forks")]
    let child = unsafe { libc::fork() };
    check(child)
}

/// Ends this process without a word to anybody.
pub(super) fn leave() -> ! {
    #[expect(unsafe_code, reason = "leaves a forked child without what the parent registered for its exit")]
    unsafe {
        libc::_exit(0)
    }
}

/// Waits for a child; its status.
pub(super) fn wait(child: i32) -> io::Result<i32> {
    let mut status = 0;
    loop {
        #[expect(unsafe_code, reason = "waits for a child of ours")]
        let done = unsafe { libc::waitpid(child, &raw mut status, 0) };
        match check(done) {
            Ok(_) => return Ok(status),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
}

fn own_group() {
    #[expect(unsafe_code, reason = "a plain system call")]
    unsafe {
        libc::setpgid(0, 0);
    }
}

/// Ends the attempt and what it has left behind.
fn end_group(child: i32) {
    #[expect(unsafe_code, reason = "signals a child of ours and its group, which is not reaped yet")]
    unsafe {
        libc::kill(-child, libc::SIGKILL);
        libc::kill(child, libc::SIGKILL);
    }
}

fn readable(file: &File, within: std::time::Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let millis = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    #[expect(unsafe_code, reason = "poll on one descriptor that we own")]
    let ready = unsafe { libc::poll(&raw mut poll, 1, millis.max(1)) };
    check(ready).map(|ready| ready > 0)
}

pub(super) fn check(answer: i32) -> io::Result<i32> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
