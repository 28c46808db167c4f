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
/// the sandbox can be what keeps it out of reach.
pub struct Plants {
    outside: Outside,
    files: Removed,
    queue: CString,
    segment: i32,
    _listeners: (UnixListener, UnixListener, UnixDatagram, TcpListener),
}

/// A directory, and a file elsewhere, that go with their owner.
struct Removed {
    directory: PathBuf,
    dev_shm: PathBuf,
}

impl Plants {
    /// Plants them, in a new directory below `parent`, which must be outside of every workspace and have a short path.
    pub fn new(parent: &Path) -> io::Result<Self> {
        let name = unique()?;
        let files =
            Removed { directory: parent.join(&name), dev_shm: Path::new("/dev/shm").join(format!("{name}.shm")) };
        let path = |name: &str| files.directory.join(name);
        fs::create_dir(&files.directory)?;
        open(&files.directory, 0o777)?;
        File::create_new(&files.dev_shm)?;
        open(&files.dev_shm, 0o666)?;
        for name in ["file", "other-session"] {
            fs::write(path(name), CONTENT)?;
            open(&path(name), 0o666)?;
        }
        let socket = UnixListener::bind(path("socket"))?;
        let datagram = UnixDatagram::bind(path("datagram"))?;
        open(&path("socket"), 0o777)?;
        open(&path("datagram"), 0o777)?;
        let abstract_socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let port = tcp.local_addr()?.port();
        let queue = CString::new(name.clone())?;
        let key = 0x6173_0000 | i32::from(port);
        make_queue(&queue)?;
        let segment = make_segment(key)?;

        let mut outside = Outside::default();
        for (kind, value) in [
            ("file", path("file").display().to_string()),
            ("tmp", path("other-session").display().to_string()),
            ("socket", path("socket").display().to_string()),
            ("datagram", path("datagram").display().to_string()),
            ("abstract", name.clone()),
            ("tcp", port.to_string()),
            ("pid", std::process::id().to_string()),
            ("shm-key", key.to_string()),
            ("queue", name),
            ("dev-shm", files.dev_shm.display().to_string()),
        ] {
            outside.add(&format!("{kind}={value}")).map_err(io::Error::other)?;
        }
        Ok(Self { outside, files, queue, segment, _listeners: (socket, abstract_socket, datagram, tcp) })
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
        if fs::metadata(&self.files.dev_shm)?.len() != 0 {
            touched.push(format!("{} was written", self.files.dev_shm.display()));
        }
        let entries = fs::read_dir(&self.files.directory)?.count();
        if entries != 4 {
            touched.push(format!("{} has {entries} entries instead of 4", self.files.directory.display()));
        }
        Ok(touched)
    }
}

impl Drop for Plants {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "removes the queue and the segment that this made")]
        unsafe {
            libc::syscall(libc::SYS_mq_unlink, self.queue.as_ptr());
            libc::shmctl(self.segment, libc::IPC_RMID, std::ptr::null_mut());
        }
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
        let _ = fs::remove_file(&self.dev_shm);
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
