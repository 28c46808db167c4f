use std::fs;

use assistant_api::backup::{Backup, BackupKind};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};

use super::{
    folder::{self, Folder, Keep, Note, file_name},
    recipients,
    swap::{self, Move},
};

const KEEP: Keep = Keep { daily: 7, weekly: 4 };

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn backup(created_at: Timestamp, verified: bool) -> Backup {
    Backup {
        name: file_name(created_at, false),
        kind: BackupKind::Full,
        created_at,
        size_bytes: 4,
        schema_version: Some(1),
        encrypted: false,
        verified_at: verified.then_some(created_at),
        checked_at: None,
        problem: None,
        files: Some(3),
        skipped: Some(0),
    }
}

#[test]
fn backups_are_listed_with_what_is_noted_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::at(dir.path());
    let noted = backup(at("2026-11-22T03:00:00Z"), true);
    for name in [
        noted.name.as_str(),
        "assistant-20261121T030000Z.tar.zst.age",
        "before-v2-from-v1.db",
        // None of these is one.
        "assistant-20261120T030000Z.tar.zst.part",
        ".working",
        "assistant-soon.tar.zst",
        "before-v2-from-v1.db.new",
        "notes.txt",
    ] {
        fs::write(dir.path().join(name), "abcd").unwrap();
    }
    folder.set_note(&Note { backup: noted.clone(), sha256: "ab".into() }).unwrap();
    let mut list = folder.list().unwrap();
    list.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(list.len(), 3, "{list:?}");
    assert_eq!(list[1], noted);
    assert!(list[0].encrypted && list[0].verified_at.is_none());
    assert_eq!(list[0].created_at, at("2026-11-21T03:00:00Z"));
    assert_eq!((list[2].kind, list[2].schema_version), (BackupKind::Database, Some(1)));
    // A note that is damaged, or of another file, says nothing.
    fs::copy(dir.path().join(format!("{}.json", noted.name)), dir.path().join("before-v2-from-v1.db.json")).unwrap();
    assert_eq!(folder.note("before-v2-from-v1.db"), None);
    assert!(Folder::at(dir.path().join("missing")).list().unwrap().is_empty());
}

#[test]
fn the_newest_of_each_day_and_week_stays() {
    let first = at("2026-11-22T03:00:00Z");
    // Two a day for sixty days, the newest first.
    let backups: Vec<Backup> =
        (0..120).map(|half| backup(first.checked_sub((half * 12).hours()).unwrap(), true)).collect();
    let gone = folder::superfluous(&backups, KEEP, &TimeZone::UTC);
    let kept: Vec<Timestamp> =
        backups.iter().filter(|backup| !gone.contains(&backup.name)).map(|backup| backup.created_at).collect();
    assert!(kept.contains(&first));
    // Seven days, of which the first may be the newest of their weeks too, and the weeks before.
    assert!((9..=11).contains(&kept.len()), "{kept:?}");
    assert!(*kept.last().unwrap() > first.checked_sub((24 * 29).hours()).unwrap());
}

#[test]
fn the_newest_and_the_newest_good_one_always_stay() {
    let least = Keep { daily: 1, weekly: 0 };
    let first = at("2026-11-22T03:00:00Z");
    let backups: Vec<Backup> =
        (0..5).map(|day| backup(first.checked_sub((day * 24).hours()).unwrap(), day == 3)).collect();
    let gone = folder::superfluous(&backups, least, &TimeZone::UTC);
    assert_eq!(gone.len(), 3);
    assert!(!gone.contains(&backups[0].name) && !gone.contains(&backups[3].name), "{gone:?}");
}

#[test]
fn what_is_removed_is_gone_with_its_note() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::at(dir.path());
    for day in 1..=9 {
        let one = backup(at(&format!("2026-10-0{day}T03:00:00Z")), true);
        fs::write(dir.path().join(&one.name), "abcd").unwrap();
        folder.set_note(&Note { backup: one, sha256: String::new() }).unwrap();
    }
    for version in 2..=6 {
        fs::write(dir.path().join(format!("before-v{version}-from-v1.db")), "abcd").unwrap();
    }
    fs::write(dir.path().join("mine.txt"), "stays").unwrap();
    let removed = folder.prune(Keep { daily: 2, weekly: 0 }, &TimeZone::UTC).unwrap();
    assert_eq!(removed.len(), 7 + 2, "{removed:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2 * 2 + 3 + 1);
    assert!(folder.prune(Keep { daily: 2, weekly: 0 }, &TimeZone::UTC).unwrap().is_empty());
}

