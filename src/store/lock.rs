//! One daemon per state directory.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use nix::fcntl::{Flock, FlockArg};

use crate::error::{Error, Result};

/// Held for the life of the daemon; the kernel releases it when the process ends, however it ends.
pub struct StateLock(#[expect(dead_code, reason = "held, not used")] Flock<File>);

impl StateLock {
    /// Locks `dir` (flock(2) on `dir/lock`).
    ///
    /// # Errors
    /// `conflict` with the holder's pid when another daemon has it.
    pub fn take(dir: &Path) -> Result<Self> {
        let path = dir.join("lock");
        let fail = |err: &dyn std::fmt::Display| Error::unavailable(format!("locking {}: {err}", path.display()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|err| fail(&err))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0).and_then(|()| lock.rewind()).map_err(|err| fail(&err))?;
                writeln!(lock, "{}", std::process::id()).map_err(|err| fail(&err))?;
                Ok(Self(lock))
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let holder = if pid.trim().is_empty() { "another process" } else { pid.trim() };
                Err(Error::conflict(format!("the state directory {} is in use by pid {holder}", dir.display()))
                    .hint("stop that daemon first, or give this one its own --state-dir"))
            }
            Err((_, errno)) => Err(fail(&errno)),
        }
    }
}
