//! The protocol between the daemon and a runner: frames on one stream socket, one runner a session, one command at a time.
//!
//! A frame is a length (`u32`, little endian, of what follows it), a kind (`u8`) and a body. Bodies of control frames are
//! JSON, those of `stdin`, `stdout` and `stderr` are the bytes themselves. The runner says [`Ready`] first. For each
//! [`Exec`] it answers with `started`, output, and one `exit`; or with one `refused`, and nothing has run; or, when it was
//! ended before it began, with `exit` alone. After each it waits for the next. The end of the socket, from either side,
//! ends the session and everything that runs in it.
//!
//! A frame says what to run and how much of it, never where the walls are: workspace, protected paths, uid and backend
//! are arguments of the runner's own.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, IoSlice, Read, Write},
    os::fd::{AsRawFd as _, BorrowedFd},
    time::Duration,
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The number that both sides must share.
pub const VERSION: u32 = 1;

/// Longest frame, in bytes, without its length field.
pub const MAX_FRAME: usize = 1 << 20;

/// Most bytes of output or input that one frame carries.
pub const CHUNK: usize = 64 << 10;

/// Most bytes of standard input that may be sent beyond those that `taken` frames have named. The runner never stops
/// reading its socket, so that a command that does not read can still be ended; it ends the session when this is exceeded.
pub const STDIN_WINDOW: usize = 1 << 20;

/// The port of the command's own loopback at which it finds the egress proxy, at level [`Level::WorkNet`].
pub const PROXY_PORT: u16 = 3128;

/// What a frame means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// To the runner: run this ([`Exec`]).
    Exec = 1,
    /// To the runner: bytes for the command's standard input.
    Stdin = 2,
    /// To the runner: the end of the command's standard input.
    StdinEnd = 3,
    /// To the runner: end the command ([`Signal`]).
    Signal = 4,
    /// To the runner: the session is over.
    Close = 5,
    /// To the runner, if it was started to take it: comes with a descriptor of the egress proxy's socket, opened with
    /// `O_PATH`. Before the first [`Exec`] that needs it.
    Proxy = 6,
    /// From the runner, first of all ([`Ready`]).
    Ready = 16,
    /// From the runner: the command runs, all layers are in force ([`Started`]).
    Started = 17,
    Stdout = 18,
    Stderr = 19,
    /// From the runner: the command and all of its processes are gone ([`Exit`]).
    Exit = 20,
    /// From the runner: nothing has run ([`Refused`]).
    Refused = 21,
    /// From the runner: so much of standard input is out of its hands ([`Taken`]).
    Taken = 22,
    /// From whoever clears up after a unit: it has ended otherwise than because the daemon had closed ([`Over`]).
    Over = 23,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Exec,
        Self::Stdin,
        Self::StdinEnd,
        Self::Signal,
        Self::Close,
        Self::Proxy,
        Self::Ready,
        Self::Started,
        Self::Stdout,
        Self::Stderr,
        Self::Exit,
        Self::Refused,
        Self::Taken,
        Self::Over,
    ];

    /// The kind with this number.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One frame as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub body: Vec<u8>,
}

impl Frame {
    /// A control frame.
    pub fn json(kind: Kind, body: &impl Serialize) -> io::Result<Self> {
        Ok(Self { kind, body: serde_json::to_vec(body)? })
    }

    /// The body of a control frame.
    pub fn parse<T: DeserializeOwned>(&self) -> io::Result<T> {
        serde_json::from_slice(&self.body).map_err(|err| invalid(format!("a {:?} frame: {err}", self.kind)))
    }

