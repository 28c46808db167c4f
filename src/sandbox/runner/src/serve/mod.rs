//! The runner: serves one session over one socket, in one thread that waits for whatever happens next.

mod audit;
mod beneath;
pub(crate) mod bounds;
mod bridge;
mod cgroup;
mod command;
mod confine;
mod crowd;
mod direct;
mod environment;
pub(crate) mod etc;
mod family;
pub(crate) mod fault;
mod init;
pub(crate) mod kernel;
mod launch;
mod modes;
mod namespaces;
pub(crate) mod options;
mod processors;
mod promises;
pub(crate) mod protect;
mod report;
pub(crate) mod root;
mod rules;
mod scratch;
mod session;
mod setup;
mod shortage;
mod sweep;
pub(crate) mod unit;
mod wire;

use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::{Duration, Instant},
};

use assistant_sandbox::{
    protocol::{End, Exec, Frame, Kind, Level, Signal},
    seccomp::Listener,
};
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::stat::Mode,
    unistd,
};

use self::{
    command::Command,
    fault::Fault,
    launch::unavailable,
    options::{Options, Proxy},
    session::Session,
    wire::Wire,
};

/// How often the runner looks what a command holds and leaves.
const LOOK: Duration = Duration::from_millis(200);

/// Serves until the other side closes.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    kernel::stop_ignoring_signals();
    let socket = take_socket(options.connect.as_deref())?;
    let mut runner = Runner {
        wire: Wire::new(socket, options.proxy == Some(Proxy::Passed))?,
        session: Session::enter(options),
        options,
        begun: Instant::now(),
        command: None,
        leaving: Vec::new(),
    };
    let ready = match &runner.session {
        Ok(session) => promises::of(session),
        Err(fault) => promises::nothing(fault),
    };
    runner.wire.send_json(Kind::Ready, &ready)?;
    let outcome = runner.serve();
    if let Some(command) = runner.command.take() {
        let level = command.level();
        command.abandon()?;
        if let Ok(session) = &runner.session {
            session.mend(level);
        }
    }
    outcome
}

/// The socket becomes a descriptor of our own, and nothing else stays open that we were given.
fn take_socket(connect: Option<&Path>) -> io::Result<OwnedFd> {
    kernel::close_from(3)?;
    let socket = match connect {
        Some(path) => UnixStream::connect(path)?.into(),
        None => io::stdin().as_fd().try_clone_to_owned()?,
    };
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    unistd::dup2_stdin(null)?;
    Ok(socket)
}

struct Runner<'a> {
    wire: Wire,
    session: Result<Session, Fault>,
    options: &'a Options,
    begun: Instant,
    command: Option<Command>,
    /// First processes of ended commands that the kernel is still clearing away.
    leaving: Vec<(i32, OwnedFd)>,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Wire,
    Report,
    Refusal,
    Stdin,
    Stdout,
    Stderr,
    Gone,
    Left,
    Bridge(bridge::Place),
}

