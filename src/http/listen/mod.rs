//! Sockets that the API listens on: made here, or inherited by name from the service manager.

mod tcp;
mod unix;

use std::{
    fmt,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixListener,
    },
};

use nix::sys::socket::{AddressFamily, SockType, SockaddrLike as _, SockaddrStorage, getsockname, getsockopt, sockopt};

pub use self::tcp::addresses;
pub(super) use self::unix::Bound;
use crate::{
    error::{Error, Result},
    systemd::Inherited,
};

/// A socket that accepts connections.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: Socket,
    pub(super) door: Door,
    /// What to remove at the end; inherited sockets belong to whoever made them.
    pub(super) bound: Option<Bound>,
}

/// The kinds of socket.
#[derive(Debug)]
pub(super) enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// How it is found out who comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The kernel says which user it is.
    Local,
    /// A browser, a proxy or a program, from this host or another: it has to log in.
    Web,
}

impl Door {
    /// The name that the service manager gives such a socket (`FileDescriptorName=`, systemd.socket(5)).
    fn of(name: &str) -> Option<Self> {
        match name {
            "api" => Some(Self::Local),
            "web" => Some(Self::Web),
            _ => None,
        }
    }
}

impl Listener {
    /// Takes a socket that the service manager opened.
    ///
    /// # Errors
    /// `invalid` when it has another name than `api` or `web`, or is not a listening stream socket of the right family.
    pub fn inherit(inherited: Inherited) -> Result<Self> {
        let Inherited { fd, name } = inherited;
        let Some(door) = Door::of(&name) else {
            return Err(Error::invalid(format!("an inherited socket is named {name:?}, which means nothing here"))
                .hint(
                    "name it FileDescriptorName=api or FileDescriptorName=web in the socket unit, or do not pass it",
                ));
        };
        Self::adopt(fd, &name, door)
    }

    fn adopt(fd: OwnedFd, name: &str, door: Door) -> Result<Self> {
        let family = getsockname::<SockaddrStorage>(fd.as_raw_fd()).ok().and_then(|address| address.family());
        let listening = getsockopt(&fd, sockopt::SockType) == Ok(SockType::Stream)
            && getsockopt(&fd, sockopt::AcceptConn) == Ok(true);
        let socket = match (family, door) {
            (Some(AddressFamily::Unix), _) if listening => Socket::Unix(fd.into()),
            (Some(AddressFamily::Inet | AddressFamily::Inet6), Door::Web) if listening => Socket::Tcp(fd.into()),
            (_, Door::Local) => {
                return Err(Error::invalid(format!(
                    "the inherited socket {name:?} is not a listening Unix stream socket"
                ))
                .hint("use ListenStream= with a path in the socket unit"));
            }
            (_, Door::Web) => {
                return Err(Error::invalid(format!(
                    "the inherited socket {name:?} is not a listening TCP or Unix socket"
                ))
                .hint("use ListenStream= with an address and port, or with a path, in the socket unit"));
            }
        };
        Ok(Self { socket, door, bound: None })
    }

    /// Whether the kernel says who comes in.
    pub(super) fn is_local(&self) -> bool {
        self.door == Door::Local
    }

    /// Its address, if it is one of the network.
    ///
    /// # Errors
    /// `unavailable` when the kernel does not say.
    pub fn address(&self) -> Result<Option<SocketAddr>> {
        match &self.socket {
            Socket::Unix(_) => Ok(None),
            Socket::Tcp(tcp) => tcp.local_addr().map(Some).map_err(|err| {
                Error::unavailable(format!("the kernel does not say which address a socket listens on: {err}"))
            }),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Socket::Unix(unix) => match unix.local_addr().ok().as_ref().and_then(|address| address.as_pathname()) {
                Some(path) => write!(f, "{}", path.display()),
                None => f.write_str("an unnamed socket"),
            },
            Socket::Tcp(tcp) => match tcp.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("an unknown address"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use assistant_api::ErrorKind;

    use super::*;

    fn inherit(fd: impl Into<OwnedFd>, name: &str) -> Result<Listener> {
        Listener::inherit(Inherited { fd: fd.into(), name: name.into() })
    }

    #[test]
    fn only_listening_sockets_of_the_right_family_are_adopted() {
        let dir = tempfile::tempdir().unwrap();
        let unix = |name: &str| UnixListener::bind(dir.path().join(name)).unwrap();
        let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(inherit(unix("a"), "api").unwrap().door, Door::Local);
        assert_eq!(inherit(unix("w"), "web").unwrap().door, Door::Web);
        let web = tcp();
        let address = web.local_addr().unwrap();
        let web = inherit(web, "web").unwrap();
        assert_eq!(
            (web.door, web.address().unwrap(), web.to_string()),
            (Door::Web, Some(address), address.to_string())
        );

        let refused = |outcome: Result<Listener>| outcome.unwrap_err().kind();
        // Whoever can reach a port is not thereby known: never the door that trusts the kernel.
        assert_eq!(refused(inherit(tcp(), "api")), ErrorKind::Invalid);
        for name in ["api", "web"] {
            let (connected, _other) = UnixStream::pair().unwrap();
            assert_eq!(refused(inherit(connected, name)), ErrorKind::Invalid);
            assert_eq!(refused(inherit(std::fs::File::open("/dev/null").unwrap(), name)), ErrorKind::Invalid);
            let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            assert_eq!(refused(inherit(datagrams, name)), ErrorKind::Invalid);
        }
        let other = inherit(unix("t"), "smtp").unwrap_err();
        assert!(other.message().contains("\"smtp\""), "{other}");
    }
}
