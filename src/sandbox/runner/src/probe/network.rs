//! Sockets. Addresses are loopback and link-local ones only, and all but the planted ones are tried confined alone.

use std::{
    io,
    net::{SocketAddr, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixStream},
    },
    time::Duration,
};

use super::{Place, Probe, Rule, Stop, Tried, any, attempt, files::lines, run::check};
use crate::protocol::{
    Guarantee::{Network, UnixSockets},
    PROXY_PORT,
};

pub(super) const PROBES: &[Probe] = &[
    Probe::must_fail(UnixSockets, "connect-unix-socket-outside", |place| connect(place.outside("socket")?)),
    Probe::must_fail(UnixSockets, "connect-unix-socket-through-proc", |place| {
        connect(&format!("/proc/1/root{}", place.outside("socket")?))
    }),
    Probe::must_fail(UnixSockets, "connect-abstract-socket-outside", |place| {
        let address = UnixAddr::from_abstract_name(place.outside("abstract")?)?;
        attempt(UnixStream::connect_addr(&address), "connected")
    }),
    Probe::must_fail(UnixSockets, "send-datagram-to-unix-socket-outside", |place| {
        let socket = UnixDatagram::unbound()?;
        attempt(socket.send_to(b"x", place.outside("datagram")?), "sent")
    }),
    Probe::must_fail(UnixSockets, "send-many-datagrams-to-unix-socket-outside", send_many),
    Probe::must_fail(UnixSockets, "pass-descriptor-outside", pass_descriptor),
    Probe::must_fail(UnixSockets, "connect-sockets-of-the-system", |_| any(lines(SERVICES).map(connect))).harmful(),
    Probe::must_fail(Network, "connect-tcp-outside", |place| {
        let port: u16 = place.outside_number("tcp")?;
        tcp(&format!("127.0.0.1:{port}"))
    }),
    Probe::must_fail(Network, "connect-tcp-outside-by-mapped-address", |place| {
        let port: u16 = place.outside_number("tcp")?;
        tcp(&format!("[::ffff:127.0.0.1]:{port}"))
    }),
    Probe::must_fail(Network, "connect-metadata-address", |_| tcp("169.254.169.254:80")).harmful(),
    Probe::must_fail(Network, "connect-link-local-v6", |_| {
        any((1..=4).map(|scope| tcp(&format!("[fe80::1%{scope}]:80"))))
    })
    .harmful(),
    Probe::must_fail(Network, "ask-names-by-udp", |_| {
        any(["127.0.0.53:53", "127.0.0.1:53", "169.254.169.253:53"].map(ask))
    })
    .harmful(),
    Probe::must_fail(Network, "multicast-v6", |_| any(["[ff02::1%1]:5353", "[ff02::1%2]:5353"].map(ask))).harmful(),
    Probe::must_fail(Network, "cve-2025-66479-network-without-allowed-hosts", |_| {
        any(["169.254.1.1:443", "169.254.169.254:443", "169.254.169.254:53"].map(tcp))
    })
    .harmful(),
    Probe::must_fail(Network, "interfaces-beside-loopback", interfaces),
    Probe::new("internet-socket", Rule::NeedsNet, Some(Network), |_| {
        any([
            (libc::AF_INET, libc::SOCK_STREAM),
            (libc::AF_INET6, libc::SOCK_STREAM),
            (libc::AF_INET, libc::SOCK_DGRAM),
        ]
        .map(|(family, kind)| socket(family, kind, 0)))
    }),
    Probe::new("connect-port-of-the-egress-proxy", Rule::NeedsNet, Some(Network), |_| {
        tcp(&format!("127.0.0.1:{PROXY_PORT}"))
    })
    .harmful(),
    Probe::must_fail(Network, "connect-other-ports-of-loopback", |_| {
        any([1, 22, 80, 443, PROXY_PORT - 1, PROXY_PORT + 1, 8080].map(|port| tcp(&format!("127.0.0.1:{port}"))))
    })
    .harmful(),
    Probe::must_fail(Network, "raw-socket", |_| {
        any([(libc::AF_INET, 1), (libc::AF_INET, 255), (libc::AF_INET6, 58)]
            .map(|(family, protocol)| socket(family, libc::SOCK_RAW, protocol)))
    }),
    Probe::must_fail(Network, "ping-socket", |_| {
        any([(libc::AF_INET, 1), (libc::AF_INET6, 58)]
            .map(|(family, protocol)| socket(family, libc::SOCK_DGRAM, protocol)))
    }),
    Probe::must_fail(Network, "packet-socket", |_| socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0)),
    Probe::must_fail(Network, "netlink-socket", |_| {
        any([0, 4, 9, 12, 15, 16].map(|protocol| socket(libc::AF_NETLINK, libc::SOCK_RAW, protocol)))
    }),
    Probe::must_fail(Network, "cve-2024-1086-netfilter-socket", |_| socket(libc::AF_NETLINK, libc::SOCK_RAW, 12)),
    Probe::must_fail(Network, "vsock-socket", |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
    Probe::must_fail(Network, "crypto-socket", |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
    Probe::must_fail(Network, "other-socket-families", |_| any(FAMILIES.iter().map(|family| exotic(*family)))),
    Probe::must_fail(Network, "multipath-tcp-socket", |_| socket(libc::AF_INET, libc::SOCK_STREAM, 262)),
    Probe::must_fail(Network, "cve-2016-3135-replace-packet-rules", packet_rules),
    Probe::must_fail(Network, "internet-socketpair", |_| {
        let mut ends = [0; 2];
        #[expect(unsafe_code, reason = "room for two descriptors")]
        let answer = unsafe { libc::socketpair(libc::AF_INET, libc::SOCK_STREAM, 0, ends.as_mut_ptr()) };
        refusal(check(answer), "a pair")
    }),
];

const SERVICES: &str = include_str!("lists/services.txt");

/// Families that no ordinary program wants, several of them with a history of their own: AX.25, IPX, Apple's, X.25,
/// key management, rose, RDS, LLC, CAN, TIPC, Bluetooth, IUCV, phonet, CAIF, NFC, KCM, QRTR, SMC, XDP, MCTP.
const FAMILIES: [i32; 20] = [3, 4, 5, 9, 15, 11, 21, 26, 29, 30, 31, 32, 35, 37, 39, 41, 42, 43, 44, 45];

fn connect(path: &str) -> Tried {
    attempt(UnixStream::connect(path), format!("connected to {path}"))
}

fn tcp(address: &str) -> Tried {
    let Ok(address) = address.parse::<SocketAddr>() else { return Err(Stop::Broken(format!("address {address}"))) };
    // A link that is not there is `EINVAL` to the kernel, and no way out.
    match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        Err(err) if err.raw_os_error() == Some(libc::EINVAL) => Err(Stop::Refused(err.to_string())),
        connected => attempt(connected, format!("connected to {address}")),
    }
}

