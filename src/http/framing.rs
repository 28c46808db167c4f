//! Reads along with the HTTP parser, and says of each head whether it leaves doubt about where its request ends.
//!
//! A proxy in front that resolves such a doubt in another way than this daemon would let one request hide in another
//! (RFC 9112, sections 2.2, 5.2, 6.1 and 11.2). The parser is lenient where it may be, and leaves no trace of it in what
//! it hands over: with `Transfer-Encoding` it drops `Content-Length`. So the bytes are looked at as they come.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are kept of a line: enough for every line that is looked into.
const KEPT: usize = 256;

/// What was said of the heads that the parser has still to hand over, in their order; `None`: no doubt.
#[derive(Clone, Default)]
pub(super) struct Verdicts(Arc<Mutex<VecDeque<Option<&'static str>>>>);

impl Verdicts {
    /// Of the next head. One that was not seen is in doubt itself.
    pub(super) fn next(&self) -> Option<&'static str> {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        next.unwrap_or(Some("it cannot be said where the request before it ended"))
    }

    fn push(&self, verdict: Option<&'static str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(verdict);
    }
}

/// A stream whose heads are judged while they are read.
pub(super) struct Framing<S> {
    inner: S,
    heads: Heads,
    verdicts: Verdicts,
}

impl<S> Framing<S> {
    pub(super) fn new(inner: S, verdicts: Verdicts) -> Self {
        Self { inner, heads: Heads::default(), verdicts }
    }
}

/// Where in the stream of requests it stands.
#[derive(Default)]
struct Heads {
    place: Place,
    /// The beginning of the line that is being read.
    line: Vec<u8>,
    /// Its last byte, which may be behind what is kept.
    last: u8,
    head: Head,
}

#[derive(Default, PartialEq, Eq)]
enum Place {
    /// Before or within a head.
    #[default]
    Head,
    /// This many bytes of a body are still to come.
    Body(u64),
    /// Behind a request that the connection ends with.
    Over,
}

/// What is known of a head.
#[derive(Default)]
struct Head {
    begun: bool,
    length: Option<u64>,
    encoded: bool,
    doubt: Option<&'static str>,
}

impl Heads {
    fn read(&mut self, mut bytes: &[u8], verdicts: &Verdicts) {
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Over => return,
                Place::Body(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= here as u64;
                    bytes = &bytes[here..];
                    if *left == 0 {
                        self.place = Place::Head;
                    }
                }
                Place::Head => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    let room = KEPT.saturating_sub(self.line.len()).min(part.len());
                    self.line.extend_from_slice(&part[..room]);
                    self.last = part.last().copied().unwrap_or(self.last);
                    bytes = rest.get(1..).unwrap_or_default();
                    if end.is_some() {
                        self.end_line(verdicts);
                    }
                }
            }
        }
    }

    fn end_line(&mut self, verdicts: &Verdicts) {
        let (line, last) = (std::mem::take(&mut self.line), std::mem::take(&mut self.last));
        let text = line.strip_suffix(b"\r").unwrap_or(&line);
        if text.is_empty() && !self.head.begun {
            return; // Empty lines before a request mean nothing.
        }
        if last != b'\r' {
            self.head.doubt("a line of its head ends without a carriage return");
        }
        if !text.is_empty() {
            if self.head.begun {
                self.head.field(text);
            }
            self.head.begun = true;
            return;
        }
        let head = std::mem::take(&mut self.head);
        self.place = match head.length {
            // Such a connection is closed with the answer.
            _ if head.doubt.is_some() || head.encoded => Place::Over,
            None | Some(0) => Place::Head,
            Some(length) => Place::Body(length),
        };
        verdicts.push(head.doubt);
    }
}

impl Head {
    fn doubt(&mut self, why: &'static str) {
        self.doubt.get_or_insert(why);
    }

    fn field(&mut self, line: &[u8]) {
        if line[0].is_ascii_whitespace() {
            return self.doubt("a line of its head continues the one before");
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let is = |wanted: &str| name.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes());
        let (length, encoding) = (is("content-length"), is("transfer-encoding"));
        if !length && !encoding {
            return;
        }
        if name != name.trim_ascii() {
            self.doubt("there is a space around the name of a header that says where it ends");
        }
        let value = std::str::from_utf8(value).unwrap_or_default().trim_matches([' ', '\t']);
        if (length && self.length.is_some()) || (encoding && self.encoded) {
            self.doubt("where it ends is said twice");
        }
        if length {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            match value.parse().ok().filter(|_| digits) {
                Some(count) => self.length = Some(count),
                None => self.doubt("its Content-Length is no number"),
            }
        } else {
            self.encoded = true;
            if !value.eq_ignore_ascii_case("chunked") {
                self.doubt("its Transfer-Encoding is another one than chunked");
            }
        }
        if self.encoded && self.length.is_some() {
            self.doubt("it has both Content-Length and Transfer-Encoding");
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framing<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let Self { heads, verdicts, .. } = &mut *self;
        heads.read(&buf.filled()[before..], verdicts);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
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

    /// What is said of the heads in `bytes`, read in pieces of `size`.
    fn judged(bytes: &[u8], size: usize) -> Vec<bool> {
        let (mut heads, verdicts) = (Heads::default(), Verdicts::default());
        bytes.chunks(size).for_each(|piece| heads.read(piece, &verdicts));
        verdicts.0.lock().unwrap().iter().map(Option::is_none).collect()
    }

    #[test]
    fn requests_are_told_apart_however_they_come() {
        let body = "GET /not HTTP/1.1\nContent-Length: x\r\n\r\n";
        let three = format!(
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\ncontent-LENGTH:\t{}\r\n\r\n{body}\
             PUT / HTTP/1.1\r\nCookie: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\n\n",
            body.len(),
            "x".repeat(2 * KEPT)
        );
        for size in [1, 2, 3, 7, 64, 4096] {
            assert_eq!(judged(three.as_bytes(), size), [true; 3], "in pieces of {size}: the last is beyond the end");
        }
    }

    #[test]
    fn a_doubt_is_told_and_the_last_thing() {
        for fields in [
            "Content-Length: 2\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 2",
            "Content-Length: 2\r\nContent-Length: 2",
            "Content-Length: 2, 2",
            "Content-Length: +2",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length : 2",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: \u{b}chunked",
            "Transfer-Encoding:\r\n chunked",
            "A: b\nC: d",
            "A: b\n",
        ] {
            let bytes = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\nGET / HTTP/1.1\r\n\r\n");
            assert_eq!(judged(bytes.as_bytes(), 5), [false], "{fields:?}");
        }
        assert!(Verdicts::default().next().is_some(), "what was not seen is in doubt");
    }
}
