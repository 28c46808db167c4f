//! Things outside of a sandbox that a command in it must not reach.

use std::{
    ffi::CString,
    fs::{self, File, Permissions},
    io,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::PermissionsExt as _,
            net::{SocketAddr, UnixDatagram, UnixListener},
        },
    },
    path::{Path, PathBuf},
};

use super::Outside;

const CONTENT: &str = "of the host\n";

/// What this process has put outside, until it is dropped. All of it is open to everybody on the machine, so that only
/// the sandbox can be what keeps it out of reach. What the kernel or its policy does not let this process make is left out,
/// and the attempts that aim at it are absent.
pub struct Plants {
    outside: Outside,
    files: Removed,
    /// Of its directory.
    entries: usize,
    queue: Option<CString>,
    segment: Option<i32>,
    _listeners: (Option<UnixListener>, Option<UnixListener>, Option<UnixDatagram>, Option<TcpListener>),
}

/// A directory, and a file elsewhere, that go with their owner.
struct Removed {
    directory: PathBuf,
    dev_shm: Option<PathBuf>,
}

impl Plants {
    /// Plants them, in a new directory below `parent`, which must be outside of every workspace and have a short path.
    pub fn new(parent: &Path) -> io::Result<Self> {
        let name = unique()?;
        let mut files = Removed { directory: parent.join(&name), dev_shm: None };
        fs::create_dir(&files.directory)?;
        open(&files.directory, 0o777)?;
        let shared = Path::new("/dev/shm").join(format!("{name}.shm"));
        if File::create_new(&shared).is_ok() {
            files.dev_shm = Some(shared.clone());
            open(&shared, 0o666)?;
        }
        let path = |name: &str| files.directory.join(name);
        for name in ["file", "other-session"] {
            fs::write(path(name), CONTENT)?;
            open(&path(name), 0o666)?;
        }
        let socket = UnixListener::bind(path("socket")).ok();
        let datagram = UnixDatagram::bind(path("datagram")).ok();
        for path in [socket.as_ref().map(|_| path("socket")), datagram.as_ref().map(|_| path("datagram"))] {
            path.map(|path| open(&path, 0o777)).transpose()?;
        }
        let abstract_socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?).ok();
        let tcp = TcpListener::bind("127.0.0.1:0").ok();
        let port = tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()).map(|address| address.port());
        let queue = Some(CString::new(name.clone())?).filter(|queue| make_queue(queue).is_ok());
        let number = u16::from_ne_bytes([name.as_bytes()[name.len() - 1], name.as_bytes()[name.len() - 2]]);
        let key = 0x6173_0000 | i32::from(port.unwrap_or(number));
        let segment = make_segment(key).ok();

        let mut outside = Outside::default();
        let shown = |path: PathBuf| path.display().to_string();
        for (kind, value) in [
            ("file", Some(shown(path("file")))),
            ("tmp", Some(shown(path("other-session")))),
            ("socket", socket.as_ref().map(|_| shown(path("socket")))),
            ("datagram", datagram.as_ref().map(|_| shown(path("datagram")))),
            ("abstract", abstract_socket.as_ref().map(|_| name.clone())),
            ("tcp", port.map(|port| port.to_string())),
            ("pid", Some(std::process::id().to_string())),
            ("shm-key", segment.map(|_| key.to_string())),
            ("queue", queue.as_ref().map(|_| name.clone())),
            ("dev-shm", files.dev_shm.clone().map(shown)),
        ] {
            let argument = value.map(|value| format!("{kind}={value}"));
            argument.map(|argument| outside.add(&argument)).transpose().map_err(io::Error::other)?;
        }
        let entries = fs::read_dir(&files.directory)?.count();
        Ok(Self { outside, files, entries, queue, segment, _listeners: (socket, abstract_socket, datagram, tcp) })
    }

    /// Where they are, for the probe.
    pub fn outside(&self) -> &Outside {
        &self.outside
    }

    /// What somebody has changed, added or removed.
    pub fn touched(&self) -> io::Result<Vec<String>> {
        let mut touched = Vec::new();
        for name in ["file", "other-session"] {
            let path = self.files.directory.join(name);
            let mode = fs::metadata(&path)?.permissions().mode() & 0o7777;
            if fs::read_to_string(&path)? != CONTENT || mode != 0o666 {
                touched.push(format!("{} is not as it was", path.display()));
            }
        }
        if let Some(shared) = &self.files.dev_shm
            && fs::metadata(shared)?.len() != 0
        {
            touched.push(format!("{} was written", shared.display()));
        }
        let entries = fs::read_dir(&self.files.directory)?.count();
        if entries != self.entries {
            let (directory, before) = (self.files.directory.display(), self.entries);
            touched.push(format!("{directory} has {entries} entries instead of {before}"));
        }
        Ok(touched)
    }
}

impl Drop for Plants {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "removes the queue and the segment that this made")]
        unsafe {
            if let Some(queue) = &self.queue {
                libc::syscall(libc::SYS_mq_unlink, queue.as_ptr());
            }
            if let Some(segment) = self.segment {
                libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut());
            }
        }
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
        if let Some(shared) = &self.dev_shm {
            let _ = fs::remove_file(shared);
        }
    }
}

fn unique() -> io::Result<String> {
    let mut bytes = [0; 8];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(format!("assistant-outside-{:016x}", u64::from_ne_bytes(bytes)))
}

fn open(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// As small a queue as can be: what a user may have of them is little.
fn make_queue(name: &CString) -> io::Result<()> {
    let one_small_message = [0, 1, 8, 0, 0, 0, 0, 0_i64];
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
    #[expect(unsafe_code, reason = "a name and a structure that live; the queue stays without the descriptor")]
    unsafe {
        let made = libc::syscall(libc::SYS_mq_open, name.as_ptr(), flags, 0o666, one_small_message.as_ptr());
        match i32::try_from(made) {
            Ok(fd) if fd >= 0 => {
                libc::fchmod(fd, 0o666);
                libc::close(fd);
                Ok(())
            }
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn make_segment(key: i32) -> io::Result<i32> {
    #[expect(unsafe_code, reason = "a plain system call")]
    let segment = unsafe { libc::shmget(key, 4096, libc::IPC_CREAT | libc::IPC_EXCL | 0o666) };
    super::run::check(segment)
}
