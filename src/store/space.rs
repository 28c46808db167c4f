//! The free-space mark: new work is refused while `SQLite` still has room to finish the old.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::error::{Error, Result};

/// Bytes that an unprivileged process may still write at `path` (`f_bavail`, statvfs(3)).
///
/// # Errors
/// `unavailable` when the file system does not say.
pub fn free(path: &Path) -> Result<u64> {
    let stat = statvfs(path).map_err(|err| Error::unavailable(format!("asking for free space: {err}")))?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// Refuses when fewer than `min` bytes are free at `path`; 0 = never. One system call, so there is nothing to cache.
///
/// # Errors
/// `storage_full`, with both figures and what to do.
pub fn check(path: &Path, min: u64) -> Result<()> {
    if min == 0 {
        return Ok(());
    }
    let free = free(path)?;
    if free >= min {
        return Ok(());
    }
    Err(Error::storage_full(format!(
        "only {} MiB are free on the disk of the state directory, retention.min_free_bytes asks for {}",
        free >> 20,
        min.div_ceil(1 << 20)
    ))
    .hint("free space there, shorten [retention], or lower retention.min_free_bytes; running jobs go on"))
}

#[cfg(test)]
mod tests {
    use assistant_api::ErrorKind;

    use super::*;

    #[test]
    fn new_work_is_refused_below_the_mark() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free(dir.path()).unwrap() > 0);
        check(dir.path(), 1).unwrap();
        check(dir.path(), 0).unwrap();
        let error = check(dir.path(), u64::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(error.message().contains("retention.min_free_bytes"), "{error}");
        assert_eq!(check(Path::new("/no/such/place"), 1).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
