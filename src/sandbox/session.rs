//! A session with a runner: one socket, commands one after another. Dropping it ends everything that runs in it.

use std::{
    os::fd::AsRawFd as _,
    process::Stdio,
    time::{Duration, Instant},
};

use assistant_sandbox::protocol::{
    self, CHUNK, End, Exec, Exit, Frame, Kind, Over, Ready, Refused, STDIN_WINDOW, Taken,
};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
    sync::{Semaphore, mpsc},
};

use crate::error::{Error, ErrorKind, Result};

#[cfg(test)]
mod tests;

/// What a runner gets to begin, on a machine that is busy as well.
const READY_TIME: Duration = Duration::from_secs(30);
/// What a runner gets beyond a command's own time to end it and say so.
const MARGIN: Duration = Duration::from_secs(10);

/// Bytes of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// It runs; everything that was asked for is in force.
    Started,
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
}

/// What is sent to a running command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    Stdin(Vec<u8>),
    /// The end of its standard input.
    End,
    /// A signal for its first process; 9 ends all of them.
    Signal(i32),
}

/// How a command ended, as far as that is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    Exited(Exit),
    /// Nothing was run.
    Refused(Refused),
}

/// A runner that waits for its next command.
#[derive(Debug)]
pub(super) struct Session {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    /// What it promised when it began.
    pub(super) ready: Ready,
    /// Whether a frame to the runner was begun and not finished: nothing can follow it.
    halfway: bool,
    /// The runner's process, where the daemon started it; it ends with the socket.
    _child: Option<Child>,
}

impl Session {
    /// Starts a runner of the daemon's own.
    ///
    /// # Errors
    /// `unavailable`: the program cannot be started, or says why it cannot confine anything.
    pub(super) async fn start(program: &str, arguments: &[String]) -> Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(unstarted)?;
        // Without pre_exec this is posix_spawn: a fork of a large process would cost tens of milliseconds.
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|err| {
                Error::unavailable(format!("the sandbox's runner {program} cannot be started: {err}"))
                    .field("sandbox.runner")
                    .hint("install it, or set sandbox.runner to its path")
            })?;
        ours.set_nonblocking(true).map_err(unstarted)?;
        Self::begin(UnixStream::from_std(ours).map_err(unstarted)?, Some(child)).await
    }

    /// Begins a session on a socket that somebody else's runner listens on.
    ///
    /// # Errors
    /// As [`Session::start`].
    pub(super) async fn begin(socket: UnixStream, mut child: Option<Child>) -> Result<Self> {
        let (mut read, write) = socket.into_split();
        let first = tokio::time::timeout(READY_TIME, next(&mut read)).await;
        let ready: Ready = match first {
            Ok(Ok(Some(frame))) if frame.kind == Kind::Ready => parse(&frame)?,
            Ok(Ok(Some(frame))) if frame.kind == Kind::Refused => {
                return Err(Error::unavailable(parse::<Refused>(&frame)?.message));
            }
            Ok(Ok(Some(frame))) if frame.kind == Kind::Over => return Err(over(&parse(&frame)?)),
            Ok(Ok(Some(frame))) => return Err(broken(&format!("it began with {:?}", frame.kind))),
            Ok(Ok(None)) => return Err(broken(&last_words(child.as_mut()).await)),
            Ok(Err(err)) => return Err(broken(&err.to_string())),
            Err(_) => return Err(broken(&format!("it was not ready within {} s", READY_TIME.as_secs()))),
        };
        if ready.version != protocol::VERSION {
            let (theirs, ours) = (ready.version, protocol::VERSION);
            return Err(broken(&format!("it speaks version {theirs} of the protocol, the daemon {ours}")));
        }
        Ok(Self { read, write, ready, halfway: false, _child: child })
    }

    /// Whether another command can follow: the runner is there, waits, and has nothing more to say of the last one.
    pub(super) fn is_reusable(&self) -> bool {
        let socket: &UnixStream = self.read.as_ref();
        let waiting = recv(socket.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
        !self.halfway && waiting == Err(Errno::EAGAIN)
    }

    /// Runs one command. A future that is dropped half-way leaves a session that must be dropped, too.
    ///
    /// # Errors
    /// In doubt, when the runner went away or broke the protocol: nobody knows what became of the command, and the session
    /// is not to be used again.
    pub(super) async fn run(
        &mut self,
        exec: &Exec,
        input: mpsc::Receiver<Input>,
        output: mpsc::Sender<Output>,
    ) -> Result<Ended> {
        self.converse(exec, input, output).await.map_err(Error::in_doubt)
    }

    async fn converse(
        &mut self,
        exec: &Exec,
        mut input: mpsc::Receiver<Input>,
        output: mpsc::Sender<Output>,
    ) -> Result<Ended> {
        let (time, begun) = (exec.limits.time() + MARGIN, Instant::now());
        let deadline = tokio::time::Instant::now() + time;
        send(&mut self.write, json(Kind::Exec, exec)?).await?;
        let (read, write, halfway) = (&mut self.read, &mut self.write, &mut self.halfway);
        // Input goes out no faster than the command takes it.
        let window = Semaphore::new(STDIN_WINDOW);
        // Frames are read whole in a future that is never dropped between two of them.
        let outcome = async {
            loop {
                let Some(frame) = next(read).await.map_err(|err| broken(&err.to_string()))? else {
                    return Err(broken("it went away"));
                };
                let said = match frame.kind {
                    Kind::Started => Output::Started,
                    Kind::Stdout => Output::Stdout(frame.body),
                    Kind::Stderr => Output::Stderr(frame.body),
                    Kind::Exit => return Ok(Ended::Exited(parse(&frame)?)),
                    Kind::Refused => return Ok(Ended::Refused(parse(&frame)?)),
                    Kind::Over => return ended_with_unit(&parse(&frame)?, begun.elapsed()),
                    Kind::Taken => {
                        let taken = usize::try_from(parse::<Taken>(&frame)?.bytes).unwrap_or(usize::MAX);
                        window.add_permits(taken.min(STDIN_WINDOW));
                        continue;
                    }
                    other => return Err(broken(&format!("it sent {other:?}"))),
                };
                let _ = output.send(said).await; // nobody listens: the command goes on all the same
            }
        };
        let feed = async {
            while let Some(input) = input.recv().await {
                if let Input::Stdin(bytes) = &input {
                    for chunk in bytes.chunks(CHUNK) {
                        let room = u32::try_from(chunk.len()).map_err(Error::internal)?;
                        window.acquire_many(room).await.map_err(Error::internal)?.forget();
                        *halfway = true;
                        send(write, Frame { kind: Kind::Stdin, body: chunk.to_vec() }).await?;
                        *halfway = false;
                    }
                    continue;
                }
                *halfway = true;
                match input {
                    Input::Stdin(_) => {}
                    Input::End => send(write, Frame { kind: Kind::StdinEnd, body: Vec::new() }).await?,
                    Input::Signal(number) => {
                        send(write, json(Kind::Signal, &protocol::Signal { number })?).await?;
                    }
                }
                *halfway = false;
            }
            // Nobody sends any more; what became of the command is told by the other half.
            std::future::pending::<Result<()>>().await
        };
        tokio::select! {
            ended = outcome => ended,
            Err(_) = feed => Err(broken("it takes no more input")),
            () = tokio::time::sleep_until(deadline) => {
                Err(broken(&format!("it did not end a command of {} s within {} s", exec.limits.seconds, time.as_secs())))
            }
        }
    }
}

