//! Short ids of requests: in the answer's `X-Request-Id`, in error documents and in the journal.

use std::{
    fmt,
    ops::Deref,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::http::HeaderValue;

const LENGTH: usize = 12;
/// How many of the characters are drawn once per daemon; the others count.
const RANDOM: usize = 5;
/// Crockford's base 32: nothing in it is mistaken for something else.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// One id; made without allocating.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; LENGTH]);

impl RequestId {
    /// As a header's value.
    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or(HeaderValue::from_static("-"))
    }
}

impl Deref for RequestId {
    type Target = str;
    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Makes the ids of one daemon.
pub(super) struct RequestIds {
    start: [u8; LENGTH],
    count: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let mut start = [b'0'; LENGTH];
        for digit in &mut start[..RANDOM] {
            *digit = DIGITS[fastrand::usize(..DIGITS.len())];
        }
        Self { start, count: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> RequestId {
        let mut id = self.start;
        let mut rest = self.count.fetch_add(1, Ordering::Relaxed);
        for digit in id[RANDOM..].iter_mut().rev() {
            *digit = DIGITS[(rest % 32) as usize];
            rest /= 32;
        }
        RequestId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count() {
        let ids = RequestIds::new();
        let (first, second) = (ids.next(), ids.next());
        assert_eq!(&first[RANDOM..], "0000000");
        assert_eq!(&second[RANDOM..], "0000001");
        assert_eq!(first[..RANDOM], second[..RANDOM]);
        assert_eq!(first.header(), &*first);
    }
}
