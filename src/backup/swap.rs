//! A state takes the place of another, all of it or nothing, also when the power goes in the middle.
//!
//! What is to be moved is written down first, in one file that appears as a whole; from then on whoever comes next, the
//! restore itself or a daemon that starts, carries it out to its end. Each move is repeatable: the new one is still in
//! its first place, or it is done.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// The file in the state directory that says what is to be moved.
const PLAN: &str = "restore.plan";
/// The end of every whole plan.
const END: &[u8] = b"end";

/// One thing that takes another's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// What comes; `None`: nothing, the place becomes empty.
    pub from: Option<PathBuf>,
    /// The place.
    pub to: PathBuf,
    /// Where what is there goes. In a directory that exists; all three on one file system.
    pub old: PathBuf,
}

impl Move {
    fn make(&self) -> io::Result<()> {
        let comes = self.from.as_ref().filter(|from| there(from));
        // What came is not there any more once it has its place, which must then be left alone.
        if (comes.is_some() || self.from.is_none()) && there(&self.to) {
            fs::rename(&self.to, &self.old)?;
            sync_parent(&self.old)?;
        }
        if let Some(from) = comes {
            fs::rename(from, &self.to)?;
            sync_parent(from)?;
        }
        sync_parent(&self.to)
    }
}

fn there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Makes all moves or, if that cannot even be begun, none. The caller holds the lock of the state directory, and
/// everything that comes is on the disk.
///
/// # Errors
/// When a move fails; the next [`finish`] goes on.
pub fn swap(state_dir: &Path, moves: &[Move]) -> Result<()> {
    write_plan(state_dir, moves).map_err(|err| {
        Error::unavailable(format!("beginning to put the new state in its place: {err}"))
            .hint("nothing was changed; make room on that disk and try again")
    })?;
    finish(state_dir).map(drop)
}

fn write_plan(state_dir: &Path, moves: &[Move]) -> io::Result<()> {
    let mut text = Vec::new();
    for Move { from, to, old } in moves {
        for path in [from.as_deref().unwrap_or(Path::new("")), to, old] {
            text.extend_from_slice(path.as_os_str().as_bytes());
            text.push(0);
        }
    }
    text.extend_from_slice(END);
    let partial = state_dir.join("restore.plan.new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(partial, state_dir.join(PLAN))?;
    File::open(state_dir)?.sync_all()
}

/// Carries out what a restore had begun when it was cut off; says whether there was anything. The caller holds the lock
/// of the state directory.
///
/// # Errors
/// `unavailable` when that fails: the state is then of neither time, and nothing may use it.
pub fn finish(state_dir: &Path) -> Result<bool> {
    let path = state_dir.join(PLAN);
    let fail = |err: io::Error| {
        Error::unavailable(format!("finishing the restore of a backup, as {} says: {err}", path.display()))
            .hint("mend what it names and start again; nothing uses the state before that")
    };
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(err) => return Err(fail(err)),
    };
    let moves = parse(&text).ok_or_else(|| fail(io::Error::other("it is damaged")))?;
    for step in &moves {
        step.make().map_err(fail)?;
    }
    fs::remove_file(&path).and_then(|()| File::open(state_dir)?.sync_all()).map_err(fail)?;
    Ok(true)
}

fn parse(text: &[u8]) -> Option<Vec<Move>> {
    let paths: Vec<&[u8]> = text.strip_suffix(END)?.split(|byte| *byte == 0).collect();
    let (last, paths) = paths.split_last()?;
    let groups = paths.chunks_exact(3);
    if !last.is_empty() || !groups.remainder().is_empty() {
        return None;
    }
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    groups
        .map(|group| {
            let from = (!group[0].is_empty()).then(|| path(group[0]));
            let step = Move { from, to: path(group[1]), old: path(group[2]) };
            (step.to.is_absolute() && step.old.is_absolute()).then_some(step)
        })
        .collect()
}
