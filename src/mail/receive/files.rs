//! Messages as files: private, whole and on the disk before anything is decided about them.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::store;
use crate::{
    cx::Cx,
    error::{Error, Result},
    mail,
};

/// What the names of these files begin with; other parts keep theirs in the same folder.
const PREFIX: &str = "in-";

/// A message that is being written. Dropped before its end, it is gone.
pub(super) struct Writing {
    dir: PathBuf,
    name: String,
    file: File,
    hash: Sha256,
    size: u64,
    finished: bool,
}

/// A message that is written. Dropped before it is handed over, it is gone.
#[derive(Debug)]
pub(super) struct Written {
    dir: PathBuf,
    name: String,
    pub(super) size: u64,
    pub(super) hash: [u8; 32],
    handed_over: bool,
}

impl Written {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its name; from now on somebody else has to remove it.
    pub(super) fn hand_over(mut self) -> String {
        self.handed_over = true;
        std::mem::take(&mut self.name)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.handed_over {
            let _ = std::fs::remove_file(self.dir.join(&self.name)); // what stays is found at the next start
        }
    }
}

impl Writing {
    /// Begins a file of a name that nobody can guess. Blocks.
    pub(super) fn begin(dir: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(Error::internal)?;
        let name = format!("{PREFIX}{:032x}.eml", u128::from_le_bytes(random));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(&name)).map_err(failed)?;
        Ok(Self { dir: dir.to_owned(), name, file, hash: Sha256::new(), size: 0, finished: false })
    }

    /// Adds bytes. Blocks.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(failed)?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Ends it; it is on the disk then, with its name. Blocks.
    pub(super) fn finish(mut self) -> Result<Written> {
        self.file.sync_all().map_err(failed)?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        self.finished = true;
        let hash = std::mem::take(&mut self.hash).finalize().into();
        let (dir, name) = (self.dir.clone(), std::mem::take(&mut self.name));
        Ok(Written { dir, name, size: self.size, hash, handed_over: false })
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(self.dir.join(&self.name)); // what stays is found at the next start
        }
    }
}

fn failed(err: io::Error) -> Error {
    let full = matches!(err.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let message = "a message cannot be written to the state directory";
    if full { Error::storage_full(message) } else { Error::unavailable(message) }
        .hint("see assistantctl status for the disk of the state directory")
        .source(err)
}

/// Removes the file of a message if no row names it: a duplicate, or one that could not be decided about.
pub(super) async fn tidy(cx: &Cx, name: &str) -> Result<()> {
    let (path, name) = (mail::folder(&cx.state_dir).join(name), name.to_owned());
    if !cx.store.read(move |conn| store::is_known(conn, &name)).await? {
        let _ = tokio::fs::remove_file(path).await; // gone already, or found at the next start
    }
    Ok(())
}

/// Removes what a former process fetched and did not decide about; how many files.
pub(super) async fn sweep(cx: &Cx) -> Result<usize> {
    let dir = mail::folder(&cx.state_dir);
    let mut entries = match tokio::fs::read_dir(&dir).await {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(failed)?,
    };
    let mut removed = 0;
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with(PREFIX) {
            continue;
        }
        let asked = name.clone();
        if !cx.store.read(move |conn| store::is_known(conn, &asked)).await? {
            tokio::fs::remove_file(entry.path()).await.map_err(failed)?;
            removed += 1;
        }
    }
    Ok(removed)
}
