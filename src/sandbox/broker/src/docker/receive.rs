//! The daemon's request, and the descriptor that may come along with it.

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use tokio::{io::Interest, net::UnixStream};

use crate::container::MAX_LINE;

/// Reads up to the first line feed and not a byte further: what follows is the runner's.
pub(super) async fn line(stream: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let (mut line, mut passed) = (Vec::new(), None);
    loop {
        let byte = stream.async_io(Interest::READABLE, || byte(stream.as_raw_fd(), &mut passed)).await?;
        match byte {
            b'\n' => return Ok((line, passed)),
            _ if line.len() == MAX_LINE => return Err(io::Error::other("a line is too long")),
            byte => line.push(byte),
        }
    }
}

/// The next byte, and the last descriptor that came.
fn byte(socket: RawFd, passed: &mut Option<OwnedFd>) -> io::Result<u8> {
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let message = recvmsg::<()>(socket, &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            #[expect(unsafe_code, reason = "the kernel has just given these descriptors to us alone")]
            let fds = fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
            *passed = fds.collect::<Vec<_>>().pop();
        }
    }
    if message.bytes == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(byte[0]) }
}