async fn send(write: &mut OwnedWriteHalf, frame: Frame) -> Result<()> {
    let bytes = frame.bytes().map_err(|err| broken(&err.to_string()))?;
    write.write_all(&bytes).await.map_err(|err| broken(&err.to_string()))
}

async fn next(read: &mut OwnedReadHalf) -> std::io::Result<Option<Frame>> {
    let mut length = [0; 4];
    match read.read_exact(&mut length).await {
        Ok(_) => {}
        Err(err) if err.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(err) => return Err(err),
    }
    let mut rest = vec![0; protocol::body_length(length)?];
    read.read_exact(&mut rest).await?;
    Frame::from_rest(rest).map(Some)
}

fn json(kind: Kind, body: &impl Serialize) -> Result<Frame> {
    Frame::json(kind, body).map_err(Error::internal)
}

fn parse<T: DeserializeOwned>(frame: &Frame) -> Result<T> {
    frame.parse().map_err(|err| broken(&err.to_string()))
}

fn unstarted(err: std::io::Error) -> Error {
    Error::unavailable("no socket can be made for the sandbox's runner").source(err)
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the sandbox's runner broke off: {what}"))
}

/// What became of a command whose unit has ended, and with it all of its processes. Only of one for which the kernel had no
/// memory that is known; how far another came, nobody knows.
fn ended_with_unit(said: &Over, time: Duration) -> Result<Ended> {
    if said.result != "oom-kill" {
        return Err(over(said));
    }
    Ok(Ended::Exited(Exit {
        end: End::OutOfMemory,
        code: None,
        signal: Some(nix::libc::SIGKILL),
        duration_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        cpu_ms: 0,
        peak_bytes: 0,
        denials: Vec::new(),
    }))
}

/// Why a unit ended, in words. The results are those of systemd.exec(5), `$SERVICE_RESULT`.
fn over(said: &Over) -> Error {
    let Over { result, status } = said;
    let why = match result.as_str() {
        "timeout" => "the time of its session was over (RuntimeMaxSec= of assistant-sandbox@.service)".to_owned(),
        "oom-kill" => "the kernel had no memory left for its session".to_owned(),
        "signal" | "core-dump" => format!("it was ended by the signal {status}"),
        "exit-code" => format!("it ended with the exit code {status}"),
        other => format!("its unit ended: {other}"),
    };
    broken(&why).hint("journalctl -u 'assistant-sandbox@*' -n 50 says more")
}

/// What a runner that ended at once said on its standard error.
async fn last_words(child: Option<&mut Child>) -> String {
    let mut said = Vec::new();
    if let Some(stderr) = child.and_then(|child| child.stderr.take()) {
        let read = async { stderr.take(4096).read_to_end(&mut said).await };
        let _ = tokio::time::timeout(Duration::from_secs(1), read).await; // what came in time is enough
    }
    let text = String::from_utf8_lossy(&said);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    if line.is_empty() { "it ended at once".to_owned() } else { format!("it ended at once: {line}") }
}
