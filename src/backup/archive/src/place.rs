//! Where things lie, and as whom they are touched.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use assistantd::{
    backup::Folder,
    config::{self, Config, Environment, Paths, Sources, Wanted},
    error::{Error, Result},
    store::space,
};
use nix::{
    fcntl::{Flock, FlockArg},
    unistd::{Gid, Uid, User, geteuid, getgrouplist, setgroups, setresgid, setresuid},
};

/// Bytes that are written before the disk is asked again how much is free.
const ASK_AGAIN: u64 = 8 << 20;

/// The places of one daemon.
#[derive(Clone, Debug)]
pub struct Place {
    pub state_dir: PathBuf,
    pub workspace: PathBuf,
    /// The directory of the configuration.
    pub config_dir: Option<PathBuf>,
    pub config: Config,
    pub folder: Folder,
}

impl Place {
    /// Finds them as the daemon does.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn find(wanted: &Wanted, environment: Environment) -> Result<Self> {
        let wrong = |err: config::ConfigError| {
            let first = err.faults.first().map(ToString::to_string).unwrap_or_default();
            Error::validation(format!("the configuration is wrong: {first}")).hint("see assistantd --check")
        };
        let paths = Paths::find(wanted, &environment, geteuid().is_root()).map_err(wrong)?;
        let config = config::load(&Sources { paths: paths.clone(), environment }).map_err(wrong)?.config;
        let workspace =
            config.filesystem.shared_root.as_ref().map_or_else(|| paths.state_dir.join("workspace"), PathBuf::from);
        Ok(Self {
            folder: Folder::of(&config, &paths.state_dir),
            config_dir: paths.config.parent().map(Path::to_owned),
            state_dir: paths.state_dir,
            workspace,
            config,
        })
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("assistant.db")
    }

    /// Becomes the user to whom the state belongs, if this is root: what is made then is theirs, and nothing of what lies
    /// in a workspace is ever touched with root's rights. What only root may open must be open by now.
    ///
    /// # Errors
    /// When that user cannot be found or become.
    pub fn become_owner(&self) -> Result<()> {
        let Ok(owner) = fs::metadata(&self.state_dir).map(|meta| meta.uid()) else { return Ok(()) };
        if !geteuid().is_root() || owner == 0 {
            return Ok(());
        }
        let fail = |err: nix::Error| Error::unavailable(format!("becoming the owner of the state directory: {err}"));
        let uid = Uid::from_raw(owner);
        let user = User::from_uid(uid).map_err(fail)?.ok_or_else(|| {
            Error::unavailable(format!(
                "the owner of {} is uid {owner}, which has no name here",
                self.state_dir.display()
            ))
            .hint("on a new machine install the package first, which makes the user assistant")
        })?;
        let name = std::ffi::CString::new(user.name).map_err(Error::internal)?;
        let groups = getgrouplist(&name, user.gid).map_err(fail)?;
        // Files of the workspace belong to its group, as those that the daemon makes.
        let group = fs::metadata(&self.workspace).map_or(user.gid, |meta| Gid::from_raw(meta.gid()));
        let group = if groups.contains(&group) { group } else { user.gid };
        setgroups(&groups).map_err(fail)?;
        setresgid(group, group, group).map_err(fail)?;
        setresuid(uid, uid, uid).map_err(fail)
    }

    /// Opens the folder of backups for one program at a time, with an empty directory for what is not finished in it.
    ///
    /// # Errors
    /// `conflict` when another one is at work.
    pub fn work(&self) -> Result<Working> {
        Working::begin(self.folder.path())
    }
}

/// The right to work in the folder of backups, and a directory in it that is gone afterwards.
pub struct Working {
    path: PathBuf,
    _lock: Flock<fs::File>,
}

impl Working {
    fn begin(folder: &Path) -> Result<Self> {
        let fail = |err: io::Error| {
            Error::unavailable(format!("preparing the folder of backups {}: {err}", folder.display())).hint(
                "it must belong to the daemon's user (as root use sudo); for a folder of your own add it to \
                 ReadWritePaths= of assistant-backup.service",
            )
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
        let mut options = fs::OpenOptions::new();
        let lock =
            options.write(true).create(true).truncate(false).mode(0o600).open(folder.join(".lock")).map_err(fail)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            nix::errno::Errno::EWOULDBLOCK => Error::conflict("another backup is being made or checked")
                .hint("wait for it: systemctl status assistant-backup.service"),
            errno => fail(errno.into()),
        })?;
        let path = folder.join(".working");
        remove(&path).map_err(fail)?;
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(fail)?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        // What stays is removed by the next one.
        let _ = remove(&self.path);
    }
}

/// Removes a directory with all that is in it, if it is there.
///
/// # Errors
/// What the operating system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

/// Refuses to begin when less than `bytes`, and what has to stay free besides, is free at `path`.
///
/// # Errors
/// `storage_full` with both figures.
pub fn room(path: &Path, bytes: u64, spare: u64) -> Result<()> {
    let free = space::free(path)?;
    let needed = bytes.saturating_add(spare);
    if free >= needed {
        return Ok(());
    }
    Err(Error::storage_full(format!(
        "{} MiB are needed in {} and {} MiB are free",
        needed.div_ceil(1 << 20),
        path.display(),
        free >> 20
    ))
    .hint("make room there, set backup.directory to another disk, or lower retention.min_free_bytes"))
}

/// Stops writing before the disk is fuller than `retention.min_free_bytes` allows: a backup must not stop the daemon.
pub struct Spared<W> {
    out: W,
    left: Spare,
}

/// What has to stay free on a disk.
#[derive(Clone, Debug)]
pub struct Spare {
    path: PathBuf,
    bytes: u64,
    since: u64,
}

impl Spare {
    /// `bytes` at `path`.
    pub fn new(path: &Path, bytes: u64) -> Self {
        Self { path: path.to_owned(), bytes, since: 0 }
    }

    /// To be called for what is written.
    ///
    /// # Errors
    /// `StorageFull` when less stays free.
    pub fn count(&mut self, written: usize) -> io::Result<()> {
        self.since += written as u64;
        if self.since < ASK_AGAIN {
            return Ok(());
        }
        self.since = 0;
        let free = space::free(&self.path).map_err(|err| io::Error::other(err.to_string()))?;
        if free < self.bytes {
            let text = format!("only {} MiB are free in {}", free >> 20, self.path.display());
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        Ok(())
    }
}

impl<W> Spared<W> {
    /// Writes to `out`.
    pub fn new(out: W, left: Spare) -> Self {
        Self { out, left }
    }

    /// What is below.
    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for Spared<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.left.count(written)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
