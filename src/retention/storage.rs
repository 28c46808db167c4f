//! What lies on the disk, by kind. A measurement is bounded, and what it found is told again for a while.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use assistant_api::storage::{Storage, StorageKind};

use crate::{
    backup::Folder,
    config::Config,
    cx::Cx,
    error::{Error, Result},
    mail,
    workspace::{self, Weight},
};

/// How long a measurement is told again.
const KNOWN_FOR: Duration = Duration::from_mins(1);
/// Entries of the workspace, and of the folder of messages, that a measurement looks at.
const ENTRIES: usize = 100_000;

/// The last measurement, with its time on the monotonic clock; who wants a new one waits for whoever makes it.
pub type Measured = tokio::sync::Mutex<Option<(Duration, Storage)>>;

/// What lies on the disk. A part that cannot be measured says why and keeps back no other.
pub async fn storage(cx: &Cx) -> Storage {
    let mut last = cx.process.storage.lock().await;
    let now = cx.clock.monotonic();
    if let Some((at, storage)) = &*last
        && now.saturating_sub(*at) < KNOWN_FOR
    {
        return storage.clone();
    }
    let storage = Storage { measured_at: cx.clock.now(), kinds: kinds(cx).await };
    *last = Some((now, storage.clone()));
    storage
}

async fn kinds(cx: &Cx) -> Vec<StorageKind> {
    let config = cx.config.load_full();
    let (database, state) = (cx.store.path().to_owned(), cx.state_dir.clone());
    let folder = Folder::of(&config, &state);
    let beside = tokio::task::spawn_blocking(move || {
        (files_of(&database), weigh(&mail::folder(&state)), folder.list().map(|list| backups(&list)))
    });
    let workspace = workspace::weigh(cx, ENTRIES).await;
    let versions = workspace::weigh_versions(cx).await;
    let keep = |what: &str| kept(what, &config);
    let mut kinds = Vec::new();
    let (database, messages, backups) = match beside.await {
        Ok((database, messages, backups)) => (database, messages, backups),
        Err(err) => (Weight::default(), Err(Error::internal(err)), Ok(Weight::default())),
    };
    kinds.push(StorageKind { bytes: Some(database.bytes), ..kind("database", None) });
    match workspace {
        Ok(found) => {
            for (name, weight) in [
                ("workspace", found.files),
                ("trash", found.trash),
                ("tool_results", found.tool_results),
                ("artifacts", found.artifacts),
            ] {
                kinds.push(StorageKind { at_least: found.cut, ..weighed(name, keep(name), Ok(weight)) });
            }
        }
        Err(err) => kinds.push(weighed("workspace", None, Err(err))),
    }
    kinds.push(weighed("versions", keep("versions"), versions));
    let cut = messages.as_ref().is_ok_and(|weight| weight.files >= ENTRIES as u64);
    kinds.push(StorageKind { at_least: cut, ..weighed("mail", keep("mail"), messages) });
    kinds.push(weighed("backups", keep("backups"), backups));
    let sessions = cx.process.sandbox.count(&config.sandbox);
    kinds.push(StorageKind { count: Some(sessions as u64), ..kind("sandbox", None) });
    kinds
}

fn kind(name: &str, kept: Option<String>) -> StorageKind {
    StorageKind { kind: name.to_owned(), bytes: None, count: None, at_least: false, kept, problem: None }
}

fn weighed(name: &str, kept: Option<String>, weight: Result<Weight>) -> StorageKind {
    match weight {
        Ok(weight) => StorageKind { bytes: Some(weight.bytes), count: Some(weight.files), ..kind(name, kept) },
        Err(err) => StorageKind { problem: Some(err.message().to_owned()), ..kind(name, kept) },
    }
}

