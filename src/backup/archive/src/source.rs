//! A file that somebody says is a backup, opened before anything is known of it.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _},
    path::{Path, PathBuf},
};

use age::x25519;
use assistantd::{
    backup::Folder,
    error::{Error, Result},
};

use crate::seal::{self, AGE};

/// How every database of `SQLite` begins (<https://sqlite.org/fileformat2.html>).
const SQLITE: &[u8] = b"SQLite format 3\0";

/// What it is by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Archive,
    Encrypted,
    /// The copy of a database that an upgrade left.
    Database,
}

/// An open file.
pub struct Source {
    pub path: PathBuf,
    pub file: File,
    pub format: Format,
    pub identities: Vec<x25519::Identity>,
}

impl Source {
    /// Opens a file by its path, or by its name in the folder of backups, and the file of the identity.
    ///
    /// # Errors
    /// `not_found`, or `invalid` when it is no backup.
    pub fn open(name: &Path, folder: &Folder, identity: Option<&Path>) -> Result<Self> {
        let plain = name.components().count() == 1 && !name.exists();
        let path = if plain { folder.path().join(name) } else { name.to_owned() };
        let fail = |err: io::Error| match err.kind() {
            io::ErrorKind::NotFound => Error::not_found("backup", path.display()),
            _ => Error::unavailable(format!("opening {}: {err}", path.display())),
        };
        if !std::fs::metadata(&path).map_err(fail)?.is_file() {
            return Err(Error::invalid(format!("{} is not a file", path.display())));
        }
        let mut file = File::open(&path).map_err(fail)?;
        let mut begins = Vec::new();
        (&file).take(64).read_to_end(&mut begins).map_err(fail)?;
        file.rewind().map_err(fail)?;
        let format = if begins.starts_with(AGE) {
            Format::Encrypted
        } else if begins.starts_with(SQLITE) {
            Format::Database
        } else if begins.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
            Format::Archive
        } else {
            return Err(Error::invalid(format!("{} is not a backup of the assistant", path.display())));
        };
        let identities = match identity {
            None => Vec::new(),
            Some(key) => {
                let text = std::fs::read_to_string(key)
                    .map_err(|err| Error::invalid(format!("reading {}: {err}", key.display())).field("--identity"))?;
                seal::identities(&text)?
            }
        };
        Ok(Self { path, file, format, identities })
    }

    /// The file from its beginning.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn reader(&self) -> Result<BufReader<&File>> {
        (&self.file).rewind().map_err(|err| Error::unavailable(format!("reading {}: {err}", self.path.display())))?;
        Ok(BufReader::with_capacity(128 << 10, &self.file))
    }

    /// Its bytes.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn size(&self) -> Result<u64> {
        self.file.metadata().map(|meta| meta.len()).map_err(Error::internal)
    }

    /// Puts the path before what is wrong with it.
    pub fn told(&self, err: Error) -> Error {
        let told = Error::new(err.kind(), format!("{}: {}", self.path.display(), err.message()));
        match err.hint_text() {
            Some(hint) => told.hint(hint.to_owned()).source(err),
            None => told.source(err),
        }
    }
}
