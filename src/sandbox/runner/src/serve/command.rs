//! One command, seen from the runner: how it is started, what goes in and out, how it ends.

use std::{
    collections::VecDeque,
    ffi::CString,
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use assistant_sandbox::{
    protocol::{CHUNK, End, Exec, Exit, Kind, Level, Limits, Refused, STDIN_WINDOW, Signal, Started, Taken},
    seccomp::{Listener, Tally},
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl, open},
    libc,
    sys::{
        resource::{Resource, getrlimit},
        socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair},
        stat::Mode,
    },
    unistd::{pipe2, read, write},
};

use super::{
    confine::{Confinement, Image},
    environment,
    fault::{At as _, Fault},
    init::{self, Setup},
    kernel::{self, Usage},
    options::Options,
    protect,
    report::{Heard, Report, Step, hear},
    session::Session,
    wire::Wire,
};

/// How often a command is prepared anew because another session moved a protected path meanwhile.
const ATTEMPTS: u32 = 8;

/// Open files of one process.
const FILES: u64 = 8192;

/// A command that is being started, runs, or is being ended.
pub(crate) struct Command {
    exec: Exec,
    limits: Limits,
    process: Process,
    attempts: u32,
    started: bool,
    begun: Instant,
    end: Option<End>,
    ended: Option<(i32, Usage)>,
    said: u64,
    unsent: VecDeque<u8>,
    stdin_over: bool,
    tally: Tally,
}

/// What stands for it in the kernel.
pub(crate) struct Process {
    pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) channel: Option<OwnedFd>,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) listener: Option<Listener>,
    protected: Vec<CString>,
    note: Option<String>,
}

/// A refusal for a reason in the frame.
fn invalid(message: impl Into<String>) -> Refused {
    Refused { message: message.into(), kind: "validation".to_owned() }
}

/// A refusal because a wall could not be built.
pub(crate) fn unavailable(fault: &Fault) -> Refused {
    Refused { message: fault.to_string(), kind: "unavailable".to_owned() }
}

