//! Archives that somebody else made, to have something written where it does not belong.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use assistant_backup::{
    manifest::Kind,
    seal::Sealer,
    tape::{Entry, Writer},
};

use crate::bed::Bed;

/// An archive with a good head and a good database, and between them what is to be tried.
fn archive(bed: &Bed, entries: &[(Entry, &[u8])]) -> String {
    let path = bed.path("hostile.tar.zst");
    let sealer = Sealer::new(fs::File::create(&path).unwrap(), &[]).unwrap();
    let mut writer = Writer::new(sealer, bed.dir.path()).unwrap();
    let schema = assistantd::store::migrations::current();
    let head = format!(
        r#"{{"format":1,"program":"0","schema":{schema},"created_at":"2026-11-22T00:00:00Z","estimated_bytes":0}}"#
    );
    writer.add_bytes("backup.json", head.as_bytes()).unwrap();
    let top = |name: &str| Entry { kind: Kind::Dir, mode: 0o700, ..Entry::own(name, 0) };
    writer.add(&top("workspace"), &mut std::io::empty()).unwrap();
    writer.add(&top("kept"), &mut std::io::empty()).unwrap();
    for (entry, bytes) in entries {
        writer.add(entry, &mut &**bytes).unwrap();
    }
    let copy = bed.path("copy.db");
    let _ = fs::remove_file(&copy);
    assistantd::store::snapshot::copy(&bed.path("state/assistant.db"), &copy).unwrap();
    writer.add_bytes("assistant.db", &fs::read(copy).unwrap()).unwrap();
    let (sealer, ..) = writer.end().unwrap();
    sealer.end().unwrap().flush().unwrap();
    path.to_str().unwrap().to_owned()
}

type Entries = Vec<(Entry, &'static [u8])>;

fn file(path: &str) -> (Entry, &'static [u8]) {
    (Entry::own(path, 4), b"evil")
}

fn link(kind: Kind, path: &str, target: &str) -> (Entry, &'static [u8]) {
    (Entry { kind, target: target.into(), ..Entry::own(path, 0) }, b"")
}

fn dir(path: &str) -> (Entry, &'static [u8]) {
    (Entry { kind: Kind::Dir, mode: 0o755, ..Entry::own(path, 0) }, b"")
}

#[test]
fn nothing_leads_out_of_the_target() {
    let bed = Bed::filled();
    let outside = bed.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "as it was").unwrap();
    let out = outside.to_str().unwrap();
    let victim = format!("{out}/victim");
    let cases: Vec<(&str, Entries)> = vec![
        ("absolute", vec![file(&victim)]),
        ("upward", vec![file("workspace/../../outside/victim")]),
        ("upward at once", vec![file("../outside/victim")]),
        ("dots", vec![file("workspace/./x")]),
        ("no name", vec![file("workspace//x")]),
        ("another top", vec![file("backups/x")]),
        ("a lock", vec![file("lock")]),
        ("a log for the database", vec![file("assistant.db-wal")]),
        ("a plan", vec![file("restore.plan")]),
        ("through a link", vec![link(Kind::Symlink, "workspace/l", out), file("workspace/l/victim")]),
        (
            "through a link upward",
            vec![link(Kind::Symlink, "workspace/l", "../../../outside"), file("workspace/l/victim")],
        ),
        ("over a link", vec![link(Kind::Symlink, "workspace/l", &victim), file("workspace/l")]),
        ("a directory over a link", vec![link(Kind::Symlink, "workspace/l", out), dir("workspace/l")]),
        ("a hard link out", vec![link(Kind::Link, "workspace/h", &victim)]),
        ("a hard link upward", vec![link(Kind::Link, "workspace/h", "workspace/../../outside/victim")]),
        (
            "a hard link through a link",
            vec![link(Kind::Symlink, "workspace/l", out), link(Kind::Link, "workspace/h", "workspace/l/victim")],
        ),
        (
            "a hard link to a link",
            vec![link(Kind::Symlink, "workspace/l", &victim), link(Kind::Link, "workspace/h", "workspace/l")],
        ),
        ("a link as the database", vec![link(Kind::Symlink, "assistant.db", &victim)]),
        ("a link as the workspace", vec![link(Kind::Symlink, "workspace", out)]),
        ("a link among what is kept", vec![link(Kind::Symlink, "kept/there", &victim)]),
        ("a tree among what is kept", vec![dir("kept/d"), file("kept/d/x")]),
        ("twice", vec![file("workspace/x"), file("workspace/x")]),
        ("two databases", vec![file("assistant.db")]),
        ("below a file", vec![file("workspace/x"), file("workspace/x/y")]),
        ("below nothing", vec![file("workspace/none/y")]),
        ("a name that is too long", vec![file(&format!("workspace/{}", "n".repeat(256)))]),
        ("a path that is too long", vec![file(&format!("workspace/{}", "n/".repeat(3000)))]),
    ];
    for (name, entries) in cases {
        let path = archive(&bed, &entries);
        for verb in [["verify", &path, "--json"], ["restore", &path, "--force"]] {
            let refusal = bed.refused(&verb);
            assert!(refusal.starts_with("invalid"), "{name}: {refusal}");
        }
        assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "as it was", "{name}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{name}");
        assert_eq!(fs::read(bed.workspace().join("a.txt")).unwrap(), b"new", "{name}: the state is as it was");
    }
}

#[test]
fn what_is_harmless_is_taken() {
    let bed = Bed::filled();
    let path = archive(
        &bed,
        &[
            dir("workspace/d"),
            file("workspace/d/x"),
            link(Kind::Link, "workspace/h", "workspace/d/x"),
            link(Kind::Symlink, "workspace/s", "/etc/passwd"),
            (Entry { mode: 0o6755, ..Entry::own("workspace/setuid", 4) }, b"evil"),
        ],
    );
    bed.good(&["restore", &path, "--force"]);
    let mode = fs::metadata(bed.workspace().join("setuid")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "nothing runs as its owner");
    assert_eq!(fs::read_link(bed.workspace().join("s")).unwrap().to_str(), Some("/etc/passwd"));
}

#[test]
fn a_workspace_that_is_a_link_is_not_followed_out() {
    // Whoever may write in the state directory is the daemon; even so a restore replaces the link and not its target.
    let bed = Bed::filled();
    let path = bed.create();
    let elsewhere = bed.path("elsewhere");
    fs::rename(bed.workspace(), &elsewhere).unwrap();
    symlink(&elsewhere, bed.workspace()).unwrap();
    fs::write(elsewhere.join("a.txt"), "of later").unwrap();
    bed.good(&["restore", &path, "--force"]);
    assert_eq!(fs::read(bed.workspace().join("a.txt")).unwrap(), b"new");
}

#[test]
fn databases_that_are_not_sound_are_refused() {
    let bed = Bed::filled();
    for (sql, says) in [
        ("PRAGMA user_version = 99", "newer version"),
        ("CREATE TRIGGER evil AFTER UPDATE ON jobs BEGIN DELETE FROM steps; END", "tables are not those"),
        (
            "PRAGMA foreign_keys = OFF; INSERT INTO reservations (job_id, day, nanos, created_at) VALUES (99, '', 1, 1)",
            "reservations",
        ),
    ] {
        let other = Bed::filled();
        other.sql(sql);
        let path = archive(&other, &[]);
        let refusal = bed.refused(&["restore", &path, "--force"]);
        assert!(refusal.contains(says), "{refusal}");
        let refusal = other.refused(&["create"]);
        assert!(refusal.contains(says), "no backup is made of it: {refusal}");
    }
    bed.check_database();
}