#[test]
fn recipients_are_looked_at() {
    let good = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p".to_owned();
    assert_eq!(recipients(std::slice::from_ref(&good)), Ok(()));
    for (bad, says) in [
        ("AGE-SECRET-KEY-1QQQ", "secret key"),
        ("age1short", "found"),
        ("ssh-ed25519 AAAA", "found"),
        (good.to_uppercase().as_str(), "found"),
    ] {
        assert!(recipients(&[good.clone(), bad.to_owned()]).unwrap_err().contains(says), "{bad}");
    }
}

/// A state of two things, another that is to take its place, and a third thing that has to go.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for part in ["new", "old"] {
            fs::create_dir(dir.path().join(part)).unwrap();
        }
        for (path, text) in [("a", "old a"), ("wal", "old wal"), ("new/a", "new a"), ("new/b", "new b")] {
            fs::write(dir.path().join(path), text).unwrap();
        }
        Self(dir)
    }

    fn moves(&self) -> Vec<Move> {
        let path = |name: &str| self.0.path().join(name);
        vec![
            Move { from: None, to: path("wal"), old: path("old/wal") },
            Move { from: Some(path("new/a")), to: path("a"), old: path("old/a") },
            Move { from: Some(path("new/b")), to: path("b"), old: path("old/b") },
        ]
    }

    #[track_caller]
    fn check(&self) {
        let read = |name: &str| fs::read_to_string(self.0.path().join(name)).ok();
        assert_eq!([read("a"), read("b"), read("wal")], [Some("new a".into()), Some("new b".into()), None]);
        assert_eq!(
            [read("old/a"), read("old/wal"), read("old/b")],
            [Some("old a".into()), Some("old wal".into()), None]
        );
        assert!(read("restore.plan").is_none());
    }
}

#[test]
fn a_swap_is_finished_whatever_was_done_of_it() {
    let place = Place::new();
    swap::swap(place.0.path(), &place.moves()).unwrap();
    place.check();
    assert!(!swap::finish(place.0.path()).unwrap());
    // The renames in their order; after any number of them the power goes.
    let renames = [("wal", "old/wal"), ("a", "old/a"), ("new/a", "a"), ("new/b", "b")];
    for done in 0..=renames.len() {
        let whole = Place::new();
        fs::create_dir(whole.0.path().join("aside")).unwrap();
        // The plan of a swap that cannot begin: its second move has nowhere to go.
        let plan = {
            let mut moves = whole.moves();
            moves.insert(0, Move { from: None, to: whole.0.path().join("aside"), old: "/dev/null/x".into() });
            assert!(swap::swap(whole.0.path(), &moves).is_err());
            let text = fs::read(whole.0.path().join("restore.plan")).unwrap();
            let first = text.iter().enumerate().filter(|(_, byte)| **byte == 0).nth(2).unwrap().0;
            text[first + 1..].to_vec()
        };
        fs::write(whole.0.path().join("restore.plan"), plan).unwrap();
        for (from, to) in &renames[..done] {
            fs::rename(whole.0.path().join(from), whole.0.path().join(to)).unwrap();
        }
        assert!(swap::finish(whole.0.path()).unwrap());
        whole.check();
    }
}

#[test]
fn a_plan_that_is_damaged_is_not_followed() {
    let place = Place::new();
    for text in [&b""[..], b"\0a\0", b"\0a\0b\0", b"\0a\0b\0end", b"\0/a\0/b\0/c\0end", b"/x\0/a\0/b\0enx"] {
        fs::write(place.0.path().join("restore.plan"), text).unwrap();
        let err = swap::finish(place.0.path()).unwrap_err();
        assert!(err.message().contains("restore.plan"), "{err}");
        assert_eq!(fs::read_to_string(place.0.path().join("a")).unwrap(), "old a");
    }
}