impl Command {
    pub(crate) fn start(session: &mut Session, options: &Options, exec: Exec) -> Result<Self, Refused> {
        let limits = bounded(exec.limits, options.limits);
        let process = launch(session, options, &exec, &limits)?;
        Ok(Self {
            exec,
            limits,
            process,
            attempts: 1,
            started: false,
            begun: Instant::now(),
            end: None,
            ended: None,
            said: 0,
            unsent: VecDeque::new(),
            stdin_over: false,
            tally: Tally::default(),
        })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Whether there is input for it that its pipe has not taken.
    pub(crate) fn has_input(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// When it must have ended.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.end.is_none().then(|| self.begun + self.limits.time())
    }

    /// Ends it with all of its processes, for this reason.
    pub(crate) fn kill(&mut self, reason: End) {
        self.end.get_or_insert(reason);
        let _ = kernel::signal_process(self.process.pidfd.as_fd(), libc::SIGKILL);
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        if signal.number == libc::SIGKILL {
            return self.kill(End::Cancelled);
        }
        if let (Some(channel), Ok(number)) = (&self.process.channel, u8::try_from(signal.number)) {
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
        let mut chunk = vec![0; CHUNK];
        let length = match read(pipe.as_fd(), &mut chunk) {
            Ok(0) => {
                *stream = None;
                return Ok(false);
            }
            Ok(length) => length,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Err(_) => {
                *stream = None;
                return Ok(false);
            }
        };
        let room = usize::try_from(self.limits.output_bytes - self.said).unwrap_or(usize::MAX);
        chunk.truncate(length.min(room));
        self.said += chunk.len() as u64;
        if !chunk.is_empty() {
            wire.send(kind, chunk)?;
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
    pub(crate) fn hear_report(
        &mut self,
        session: &mut Session,
        options: &Options,
        wire: &mut Wire,
    ) -> io::Result<Option<Refused>> {
        let Some(channel) = &self.process.channel else { return Ok(None) };
        match hear(channel.as_fd())? {
            Heard::Nothing => {}
            Heard::End => self.process.channel = None,
            Heard::Listener(fd) => self.process.listener = Some(Listener::new(fd)),
            Heard::Report(Report::Started { pid }) => {
                self.started = true;
                let notes = self.process.note.take().into_iter().collect();
                wire.send_json(Kind::Started, &Started { pid, notes })?;
            }
            Heard::Report(Report::Ended { status, usage }) => self.ended = Some((status, usage)),
            Heard::Report(Report::Failed { step, index, errno }) => {
                let _ = kernel::wait_child(self.process.pid, true);
                let errno = Errno::from_raw(errno);
                if step == Step::Protect && self.attempts < ATTEMPTS && self.end.is_none() {
                    self.attempts += 1;
                    match launch(session, options, &self.exec, &self.limits) {
                        Ok(process) => self.process = process,
                        Err(refused) => return Ok(Some(refused)),
                    }
                    return Ok(None);
                }
                return Ok(Some(self.refusal(step, index, errno)));
            }
        }
        Ok(None)
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
            (None, true) => match kernel::wait_child(self.process.pid, true)? {
                Some((_, status, usage)) => (status, usage),
                None => return Ok(None),
            },
        };
        if !self.started && self.end.is_none() {
            return Ok(Some(Err(unavailable(&Fault::new("start", "the first process ended before the command")))));
        }
        self.hear_refusals();
        while self.forward(Kind::Stdout, wire)? {}
        while self.forward(Kind::Stderr, wire)? {}
        let killed = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
        let by_itself = if self.ended.is_some() { End::Exited } else { End::OutOfMemory };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Ok(Some(Ok(Exit {
            end: self.end.unwrap_or(by_itself),
            code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
            signal: killed,
            duration_ms: millis(self.begun.elapsed()),
            cpu_ms: usage.cpu_ms,
            peak_bytes: usage.peak_bytes,
            denials: self.tally.denials(),
        })))
    }

    /// Its first process, which ends by itself, to be waited for some time.
    pub(crate) fn into_leaving(self) -> (i32, OwnedFd) {
        (self.process.pid, self.process.pidfd)
    }
}

fn bounded(asked: Limits, most: Limits) -> Limits {
    Limits {
        seconds: asked.seconds.min(most.seconds),
        memory_bytes: asked.memory_bytes.min(most.memory_bytes),
        processes: asked.processes.min(most.processes),
        cpu_millis: asked.cpu_millis.min(most.cpu_millis),
        tmp_bytes: most.tmp_bytes,
        file_bytes: asked.file_bytes.min(most.file_bytes),
        output_bytes: asked.output_bytes.min(most.output_bytes),
    }
}

fn rlimits(limits: &Limits) -> Result<Vec<(Resource, u64)>, Fault> {
    let asked = [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, FILES),
        (Resource::RLIMIT_FSIZE, limits.file_bytes),
        (Resource::RLIMIT_DATA, limits.memory_bytes),
        // The runner and the first process of the namespace count as well.
        (Resource::RLIMIT_NPROC, limits.processes + 2),
    ];
    asked
        .into_iter()
        .map(|(resource, limit)| Ok((resource, limit.min(getrlimit(resource)?.1))))
        .collect::<nix::Result<_>>()
        .at("limits")
}

fn texts<'a>(field: &str, texts: impl Iterator<Item = &'a str>) -> Result<Vec<CString>, Refused> {
    texts.map(|text| CString::new(text).map_err(|_| invalid(format!("{field}: contains a NUL")))).collect()
}

fn launch(session: &mut Session, options: &Options, exec: &Exec, limits: &Limits) -> Result<Process, Refused> {
    let program = exec.argv.first().ok_or_else(|| invalid("argv: empty"))?;
    let variables = environment::variables(&exec.env).map_err(invalid)?;
    let programs = environment::candidates(program, &variables).map_err(invalid)?;
    let argv = texts("argv", exec.argv.iter().map(String::as_str))?;
    let pairs: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let envp = texts("env", pairs.iter().map(String::as_str))?;
    let cwd = if exec.cwd.is_empty() { "." } else { &exec.cwd };
    if cwd.starts_with('/') {
        return Err(invalid(format!("cwd: `{cwd}` is not relative to the workspace")));
    }
    let working_directory = CString::new(cwd).map_err(|_| invalid("cwd: contains a NUL"))?;
    let image = Image::new(programs, argv, envp);
    prepare(session, options, exec, limits, image, working_directory).map_err(|fault| unavailable(&fault))
}

fn prepare(
    session: &mut Session,
    options: &Options,
    exec: &Exec,
    limits: &Limits,
    image: Image,
    working_directory: CString,
) -> Result<Process, Fault> {
    let read_only = exec.level == Level::Read;
    let plan =
        if read_only { protect::Plan::default() } else { protect::plan(session.workspace.as_fd(), &options.protect)? };
    let (stdin, ours_in) = if exec.stdin {
        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC).at("pipe")?;
        (theirs, Some(unblocked(ours)?))
    } else {
        (open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).at("/dev/null")?, None)
    };
    let (ours_out, stdout) = pipe2(OFlag::O_CLOEXEC).at("pipe")?;
    let (ours_err, stderr) = pipe2(OFlag::O_CLOEXEC).at("pipe")?;
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).at("socketpair")?;
    let setup = Setup {
        confinement: Confinement {
            pointers: image.pointers(),
            image,
            stdin,
            stdout,
            stderr,
            channel: theirs,
            rlimits: rlimits(limits)?,
            walls: session.walls(exec.level)?,
            processors: session.processors,
        },
        proc: session.proc,
        read_only,
        holds: plan.holds,
        working_directory,
    };
    session.processors.stay();
    let forked = kernel::fork_with(libc::CLONE_NEWPID | libc::CLONE_NEWNS);
    if forked.as_ref().is_ok_and(Option::is_none) {
        init::run(&setup, &mut session.stack);
    }
    session.processors.roam();
    let (pid, pidfd) = forked.transpose().unwrap_or(Err(Errno::ECHILD)).at("pid namespace")?;
    Ok(Process {
        pid,
        pidfd,
        channel: Some(ours),
        stdin: ours_in,
        stdout: Some(unblocked(ours_out)?),
        stderr: Some(unblocked(ours_err)?),
        listener: None,
        protected: setup.holds.into_iter().map(|(path, _)| path).collect(),
        note: plan.note,
    })
}

fn unblocked(fd: OwnedFd) -> Result<OwnedFd, Fault> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).at("pipe")?;
    Ok(fd)
}
