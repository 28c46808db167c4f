//! A directory for temporary files, where `/tmp` is everybody's. It is locked as long as its session lives; what a runner
//! left that was killed is found unlocked by the next one of the same user, and removed.

use std::{
    fs::{self, File, TryLockError},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
};

use nix::unistd::{getuid, mkdtemp};

use super::{
    fault::{At as _, Fault},
    modes,
};

const PLACE: &str = "/tmp";
const NAME: &str = "assistant-sandbox-";

/// How often somebody else may take a new directory for one that was left.
const ATTEMPTS: u32 = 8;

/// It goes with the session.
pub(crate) struct Scratch {
    path: String,
    /// Open and locked.
    dir: File,
}

impl Scratch {
    /// Removes what was left, and makes a new one that nobody else may enter, with a home in it.
    pub(crate) fn new() -> Result<Self, Fault> {
        sweep();
        for _ in 0..ATTEMPTS {
            let path = mkdtemp(format!("{PLACE}/{NAME}XXXXXX").as_str()).at("temporary directory")?;
            if let Some(dir) = locked(&path) {
                fs::create_dir(path.join("home")).at("temporary directory")?;
                let path = path.into_os_string().into_string();
                let path = path.map_err(|path| Fault::new("temporary directory", path.display()))?;
                return Ok(Self { path, dir });
            }
        }
        Err(Fault::new("temporary directory", "others remove it"))
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(Path::new(&self.path), &self.dir);
    }
}

/// The directory, if it is a user's own and nobody has it locked. While it is open, no other takes its place.
fn locked(path: &Path) -> Option<File> {
    if !fs::symlink_metadata(path).ok()?.is_dir() {
        return None;
    }
    let dir = File::open(path).ok()?;
    match dir.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
    }
    let (there, named) = (dir.metadata().ok()?, fs::symlink_metadata(path).ok()?);
    let same = (there.dev(), there.ino()) == (named.dev(), named.ino());
    (same && there.uid() == getuid().as_raw()).then_some(dir)
}

fn remove(path: &Path, dir: &File) {
    modes::mend(dir.as_fd(), false);
    let _ = fs::remove_dir_all(path);
}

fn sweep() {
    let Ok(entries) = fs::read_dir(PLACE) else { return };
    for entry in entries.filter_map(Result::ok) {
        // Made as ours are, and not only called so.
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(NAME.as_bytes())
            && name.len() == NAME.len() + 6
            && entry.metadata().is_ok_and(|found| found.mode() & 0o7777 == 0o700)
            && let Some(dir) = locked(&entry.path())
        {
            remove(&entry.path(), &dir);
        }
    }
}
