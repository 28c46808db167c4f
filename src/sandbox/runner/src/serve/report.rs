//! What the first process of a command's pid namespace says to the runner: a few numbers in one message.

use std::{
    io::IoSliceMut,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, send},
};

use super::kernel::Usage;

/// Where the set-up of a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum Step {
    Orphaned = 1,
    Workspace,
    Proc,
    ReadOnly,
    Protect,
    WorkingDirectory,
    Capabilities,
    NoNewPrivileges,
    Spawn,
    Session,
    Streams,
    Limits,
    Landlock,
    Filter,
    Descriptors,
    Exec,
    Processors,
}

impl Step {
    const ALL: [Self; 17] = [
        Self::Orphaned,
        Self::Workspace,
        Self::Proc,
        Self::ReadOnly,
        Self::Protect,
        Self::WorkingDirectory,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::Spawn,
        Self::Session,
        Self::Streams,
        Self::Limits,
        Self::Landlock,
        Self::Filter,
        Self::Descriptors,
        Self::Exec,
        Self::Processors,
    ];
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The command runs under this number.
    Started { pid: i32 },
    /// Nothing runs. `index` says which of several.
    Failed { step: Step, index: usize, errno: i32 },
    /// The first process ended with this wait status, and no other is left.
    Ended { status: i32, usage: Usage },
}

impl Report {
    fn numbers(self) -> [i64; 4] {
        match self {
            Self::Started { pid } => [1, pid.into(), 0, 0],
            Self::Failed { step, index, errno } => [2, step as i64, i64::try_from(index).unwrap_or(0), errno.into()],
            Self::Ended { status, usage } => {
                [3, status.into(), usage.cpu_ms.cast_signed(), usage.peak_bytes.cast_signed()]
            }
        }
    }

    fn from_numbers(numbers: [i64; 4]) -> Option<Self> {
        let [kind, first, second, third] = numbers;
        match kind {
            1 => Some(Self::Started { pid: i32::try_from(first).ok()? }),
            2 => {
                let step = Step::ALL.into_iter().find(|step| *step as i64 == first)?;
                Some(Self::Failed { step, index: usize::try_from(second).ok()?, errno: i32::try_from(third).ok()? })
            }
            3 => {
                let usage = Usage { cpu_ms: second.cast_unsigned(), peak_bytes: third.cast_unsigned() };
                Some(Self::Ended { status: i32::try_from(first).ok()?, usage })
            }
            _ => None,
        }
    }

    /// Sends it. Takes no memory.
    pub(crate) fn send(self, socket: BorrowedFd<'_>) -> nix::Result<()> {
        let mut bytes = [0; 32];
        for (to, number) in bytes.chunks_exact_mut(8).zip(self.numbers()) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL).map(drop)
    }
}

/// What came over the socket.
#[derive(Debug)]
pub(crate) enum Heard {
    Report(Report),
    /// The listener of the filter of system calls, and whose it is if the socket tells.
    Listener(OwnedFd, Option<i32>),
    /// Nothing yet.
    Nothing,
    /// The other side is gone.
    End,
}

/// Takes the next message, if there is one.
pub(crate) fn hear(socket: BorrowedFd<'_>) -> nix::Result<Heard> {
    let mut bytes = [0_u8; 32];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut control = nix::cmsg_space!([i32; 1], UnixCredentials);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
        Ok(message) => message,
        Err(Errno::EAGAIN) => return Ok(Heard::Nothing),
        Err(Errno::ECONNRESET) => return Ok(Heard::End),
        Err(errno) => return Err(errno),
    };
    let length = message.bytes;
    let (mut listener, mut sender) = (None, None);
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::ScmRights(fds) => listener = fds.first().copied(),
            ControlMessageOwned::ScmCredentials(of) => sender = Some(of.pid()),
            _ => {}
        }
    }
    if let Some(fd) = listener {
        #[expect(unsafe_code, reason = "the kernel has just given this descriptor to us alone")]
        return Ok(Heard::Listener(unsafe { OwnedFd::from_raw_fd(fd) }, sender));
    }
    if length == 0 {
        return Ok(Heard::End);
    }
    let mut numbers = [0; 4];
    for (number, from) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *number = i64::from_le_bytes(*from);
    }
    Report::from_numbers(numbers).map(Heard::Report).ok_or(Errno::EPROTO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_their_numbers() {
        let usage = Usage { cpu_ms: 12, peak_bytes: 1 << 40 };
        for report in [
            Report::Started { pid: 2 },
            Report::Failed { step: Step::Exec, index: 3, errno: 2 },
            Report::Failed { step: Step::Orphaned, index: 0, errno: -1 },
            Report::Ended { status: 0x8b, usage },
        ] {
            assert_eq!(Report::from_numbers(report.numbers()), Some(report));
        }
        assert_eq!(Report::from_numbers([4, 0, 0, 0]), None);
        assert_eq!(Report::from_numbers([2, 99, 0, 0]), None);
    }
}
