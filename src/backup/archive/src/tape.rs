//! The entries of an archive, in the format of GNU tar, so that `tar` reads it too. Only what we write is read: files,
//! directories and links, each with a bound on its name.

use std::{
    fs::File,
    io::{self, Read, Seek as _, Write},
};

use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use crate::manifest::{Kind, Line, Skipped, Totals, escape, hex};

const BLOCK: usize = 512;
/// Bytes of a path or a target: `PATH_MAX`.
const MAX_NAME: u64 = 4096;
/// Bytes that are copied at once.
const CHUNK: usize = 64 << 10;

/// What is known of an entry beside its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    pub mtime: u64,
    /// Of the content of a file.
    pub size: u64,
    /// Where a link leads.
    pub target: Vec<u8>,
}

impl Entry {
    /// A file of our own, that is in no tree.
    pub fn own(path: &str, size: u64) -> Self {
        Self { path: path.into(), kind: Kind::File, mode: 0o600, mtime: 0, size, target: Vec::new() }
    }

    fn line(&self, sha256: Option<String>) -> io::Result<Vec<u8>> {
        let line = Line {
            path: escape(&self.path),
            kind: self.kind,
            mode: format!("{:04o}", self.mode),
            mtime: self.mtime,
            size: self.size,
            sha256,
            target: matches!(self.kind, Kind::Symlink | Kind::Link).then(|| escape(&self.target)),
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        Ok(text)
    }
}

/// The lines of entries, kept in a file without a name until they are needed, and their sum.
struct Lines {
    file: io::BufWriter<File>,
    totals: Totals,
}

impl Lines {
    fn new(scratch: &std::path::Path) -> io::Result<Self> {
        Ok(Self { file: io::BufWriter::new(tempfile::tempfile_in(scratch)?), totals: Totals::default() })
    }

    fn add(&mut self, entry: &Entry, sha256: Option<String>) -> io::Result<()> {
        self.totals.add(entry.kind, entry.size);
        self.file.write_all(&entry.line(sha256)?)
    }

    /// All lines with the last one, from the first byte, and how many bytes they are.
    fn end(mut self) -> io::Result<(Totals, File, u64)> {
        serde_json::to_writer(&mut self.file, &serde_json::json!({ "end": true, "totals": self.totals }))?;
        self.file.write_all(b"\n")?;
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let length = file.stream_position()?;
        file.rewind()?;
        Ok((self.totals, file, length))
    }
}

/// Writes entries one behind the other, and behind them what they were.
pub struct Writer<W> {
    out: W,
    /// None while they are written themselves.
    lines: Option<Lines>,
    skipped: io::BufWriter<File>,
    /// What was told to [`Writer::skip`].
    pub left_out: Skipped,
}

impl<W: Write> Writer<W> {
    /// An empty archive; what is needed at its end is kept in files without names in `scratch`.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn new(out: W, scratch: &std::path::Path) -> io::Result<Self> {
        let skipped = io::BufWriter::new(tempfile::tempfile_in(scratch)?);
        Ok(Self { out, lines: Some(Lines::new(scratch)?), skipped, left_out: Skipped::default() })
    }

