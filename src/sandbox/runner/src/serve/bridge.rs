//! The way out at level `work+net`: a port of the session's own loopback. What comes in there is passed on, byte by byte, to
//! the egress proxy's socket outside, which is open from before the walls stood, and is nowhere in the file system inside.
//!
//! It is served between everything else that the runner waits for, only while a command of that level runs, and every
//! connection ends with the command.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::{fs::FileTypeExt as _, net::UnixStream},
    },
    path::Path,
};

use assistant_sandbox::protocol::PROXY_PORT;
use nix::{
    fcntl::{OFlag, open},
    poll::PollFlags,
    sys::{
        socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
        stat::Mode,
    },
    unistd::{AccessFlags, access},
};

use super::{
    fault::{At as _, Fault},
    kernel,
    options::Backend,
};

/// Connections at a time; further ones wait.
const MOST: usize = 256;

/// Bytes that wait for one end of a connection.
const BUFFER: usize = 32 << 10;

/// The proxy's socket, found before the walls stand: inside there is no path to it.
pub(crate) struct Exit(OwnedFd);

impl Exit {
    pub(crate) fn find(path: &Path) -> Result<Self, Fault> {
        let step = || format!("the egress proxy's socket {}", path.display());
        Self::of(open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).at(step())?, &step())
    }

    fn of(fd: OwnedFd, step: &str) -> Result<Self, Fault> {
        let file = File::from(fd);
        if !file.metadata().at(step)?.file_type().is_socket() {
            return Err(Fault::new(step, "not a socket"));
        }
        Ok(Self(file.into()))
    }

    /// Who may connect is asked beforehand, and nobody is troubled yet: the proxy may be one that starts when needed.
    fn checked(self) -> Result<Self, Fault> {
        access(self.name().as_str(), AccessFlags::W_OK).at("the egress proxy's socket, as the user of commands")?;
        Ok(self)
    }

    /// A name for it, wherever the root is.
    fn name(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }

    fn connect(&self) -> nix::Result<UnixStream> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(stream.as_raw_fd(), &UnixAddr::new(self.name().as_str())?)?;
        Ok(stream.into())
    }
}

/// The port, and the connections that came in there.
pub(crate) struct Bridge {
    exit: Result<Exit, Fault>,
    port: TcpListener,
    pairs: Vec<Pair>,
}

impl Bridge {
    /// Opens the port, once the walls stand. Without an exit, one is still to come.
    pub(crate) fn open(exit: Option<Exit>, backend: Backend) -> Result<Self, Fault> {
        let exit = match exit {
            Some(exit) => Ok(exit.checked()?),
            None => Err(Fault::new("network", "no descriptor of the egress proxy's socket was passed")),
        };
        if backend == Backend::Namespace {
            kernel::loopback_up().at("loopback")?;
        } else {
            no_way_beside()?;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, PROXY_PORT)).at(format!("port {PROXY_PORT}"))?;
        port.set_nonblocking(true).at("port")?;
        Ok(Self { exit, port, pairs: Vec::new() })
    }

    /// Takes the exit that somebody passed.
    pub(crate) fn take(&mut self, fd: OwnedFd) {
        self.exit = Exit::of(fd, "the egress proxy's socket, as it was passed").and_then(Exit::checked);
    }

    /// Why it leads nowhere.
    pub(crate) fn fault(&self) -> Option<&Fault> {
        self.exit.as_ref().err()
    }

    /// What it waits for.
    pub(crate) fn watch<'a>(&'a self, mut watch: impl FnMut(Place, BorrowedFd<'a>, PollFlags)) {
        if self.pairs.len() < MOST {
            watch(Place::Port, self.port.as_fd(), PollFlags::POLLIN);
        }
        for (index, pair) in self.pairs.iter().enumerate() {
            for (fd, incoming, outgoing) in
                [(pair.near.as_fd(), &pair.up, &pair.down), (pair.far.as_fd(), &pair.down, &pair.up)]
            {
                let mut wanted = PollFlags::empty();
                wanted.set(PollFlags::POLLIN, incoming.takes());
                wanted.set(PollFlags::POLLOUT, outgoing.waits());
                // One of which nothing is wanted would only repeat that its other end has gone.
                if !wanted.is_empty() {
                    watch(Place::Pair(index), fd, wanted);
                }
            }
        }
    }

    /// Handles what was waited for; [`Bridge::tidy`] follows when all of a round is handled.
    pub(crate) fn on(&mut self, place: Place) {
        match place {
            Place::Port => {
                while self.pairs.len() < MOST
                    && let Ok((near, _)) = self.port.accept()
                    && let Ok(exit) = &self.exit
                {
                    self.pairs.extend(Pair::new(near, exit));
                }
            }
            Place::Pair(index) => {
                if let Some(pair) = self.pairs.get_mut(index) {
                    pair.pass();
                }
            }
        }
    }

    /// Forgets the connections that are over.
    pub(crate) fn tidy(&mut self) {
        self.pairs.retain(|pair| !pair.over);
    }

    /// Ends all, those that were not taken yet as well.
    pub(crate) fn clear(&mut self) {
        self.pairs.clear();
        while self.port.accept().is_ok() {}
    }
}

