//! Where the probe runs, and what somebody put outside for it to reach for.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use super::Stop;
use crate::protocol::{Level, Limits};

/// Things outside the sandbox that the probe must not reach, by kind. Who plants them tells the probe where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    things: BTreeMap<String, String>,
}

impl Outside {
    /// What can be planted: a file (world-readable and, by its mode, writable); listening Unix sockets by path, by
    /// abstract name and for datagrams; a TCP port on 127.0.0.1; a process; a System V shared memory key; the name of a
    /// POSIX queue; a file in `/dev/shm`; a file of another session's `/tmp`.
    pub const KINDS: [&'static str; 10] =
        ["file", "socket", "abstract", "datagram", "tcp", "pid", "shm-key", "queue", "dev-shm", "tmp"];

    /// Adds `kind=value`.
    pub fn add(&mut self, argument: &str) -> Result<(), String> {
        let (kind, value) = argument.split_once('=').ok_or_else(|| format!("`{argument}` is not kind=value"))?;
        if !Self::KINDS.contains(&kind) {
            return Err(format!("`{kind}` cannot be planted; these can: {}", Self::KINDS.join(", ")));
        }
        self.things.insert(kind.to_owned(), value.to_owned());
        Ok(())
    }

    /// As arguments of the probe.
    pub fn arguments(&self) -> Vec<String> {
        self.things.iter().flat_map(|(kind, value)| ["--outside".to_owned(), format!("{kind}={value}")]).collect()
    }
}

/// Where an attempt is made.
#[derive(Clone, Debug)]
pub struct Place {
    pub level: Level,
    pub limits: Limits,
    /// The workspace as the command sees it.
    pub workspace: PathBuf,
    /// What is the daemon's alone in it: `.assistant` there, or a directory below that.
    pub ours: PathBuf,
    pub outside: Outside,
    /// Descriptors beside 0 to 2 that the probe was started with.
    pub(super) inherited: Vec<i32>,
}

static SCRATCHES: AtomicU32 = AtomicU32::new(0);

impl Place {
    pub(super) fn outside(&self, kind: &str) -> Result<&str, Stop> {
        self.outside
            .things
            .get(kind)
            .map(String::as_str)
            .ok_or_else(|| Stop::Absent(format!("nothing was planted: {kind}")))
    }

    pub(super) fn outside_number<T: std::str::FromStr>(&self, kind: &str) -> Result<T, Stop> {
        let text = self.outside(kind)?;
        text.parse().map_err(|_| Stop::Broken(format!("`{text}` is not a {kind}")))
    }

    /// A new empty directory, in the workspace if that can be written, else among the temporary files.
    pub(super) fn scratch(&self) -> io::Result<Scratch> {
        Self::scratch_in(&self.workspace).or_else(|_| Self::scratch_in(&std::env::temp_dir()))
    }

    pub(super) fn scratch_in(parent: &Path) -> io::Result<Scratch> {
        let number = SCRATCHES.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("probe-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Scratch(path))
    }
}

/// A directory that goes away with its last user.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
