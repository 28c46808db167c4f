//! The API's socket file: made here, and removed at the end if it is still ours.

use std::{
    fs,
    io::ErrorKind as Io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket},
        stat::{Mode, fchmod},
    },
    unistd::{AccessFlags, Group, access},
};

use super::{Door, Listener, Socket};
use crate::error::{Error, Result};

/// A socket file of our own, known by its inode so that nobody else's is ever removed.
#[derive(Debug)]
pub(in crate::http) struct Bound {
    path: PathBuf,
    inode: (u64, u64),
}

impl Listener {
    /// Whether [`Listener::bind`] can succeed at `path`, as far as can be said without doing it. What a dead daemon left
    /// there is removed.
    ///
    /// # Errors
    /// `conflict` when something answers there; `unavailable` when the path is too long or its directory not writable.
    pub fn check(path: &Path) -> Result<()> {
        address(path)?;
        remove_stale(path)?;
        let dir = path.parent().unwrap_or(path);
        access(dir, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|err| {
            Error::unavailable(format!("the runtime directory {} cannot be written: {err}", dir.display()))
                .hint("give a directory that this user may write with --runtime-dir")
        })
    }

    /// Listens at `path`, mode 0660, for the group `group` if it exists and may be set. What a dead daemon left there
    /// is removed.
    ///
    /// # Errors
    /// `conflict` when something answers there; `unavailable` with the reason when the socket cannot be made.
    pub fn bind(path: &Path, group: &str) -> Result<Self> {
        let fail = |what: &str, err: &dyn std::fmt::Display| {
            Error::unavailable(format!("{what} the socket {}: {err}", path.display()))
        };
        let address = address(path)?;
        remove_stale(path)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(|err| fail("making", &err))?;
        // The mode of the descriptor, less the umask, becomes that of the file: it is never open to more than these.
        let mode = Mode::from_bits_truncate(0o660);
        fchmod(&fd, mode).map_err(|err| fail("making", &err))?;
        bind(fd.as_raw_fd(), &address).map_err(|err| fail("binding", &err))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))
            .map_err(|err| fail("setting the mode of", &err))?;
        if let Ok(Some(group)) = Group::from_name(group) {
            let _ = chown(path, None, Some(group.gid.as_raw())); // only a member or root may; then its members cannot connect
        }
        listen(&fd, Backlog::MAXALLOWABLE).map_err(|err| fail("listening on", &err))?;
        let metadata = fs::symlink_metadata(path).map_err(|err| fail("reading", &err))?;
        let bound = Bound { path: path.to_owned(), inode: (metadata.dev(), metadata.ino()) };
        Ok(Self { socket: Socket::Unix(fd.into()), door: Door::Local, bound: Some(bound) })
    }
}

impl Bound {
    /// Removes the file unless another daemon has put its own there.
    pub(in crate::http) fn remove(&self) {
        let same =
            fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.inode);
        if same {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The address of a path, which has room for 108 bytes with the NUL at the end (unix(7)).
fn address(path: &Path) -> Result<UnixAddr> {
    UnixAddr::new(path).map_err(|_| {
        let length = path.as_os_str().len();
        Error::unavailable(format!("the socket path {} is too long ({length} bytes, 107 at most)", path.display()))
            .hint("give a shorter --runtime-dir")
    })
}

/// Makes room at `path`: nothing there is fine, a socket that refuses connections is removed.
fn remove_stale(path: &Path) -> Result<()> {
    let fail = |err: &dyn std::fmt::Display| Error::unavailable(format!("looking at {}: {err}", path.display()));
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(err) if err.kind() == Io::NotFound => return Ok(()),
        Err(err) => return Err(fail(&err)),
    };
    if !metadata.file_type().is_socket() {
        return Err(Error::conflict(format!("{} exists and is not a socket", path.display()))
            .hint("move it away, or give another --runtime-dir"));
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(|err| fail(&err))?;
    let address = UnixAddr::new(path).map_err(|err| fail(&err))?;
    match connect(probe.as_raw_fd(), &address) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(|err| fail(&err)),
        Err(Errno::ENOENT) => Ok(()),
        // EAGAIN: its backlog is full, so there is somebody.
        Ok(()) | Err(Errno::EAGAIN) => Err(Error::conflict(format!("another daemon listens at {}", path.display()))
            .hint("stop that one first, or give this one its own --runtime-dir")),
        Err(err) => Err(fail(&err)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use assistant_api::ErrorKind;

    use super::*;

    fn check_mode(path: &Path) {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660, "{mode:o}");
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a dead daemon leaves its socket");
        let live = Listener::bind(&path, "no-such-group").unwrap();
        check_mode(&path);
        UnixStream::connect(&path).unwrap();

        let refused = Listener::bind(&path, "no-such-group").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert!(refused.message().contains("another daemon listens"), "{refused}");

        live.bound.unwrap().remove();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        fs::write(&path, "precious").unwrap();
        assert_eq!(Listener::bind(&path, "").unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(fs::read(&path).unwrap(), b"precious");

        fs::remove_file(&path).unwrap();
        let first = Listener::bind(&path, "").unwrap();
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        let second = Listener::bind(&path, "").unwrap();
        first.bound.unwrap().remove();
        assert!(path.exists(), "the successor's socket stays");
        drop(second);

        let long = dir.path().join("x".repeat(120));
        assert!(Listener::bind(&long, "").unwrap_err().message().contains("too long"));
        let error = Listener::check(&long).unwrap_err();
        assert!(error.message().contains(long.to_str().unwrap()) && error.message().contains("107"), "{error}");
        let missing = dir.path().join("missing/api.sock");
        assert!(Listener::check(&missing).unwrap_err().message().contains("cannot be written"));
    }
}
