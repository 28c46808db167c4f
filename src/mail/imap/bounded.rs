//! What a server may send at once.
//!
//! A literal is announced with its size (RFC 9051, section 4.3), and the parser makes room for it before it comes. So the
//! announcement is read here first, and one that nobody asked for ends the connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest literal: the largest part of a message that is asked for.
const LITERAL: u64 = super::PART as u64;
/// Longest response: several small messages never come in one.
const RESPONSE: u64 = LITERAL + (256 << 10);

/// A stream that ends with an error where more comes than was asked for.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    seen: Seen,
}

/// Where in what the server says the last byte was.
#[derive(Debug, Default)]
struct Seen {
    /// Bytes of the present response.
    response: u64,
    /// Bytes of the present literal that are still to come.
    literal: u64,
    /// The end of the line so far, if it may announce a literal.
    end: End,
}

#[derive(Clone, Copy, Debug, Default)]
enum End {
    #[default]
    Other,
    /// After `{` and digits.
    Digits(u64),
    /// After `}`, with or without the CR.
    Closed(u64),
}

impl<S> Bounded<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, seen: Seen::default() }
    }
}

impl Seen {
    fn read(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.literal > 0 {
                let skipped = usize::try_from(self.literal).unwrap_or(usize::MAX).min(bytes.len());
                self.literal -= skipped as u64;
                self.response += skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            let (byte, rest) = (bytes[0], &bytes[1..]);
            bytes = rest;
            self.response += 1;
            if self.response > RESPONSE {
                return Err(too_large(&format!("an answer of more than {RESPONSE} bytes")));
            }
            self.end = match (self.end, byte) {
                (_, b'{') => End::Digits(0),
                (End::Digits(size), b'0'..=b'9') => {
                    End::Digits(size.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
                }
                // Literals that need no go-ahead end with a plus sign (RFC 7888).
                (End::Digits(size), b'+') => End::Digits(size),
                (End::Digits(size), b'}') | (End::Closed(size), b'\r') => End::Closed(size),
                (End::Closed(size), b'\n') => {
                    if size > LITERAL || self.response + size > RESPONSE {
                        return Err(too_large(&format!("a literal of {size} bytes")));
                    }
                    self.literal = size;
                    End::Other
                }
                (_, b'\n') => {
                    self.response = 0;
                    End::Other
                }
                _ => End::Other,
            };
        }
        Ok(())
    }
}

fn too_large(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server sends {what}, which nobody asked for"))
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        Poll::Ready(self.seen.read(&buf.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is let through, byte by byte and at once.
    fn passes(text: &[u8]) -> bool {
        let at_once = Seen::default().read(text).is_ok();
        let mut seen = Seen::default();
        let by_byte = text.chunks(1).all(|byte| seen.read(byte).is_ok());
        assert_eq!(at_once, by_byte);
        at_once
    }

    #[test]
    fn what_was_asked_for_passes() {
        let mut part = b"* 1 FETCH (UID 1 BODY[]<0> {1048576}\r\n".to_vec();
        // What looks like an announcement in the middle of a message is none.
        part.extend_from_slice(b"{4294967295}\r\n");
        part.resize(38 + (1 << 20), b'x');
        part.extend_from_slice(b")\r\na1 OK\r\n");
        assert!(passes(&part.repeat(3)));
        assert!(passes(b"* OK {nothing}\r\n* OK {12\r\n* LIST () \"/\" {3}\r\nabc\r\n"));
        assert!(passes(&b"* 1 FETCH (UID 1 RFC822.SIZE 5)\r\n".repeat(100_000)));
    }

    #[test]
    fn what_nobody_asked_for_does_not() {
        for text in ["{1048577}\r\n", "{536870912}\r\n", "{99999999999999999999999}\r\n", "{1048577+}\r\n"] {
            assert!(!passes(format!("* 1 FETCH (UID 1 BODY[]<0> {text}").as_bytes()), "{text}");
        }
        assert!(!passes(&vec![b'x'; 2 << 20]), "a line without an end");
        let mut two = b"* 1 FETCH (BODY[1] {1048576}\r\n".to_vec();
        two.resize(30 + (1 << 20), b'x');
        two.extend_from_slice(b" BODY[2] {1048576}\r\n");
        assert!(!passes(&two), "two in one");
    }
}
