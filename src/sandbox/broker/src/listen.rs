//! Unix sockets to listen on: made here, or inherited by name from the service manager.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
};

use nix::sys::{
    socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrLike as _, SockaddrStorage, UnixAddr, bind as bind_socket,
        getsockname, getsockopt, listen, socket, sockopt,
    },
    stat::{Mode, fchmod},
};

/// Listens at `path`, mode 0660. A socket that a dead process left there is replaced; anything else is not.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    bind_with(path, 0o660)
}

/// The same for whoever comes by the directory, mode 0666: something else than the file says who is let in.
pub fn bind_for_all(path: &Path) -> io::Result<UnixListener> {
    bind_with(path, 0o666)
}

fn bind_with(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let address = UnixAddr::new(path)?;
    remove_stale(path)?;
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    // The mode of the descriptor, less the umask, becomes that of the file: it is never open to more than these.
    fchmod(&fd, Mode::from_bits_truncate(mode))?;
    bind_socket(fd.as_raw_fd(), &address)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listen(&fd, Backlog::MAXALLOWABLE)?;
    Ok(fd.into())
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is not a socket"))
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there already")),
        },
    }
}

/// The sockets that the service manager opened, by `FileDescriptorName=`; call once, before any thread exists.
///
/// # Errors
/// When one has a name that is not of `names`, comes twice, or is not a listening Unix stream socket.
#[expect(unsafe_code, reason = "the descriptors are ours alone by the protocol, and no thread exists yet")]
pub fn inherited(names: &[&str]) -> io::Result<BTreeMap<String, UnixListener>> {
    // SAFETY: the caller runs before any thread, so nobody else reads the environment that this changes.
    let listed = unsafe { sd_notify::listen_fds_with_names_and_unset_env() };
    let mut sockets = BTreeMap::new();
    for (fd, name) in listed.map_err(|err| io::Error::other(format!("reading the inherited sockets: {err}")))? {
        // SAFETY: the service manager hands these numbers over to this process, and each is taken exactly once.
        let socket = adopt(unsafe { OwnedFd::from_raw_fd(fd) })
            .map_err(|err| io::Error::new(err.kind(), format!("the inherited socket {name:?}: {err}")))?;
        if !names.contains(&name.as_str()) {
            return Err(io::Error::other(format!("an inherited socket is named {name:?}; one of {names:?} is meant")));
        }
        if sockets.insert(name.clone(), socket).is_some() {
            return Err(io::Error::other(format!("two inherited sockets are named {name:?}")));
        }
    }
    Ok(sockets)
}

fn adopt(fd: OwnedFd) -> io::Result<UnixListener> {
    let unix = getsockname::<SockaddrStorage>(fd.as_raw_fd())
        .is_ok_and(|address| address.family() == Some(AddressFamily::Unix));
    let stream = getsockopt(&fd, sockopt::SockType) == Ok(SockType::Stream);
    if !unix || !stream || getsockopt(&fd, sockopt::AcceptConn) != Ok(true) {
        return Err(io::Error::other("it is not a listening Unix stream socket"));
    }
    let listener = UnixListener::from(fd);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dead_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy.sock");
        drop(UnixListener::bind(&path).unwrap());
        let live = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(live);
        bind_for_all(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);

        let file = dir.path().join("file");
        fs::write(&file, "kept").unwrap();
        assert_eq!(bind(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(bind(&link).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(bind(&dir.path().join("x".repeat(120))).is_err());
    }
}
