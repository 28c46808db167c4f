//! Files that are written beside their place, and then put there at once.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::exit::{Failure, Result};

/// A new file that lies beside its place, ready to be put there. Dropped, it is gone.
pub struct Prepared {
    pub temporary: NamedTempFile,
    pub file: PathBuf,
}

impl Prepared {
    /// Puts it in its place, at once and for good.
    pub fn commit(self) -> Result<()> {
        let file = self.file;
        let failed = |err: io::Error| Failure::file("writing", &file, &err);
        self.temporary.persist(&file).map_err(|err| failed(err.error))?;
        fs::File::open(file.parent().unwrap_or(Path::new("/"))).and_then(|dir| dir.sync_all()).map_err(failed)
    }
}
