//! The first bytes of a connection on the socket, when a program forwards it for somebody else.
//!
//! The kernel names the forwarder there, not whoever speaks through it. A forwarder that means nobody to have its role
//! says so before the first request, with a header of the PROXY protocol (version 2, as `HAProxy` describes it), whose
//! first byte begins no request. Such a connection is one at the web door: it has to log in. The header can only take
//! rights away, so it need not be believed in anything but where the connection was accepted.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{MsgFlags, recv};
use tokio::{
    io::{AsyncReadExt as _, Interest},
    net::UnixStream,
};

/// What the header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, not by the proxy for itself; TCP over IPv4; the length of the addresses.
const MEANING: [u8; 4] = [0x21, 0x11, 0, 12];

/// Where on loopback the forwarder accepted the connection; `None` when nobody forwards it.
///
/// # Errors
/// When it begins like a header and is none that is known here: the connection has to be closed.
pub(super) async fn begin(stream: &mut UnixStream) -> io::Result<Option<SocketAddr>> {
    let mut first = [0; 1];
    let peek = || Ok(recv(stream.as_raw_fd(), &mut first, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)?);
    let count = stream.async_io(Interest::READABLE, peek).await?;
    if count == 0 || first[0] != SIGNATURE[0] {
        return Ok(None);
    }
    let mut header = [0; 28];
    stream.read_exact(&mut header).await?;
    read(&header).map(Some).ok_or_else(|| io::Error::other("it begins with something that is neither HTTP nor known"))
}

fn read(header: &[u8; 28]) -> Option<SocketAddr> {
    let (start, addresses) = header.split_at(16);
    if start[..12] != SIGNATURE || start[12..] != MEANING {
        return None;
    }
    let [_, _, _, _, a, b, c, d, _, _, high, low] = *addresses else { return None };
    let address = Ipv4Addr::new(a, b, c, d);
    address.is_loopback().then(|| SocketAddr::from((address, u16::from_be_bytes([high, low]))))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What `assistantctl dashboard` sends.
    const HEADER: &[u8; 28] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\xc3\x50\x1f\x40";

    #[tokio::test]
    async fn a_header_is_read_and_a_request_left_alone() {
        for (sent, found) in [(&HEADER[..], Some("127.0.0.1:8000")), (b"GET / HTTP/1.1\r\n", None), (b"", None)] {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            there.write_all(sent).await.unwrap();
            there.write_all(b"rest").await.unwrap();
            drop(there);
            let found_here = begin(&mut here).await.unwrap();
            assert_eq!(found_here, found.map(|address| address.parse().unwrap()));
            let mut left = Vec::new();
            here.read_to_end(&mut left).await.unwrap();
            let expected = if found.is_some() { b"rest".to_vec() } else { [sent, b"rest"].concat() };
            assert_eq!(left, expected);
        }
    }

    #[tokio::test]
    async fn what_only_begins_like_a_header_is_refused() {
        let changed = |at: usize, byte: u8| {
            let mut header = *HEADER;
            header[at] = byte;
            header
        };
        // Another signature, the proxy's own connection, IPv6, another length, an address that is not of loopback.
        for header in [changed(5, b'X'), changed(12, 0x20), changed(13, 0x21), changed(15, 36), changed(20, 10)] {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            there.write_all(&header).await.unwrap();
            assert!(begin(&mut here).await.is_err(), "{header:?}");
        }
        let (mut here, mut there) = UnixStream::pair().unwrap();
        there.write_all(&HEADER[..20]).await.unwrap();
        drop(there);
        assert!(begin(&mut here).await.is_err(), "cut off");
    }
}