fn ask(address: &str) -> Tried {
    let Ok(address) = address.parse::<SocketAddr>() else { return Err(Stop::Broken(format!("address {address}"))) };
    let local = if address.is_ipv4() { "127.0.0.1:0" } else { "[::]:0" };
    let local = if address.ip().is_loopback() { local } else { "0.0.0.0:0" };
    let local = if address.is_ipv4() { local } else { "[::]:0" };
    // To be heard needs an answer: a datagram into an empty network is sent to nobody.
    let answered = UdpSocket::bind(local).and_then(|socket| {
        socket.set_read_timeout(Some(Duration::from_millis(700)))?;
        socket.connect(address)?;
        socket.send(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01")?;
        socket.recv(&mut [0; 512])
    });
    match answered {
        Err(err) if err.raw_os_error() == Some(libc::EINVAL) => Err(Stop::Refused(err.to_string())),
        answered => attempt(answered, format!("{address} answered")),
    }
}

fn socket(family: i32, kind: i32, protocol: i32) -> Tried {
    #[expect(unsafe_code, reason = "a plain system call")]
    let answer = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    refusal(check(answer), &format!("a socket of family {family}, type {kind}, protocol {protocol}"))
}

/// Kinds differ from family to family; a kernel without the family says so first.
fn exotic(family: i32) -> Tried {
    any([libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET].map(|kind| socket(family, kind, 0)))
}

/// A family or kind that this kernel does not have is as good as refused.
fn refusal(result: io::Result<i32>, done: &str) -> Tried {
    match result {
        Err(err) if err.raw_os_error() == Some(libc::EINVAL) => Err(Stop::Refused(err.to_string())),
        result => attempt(result, done),
    }
}

/// Devices that the kernel shows, where it shows them.
fn interfaces(_: &Place) -> Tried {
    let list = match std::fs::read_to_string("/proc/self/net/dev") {
        Ok(list) => list,
        Err(err) => return Err(Stop::Refused(err.to_string())),
    };
    // Tunnels that a kernel puts into every new network lead nowhere without a capability to set them up.
    let names = list.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    let real: Vec<_> = names.filter(|name| !FALLBACKS.contains(name)).collect();
    if real.is_empty() { Err(Stop::Refused("none".to_owned())) } else { Ok(real.join(", ")) }
}

const FALLBACKS: [&str; 10] =
    ["lo", "sit0", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0"];

/// A socket's path as the kernel takes it: family, path, NUL.
fn unix_address(path: &str) -> Result<Vec<u8>, Stop> {
    if path.len() >= 108 {
        return Err(Stop::Broken(format!("{path} is too long for a socket")));
    }
    let mut address = 1_u16.to_ne_bytes().to_vec();
    address.extend_from_slice(path.as_bytes());
    address.push(0);
    Ok(address)
}

fn send_many(place: &Place) -> Tried {
    let mut address = unix_address(place.outside("datagram")?)?;
    let length = u32::try_from(address.len()).map_err(|err| Stop::Broken(err.to_string()))?;
    let socket = UnixDatagram::unbound()?;
    let mut byte = [b'x'];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    #[expect(unsafe_code, reason = "a message of zeros is an empty one; all that it points to lives")]
    let answer = unsafe {
        use std::os::fd::AsRawFd as _;
        let mut message: libc::mmsghdr = std::mem::zeroed();
        message.msg_hdr.msg_name = address.as_mut_ptr().cast();
        message.msg_hdr.msg_namelen = length;
        message.msg_hdr.msg_iov = &raw mut part;
        message.msg_hdr.msg_iovlen = 1;
        libc::sendmmsg(socket.as_raw_fd(), &raw mut message, 1, 0)
    };
    attempt(check(answer), "sent")
}

/// Hands a directory of the sandbox to somebody outside, who could hand back one of theirs.
fn pass_descriptor(place: &Place) -> Tried {
    use std::os::fd::AsFd as _;
    let directory = std::fs::File::open(&place.workspace)?;
    let socket = match UnixStream::connect(place.outside("socket")?) {
        Ok(socket) => socket,
        Err(err) => return Err(Stop::Refused(err.to_string())),
    };
    attempt(crate::seccomp::send_fd(socket.as_fd(), directory.as_fd()), "a descriptor was passed")
}

/// The way into CVE-2016-3135 is a socket option of a raw socket, with capabilities of a namespace of one's own.
fn packet_rules(_: &Place) -> Tried {
    const IPT_SO_SET_REPLACE: i32 = 64;
    #[expect(unsafe_code, reason = "a socket that leaves with this process, and a value that lives")]
    let answer = unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW);
        if socket < 0 {
            return Err(Stop::Refused(io::Error::last_os_error().to_string()));
        }
        let rules = [0_u8; 96];
        libc::setsockopt(socket, libc::IPPROTO_IP, IPT_SO_SET_REPLACE, rules.as_ptr().cast(), 96)
    };
    match check(answer) {
        Err(err) if err.raw_os_error() == Some(libc::EPERM) => Err(Stop::Refused(err.to_string())),
        Err(err) => Ok(format!("the kernel looked at the rules: {err}")),
        Ok(_) => Ok("the rules were replaced".to_owned()),
    }
}