/// Refuses a network that somebody else made and that leads anywhere: level `work+net` opens sockets in it.
fn no_way_beside() -> Result<(), Fault> {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/net/{name}")).at(format!("the routes in {name}"));
    let routes = read("route")?;
    let v4 = routes.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    // A kernel without IPv6 has no such file.
    let routes = read("ipv6_route").unwrap_or_default();
    let v6 = routes.lines().filter_map(|line| line.split_whitespace().last());
    match v4.chain(v6).find(|device| *device != "lo") {
        Some(device) => Err(Fault::new("network", format!("it is not empty: there is a route by {device}"))),
        None => Ok(()),
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Port,
    /// A connection, by its number until [`Bridge::tidy`].
    Pair(usize),
}

/// A connection of the command, and the one that goes with it to the proxy.
struct Pair {
    near: TcpStream,
    far: UnixStream,
    up: Flow,
    down: Flow,
    over: bool,
    /// The other end of `far` where the proxy did not answer.
    _answer: Option<UnixStream>,
}

impl Pair {
    fn new(near: TcpStream, exit: &Exit) -> io::Result<Self> {
        near.set_nonblocking(true)?;
        near.set_nodelay(true)?;
        let (far, answer) = match exit.connect() {
            Ok(far) => (far, None),
            Err(errno) => {
                let (far, mut ours) = UnixStream::pair()?;
                far.set_nonblocking(true)?;
                let text = format!("assistant-sandbox: the egress proxy does not answer: {}\n", errno.desc());
                write!(
                    ours,
                    "HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
                    text.len()
                )?;
                ours.shutdown(Shutdown::Write)?;
                (far, Some(ours))
            }
        };
        Ok(Self { near, far, up: Flow::default(), down: Flow::default(), over: false, _answer: answer })
    }

    /// Passes on what there is, both ways.
    fn pass(&mut self) {
        let up = self.up.pass(&mut &self.near, &mut &self.far, |far| far.shutdown(Shutdown::Write));
        let down = self.down.pass(&mut &self.far, &mut &self.near, |near| near.shutdown(Shutdown::Write));
        self.over = !matches!((up, down), (Ok(up), Ok(down)) if up || down);
    }
}

/// One direction of a connection.
#[derive(Default)]
struct Flow {
    bytes: Vec<u8>,
    sent: usize,
    /// Nothing more comes.
    ended: bool,
    /// The receiver has been told so.
    closed: bool,
}

impl Flow {
    /// Whether there is room for more, and more may come.
    fn takes(&self) -> bool {
        !self.ended && self.bytes.is_empty()
    }

    /// Whether something is there that the receiver has not taken.
    fn waits(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Passes on what there is, without waiting. False: this direction is over.
    fn pass<R: io::Read, W: io::Write>(
        &mut self,
        from: &mut R,
        to: &mut W,
        close: impl Fn(&mut W) -> io::Result<()>,
    ) -> io::Result<bool> {
        if self.takes() {
            self.bytes.resize(BUFFER, 0);
            let read = again(from.read(&mut self.bytes));
            self.bytes.truncate(read.as_ref().ok().copied().flatten().unwrap_or(0));
            self.ended = read? == Some(0);
        }
        while self.waits() {
            let Some(sent) = again(to.write(&self.bytes[self.sent..]))? else { return Ok(true) };
            self.sent += sent;
            if self.sent == self.bytes.len() {
                (self.bytes, self.sent) = (Vec::new(), 0);
            }
        }
        if self.ended && !self.closed {
            self.closed = true;
            close(to)?;
        }
        Ok(!self.closed)
    }
}

/// Nothing, where one would have to wait.
fn again(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(count) => Ok(Some(count)),
        Err(err) if matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(err) => Err(err),
    }
}
