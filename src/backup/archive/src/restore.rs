//! Brings a backup back: unpacked beside, checked, and only then put into its place, all of it or nothing.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use assistant_api::backup::{BackupContents, BackupRestored};
use assistantd::{
    backup::{
        restored::{self, Settled},
        swap::{self, Move},
    },
    clock::Clock,
    error::{Error, Result},
    store::{StateLock, snapshot},
};
use nix::unistd::{geteuid, syncfs};

use crate::{
    place::{Place, remove},
    source::Source,
    verify,
};

/// What is wanted beside the backup itself.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Also where a state is already.
    pub force: bool,
    /// Let nothing be worked on until somebody says so.
    pub hold: bool,
}

/// What is brought back.
pub enum From {
    Backup(Box<Source>),
    /// A directory `replaced-*` that an earlier restore left in the state directory.
    Replaced(PathBuf),
}

/// Brings it back.
///
/// # Errors
/// When it is not good, the state is in use, or there is one and `force` is not set. Nothing has changed then.
pub fn restore(from: &From, place: &Place, clock: &Clock, wanted: Wanted) -> Result<BackupRestored> {
    let state = &place.state_dir;
    let fail = |err: io::Error| {
        Error::unavailable(format!("preparing {}: {err}", state.display()))
            .hint("the state directory must belong to the daemon's user, and be there: as root, with sudo, it is made")
    };
    DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(fail)?;
    let _lock = StateLock::take(state).map_err(|err| {
        Error::new(err.kind(), err.message().to_owned())
            .hint("stop the daemon first: systemctl stop assistantd.socket assistantd.service")
    })?;
    swap::finish(state)?;
    if !wanted.force && !is_empty(place) {
        return Err(Error::conflict(format!("there is a state in {} already", state.display()))
            .hint("with --force it is put aside, and can be put back"));
    }
    let staging = state.join(".restoring");
    remove(&staging).map_err(fail)?;
    let beside = place.workspace.join(".assistant-restoring");
    remove(&beside).map_err(fail)?;
    let done = stage(from, place, clock, wanted, &staging);
    // Nothing of it is of use after a failure, unless the swap has begun: then it is finished the next time.
    if done.is_ok() || !state.join("restore.plan").exists() {
        let _ = remove(&staging);
        let _ = remove(&beside);
    }
    done
}

fn stage(from: &From, place: &Place, clock: &Clock, wanted: Wanted, staging: &Path) -> Result<BackupRestored> {
    let fail = |err: io::Error| Error::unavailable(format!("preparing the restore: {err}"));
    let state = &place.state_dir;
    let owner = owner(place).map_err(fail)?;
    let (path, new, contents) = match from {
        From::Backup(source) => {
            let opened = verify::open(source, place, staging, owner).map_err(|err| source.told(err))?;
            (source.path.clone(), staging.to_owned(), opened.contents)
        }
        From::Replaced(dir) => {
            let sound = snapshot::examine(&dir.join("assistant.db"))?;
            let contents =
                BackupContents { schema_version: sound.schema as u64, jobs: sound.jobs, ..BackupContents::default() };
            (dir.clone(), dir.clone(), contents)
        }
    };
    let kept = if new.join("kept").is_dir() { new.join("kept") } else { state.join("kept") };
    let settled = settle(&new, kept, clock, wanted.hold)?;
    // What a migration left: the backup itself is the copy of what was before.
    if matches!(from, From::Backup(_)) {
        remove(&new.join("backups")).map_err(fail)?;
    }

    let stamp = clock.now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut replaced = state.join(format!("replaced-{stamp}"));
    for number in 2.. {
        if !replaced.exists() {
            break;
        }
        replaced = state.join(format!("replaced-{stamp}-{number}"));
    }
    DirBuilder::new().mode(0o700).create(&replaced).map_err(fail)?;
    let moves = plan(place, &new, &replaced, &stamp).map_err(fail)?;
    for dir in [state, &place.workspace] {
        if let Ok(dir) = File::open(dir) {
            syncfs(dir).map_err(|errno| fail(errno.into()))?;
        }
    }
    swap::swap(state, &moves)?;
    // Empty if there was nothing before.
    let replaced = fs::remove_dir(&replaced).is_err().then(|| replaced.display().to_string());
    if let From::Replaced(dir) = from {
        let _ = fs::remove_dir(dir);
    }
    let configuration = state.join("restored-config");
    Ok(BackupRestored {
        path: path.display().to_string(),
        state_directory: state.display().to_string(),
        contents,
        replaced,
        configuration: configuration.is_dir().then(|| configuration.display().to_string()),
        stopped: settled.stopped,
        unknown_effects: settled.unknown,
    })
}

