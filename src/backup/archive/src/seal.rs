//! What is around an archive: compression, a checksum of all compressed bytes, and encryption if it is wanted.
//!
//! The checksum stands behind the compressed data in a frame that zstd skips (RFC 8878, section 3.1.2), so that
//! `zstd -d` and `age -d` read what we write.

use std::io::{self, BufRead, BufReader, Read, Write};

use age::{stream::StreamWriter, x25519};
use assistantd::error::{Error, Result};
use sha2::{Digest as _, Sha256};

use crate::manifest::hex;

/// How hard zstd tries; its default.
const LEVEL: i32 = 3;
/// Begins a frame that is skipped, and says how long it is.
const FOOTER: [u8; 8] = [0x50, 0x2A, 0x4D, 0x18, 32, 0, 0, 0];
/// How every file of age begins.
pub const AGE: &[u8] = b"age-encryption.org/v1\n";

/// Counts and hashes what goes through it.
pub struct Hashing<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashing<T> {
    /// Nothing yet.
    pub fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// What is below, the hash in hexadecimal, and how many bytes there were.
    pub fn end(self) -> (T, String, u64) {
        (self.inner, hex(self.hash), self.bytes)
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.note(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.hash.update(&buffer[..got]);
        self.bytes += got as u64;
        Ok(got)
    }
}

impl<R: BufRead> BufRead for Hashing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        if let Ok(bytes) = self.inner.fill_buf() {
            let used = bytes.get(..length).unwrap_or(bytes);
            self.hash.update(used);
            self.bytes += used.len() as u64;
        }
        self.inner.consume(length);
    }
}

/// Reads what `backup.recipients` or `--recipient` say.
///
/// # Errors
/// `validation` for what is no recipient.
pub fn recipients(texts: &[String]) -> Result<Vec<x25519::Recipient>> {
    texts
        .iter()
        .map(|text| {
            text.parse().map_err(|err| {
                Error::validation(format!("{text:?} is no recipient of age: {err}"))
                    .field("backup.recipients")
                    .hint("make a pair of keys with age-keygen, and give the one that begins with age1")
            })
        })
        .collect()
}

/// Reads a file of secret keys as `age-keygen` writes it.
///
/// # Errors
/// `validation` when a line of it is none.
pub fn identities(text: &str) -> Result<Vec<x25519::Identity>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let found: Vec<x25519::Identity> = lines
        .map(|line| {
            let wrong = |_| Error::validation("the file of the identity holds a line that is no secret key of age");
            line.parse().map_err(wrong).map_err(|err: Error| err.field("--identity"))
        })
        .collect::<Result<_>>()?;
    if found.is_empty() {
        return Err(Error::validation("the file of the identity holds no key")
            .field("--identity")
            .hint("give the file that age-keygen wrote; its key begins with AGE-SECRET-KEY-1"));
    }
    Ok(found)
}

/// The outermost layer.
enum Outer<W: Write> {
    Plain(W),
    Age(Box<StreamWriter<W>>),
}

impl<W: Write> Write for Outer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Age(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Age(out) => out.flush(),
        }
    }
}

/// Takes an archive and writes it compressed, and encrypted if there are recipients.
pub struct Sealer<W: Write>(zstd::Encoder<'static, Hashing<Outer<W>>>);

impl<W: Write> Sealer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When writing fails.
    pub fn new(out: W, recipients: &[x25519::Recipient]) -> io::Result<Self> {
        let outer = if recipients.is_empty() {
            Outer::Plain(out)
        } else {
            let list = recipients.iter().map(|one| one as &dyn age::Recipient);
            let encryptor = age::Encryptor::with_recipients(list).map_err(io::Error::other)?;
            Outer::Age(Box::new(encryptor.wrap_output(out)?))
        };
        let mut encoder = zstd::Encoder::new(Hashing::new(outer), LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self(encoder))
    }

    /// Ends the file. One that was not ended is refused when it is read.
    ///
    /// # Errors
    /// When writing fails.
    pub fn end(self) -> io::Result<W> {
        let Hashing { inner: mut outer, hash, .. } = self.0.finish()?;
        outer.write_all(&FOOTER)?;
        outer.write_all(&hash.finalize())?;
        match outer {
            Outer::Plain(out) => Ok(out),
            Outer::Age(out) => out.finish(),
        }
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Gives back the archive in a file.
pub struct Opener<'a>(zstd::Decoder<'static, Hashing<Box<dyn BufRead + 'a>>>);

impl<'a> Opener<'a> {
    /// Begins to read.
    ///
    /// # Errors
    /// `invalid` for what is neither zstd nor age, or damaged there; `forbidden` when no identity fits.
    pub fn new(input: impl Read + 'a, identities: &[x25519::Identity]) -> Result<Self> {
        let mut input = BufReader::with_capacity(128 << 10, input);
        let begins = input.fill_buf().map_err(|err| unreadable(&err))?;
        let inner: Box<dyn BufRead + 'a> = if begins.starts_with(AGE) {
            if identities.is_empty() {
                return Err(
                    Error::forbidden("it is encrypted").hint("give the file of your age key with --identity FILE")
                );
            }
            let keys = identities.iter().map(|one| one as &dyn age::Identity);
            let opened = age::Decryptor::new_buffered(input).and_then(|decryptor| decryptor.decrypt(keys));
            Box::new(BufReader::with_capacity(
                128 << 10,
                opened.map_err(|err| match err {
                    age::DecryptError::NoMatchingKeys => Error::forbidden("it is not encrypted to this identity")
                        .hint("give the key of one of the recipients that it was made for"),
                    err => Error::invalid(format!("its encryption is damaged: {err}")),
                })?,
            ))
        } else {
            Box::new(input)
        };
        let decoder = zstd::Decoder::with_buffer(Hashing::new(inner)).map_err(|err| unreadable(&err))?;
        Ok(Self(decoder.single_frame()))
    }

    /// Looks at what follows the archive, which has been read to its end.
    ///
    /// # Errors
    /// `InvalidData` when that is not the checksum of everything before it, and the end.
    pub fn end(self) -> io::Result<()> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let Hashing { inner: mut rest, hash, .. } = self.0.finish();
        let mut footer = [0; FOOTER.len() + 32];
        rest.read_exact(&mut footer)?;
        let (frame, sum) = footer.split_at(FOOTER.len());
        if frame != FOOTER || sum != hash.finalize().as_slice() {
            return Err(wrong("its checksum is not that of its contents"));
        }
        if rest.read(&mut [0])? != 0 {
            return Err(wrong("something follows its end"));
        }
        Ok(())
    }
}

impl Read for Opener<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// What it means when an archive cannot be read on.
pub fn unreadable(err: &io::Error) -> Error {
    match err.kind() {
        io::ErrorKind::UnexpectedEof => Error::invalid("it is not whole: it ends too early"),
        io::ErrorKind::StorageFull => {
            Error::storage_full(err.to_string()).hint("make room on that disk; nothing was changed")
        }
        _ => Error::invalid(format!("it is damaged: {err}")),
    }
}
