//! Things outside of a sandbox that a command in it must not reach.

use std::{
    fs::{self, Permissions},
    io,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::PermissionsExt as _,
            net::{SocketAddr, UnixDatagram, UnixListener},
        },
    },
    path::Path,
};

use assistant_sandbox::probe::Outside;

/// Open to everybody on the machine, so that only the sandbox can be what keeps them out of reach.
pub(crate) struct Plants {
    pub(crate) outside: Outside,
    directory: tempfile::TempDir,
    dev_shm: tempfile::NamedTempFile,
    queue: std::ffi::CString,
    segment: i32,
    _listeners: (UnixListener, UnixListener, UnixDatagram, TcpListener),
}

impl Plants {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("outside").tempdir_in("/tmp").unwrap();
        let dev_shm = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
        open(directory.path(), 0o777);
        open(dev_shm.path(), 0o666);
        let path = |name: &str| directory.path().join(name);
        for name in ["file", "other-session"] {
            fs::write(path(name), "of the host\n").unwrap();
            open(&path(name), 0o666);
        }
        let socket = UnixListener::bind(path("socket")).unwrap();
        let datagram = UnixDatagram::bind(path("datagram")).unwrap();
        open(&path("socket"), 0o777);
        open(&path("datagram"), 0o777);
        let name = format!("assistant-probe-{}-{}", std::process::id(), path("").display()).replace('/', "-");
        let abstract_socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let queue = std::ffi::CString::new(name.clone()).unwrap();
        let key = 0x6173_0000 | i32::from(tcp.local_addr().unwrap().port());
        #[expect(unsafe_code, reason = "a queue and a segment, removed when this is dropped")]
        let segment = unsafe {
            let flags = libc::O_CREAT | libc::O_RDWR;
            let one_small_message = [0, 1, 8, 0, 0, 0, 0, 0_i64];
            let made = libc::syscall(libc::SYS_mq_open, queue.as_ptr(), flags, 0o666, one_small_message.as_ptr());
            assert!(made >= 0, "{}", last());
            libc::close(i32::try_from(made).unwrap());
            libc::shmget(key, 4096, libc::IPC_CREAT | 0o666)
        };
        assert!(segment >= 0, "{}", last());

        let mut outside = Outside::default();
        for (kind, value) in [
            ("file", path("file").display().to_string()),
            ("tmp", path("other-session").display().to_string()),
            ("socket", path("socket").display().to_string()),
            ("datagram", path("datagram").display().to_string()),
            ("abstract", name.clone()),
            ("tcp", tcp.local_addr().unwrap().port().to_string()),
            ("pid", std::process::id().to_string()),
            ("shm-key", key.to_string()),
            ("queue", name),
            ("dev-shm", dev_shm.path().display().to_string()),
        ] {
            outside.add(&format!("{kind}={value}")).unwrap();
        }
        Self { outside, directory, dev_shm, queue, segment, _listeners: (socket, abstract_socket, datagram, tcp) }
    }

    /// Nobody has changed, added or removed anything.
    pub(crate) fn assert_untouched(&self) {
        let path = |name: &str| self.directory.path().join(name);
        for name in ["file", "other-session"] {
            assert_eq!(fs::read_to_string(path(name)).unwrap(), "of the host\n");
            assert_eq!(fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777, 0o666);
        }
        assert_eq!(fs::read_dir(self.directory.path()).unwrap().count(), 4);
        assert_eq!(fs::read(self.dev_shm.path()).unwrap(), b"");
    }
}

impl Drop for Plants {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "removes what this made")]
        unsafe {
            libc::syscall(libc::SYS_mq_unlink, self.queue.as_ptr());
            libc::shmctl(self.segment, libc::IPC_RMID, std::ptr::null_mut());
        }
    }
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn last() -> io::Error {
    io::Error::last_os_error()
}