fn settle(new: &Path, kept: PathBuf, clock: &Clock, hold: bool) -> Result<Settled> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::internal)?;
    runtime.block_on(restored::settle(&new.join("assistant.db"), kept, clock.now(), hold))
}

/// Whether there is neither a database nor a file in the workspace.
fn is_empty(place: &Place) -> bool {
    let mut files = fs::read_dir(&place.workspace).into_iter().flatten().flatten();
    !place.database().exists() && !files.any(|entry| entry.file_name() != "lost+found")
}

/// To whom the workspace belongs, if this is root and it belongs to somebody else.
fn owner(place: &Place) -> io::Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    match fs::metadata(&place.workspace) {
        Ok(meta) => Ok(Some((meta.uid(), meta.gid())).filter(|(uid, _)| *uid != 0)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// What goes where. The log of the database goes before the database, without which it means nothing.
fn plan(place: &Place, new: &Path, replaced: &Path, stamp: &str) -> io::Result<Vec<Move>> {
    let state = &place.state_dir;
    let mut moves = Vec::new();
    for name in ["assistant.db-wal", "assistant.db-shm", "assistant.db", "kept", "config"] {
        let from = Some(new.join(name)).filter(|from| from.exists());
        let is_log = name.starts_with("assistant.db-");
        if from.is_some() || is_log {
            let place = if name == "config" { "restored-config" } else { name };
            moves.push(Move { from, to: state.join(place), old: replaced.join(place) });
        }
    }
    let workspace = new.join("workspace");
    if !workspace.is_dir() {
        return Ok(moves);
    }
    let to = &place.workspace;
    let present = fs::symlink_metadata(to).ok();
    let mounted = present.as_ref().is_some_and(|meta| fs::metadata(state).is_ok_and(|state| state.dev() != meta.dev()));
    let whole = to.parent() == Some(state.as_path()) && !mounted && present.as_ref().is_none_or(fs::Metadata::is_dir);
    if whole {
        if let Some(meta) = present {
            fs::set_permissions(&workspace, fs::Permissions::from_mode(meta.mode() & 0o777))?;
            let _ = std::os::unix::fs::chown(&workspace, None, Some(meta.gid()));
        } else {
            fs::set_permissions(&workspace, fs::Permissions::from_mode(0o770))?;
        }
        moves.push(Move { from: Some(workspace), to: to.clone(), old: replaced.join("workspace") });
        return Ok(moves);
    }
    // The workspace lies elsewhere and stays the directory that it is: what is in it is exchanged.
    let beside = to.join(".assistant-restoring");
    move_tree(&workspace, &beside)?;
    let old = to.join(format!(".assistant-replaced-{stamp}"));
    DirBuilder::new().mode(0o700).create(&old)?;
    let own = [Some(beside.as_os_str()), Some(old.as_os_str())];
    let mut names: std::collections::BTreeSet<std::ffi::OsString> = std::collections::BTreeSet::new();
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        let before = entry.file_name().as_encoded_bytes().starts_with(b".assistant-replaced-");
        if !own.contains(&Some(entry.path().as_os_str())) && !before && entry.file_name() != "lost+found" {
            names.insert(entry.file_name());
        }
    }
    for entry in fs::read_dir(&beside)? {
        names.insert(entry?.file_name());
    }
    for name in names {
        let from = Some(beside.join(&name)).filter(|from| fs::symlink_metadata(from).is_ok());
        moves.push(Move { from, to: to.join(&name), old: old.join(&name) });
    }
    Ok(moves)
}

/// Moves a directory to another file system.
fn move_tree(from: &Path, to: &Path) -> io::Result<()> {
    if fs::rename(from, to).is_ok() {
        return Ok(());
    }
    // `cp` of every system keeps links, modes, times and holes.
    let done = std::process::Command::new("cp").args(["-a", "--sparse=auto", "--"]).arg(from).arg(to).status()?;
    if done.success() { fs::remove_dir_all(from) } else { Err(io::Error::other("cp failed")) }
}
