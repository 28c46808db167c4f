//! One command, seen from the runner: how it is started, what goes in and out, how it ends.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    rc::Rc,
    time::{Duration, Instant},
};

use assistant_sandbox::{
    protocol::{Denial, End, Exec, Exit, Kind, Level, Limits, Refused, STDIN_WINDOW, Signal, Started, Taken},
    seccomp::{Listener, Tally},
};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{MsgFlags, send},
    unistd::write,
};

use super::{
    LOOK,
    audit::Trail,
    bounds::Bounds,
    cgroup::Group,
    crowd, family,
    fault::Fault,
    kernel::{self, Usage},
    launch::{Process, bounded, invalid, launch, unavailable},
    report::{Heard, Report, Step, hear},
    session::Session,
    shortage,
    sweep::Sweep,
    wire::Wire,
};

/// How often a command is prepared anew because another session moved a protected path meanwhile.
const ATTEMPTS: u32 = 8;

/// A command that is being started, runs, or is being ended.
pub(crate) struct Command {
    exec: Exec,
    limits: Limits,
    process: Process,
    attempts: u32,
    started: bool,
    begun: Instant,
    /// Processes that the kernel had ended for want of memory by then; none where its count tells nothing, or the first
    /// process of a namespace would be among them.
    shortages: Option<u64>,
    /// Of the unit that it runs in.
    bounds: Bounds,
    /// The session's control group.
    group: Option<Rc<Group>>,
    /// When its memory and its processes were last looked at.
    looked: Instant,
    /// Processes that the kernel counts together with its own; none where it counts those of others as well.
    counted: Option<u64>,
    /// Whether it had too many processes then.
    crowded: bool,
    end: Option<End>,
    ended: Option<(i32, Usage)>,
    said: u64,
    unsent: VecDeque<u8>,
    stdin_over: bool,
    tally: Tally,
    /// What Landlock refused, where that can be read.
    trail: Option<Trail>,
    sweep: Sweep,
}

