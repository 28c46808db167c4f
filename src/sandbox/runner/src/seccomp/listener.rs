//! The runner's end of the filter: it hears of each refused call and answers `EPERM`, never "go on".

use std::{
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use super::denied::Denied;

/// Refusals in one second that are answered at once. Each further one waits [`PAUSE`], so that a command that does
/// nothing but ask for what it may not have costs the runner little.
const PROMPT: u32 = 2000;

const PAUSE: Duration = Duration::from_millis(1);

/// Refusals in a row after which [`Listener::receive`] lets its caller see to other things.
const ROW: u32 = 32;

/// Hears of refused calls. When it is dropped they fail with `ENOSYS`: still refused, no longer counted.
pub struct Listener {
    fd: OwnedFd,
    over: bool,
    second: Instant,
    answered: u32,
    row: u32,
}

impl Listener {
    /// From the descriptor that [`super::Program::install`] gave in the child.
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd, over: false, second: Instant::now(), answered: 0, row: 0 }
    }

    /// To be polled for reading; `None` once no process with the filter is left.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        (!self.over).then(|| self.fd.as_fd())
    }

    /// Refuses the next waiting call and says which; `None` when none waits, and now and then when there is no end of
    /// them: the descriptor then is readable still. Blocks for no more than a millisecond.
    pub fn receive(&mut self) -> Option<Denied> {
        loop {
            if self.over || self.row >= ROW || !self.waiting() {
                self.row = 0;
                return None;
            }
            self.row += 1;
            // A caller that was killed meanwhile takes its call with it: then there is nothing to answer.
            let Ok(call) = self.hear() else { continue };
            self.pace();
            if self.refuse(call.id).is_ok() {
                return Some(Denied::new(&call.data));
            }
        }
    }

    fn waiting(&mut self) -> bool {
        let mut poll = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        #[expect(unsafe_code, reason = "poll on one descriptor that we own, one entry that lives on the stack")]
        let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
        let waiting = ready > 0 && poll.revents & libc::POLLIN != 0;
        self.over = ready > 0 && !waiting;
        waiting
    }

    fn hear(&self) -> io::Result<libc::seccomp_notif> {
        #[expect(unsafe_code, reason = "the kernel wants the structure zeroed, and all its fields are numbers")]
        let mut call: libc::seccomp_notif = unsafe { mem::zeroed() };
        #[expect(
            unsafe_code,
            reason = "no safe wrapper; the structure is of the size that the request's number carries"
        )]
        let answer = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
        check(answer).map(|_| call)
    }

    fn refuse(&self, id: u64) -> io::Result<()> {
        let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -libc::EPERM, flags: 0 };
        #[expect(
            unsafe_code,
            reason = "no safe wrapper; the structure is of the size that the request's number carries"
        )]
        let sent = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
        check(sent).map(drop)
    }

    fn pace(&mut self) {
        if self.second.elapsed() >= Duration::from_secs(1) {
            (self.second, self.answered) = (Instant::now(), 0);
        }
        self.answered += 1;
        if self.answered > PROMPT {
            thread::sleep(PAUSE);
        }
    }
}

fn check(answer: i32) -> io::Result<i32> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Room for the control message of one descriptor, aligned as its header.
type Control = [u64; 4];

/// Bytes of one descriptor.
const ONE: u32 = 4;

/// Sends a descriptor over a Unix socket, with one byte. Allocates nothing: fit for a child between fork and exec.
pub fn send_fd(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut byte = [0_u8];
    let mut control: Control = [0; 4];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let message = header(&mut part, &mut control);
    #[expect(unsafe_code, reason = "no wrapper works without the heap; the one control message fits the buffer")]
    let sent = unsafe {
        let first = libc::CMSG_FIRSTHDR(&raw const message);
        (*first).cmsg_level = libc::SOL_SOCKET;
        (*first).cmsg_type = libc::SCM_RIGHTS;
        (*first).cmsg_len = libc::CMSG_LEN(ONE) as _;
        libc::CMSG_DATA(first).cast::<libc::c_int>().write_unaligned(fd.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes what [`send_fd`] sent; `None` when the other side closed or sent a byte alone.
pub fn receive_fd(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0_u8];
    let mut control: Control = [0; 4];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut message = header(&mut part, &mut control);
    #[expect(unsafe_code, reason = "the counterpart of `send_fd`; the kernel fills no more than the buffer holds")]
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    #[expect(unsafe_code, reason = "the header is checked before the descriptor behind it is taken, once")]
    let fd = unsafe {
        let first = libc::CMSG_FIRSTHDR(&raw const message);
        if first.is_null() || (*first).cmsg_level != libc::SOL_SOCKET || (*first).cmsg_type != libc::SCM_RIGHTS {
            None
        } else {
            Some(OwnedFd::from_raw_fd(libc::CMSG_DATA(first).cast::<libc::c_int>().read_unaligned()))
        }
    };
    Ok(fd)
}

fn header(part: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    #[expect(
        unsafe_code,
        reason = "a message header of zeros is an empty one; it has private padding on some C libraries"
    )]
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    #[expect(unsafe_code, reason = "arithmetic")]
    let space = unsafe { libc::CMSG_SPACE(ONE) };
    message.msg_controllen = space as _;
    message
}