    /// The frame as it goes over the socket.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let length = self.body.len() + 1;
        if length > MAX_FRAME {
            return Err(invalid(format!("a frame of {length} bytes is longer than {MAX_FRAME}")));
        }
        let mut bytes = Vec::with_capacity(length + 4);
        bytes.extend_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_le_bytes());
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }

    /// Writes it.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.bytes()?)
    }

    /// Reads the next one; `None` when the other side has closed between two frames.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut length = [0; 4];
        let mut filled = 0;
        while filled < length.len() {
            match from.read(&mut length[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        let mut rest = vec![0; body_length(length)?];
        from.read_exact(&mut rest)?;
        Self::from_rest(rest).map(Some)
    }

    /// What follows the length field, as a frame.
    pub fn from_rest(mut rest: Vec<u8>) -> io::Result<Self> {
        let Some(byte) = rest.first().copied() else { return Err(invalid("a frame without a kind".to_owned())) };
        let kind = Kind::from_byte(byte).ok_or_else(|| invalid(format!("an unknown frame kind: {byte}")))?;
        rest.remove(0);
        Ok(Self { kind, body: rest })
    }
}

/// Sends a [`Kind::Proxy`] frame with its descriptor, as the first thing on `socket`.
pub fn pass_proxy(socket: BorrowedFd<'_>, proxy: BorrowedFd<'_>) -> io::Result<()> {
    let frame = Frame { kind: Kind::Proxy, body: Vec::new() }.bytes()?;
    let descriptors = [proxy.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let sent = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&frame)], &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    if sent == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// The number of bytes that follow this length field.
pub fn body_length(field: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(field) as usize;
    if (1..=MAX_FRAME).contains(&length) {
        Ok(length)
    } else {
        Err(invalid(format!("a frame of {length} bytes; 1 to {MAX_FRAME} are possible")))
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// What a sandbox can promise of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// It reads nothing but the system's programs and the workspace.
    Read,
    /// It writes nothing but the workspace, without its protected paths, and temporary files of its own.
    Write,
    /// It reaches no network but what its level allows.
    Network,
    /// It reaches no Unix socket outside.
    UnixSockets,
    /// It shares no memory, queue or semaphore with anybody outside.
    Ipc,
    /// It signals, traces and inspects no process outside.
    Signals,
    /// It cannot exhaust memory, processes, processor or disk beyond its limits.
    Resources,
    /// It makes only the system calls on the list.
    Syscalls,
}

impl Guarantee {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Network,
        Self::UnixSockets,
        Self::Ipc,
        Self::Signals,
        Self::Resources,
        Self::Syscalls,
    ];
}

/// How much a command may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Workspace read-only, no network.
    Read,
    /// Workspace read-write, no network.
    #[default]
    Work,
    /// As `work`, and HTTP and HTTPS through the egress proxy.
    WorkNet,
    /// As `work`, in a container image.
    Container,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The program and its arguments, never joined into a shell line.
    pub argv: Vec<String>,
    /// Directory relative to the workspace root; empty is the root itself.
    #[serde(default)]
    pub cwd: String,
    /// Variables beside those that the runner sets.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Whether `stdin` frames follow; without, standard input is `/dev/null`.
    #[serde(default)]
    pub stdin: bool,
    #[serde(default)]
    pub level: Level,
    #[serde(default)]
    pub limits: Limits,
    /// What the command shows to the egress proxy; set at level [`Level::WorkNet`] only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_login: Option<Login>,
}

/// Name and secret as they stand in a URL: `job:0123abcd`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Login(pub String);

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// Bounds of one command. The runner never goes above those that it was started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Wall time in seconds.
    pub seconds: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Bytes of `/tmp`.
    pub tmp_bytes: u64,
    /// Bytes of the largest file that it may write.
    pub file_bytes: u64,
    /// Bytes of standard output and standard error together; a command that says more is ended.
    pub output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            seconds: 300,
            memory_bytes: 2 << 30,
            processes: 512,
            cpu_millis: 2000,
            tmp_bytes: 512 << 20,
            file_bytes: 4 << 30,
            output_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// The time bound.
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// What a command may have beyond its bound of processes, so that the runner sees that it stands there.
pub const fn hard_bound(processes: u64) -> u64 {
    processes + processes / 16 + 1
}

/// Tasks of a session that has so many processes for its commands: the runner's own are among them.
pub const fn tasks_of(processes: u64) -> u64 {
    hard_bound(processes) + 4
}

/// The most processes for commands of a session that may have so many tasks.
pub const fn processes_of(tasks: u64) -> u64 {
    let mut processes = tasks.saturating_sub(5) / 17 * 16;
    while tasks_of(processes + 1) <= tasks {
        processes += 1;
    }
    processes
}

/// What the daemon asks of a session that somebody else starts, before it begins: never less protection than the session
/// has by its own configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wishes {
    /// Further paths of the workspace that no command writes.
    #[serde(default)]
    pub protect: Vec<String>,
    /// Bounds; those that are lower count.
    #[serde(default)]
    pub limits: Option<Limits>,
    /// Whether commands of level [`Level::WorkNet`] are to be run: the session's own loopback can then be used.
    #[serde(default)]
    pub net: bool,
}

/// The first frame of a runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// [`VERSION`].
    pub version: u32,
    /// What will be in force for a command of level `work`, each with what gives it.
    pub guarantees: BTreeMap<Guarantee, String>,
    /// What is not, each with the reason and the way out.
    pub missing: BTreeMap<Guarantee, String>,
    /// The Landlock ABI that is in use; 0: none.
    pub landlock_abi: u32,
    /// The directory that commands find as their workspace. Runners that others start have it from their own
    /// configuration, so it is told.
    #[serde(default)]
    pub workspace: Option<Place>,
    /// Paths that no command writes, beside those that are always protected; for the same reason.
    #[serde(default)]
    pub protect: Vec<String>,
    /// The most that a command gets; for the same reason.
    #[serde(default)]
    pub limits: Option<Limits>,
    /// Whether commands of level [`Level::WorkNet`] can be run.
    #[serde(default)]
    pub net: Net,
    /// The runner's process, from which all connections to the egress proxy come; unset where it is numbered otherwise
    /// than outside.
    #[serde(default)]
    pub pid: Option<u32>,
}