impl Command {
    pub(crate) fn start(session: &mut Session, exec: Exec) -> Result<Self, Refused> {
        let limits = bounded(exec.limits, session.limits);
        let counts = session.group.is_some() || session.sweep != Sweep::Namespace;
        let trail = session.audit.as_ref().map(|log| Trail::begin(log, exec.level));
        let process = launch(session, &exec, &limits)?;
        Ok(Self {
            exec,
            limits,
            process,
            attempts: 1,
            started: false,
            begun: Instant::now(),
            shortages: counts.then(|| shortage::ended(session.group.as_deref(), &session.bounds)).flatten(),
            bounds: session.bounds.clone(),
            group: session.group.clone(),
            looked: Instant::now(),
            counted: session.counted(),
            crowded: false,
            end: None,
            ended: None,
            said: 0,
            unsent: VecDeque::new(),
            stdin_over: false,
            tally: Tally::default(),
            trail,
            sweep: session.sweep,
        })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn level(&self) -> Level {
        self.exec.level
    }

    /// Whether there is input for it that its pipe has not taken.
    pub(crate) fn has_input(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether the daemon has been told that it runs.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    /// Whether its end has been seen.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// When it must have ended.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.end.is_none().then(|| self.begun + self.limits.time())
    }

    /// Ends it with all of its processes, for this reason.
    pub(crate) fn kill(&mut self, reason: End) {
        self.end.get_or_insert(reason);
        // The first process of a pid namespace takes all others with it; elsewhere they are ended one by one.
        let _ = kernel::signal_process(self.process.pidfd.as_fd(), libc::SIGKILL);
        self.sweep.strike();
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        if signal.number == libc::SIGKILL {
            return self.kill(End::Cancelled);
        }
        if self.sweep != Sweep::Namespace {
            let _ = kernel::signal_process(self.process.pidfd.as_fd(), signal.number);
        } else if let (Some(channel), Ok(number)) = (&self.process.channel, u8::try_from(signal.number)) {
            let _ = send(channel.as_raw_fd(), &[number], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
        }
    }

    /// Takes bytes for its standard input.
    pub(crate) fn feed(&mut self, bytes: &[u8], wire: &mut Wire) -> io::Result<()> {
        if self.unsent.len() + bytes.len() > STDIN_WINDOW {
            return Err(io::Error::other(format!(
                "more than {STDIN_WINDOW} bytes of standard input ahead of the command"
            )));
        }
        self.unsent.extend(bytes);
        self.pass_input(wire)
    }

    pub(crate) fn end_input(&mut self, wire: &mut Wire) -> io::Result<()> {
        self.stdin_over = true;
        self.pass_input(wire)
    }

    /// Writes what waits to its pipe, as much as goes.
    pub(crate) fn pass_input(&mut self, wire: &mut Wire) -> io::Result<()> {
        let mut taken = 0;
        while !self.unsent.is_empty() {
            let Some(pipe) = &self.process.stdin else {
                taken += self.unsent.len();
                self.unsent.clear();
                break;
            };
            match write(pipe, self.unsent.as_slices().0) {
                Ok(written) => {
                    self.unsent.drain(..written);
                    taken += written;
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(_) => self.process.stdin = None,
            }
        }
        if self.stdin_over && self.unsent.is_empty() {
            self.process.stdin = None;
        }
        if taken > 0 { wire.send_json(Kind::Taken, &Taken { bytes: taken as u64 }) } else { Ok(()) }
    }

    /// Forwards what it said on one stream; false when the stream is over or has nothing now.
    pub(crate) fn forward(&mut self, kind: Kind, wire: &mut Wire) -> io::Result<bool> {
        let stream = if kind == Kind::Stdout { &mut self.process.stdout } else { &mut self.process.stderr };
        let Some(pipe) = stream else { return Ok(false) };
        let length = match wire.read_from(pipe.as_fd()) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Ok(0) | Err(_) => {
                *stream = None;
                return Ok(false);
            }
            Ok(length) => length,
        };
        let room = usize::try_from(self.limits.output_bytes - self.said).unwrap_or(usize::MAX);
        let allowed = length.min(room);
        self.said += allowed as u64;
        if allowed > 0 {
            wire.forward(kind, allowed)?;
        }
        if length > room && self.end != Some(End::TooMuchOutput) {
            self.kill(End::TooMuchOutput);
            self.end = Some(End::TooMuchOutput);
        }
        Ok(true)
    }

    /// Counts what the filter refused.
    pub(crate) fn hear_refusals(&mut self) {
        let Some(listener) = &mut self.process.listener else { return };
        while let Some(denied) = listener.receive() {
            self.tally.add(&denied);
        }
        if listener.fd().is_none() {
            self.process.listener = None;
        }
    }

    /// Takes what its first process reports. A refusal means that nothing has run.
    pub(crate) fn hear_report(&mut self, session: &mut Session, wire: &mut Wire) -> io::Result<Option<Refused>> {
        while let Some(channel) = &self.process.channel {
            match hear(channel.as_fd())? {
                Heard::Nothing => break,
                Heard::End => {
                    self.process.channel = None;
                    // Without a first process of a namespace the exec itself closes the channel.
                    if self.sweep != Sweep::Namespace {
                        self.on_started(self.process.pid, wire)?;
                    }
                }
                Heard::Listener(fd, sender) => {
                    self.process.listener = Some(Listener::new(fd));
                    if let (Some(trail), Some(sender)) = (&mut self.trail, sender) {
                        trail.made_by(sender);
                    }
                }
                Heard::Report(Report::Started { pid }) => {
                    self.on_started(pid, wire)?;
                }
                Heard::Report(Report::Ended { status, usage }) => self.ended = Some((status, usage)),
                Heard::Report(Report::Failed { step, index, errno }) => {
                    let _ = kernel::wait_child(self.process.pid, true);
                    let errno = Errno::from_raw(errno);
                    if step == Step::Protect && self.attempts < ATTEMPTS && self.end.is_none() {
                        self.attempts += 1;
                        match launch(session, &self.exec, &self.limits) {
                            Ok(process) => self.process = process,
                            Err(refused) => return Ok(Some(refused)),
                        }
                        return Ok(None);
                    }
                    return Ok(Some(self.refusal(step, index, errno)));
                }
            }
        }
        Ok(None)
    }

    fn on_started(&mut self, pid: i32, wire: &mut Wire) -> io::Result<()> {
        self.started = true;
        let notes = self.process.note.take().into_iter().collect();
        wire.send_json(Kind::Started, &Started { pid, notes })
    }

    fn refusal(&self, step: Step, index: usize, errno: Errno) -> Refused {
        let program = self.exec.argv.first().map_or("", String::as_str);
        match step {
            Step::Exec if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) => {
                Refused { message: format!("argv: `{program}` was not found"), kind: "not_found".to_owned() }
            }
            Step::Exec => {
                let message = format!("argv: `{program}` cannot be run: {}", errno.desc());
                Refused { message, kind: "not_executable".to_owned() }
            }
            Step::WorkingDirectory => {
                let reason = if errno == Errno::EXDEV { "leads out of the workspace" } else { errno.desc() };
                invalid(format!("cwd: `{}`: {reason}", self.exec.cwd))
            }
            Step::Protect => {
                let path =
                    self.process.protected.get(index).map_or_else(Default::default, |path| path.to_string_lossy());
                unavailable(&Fault::new(format!("protecting `{path}`"), errno.desc()))
            }
            _ => unavailable(&Fault::new(format!("{step:?}").to_lowercase(), errno.desc())),
        }
    }

    /// How it ended, once nothing of it is left; `gone` when its first process has been seen to end.
    pub(crate) fn finish(&mut self, gone: bool, wire: &mut Wire) -> io::Result<Option<Result<Exit, Refused>>> {
        let (status, usage) = match (self.ended, gone) {
            (Some(ended), _) => ended,
            (None, false) => return Ok(None),
            // Not yet: what was seen to end was the first process of an attempt before this one.
            (None, true) => match kernel::wait_child(self.process.pid, false)? {
                Some((_, status, usage)) => (status, usage),
                None => return Ok(None),
            },
        };
        let usage = usage.with(self.sweep.finish()?);
        if !self.started && self.end.is_none() {
            return Ok(Some(Err(unavailable(&Fault::new("start", "the first process ended before the command")))));
        }
        self.hear_refusals();
        while self.forward(Kind::Stdout, wire)? {}
        while self.forward(Kind::Stderr, wire)? {}
        let killed = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
        // Nobody but the kernel, short of memory, ends the first process of a namespace.
        let alone = self.ended.is_none() && self.sweep == Sweep::Namespace;
        // 137 is what a shell says of a program that was ended so.
        let struck = killed == Some(libc::SIGKILL) || (libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 137);
        let short = (struck || self.is_counted()) && self.is_short();
        let by_itself = if alone || short { End::OutOfMemory } else { End::Exited };
        let end = self.end.unwrap_or(by_itself);
        if end == End::OutOfMemory && self.sweep != Sweep::Descendants {
            family::remove_segments();
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Ok(Some(Ok(Exit {
            end,
            code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
            signal: killed,
            duration_ms: millis(self.begun.elapsed()),
            cpu_ms: usage.cpu_ms,
            peak_bytes: usage.peak_bytes,
            denials: self.denials(status == 0),
        })))
    }

    fn denials(&mut self, succeeded: bool) -> Vec<Denial> {
        let by_landlock = self.trail.as_mut().map(|trail| trail.end(succeeded)).unwrap_or_default();
        self.tally.denials().into_iter().chain(by_landlock).collect()
    }

    /// Whether the kernel counts for this session alone.
    fn is_counted(&self) -> bool {
        self.group.is_some() || self.bounds.kills().is_some()
    }

    /// Whether the kernel has ended a process for want of memory since it began.
    fn is_short(&self) -> bool {
        let ended = || shortage::ended(self.group.as_deref(), &self.bounds);
        self.shortages.is_some_and(|before| ended() > Some(before))
    }

    /// Takes the ended among those whose parents left them to us, and now and then looks what memory and how many processes it has.
    pub(crate) fn look_around(&mut self) {
        if let Some(trail) = &mut self.trail {
            trail.follow();
        }
        if self.sweep != Sweep::Namespace {
            while let Ok(Some((pid, status, usage))) = kernel::wait_child(-1, false) {
                if pid == self.process.pid {
                    self.ended = Some((status, usage));
                }
            }
        }
        if self.looked.elapsed() < LOOK || self.ended.is_some() || self.end.is_some() {
            return;
        }
        self.looked = Instant::now();
        if self.is_counted() && self.is_short() {
            return self.kill(End::OutOfMemory);
        }
        let of = if self.sweep == Sweep::Namespace { self.process.pid } else { std::process::id().cast_signed() };
        let most = self.limits.memory_bytes;
        if family::memory_below(of, most, self.sweep != Sweep::Descendants) > most {
            return self.kill(End::OutOfMemory);
        }
        // The kernel refuses it more; one that takes the refusal and ends some, or itself, is left to do so.
        let crowded = self.counted.is_some_and(|others| crowd::is_over(self.limits.processes, others));
        if crowded && self.crowded {
            self.kill(End::TooManyProcesses);
        }
        self.crowded = crowded;
    }

    /// Its first process if that is still to be waited for.
    pub(crate) fn into_leaving(self) -> Option<(i32, OwnedFd)> {
        let waits = self.sweep == Sweep::Namespace && self.ended.is_some();
        waits.then_some((self.process.pid, self.process.pidfd))
    }

    /// Ends everything, and waits for it.
    pub(crate) fn abandon(mut self) -> io::Result<()> {
        self.kill(End::Cancelled);
        let _ = kernel::wait_child(self.process.pid, true);
        self.sweep.finish().map(drop)
    }
}
