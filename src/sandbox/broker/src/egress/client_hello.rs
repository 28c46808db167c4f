//! The first message of TLS, as far as it tells which host is asked for. It is read, never changed or answered.

/// Bytes in which a client hello must be complete; those with post-quantum keys are about 2 KiB long.
pub(super) const MOST: usize = 64 << 10;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// The drafts before it.
const ENCRYPTED_SERVER_NAME: u16 = 0xffce;

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// The beginning of a client hello, perhaps.
    Incomplete,
    NotTls,
    Hello {
        /// The name of `server_name`, as it was sent.
        name: Option<String>,
        /// Whether there is another name, encrypted, that may be the one that counts. What browsers send to look as if
        /// looks the same.
        hidden: bool,
    },
}

/// Reads the beginning of a stream.
pub(super) fn read(bytes: &[u8]) -> Opening {
    match message(bytes) {
        Progress::More => Opening::Incomplete,
        Progress::No => Opening::NotTls,
        Progress::Whole(body) => hello(&body).unwrap_or(Opening::NotTls),
    }
}

enum Progress {
    More,
    No,
    Whole(Vec<u8>),
}

/// The body of the first handshake message, put together from the records that carry it.
fn message(bytes: &[u8]) -> Progress {
    let mut rest = Bytes(bytes);
    let mut message = Vec::new();
    loop {
        match (rest.0.first(), rest.0.get(1)) {
            (Some(kind), _) if *kind != HANDSHAKE => return Progress::No,
            (_, Some(major)) if *major != 3 => return Progress::No,
            _ => {}
        }
        let record = (|| {
            rest.take(3)?;
            let length = rest.u16()?;
            Some((length, rest.take(length.into())))
        })();
        match record {
            Some((0 | 16_385.., _)) => return Progress::No,
            None | Some((_, None)) => return Progress::More,
            Some((_, Some(part))) => message.extend_from_slice(part),
        }
        let mut read = Bytes(&message);
        match read.u8() {
            Some(CLIENT_HELLO) | None => {}
            Some(_) => return Progress::No,
        }
        if let Some(length) = read.u24() {
            if length > MOST {
                return Progress::No;
            }
            if let Some(body) = read.take(length) {
                return Progress::Whole(body.to_vec());
            }
        }
    }
}

/// RFC 8446, section 4.1.2.
fn hello(body: &[u8]) -> Option<Opening> {
    let mut rest = Bytes(body);
    rest.take(2 + 32)?; // version, random
    rest.short_list()?; // session
    rest.list()?; // cipher suites
    rest.short_list()?; // compression
    let (mut name, mut hidden) = (None, false);
    if !rest.0.is_empty() {
        let mut extensions = Bytes(rest.list()?);
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let data = extensions.list()?;
            match kind {
                // Two names, or two lists of names, leave open which one counts.
                SERVER_NAME if name.is_some() => return None,
                SERVER_NAME => name = Some(server_name(data)?),
                ENCRYPTED_CLIENT_HELLO | ENCRYPTED_SERVER_NAME => hidden = true,
                _ => {}
            }
        }
    }
    rest.0.is_empty().then_some(Opening::Hello { name, hidden })
}

/// RFC 6066, section 3: a list of exactly one name of the kind `host_name`.
fn server_name(data: &[u8]) -> Option<String> {
    let mut outer = Bytes(data);
    let mut names = Bytes(outer.list()?);
    let kind = names.u8()?;
    let name = names.list()?;
    let alone = kind == 0 && names.0.is_empty() && outer.0.is_empty();
    alone.then(|| String::from_utf8(name.to_vec()).ok())?
}

/// A cursor that never reads past the end.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        u16::try_from(self.number(2)?).ok()
    }

    fn u24(&mut self) -> Option<usize> {
        self.number(3)
    }

    /// A list after its length in one byte.
    fn short_list(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// A list after its length in two bytes.
    fn list(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests;