    /// Adds an entry with the first `entry.size` bytes of `content`. If there are fewer, zeros follow, and how many there
    /// were is returned.
    ///
    /// # Errors
    /// When either end fails.
    pub fn add(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<u64> {
        self.head(entry)?;
        let mut hash = Sha256::new();
        let (mut read, mut written) = (0, 0);
        let mut chunk = vec![0; CHUNK];
        let mut more = true;
        while written < entry.size {
            let most = usize::try_from(entry.size - written).unwrap_or(CHUNK).min(CHUNK);
            let mut got = if more { read_some(content, &mut chunk[..most])? } else { 0 };
            read += got as u64;
            if got == 0 {
                more = false;
                chunk[..most].fill(0);
                got = most;
            }
            hash.update(&chunk[..got]);
            self.out.write_all(&chunk[..got])?;
            written += got as u64;
        }
        self.out.write_all(&[0; BLOCK][..padding(entry.size)])?;
        if let Some(lines) = &mut self.lines {
            lines.add(entry, (entry.kind == Kind::File).then(|| hex(hash)))?;
        }
        Ok(read)
    }

    /// Adds bytes as a file.
    ///
    /// # Errors
    /// When writing fails.
    pub fn add_bytes(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.add(&Entry::own(path, bytes.len() as u64), &mut &*bytes).map(drop)
    }

    /// Notes that something is not in the archive as it was.
    ///
    /// # Errors
    /// When writing fails.
    pub fn skip(&mut self, path: &[u8], reason: &str) -> io::Result<()> {
        let skipped = assistant_api::backup::BackupSkipped { path: escape(path), reason: reason.to_owned() };
        serde_json::to_writer(&mut self.skipped, &skipped)?;
        self.skipped.write_all(b"\n")?;
        self.left_out.add(skipped);
        Ok(())
    }

    /// Adds what was skipped and what there is, and ends the archive.
    ///
    /// # Errors
    /// When writing fails.
    pub fn end(mut self) -> io::Result<(W, Totals, Skipped)> {
        self.skipped.flush()?;
        let mut skipped = self.skipped.get_ref().try_clone()?;
        let length = skipped.stream_position()?;
        skipped.rewind()?;
        self.add(&Entry::own(SKIPPED, length), &mut skipped)?;
        let lines = self.lines.take().ok_or_else(|| wrong("it has ended"))?;
        let (totals, mut lines, length) = lines.end()?;
        self.add(&Entry::own(MANIFEST, length), &mut lines)?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok((self.out, totals, self.left_out))
    }

    fn head(&mut self, entry: &Entry) -> io::Result<()> {
        for (kind, name) in [(EntryType::GNULongName, &entry.path), (EntryType::GNULongLink, &entry.target)] {
            if name.len() > 100 {
                let mut header = Header::new_gnu();
                header.set_entry_type(kind);
                header.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
                header.set_size(name.len() as u64 + 1);
                header.set_cksum();
                self.out.write_all(header.as_bytes())?;
                self.out.write_all(name)?;
                self.out.write_all(&[0; BLOCK][..=padding(name.len() as u64 + 1)])?;
            }
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(match entry.kind {
            Kind::File => EntryType::Regular,
            Kind::Dir => EntryType::Directory,
            Kind::Symlink => EntryType::Symlink,
            Kind::Link => EntryType::Link,
        });
        header.set_size(entry.size);
        header.set_mode(entry.mode);
        header.set_mtime(entry.mtime);
        header.set_uid(0);
        header.set_gid(0);
        let old = header.as_old_mut();
        for (field, name) in [(&mut old.name, &entry.path), (&mut old.linkname, &entry.target)] {
            let length = name.len().min(field.len());
            field[..length].copy_from_slice(&name[..length]);
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }
}

/// Names of the entries at the end.
pub const SKIPPED: &str = "skipped.jsonl";
/// The last entry: a line for each before it.
pub const MANIFEST: &str = "manifest.jsonl";

/// Bytes up to the next whole block.
fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if over == 0 { 0 } else { BLOCK - over }
}

/// As much as there is, up to the length of `buffer`.
fn read_some(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(got) => length += got,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(length)
}

/// Reads the entries of an archive, and holds them against what it says at its end.
pub struct Reader<R> {
    input: R,
    lines: Lines,
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<R: Read> Reader<R> {
    /// Begins to read; see [`Writer::new`] for `scratch`.
    ///
    /// # Errors
    /// When a file in `scratch` cannot be made.
    pub fn new(input: R, scratch: &std::path::Path) -> io::Result<Self> {
        Ok(Self { input, lines: Lines::new(scratch)? })
    }

    /// The next entry, whose content has to be taken by [`Reader::content`] before the next one. The end of the archive
    /// is behind the manifest, so that an entry is always to come.
    ///
    /// # Errors
    /// `InvalidData` for what we did not write.
    pub fn next_entry(&mut self) -> io::Result<Entry> {
        let (mut path, mut target) = (None, None);
        loop {
            let header = self.header()?;
            let size = header.size()?;
            match header.entry_type() {
                EntryType::GNULongName if path.is_none() => path = Some(self.name(size)?),
                EntryType::GNULongLink if target.is_none() => target = Some(self.name(size)?),
                kind => {
                    let kind = match kind {
                        EntryType::Regular => Kind::File,
                        EntryType::Directory => Kind::Dir,
                        EntryType::Symlink => Kind::Symlink,
                        EntryType::Link => Kind::Link,
                        _ => return Err(wrong("an entry is neither a file, a directory nor a link")),
                    };
                    if kind != Kind::File && size != 0 {
                        return Err(wrong("an entry that is no file has a content"));
                    }
                    let old = header.as_old();
                    return Ok(Entry {
                        path: path.unwrap_or_else(|| until_nul(&old.name)),
                        kind,
                        mode: header.mode()? & 0o7777,
                        mtime: header.mtime()?,
                        size,
                        target: target.unwrap_or_else(|| until_nul(&old.linkname)),
                    });
                }
            }
        }
    }

    /// Passes the content of an entry to `take`, chunk by chunk.
    ///
    /// # Errors
    /// When the archive ends before it, and what `take` says.
    pub fn content(&mut self, entry: &Entry, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut hash = Sha256::new();
        let mut left = entry.size;
        let mut chunk = vec![0; CHUNK];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            self.input.read_exact(&mut chunk[..most])?;
            hash.update(&chunk[..most]);
            take(&chunk[..most])?;
            left -= most as u64;
        }
        self.skip_padding(entry.size)?;
        self.lines.add(entry, (entry.kind == Kind::File).then(|| hex(hash)))
    }

    /// Compares the manifest, whose entry was just returned, with what came before it, and reads to the end.
    ///
    /// # Errors
    /// `InvalidData` when anything differs.
    pub fn end(mut self, manifest: &Entry) -> io::Result<(R, Totals)> {
        let (totals, mut lines, length) = self.lines.end()?;
        let differs = || wrong("its list of contents is not that of its contents");
        if manifest.size != length {
            return Err(differs());
        }
        let (mut said, mut found) = (vec![0; CHUNK], vec![0; CHUNK]);
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            self.input.read_exact(&mut said[..most])?;
            lines.read_exact(&mut found[..most])?;
            if said[..most] != found[..most] {
                return Err(differs());
            }
            left -= most as u64;
        }
        let mut input = self.input;
        let mut rest = vec![0; padding(length) + 2 * BLOCK];
        input.read_exact(&mut rest)?;
        if rest.iter().any(|byte| *byte != 0) || input.read(&mut [0])? != 0 {
            return Err(wrong("something follows its end"));
        }
        Ok((input, totals))
    }

    fn header(&mut self) -> io::Result<Header> {
        let mut header = Header::new_gnu();
        self.input.read_exact(header.as_mut_bytes())?;
        let bytes = header.as_bytes();
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(wrong("it ends without its list of contents"));
        }
        // The field of the checksum counts as spaces.
        let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        if header.as_gnu().is_none() || header.cksum()? != sum {
            return Err(wrong("the head of an entry is damaged"));
        }
        Ok(header)
    }

    fn name(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if !(2..=MAX_NAME + 1).contains(&size) {
            return Err(wrong("a name is too long"));
        }
        let mut name = vec![0; usize::try_from(size).unwrap_or(0)];
        self.input.read_exact(&mut name)?;
        self.skip_padding(size)?;
        if name.pop() != Some(0) || name.contains(&0) {
            return Err(wrong("a name is damaged"));
        }
        Ok(name)
    }

    fn skip_padding(&mut self, size: u64) -> io::Result<()> {
        let mut rest = [0; BLOCK];
        let rest = &mut rest[..padding(size)];
        self.input.read_exact(rest)?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(wrong("there is something between two entries"));
        }
        Ok(())
    }
}

fn until_nul(field: &[u8]) -> Vec<u8> {
    field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}