impl Runner<'_> {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let events = self.wait()?;
            for (source, flags) in events {
                if !self.on(source, flags)? {
                    return Ok(());
                }
            }
            if let Ok(Session { bridge: Ok(bridge), .. }) = &mut self.session {
                if self.command.is_some() { bridge.tidy() } else { bridge.clear() }
            }
            if let Some(command) = &mut self.command {
                command.look_around();
            }
            if let Some(command) = &mut self.command
                && command.deadline().is_some_and(|deadline| deadline <= Instant::now())
            {
                command.kill(End::TimedOut);
            }
        }
    }

    /// What has happened, in an order in which each may be handled: what a command said before that it ended.
    fn wait(&self) -> io::Result<Vec<(Source, PollFlags)>> {
        let input = PollFlags::POLLIN;
        let mut sources = Vec::with_capacity(8);
        let wanted = if self.wire.waiting() { input | PollFlags::POLLOUT } else { input };
        sources.push((Source::Wire, PollFd::new(self.wire.as_fd(), wanted)));
        if let Some(command) = &self.command {
            let process = command.process();
            let mut watch = |source, fd, wanted| sources.push((source, PollFd::new(fd, wanted)));
            if let Some(channel) = &process.channel {
                watch(Source::Report, channel.as_fd(), input);
            }
            if let Some(listener) = process.listener.as_ref().and_then(Listener::fd) {
                watch(Source::Refusal, listener, input);
            }
            if let (Some(stdin), true) = (&process.stdin, command.has_input()) {
                watch(Source::Stdin, stdin.as_fd(), PollFlags::POLLOUT);
            }
            // It may say something before we hear that it runs.
            if self.wire.has_room() && command.has_started() {
                for (source, stream) in [(Source::Stdout, &process.stdout), (Source::Stderr, &process.stderr)] {
                    if let Some(stream) = stream {
                        watch(source, stream.as_fd(), input);
                    }
                }
            }
            watch(Source::Gone, process.pidfd.as_fd(), input);
            if let (Level::WorkNet, Ok(Session { bridge: Ok(bridge), .. })) = (command.level(), &self.session) {
                bridge.watch(|place, fd, wanted| watch(Source::Bridge(place), fd, wanted));
            }
        }
        sources.extend(self.leaving.iter().map(|(_, pidfd)| (Source::Left, PollFd::new(pidfd.as_fd(), input))));

        let deadline = self.command.as_ref().and_then(Command::deadline);
        let mut wait =
            deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        if self.command.is_some() {
            wait = Some(wait.map_or(LOOK, |wait| wait.min(LOOK)));
        }
        let timeout = wait.map_or(PollTimeout::NONE, |wait| PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX));
        let (names, mut fds): (Vec<_>, Vec<_>) = sources.into_iter().unzip();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        Ok(names.into_iter().zip(flags).filter(|(_, flags)| !flags.is_empty()).collect())
    }

    /// Handles one event. False: the session is over.
    fn on(&mut self, source: Source, flags: PollFlags) -> io::Result<bool> {
        if source == Source::Wire {
            return self.on_wire(flags);
        }
        if source == Source::Left {
            self.leaving.retain(|(pid, _)| matches!(kernel::wait_child(*pid, false), Ok(None)));
            return Ok(true);
        }
        let (Some(command), Ok(session)) = (&mut self.command, &mut self.session) else { return Ok(true) };
        let mut gone = false;
        match source {
            Source::Wire | Source::Left => {}
            Source::Bridge(place) => {
                if let Ok(bridge) = &mut session.bridge {
                    bridge.on(place);
                }
                return Ok(true);
            }
            Source::Report => {
                if let Some(refused) = command.hear_report(session, &mut self.wire)? {
                    self.command = None;
                    self.wire.send_json(Kind::Refused, &refused)?;
                    return Ok(true);
                }
            }
            Source::Refusal => command.hear_refusals(),
            Source::Stdin => command.pass_input(&mut self.wire)?,
            Source::Stdout => drop(command.forward(Kind::Stdout, &mut self.wire)?),
            Source::Stderr => drop(command.forward(Kind::Stderr, &mut self.wire)?),
            Source::Gone => gone = true,
        }
        // Its last report comes before its end, but may have come after this round's look at the channel.
        if (gone || command.has_ended())
            && let Some(refused) = command.hear_report(session, &mut self.wire)?
        {
            self.command = None;
            self.wire.send_json(Kind::Refused, &refused)?;
            return Ok(true);
        }
        match command.finish(gone, &mut self.wire)? {
            None => {}
            Some(Ok(exit)) => {
                session.mend(command.level());
                let longest = session.limits.time();
                self.wire.send_json(Kind::Exit, &exit)?;
                self.leaving.extend(self.command.take().and_then(Command::into_leaving));
                let end = self.options.session_seconds.map(Duration::from_secs);
                return Ok(end.is_none_or(|end| self.begun.elapsed() + longest <= end));
            }
            Some(Err(refused)) => {
                self.command = None;
                self.wire.send_json(Kind::Refused, &refused)?;
            }
        }
        Ok(true)
    }

    fn on_wire(&mut self, flags: PollFlags) -> io::Result<bool> {
        if flags.contains(PollFlags::POLLOUT) && !self.wire.flush()? {
            return Ok(false);
        }
        if flags.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) && !self.wire.receive()? {
            return Ok(false);
        }
        while let Some(frame) = self.wire.next()? {
            if frame.kind == Kind::Close {
                return Ok(false);
            }
            self.on_frame(&frame)?;
        }
        Ok(true)
    }

    fn on_frame(&mut self, frame: &Frame) -> io::Result<()> {
        match (frame.kind, &mut self.command) {
            (Kind::Exec, Some(_)) => Err(io::Error::other("an exec frame while a command runs")),
            (Kind::Exec, None) => self.exec(frame.parse()?),
            (Kind::Stdin, Some(command)) => command.feed(&frame.body, &mut self.wire),
            (Kind::StdinEnd, Some(command)) => command.end_input(&mut self.wire),
            (Kind::Signal, Some(command)) => {
                command.signal(frame.parse::<Signal>()?);
                Ok(())
            }
            (Kind::Proxy, None) => {
                let passed =
                    self.wire.take_passed().ok_or_else(|| io::Error::other("a proxy frame without a descriptor"))?;
                if let Ok(Session { bridge: Ok(bridge), .. }) = &mut self.session {
                    bridge.take(passed);
                }
                Ok(())
            }
            // Meant for a command that has ended meanwhile.
            (Kind::Stdin | Kind::StdinEnd | Kind::Signal, None) => Ok(()),
            (kind, _) => Err(io::Error::other(format!("a {kind:?} frame is not for a runner"))),
        }
    }

    fn exec(&mut self, exec: Exec) -> io::Result<()> {
        let started = match &mut self.session {
            Ok(session) => Command::start(session, exec),
            Err(fault) => Err(unavailable(fault)),
        };
        match started {
            Ok(command) => {
                self.command = Some(command);
                Ok(())
            }
            Err(refused) => self.wire.send_json(Kind::Refused, &refused),
        }
    }
}
