//! The folder of backups: names, what is noted beside each, and which of them are no longer kept.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use assistant_api::backup::{Backup, BackupKind};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    config::Config,
    error::{Error, Result},
};

/// Copies made before upgrades that are kept.
const UPGRADES: usize = 3;
/// Bytes of a note at most; what is longer is none of ours.
const MAX_NOTE: u64 = 64 << 10;
/// How a backup's time stands in its name.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// The folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// What lies beside a backup, in a file of its name with `.json` behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    #[serde(flatten)]
    pub backup: Backup,
    /// SHA-256 of the file, hexadecimal: whether it is as it was written, without opening it. Empty: not known.
    pub sha256: String,
}

/// The name of a backup.
pub fn file_name(at: Timestamp, encrypted: bool) -> String {
    let end = if encrypted { ".age" } else { "" };
    format!("assistant-{}.tar.zst{end}", at.strftime(STAMP))
}

/// Whether a backup of `at` shows that backups are made: it is not older than two days.
pub fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at).as_hours() < 48
}

impl Folder {
    /// The configured one, or `backups` in the state directory.
    pub fn of(config: &Config, state_dir: &Path) -> Self {
        Self(config.backup.directory.as_ref().map_or_else(|| state_dir.join("backups"), PathBuf::from))
    }

    /// One by its path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Every backup in it, the newest first. What is being written has no such name yet.
    ///
    /// # Errors
    /// When the folder cannot be read; one that is not there is empty.
    pub fn list(&self) -> Result<Vec<Backup>> {
        let fail = |err: io::Error| {
            let err = Error::unavailable(format!("reading the backups in {}: {err}", self.0.display()));
            err.hint("they belong to the daemon's user: ask as root, with sudo")
        };
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return Err(fail(err)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Gone since, or nothing that could be a backup.
            let Some(meta) = entry.metadata().ok().filter(fs::Metadata::is_file) else { continue };
            let changed = meta.modified().ok().and_then(|at| Timestamp::try_from(at).ok()).unwrap_or_default();
            if let Some(mut backup) = by_name(&name, changed) {
                if let Some(note) = self.note(&name) {
                    backup = note.backup;
                }
                found.push(Backup { name, size_bytes: meta.len(), ..backup });
            }
        }
        found.sort_by(|one, other| (other.created_at, &other.name).cmp(&(one.created_at, &one.name)));
        Ok(found)
    }

    /// What is noted of a backup, if anything readable is.
    pub fn note(&self, name: &str) -> Option<Note> {
        let path = self.note_path(name);
        let small = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_NOTE);
        let note: Note = serde_json::from_slice(&fs::read(path).ok().filter(|_| small)?).ok()?;
        (note.backup.name == name).then_some(note)
    }

    /// Notes something of a backup; as a whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_note(&self, note: &Note) -> Result<()> {
        let path = self.note_path(&note.backup.name);
        let partial = self.0.join(format!(".{}.json", note.backup.name));
        let text = serde_json::to_string_pretty(note)?;
        let write = || -> io::Result<()> {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&partial, &path)?;
            fs::File::open(&self.0)?.sync_all()
        };
        write().map_err(|err| Error::unavailable(format!("writing {}: {err}", path.display())))
    }

    fn note_path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }

    /// Removes what is no longer kept: of each of the last `keep_daily` days and `keep_weekly` weeks that have backups
    /// in `zone` the newest stays, of copies made before upgrades the last few. The newest backup, and the newest that was
    /// found good, always stay. Says what went.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file in it not removed.
    pub fn prune(&self, keep: Keep, zone: &TimeZone) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        for name in superfluous(&self.list()?, keep, zone) {
            let path = self.0.join(&name);
            fs::remove_file(&path).map_err(|err| Error::unavailable(format!("removing {}: {err}", path.display())))?;
            // It may never have had one.
            let _ = fs::remove_file(self.note_path(&name));
            removed.push(name);
        }
        Ok(removed)
    }
}

/// How many are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// `backup.keep_daily`
    pub daily: u32,
    /// `backup.keep_weekly`
    pub weekly: u32,
}

impl From<&super::config::Backup> for Keep {
    fn from(config: &super::config::Backup) -> Self {
        Self { daily: config.keep_daily, weekly: config.keep_weekly }
    }
}

/// What a name alone says of a backup; `None` for other files.
fn by_name(name: &str, changed: Timestamp) -> Option<Backup> {
    let backup = |kind, created_at, schema_version, encrypted| Backup {
        name: name.to_owned(),
        kind,
        created_at,
        size_bytes: 0,
        schema_version,
        encrypted,
        verified_at: None,
        checked_at: None,
        problem: None,
        files: None,
        skipped: None,
    };
    if let Some(stem) = name.strip_prefix("assistant-") {
        let (stamp, end) = stem.split_once('.')?;
        let encrypted = match end {
            "tar.zst" => false,
            "tar.zst.age" => true,
            _ => return None,
        };
        let at = jiff::civil::DateTime::strptime(STAMP, stamp).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
        return Some(backup(BackupKind::Full, at, None, encrypted));
    }
    let (to, from) = name.strip_prefix("before-v")?.strip_suffix(".db")?.split_once("-from-v")?;
    to.parse::<u64>().ok()?;
    Some(backup(BackupKind::Database, changed, Some(from.parse().ok()?), false))
}

/// The names of backups that are no longer kept; `backups` has the newest first.
pub(super) fn superfluous(backups: &[Backup], keep: Keep, zone: &TimeZone) -> Vec<String> {
    let (full, upgrades): (Vec<&Backup>, Vec<&Backup>) =
        backups.iter().partition(|backup| backup.kind == BackupKind::Full);
    let mut kept: BTreeSet<&str> = upgrades.iter().take(UPGRADES).map(|backup| backup.name.as_str()).collect();
    kept.extend(full.first().map(|newest| newest.name.as_str()));
    kept.extend(full.iter().find(|backup| backup.verified_at.is_some()).map(|newest| newest.name.as_str()));
    let (mut days, mut weeks) = (BTreeSet::new(), BTreeSet::new());
    for backup in full {
        let date = backup.created_at.to_zoned(zone.clone()).date();
        let week = date.iso_week_date();
        let newest_of_day = (days.len() < keep.daily as usize) && days.insert(date);
        let newest_of_week = (weeks.len() < keep.weekly as usize) && weeks.insert((week.year(), week.week()));
        if newest_of_day || newest_of_week {
            kept.insert(&backup.name);
        }
    }
    backups.iter().map(|backup| &backup.name).filter(|name| !kept.contains(name.as_str())).cloned().collect()
}
