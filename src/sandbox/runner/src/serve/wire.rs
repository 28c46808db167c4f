//! The socket to the daemon, without ever blocking on it.

use std::{
    io::{self, IoSliceMut, Read as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use assistant_sandbox::protocol::{CHUNK, Frame, Kind, body_length};
use nix::{
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg},
    unistd,
};
use serde::Serialize;

/// Bytes that wait for the daemon before we stop reading from the command.
const BACKLOG: usize = 4 * CHUNK;

/// Frames in both directions.
pub(crate) struct Wire {
    socket: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    /// Whether a descriptor may come with what comes in.
    takes: bool,
    passed: Option<OwnedFd>,
    /// One for all reads: fresh memory for each would cost more than the reads.
    buffer: Box<[u8]>,
}

impl Wire {
    pub(crate) fn new(socket: OwnedFd, takes: bool) -> io::Result<Self> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        let buffer = vec![0; CHUNK].into_boxed_slice();
        Ok(Self { socket, input: Vec::new(), output: Vec::new(), sent: 0, takes, passed: None, buffer })
    }

    /// The descriptor that came last.
    pub(crate) fn take_passed(&mut self) -> Option<OwnedFd> {
        self.passed.take()
    }

    /// As `read`, which leaves descriptors behind.
    fn read(&mut self) -> io::Result<usize> {
        if !self.takes {
            return self.socket.read(&mut self.buffer);
        }
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let mut control = nix::cmsg_space!([RawFd; 1]);
        let message =
            recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                #[expect(unsafe_code, reason = "the kernel has just given these descriptors to us alone")]
                let fds = fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
                self.passed = fds.collect::<Vec<_>>().pop();
            }
        }
        Ok(message.bytes)
    }

    /// Takes what has come. False: the other side has closed.
    pub(crate) fn receive(&mut self) -> io::Result<bool> {
        loop {
            match self.read() {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.input.extend_from_slice(&self.buffer[..read]);
                    return Ok(true);
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) if err.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(err) => return Err(err),
            }
        }
    }

    /// The next whole frame that has come.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame>> {
        let Some((field, rest)) = self.input.split_first_chunk::<4>() else { return Ok(None) };
        let length = body_length(*field)?;
        if rest.len() < length {
            return Ok(None);
        }
        let body = rest[..length].to_vec();
        self.input.drain(..4 + length);
        Frame::from_rest(body).map(Some)
    }

    /// Reads from a pipe of the command's; as many bytes as came are then at the beginning of what [`Self::forward`] sends.
    pub(crate) fn read_from(&mut self, pipe: BorrowedFd<'_>) -> nix::Result<usize> {
        unistd::read(pipe, &mut self.buffer)
    }

    /// Sends so many of the bytes that were read last.
    pub(crate) fn forward(&mut self, kind: Kind, length: usize) -> io::Result<()> {
        self.output.extend_from_slice(&u32::try_from(length + 1).map_err(io::Error::other)?.to_le_bytes());
        self.output.push(kind as u8);
        self.output.extend_from_slice(&self.buffer[..length]);
        self.flush().map(drop)
    }

    pub(crate) fn send_json(&mut self, kind: Kind, body: &impl Serialize) -> io::Result<()> {
        self.output.extend_from_slice(&Frame::json(kind, body)?.bytes()?);
        self.flush().map(drop)
    }

    /// Sends what waits, as much as goes. False: the other side has closed.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.output.len() {
            match self.socket.write(&self.output[self.sent..]) {
                Ok(sent) => {
                    self.sent += sent;
                    if self.sent > BACKLOG {
                        self.output.drain(..self.sent);
                        self.sent = 0;
                    }
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) if matches!(err.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                    return Ok(false);
                }
                Err(err) => return Err(err),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Whether anything waits to be sent.
    pub(crate) fn waiting(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Whether there is room for more output of the command.
    pub(crate) fn has_room(&self) -> bool {
        self.output.len() - self.sent < BACKLOG
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