/// A unit has ended, and its runner with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// What systemd says became of it, as in `$SERVICE_RESULT` (systemd.exec(5)).
    pub result: String,
    /// How its runner ended: the number of an exit code, or the name of a signal.
    #[serde(default)]
    pub status: String,
}

/// The way to the egress proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Net {
    /// What it leads over.
    Given(String),
    /// Why there is none, and what would help.
    Missing(String),
}

impl Default for Net {
    fn default() -> Self {
        Self::Missing("the runner does not say that it has a way to the egress proxy".to_owned())
    }
}

/// A directory, however it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub device: u64,
    pub inode: u64,
}

/// A command has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its process, in the numbering of its own namespace.
    pub pid: i32,
    /// What a person should know, such as paths that could not be protected.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Standard input that the command's pipe took, or that nobody will read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub bytes: u64,
}

/// How a command is ended by the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Signal number for the command's first process; 9 ends all of its processes.
    pub number: i32,
}

/// How a command ended; all of its processes are gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    pub end: End,
    /// Exit code of its first process, if it exited by itself.
    pub code: Option<i32>,
    /// The signal that ended its first process.
    pub signal: Option<i32>,
    /// Wall time in milliseconds.
    pub duration_ms: u64,
    /// Processor time of all its processes, in milliseconds.
    pub cpu_ms: u64,
    /// Largest resident memory of one of its processes, in bytes.
    pub peak_bytes: u64,
    /// What was refused to it while it ran.
    #[serde(default)]
    pub denials: Vec<Denial>,
}

/// Why a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// By itself, or by a signal of its own.
    Exited,
    /// `limits.seconds` passed.
    TimedOut,
    /// The daemon asked for it.
    Cancelled,
    /// The kernel ended it for memory.
    OutOfMemory,
    /// It came to `limits.output_bytes`.
    TooMuchOutput,
    /// It had more processes and threads than `limits.processes`, and went on.
    TooManyProcesses,
}

/// One kind of action that a layer refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// `seccomp`, `landlock`, `proxy`, `mount` or `limit`.
    pub layer: String,
    /// The system call, path or host.
    pub target: String,
    /// The rule that refused it.
    pub rule: String,
    /// What would allow it, if anything would.
    #[serde(default)]
    pub suggestion: Option<String>,
    /// How often.
    pub count: u64,
}

/// A command that was not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why: field and reason, as a person reads it.
    pub message: String,
    /// `not_found`, `not_executable`, `validation` or `unavailable` (a layer could not be set up).
    pub kind: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_wire() {
        let exec = Exec {
            argv: vec!["true".to_owned()],
            cwd: String::new(),
            env: BTreeMap::new(),
            stdin: false,
            level: Level::WorkNet,
            limits: Limits::default(),
            proxy_login: Some(Login("job:secret".to_owned())),
        };
        let frames = [Frame::json(Kind::Exec, &exec).unwrap(), Frame { kind: Kind::StdinEnd, body: Vec::new() }];
        let mut wire = Vec::new();
        for frame in &frames {
            frame.write(&mut wire).unwrap();
        }
        let mut from = wire.as_slice();
        assert_eq!(Frame::read(&mut from).unwrap().unwrap().parse::<Exec>().unwrap(), exec);
        assert_eq!(Frame::read(&mut from).unwrap().unwrap(), frames[1]);
        assert_eq!(Frame::read(&mut from).unwrap(), None);
    }

    #[test]
    fn what_is_not_a_frame_is_refused() {
        for (wire, reason) in [
            (&[0, 0, 0, 0][..], "a frame of 0 bytes"),
            (&[1, 0, 0, 0, 99], "an unknown frame kind: 99"),
            (&[255, 255, 255, 255, 1], "a frame of 4294967295 bytes"),
            (&[5, 0, 0, 0, 1], ""),
            (&[5, 0], ""),
        ] {
            let err = Frame::read(&mut &*wire).unwrap_err();
            assert!(err.to_string().contains(reason), "{err}");
        }
        assert!(Frame { kind: Kind::Stdout, body: vec![0; MAX_FRAME] }.bytes().is_err());
        let unknown = Frame { kind: Kind::Exec, body: br#"{"argv":["x"],"workspace":"/"}"#.to_vec() };
        assert!(unknown.parse::<Exec>().unwrap_err().to_string().contains("workspace"));
    }
}