/// How long a kind is kept, with the keys that say so.
fn kept(what: &str, config: &Config) -> Option<String> {
    let days = |age: Duration, key: &str| format!("{} days ({key})", age.as_secs() / 86_400);
    let keep = &config.retention;
    Some(match what {
        "trash" => days(keep.trash_days.0, "retention.trash_days"),
        "tool_results" => days(config.tool_result_cache.retention_days.0, "tool_result_cache.retention_days"),
        "versions" => format!(
            "{}, at most {} MiB (retention.kept_file_bytes)",
            days(keep.kept_file_days.0, "retention.kept_file_days"),
            keep.kept_file_bytes.0 >> 20
        ),
        "mail" => format!(
            "what was sent: {}; what nobody acted on: {}, at most {} MiB (retention.unused_mail_bytes)",
            days(keep.sent_mail_days.0, "retention.sent_mail_days"),
            days(keep.unused_mail_days.0, "retention.unused_mail_days"),
            keep.unused_mail_bytes.0 >> 20
        ),
        "backups" => format!(
            "of {} days (backup.keep_daily) and {} weeks (backup.keep_weekly) the newest",
            config.backup.keep_daily, config.backup.keep_weekly
        ),
        _ => return None,
    })
}

/// The database with what belongs to it.
fn files_of(database: &Path) -> Weight {
    let mut weight = Weight::default();
    for suffix in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        if let Ok(meta) = fs::metadata(path) {
            weight.add(meta.size());
        }
    }
    weight
}

/// The files of a flat folder; one that is not there is empty.
fn weigh(folder: &Path) -> Result<Weight> {
    let mut weight = Weight::default();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(weight),
        Err(err) => return Err(Error::unavailable("the messages cannot be counted").source(err)),
    };
    // What is gone by now, or is no file, does not count.
    let files = entries.take(ENTRIES).filter_map(|entry| entry.ok()?.metadata().ok()).filter(fs::Metadata::is_file);
    files.for_each(|meta| weight.add(meta.size()));
    Ok(weight)
}

fn backups(list: &[assistant_api::backup::Backup]) -> Weight {
    let mut weight = Weight::default();
    for backup in list {
        weight.add(backup.size_bytes);
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, daemon};

    fn of<'a>(storage: &'a Storage, name: &str) -> &'a StorageKind {
        storage.kinds.iter().find(|kind| kind.kind == name).unwrap()
    }

    #[tokio::test]
    async fn each_kind_is_measured_once_in_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::fixed("2026-11-23T12:00:00Z".parse().unwrap());
        let cx = daemon::idle(dir.path(), Config::default(), clock.clone());
        assert!(of(&storage(&cx).await, "workspace").problem.is_some(), "there is none yet");
        workspace::attach(&cx).await;
        let place = |path: &str, bytes: usize| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; bytes]).unwrap();
        };
        place("workspace/a.txt", 10);
        place("workspace/deep/b.txt", 20);
        place("workspace/.trash/1-c.txt", 5);
        place("workspace/processed/d.md", 7);
        place("mail/in-1", 100);
        place("mail/out-1", 1);
        place("backups/assistant-20261122T030000Z.tar.zst", 1000);
        place("backups/note.txt", 3);
        let found = storage(&cx).await;
        assert!(of(&found, "workspace").problem.is_some(), "it is still known");
        clock.advance(KNOWN_FOR);
        let found = storage(&cx).await;
        let sizes = |name: &str| (of(&found, name).bytes, of(&found, name).count);
        assert_eq!(sizes("workspace"), (Some(30), Some(2)));
        assert_eq!(sizes("trash"), (Some(5), Some(1)));
        assert_eq!(sizes("artifacts"), (Some(7), Some(1)));
        assert_eq!(sizes("tool_results"), (Some(0), Some(0)));
        assert_eq!(sizes("versions"), (Some(0), Some(0)));
        assert_eq!(sizes("mail"), (Some(101), Some(2)));
        assert_eq!(sizes("backups"), (Some(1000), Some(1)));
        assert_eq!(sizes("sandbox"), (None, Some(0)));
        assert!(of(&found, "database").bytes.unwrap() > 4096);
        assert_eq!(of(&found, "trash").kept.as_deref(), Some("30 days (retention.trash_days)"));
        assert!(found.kinds.iter().all(|kind| !kind.at_least && kind.problem.is_none()), "{found:?}");
    }

    #[tokio::test]
    async fn a_walk_has_a_bound_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let cx = daemon::idle(dir.path(), Config::default(), Clock::default());
        workspace::attach(&cx).await;
        (0..5).for_each(|number| fs::write(dir.path().join(format!("workspace/{number}")), "x").unwrap());
        let found = workspace::weigh(&cx, 3).await.unwrap();
        assert!(found.cut && found.files.files <= 3, "{found:?}");
        assert!(!workspace::weigh(&cx, 100).await.unwrap().cut);
    }
}
