//! A backup that is brought back is what was there.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _},
    },
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::stat::Mode;

use crate::bed::{Bed, tree};

/// Files as commands leave them.
fn awkward(bed: &Bed) {
    let at = |name: &str| bed.workspace().join(name);
    let mode = |name: &str, mode: u32| fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir_all(at("deep/er/est")).unwrap();
    fs::write(at("deep/er/est/file"), "deep").unwrap();
    fs::write(at(&"n".repeat(255)), "long name").unwrap();
    fs::create_dir_all(at(&format!("{0}/{0}/{0}", "d".repeat(120)))).unwrap();
    fs::write(at(&format!("{0}/{0}/{0}/x", "d".repeat(120))), "long path").unwrap();
    fs::write(bed.workspace().join(std::ffi::OsStr::from_bytes(b"not \xff utf8\n")), "bytes").unwrap();
    std::os::unix::fs::symlink("../../etc/passwd", at("out")).unwrap();
    std::os::unix::fs::symlink("/etc//shadow", at("absolute")).unwrap();
    std::os::unix::fs::symlink("t".repeat(300), at("long-target")).unwrap();
    std::os::unix::fs::symlink("deep", at("inside")).unwrap();
    fs::write(at("one"), "linked").unwrap();
    fs::hard_link(at("one"), at("deep/two")).unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("run.sh"), "#!/bin/sh\n").unwrap();
    mode("run.sh", 0o755);
    fs::write(at("private"), "private").unwrap();
    mode("private", 0o600);
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    fs::write(at("large"), vec![7; 6 << 20]).unwrap();
}

#[test]
fn what_was_there_comes_back() {
    let bed = Bed::filled();
    awkward(&bed);
    let before = tree(&bed.workspace());
    let made = bed.good(&["create", "--verify"]);
    assert_eq!(made["verified"], true);
    assert_eq!(made["contents"]["skipped"], 0, "{made}");
    assert!(made["size_bytes"].as_u64().unwrap() < 1 << 20, "holes and repetition take no room: {made}");
    let path = made["path"].as_str().unwrap();

    let other = Bed::empty();
    let done = other.good(&["restore", path]);
    assert_eq!(tree(&other.workspace()), before);
    assert_eq!(fs::read(other.path("state/kept/there")).unwrap(), b"old");
    assert_eq!(fs::metadata(other.path("state/assistant.db")).unwrap().permissions().mode() & 0o777, 0o600);
    other.check_database();
    // Work is stopped, what ran is in the queue, and nobody claims to know what became of what was under way.
    assert_eq!((&done["stopped"], &done["unknown_effects"]), (&true.into(), &1.into()));
    assert_eq!(done["replaced"], serde_json::Value::Null);
    assert_eq!(other.ask("SELECT group_concat(status) FROM jobs"), "queued,queued");
    assert_eq!(other.ask("SELECT state FROM effects"), "unknown");
    assert_eq!(other.ask("SELECT count(*) FROM runtime_state WHERE key = 'stopped'"), "1");
    assert_eq!(other.ask("SELECT group_concat(name) FROM kept_files"), "there");
    assert_eq!(other.ask("SELECT count(*) FROM steps"), "1");
    // The state that was backed up is as it was.
    assert_eq!(bed.ask("SELECT status FROM jobs WHERE id = 1"), "running");
    assert_eq!(tree(&bed.workspace()), before);
    assert!(other.path("state/restored-config/assistant.toml").is_file());
    let holes = fs::metadata(other.workspace().join("sparse")).unwrap().blocks();
    assert!(holes < 100, "{holes} blocks");
}

#[test]
fn a_state_is_put_aside_and_put_back() {
    let bed = Bed::filled();
    let path = bed.create();
    bed.sql("INSERT INTO spend_days (day) VALUES ('later')");
    fs::write(bed.workspace().join("later.txt"), "later").unwrap();
    let refusal = bed.refused(&["restore", &path]);
    assert!(refusal.starts_with("conflict") && refusal.contains("--force"), "{refusal}");
    let done = bed.good(&["restore", &path, "--force", "--no-hold"]);
    assert_eq!(done["stopped"], false);
    assert!(!bed.workspace().join("later.txt").exists());
    assert_eq!(bed.ask("SELECT count(*) FROM spend_days"), "0");
    let replaced = done["replaced"].as_str().unwrap();
    assert!(fs::metadata(replaced).is_ok_and(|meta| meta.is_dir()));
    bed.good(&["restore", replaced, "--force"]);
    assert_eq!(fs::read(bed.workspace().join("later.txt")).unwrap(), b"later");
    assert_eq!(bed.ask("SELECT day FROM spend_days"), "later");
    bed.check_database();
    assert!(!bed.path("state/.restoring").exists());
}

#[test]
fn a_daemon_that_runs_keeps_its_state() {
    let bed = Bed::filled();
    let path = bed.create();
    let lock = assistantd::store::StateLock::take(&bed.path("state")).unwrap();
    let refusal = bed.refused(&["restore", &path, "--force"]);
    assert!(refusal.contains("in use by pid") && refusal.contains("systemctl stop"), "{refusal}");
    bed.create();
    drop(lock);
}

#[test]
fn backups_are_listed_and_kept_for_their_time() {
    let bed = Bed::filled();
    assert_eq!(bed.good(&["list"])["backups"], serde_json::json!([]));
    bed.create();
    let made = bed.good(&["create", "--scheduled"]);
    assert_eq!(made["verified"], true);
    assert_eq!(made["removed"].as_array().unwrap().len(), 1, "one a day is kept: {made}");
    let list = bed.good(&["list"]);
    let one = &list["backups"][0];
    let current = assistantd::store::migrations::current();
    assert_eq!(
        (&one["kind"], &one["encrypted"], &one["schema_version"]),
        (&"full".into(), &false.into(), &current.into())
    );
    assert!(one["verified_at"].is_string());
    bed.good(&["verify", one["name"].as_str().unwrap()]);
}

#[test]
fn the_copy_of_an_upgrade_is_a_backup() {
    let bed = Bed::filled();
    fs::create_dir(bed.path("state/backups")).unwrap();
    bed.sql(&format!("VACUUM INTO '{}'", bed.path("state/backups/before-v2-from-v1.db").display()));
    bed.sql("INSERT INTO spend_days (day) VALUES ('later')");
    let list = bed.good(&["list"]);
    assert_eq!((&list["backups"][0]["kind"], &list["backups"][0]["schema_version"]), (&"database".into(), &1.into()));
    bed.good(&["verify", "before-v2-from-v1.db"]);
    // What a newer version has made of it is put aside.
    bed.sql("PRAGMA user_version = 99");
    bed.good(&["restore", "before-v2-from-v1.db", "--force"]);
    assert_eq!(bed.ask("SELECT count(*) FROM spend_days"), "0");
    assert_eq!(bed.ask("SELECT group_concat(name) FROM kept_files"), "there");
    assert_eq!(fs::read(bed.workspace().join("a.txt")).unwrap(), b"new", "the workspace stays");
    bed.check_database();
}

#[test]
fn a_workspace_elsewhere_stays_the_directory_that_it_is() {
    let bed = Bed::filled();
    fs::create_dir(bed.path("shared")).unwrap();
    let config = format!("[retention]\nmin_free_bytes = 0\n[filesystem]\nshared_root = {:?}\n", bed.path("shared"));
    fs::write(bed.path("etc/assistant.toml"), config).unwrap();
    fs::create_dir(bed.path("shared/folder")).unwrap();
    fs::write(bed.path("shared/folder/a"), "first").unwrap();
    fs::write(bed.path("shared/b"), "first").unwrap();
    let path = bed.create();
    fs::write(bed.path("shared/b"), "second").unwrap();
    fs::write(bed.path("shared/c"), "second").unwrap();
    bed.good(&["restore", &path, "--force"]);
    assert_eq!(fs::read(bed.path("shared/b")).unwrap(), b"first");
    assert_eq!(fs::read(bed.path("shared/folder/a")).unwrap(), b"first");
    assert!(!bed.path("shared/c").exists());
    let old = fs::read_dir(bed.path("shared")).unwrap().map(|entry| entry.unwrap().path());
    let old: Vec<_> = old.filter(|path| path.to_string_lossy().contains(".assistant-replaced-")).collect();
    assert_eq!(fs::read(old[0].join("c")).unwrap(), b"second");
    // What was put aside is in no later backup.
    assert_eq!(bed.good(&["create"])["contents"]["files"], bed.good(&["verify", &path])["contents"]["files"]);
}

#[test]
fn encrypted_backups_open_with_their_key_alone() {
    let bed = Bed::filled();
    let key = |name: &str| {
        let key = age::x25519::Identity::generate();
        let path = bed.path(name);
        let secret = age::secrecy::ExposeSecret::expose_secret(&key.to_string()).to_owned();
        fs::write(&path, format!("# a key\n{secret}\n")).unwrap();
        (key.to_public().to_string(), path.to_str().unwrap().to_owned())
    };
    let ((public, secret), (_, wrong)) = (key("key"), key("wrong"));
    let made = bed.good(&["create", "--recipient", &public]);
    assert_eq!((&made["encrypted"], &made["verified"]), (&true.into(), &false.into()));
    let path = made["path"].as_str().unwrap();
    assert!(path.ends_with(".tar.zst.age"));
    assert!(!fs::read(path).unwrap().windows(6).any(|bytes| bytes == b"SQLite"));
    let refusal = bed.refused(&["verify", path]);
    assert!(refusal.starts_with("forbidden") && refusal.contains("as it was written"), "{refusal}");
    let refusal = bed.refused(&["verify", path, "--identity", &wrong]);
    assert!(refusal.contains("not encrypted to this identity"), "{refusal}");
    bed.good(&["verify", path, "--identity", &secret]);
    assert_eq!(bed.good(&["list"])["backups"][0]["encrypted"], true);
    let other = Bed::empty();
    other.good(&["restore", path, "--identity", &secret]);
    other.check_database();
    let refusal = bed.refused(&["create", "--recipient", "age1nonsense"]);
    assert!(refusal.starts_with("validation"), "{refusal}");
    // A byte less, or another one, and nothing comes out.
    let mut bytes = fs::read(path).unwrap();
    bytes.pop();
    fs::write(path, &bytes).unwrap();
    bed.refused(&["verify", path, "--identity", &secret]);
    assert!(bed.refused(&["verify", path]).contains("not as it was written"));
}

struct Stop<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// While a writer changes database and files, every backup is whole, and what the database names is there.
#[test]
fn a_state_that_is_written_meanwhile_is_whole() {
    let bed = Bed::filled();
    for number in 0..200 {
        fs::write(bed.workspace().join(format!("filler-{number}")), vec![b'x'; 20_000]).unwrap();
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                number += 1;
                // As the daemon does: the old content is there before the database names it.
                fs::write(bed.path(&format!("state/kept/k{number}")), "kept").unwrap();
                fs::write(bed.workspace().join("busy"), vec![b'y'; number % 5000]).unwrap();
                fs::create_dir_all(bed.workspace().join(format!("dir-{}", number % 7))).unwrap();
                let _ = fs::remove_dir_all(bed.workspace().join(format!("dir-{}", (number + 3) % 7)));
                bed.sql(&format!(
                    "PRAGMA busy_timeout = 5000; BEGIN;
                     INSERT INTO jobs (thread_id, status, run_at, created_at, updated_at) VALUES ('n{number}', 'queued', 1, 1, 1);
                     INSERT INTO steps (job_id, seq, epoch, kind, body, origin, created_at)
                         VALUES (last_insert_rowid(), 1, 0, 'prompt', '{{}}', 'owner', 1);
                     INSERT INTO kept_files (path, name, sha256, size_bytes, origin, created_at) VALUES ('busy', 'k{number}', 'x', 4, 'owner', 1);
                     COMMIT;"
                ));
            }
        });
        // Also when an assertion fails.
        let _stop = Stop(&stop);
        let begun = Instant::now();
        let mut rounds = 0;
        let mut jobs = 0;
        while rounds < 4 || begun.elapsed() < Duration::from_secs(2) {
            let path = bed.create();
            let other = Bed::empty();
            other.good(&["restore", &path]);
            other.check_database();
            let now: u64 = other.ask("SELECT count(*) FROM jobs").parse().unwrap();
            assert!(now >= jobs, "a later backup holds what an earlier one held");
            jobs = now;
            assert_eq!(other.ask("SELECT count(*) FROM jobs"), other.ask("SELECT count(*) + 1 FROM steps"));
            let conn = rusqlite::Connection::open(other.path("state/assistant.db")).unwrap();
            let mut names = conn.prepare("SELECT name FROM kept_files").unwrap();
            for name in names.query_map([], |row| row.get::<_, String>(0)).unwrap() {
                assert!(other.path("state/kept").join(name.unwrap()).is_file());
            }
            let kept: u64 = other.ask("SELECT count(*) FROM kept_files").parse().unwrap();
            assert_eq!(kept, jobs - 1, "no row was dropped for want of its file");
            fs::remove_file(path).unwrap();
            rounds += 1;
        }
        assert!(jobs > 3, "nothing was written meanwhile");
    });
}

/// As root with a state that belongs to somebody else: nothing is touched with root's rights, and what no owner can open
/// at once is in the backup all the same.
#[test]
fn root_becomes_the_owner_of_the_state() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let bed = Bed::filled();
    fs::set_permissions(bed.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (name, mode) in [("closed", 0o000), ("mine", 0o700)] {
        fs::write(bed.workspace().join(name), name).unwrap();
        fs::set_permissions(bed.workspace().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(bed.workspace().join("shut")).unwrap();
    fs::write(bed.workspace().join("shut/in"), "in").unwrap();
    let chown = Command::new("chown").args(["-R", "65534:65534"]).arg(bed.path("state")).status().unwrap();
    assert!(chown.success());
    fs::set_permissions(bed.workspace().join("shut"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::write(bed.workspace().join("foreign"), "of a command that runs").unwrap();
    fs::set_permissions(bed.workspace().join("foreign"), fs::Permissions::from_mode(0o600)).unwrap();
    nix::unistd::mkfifo(&bed.workspace().join("pipe"), Mode::S_IRUSR).unwrap();

    let made = bed.good(&["create", "--verify"]);
    let skipped: Vec<&str> =
        made["contents"]["skipped_first"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(skipped, ["workspace/foreign", "workspace/pipe"], "{made}");
    let path = made["path"].as_str().unwrap();
    assert_eq!(fs::metadata(path).unwrap().uid(), 65534);
    for name in ["closed", "shut"] {
        let left = fs::metadata(bed.workspace().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(left, 0, "{name} has its mode again");
    }
    // On a machine where the state belongs to another uid.
    let other = Bed::empty();
    fs::set_permissions(other.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let chown = Command::new("chown").args(["-R", "2:2"]).arg(other.path("state")).status().unwrap();
    assert!(chown.success());
    other.good(&["restore", path]);
    for name in ["closed", "mine", "shut/in"] {
        let meta = fs::metadata(other.workspace().join(name)).unwrap();
        assert_eq!(meta.uid(), 2, "{name}");
        assert_eq!(meta.permissions().mode() & 0o600, 0o600, "{name}: its owner can use it");
    }
    assert_eq!(fs::metadata(other.path("state/assistant.db")).unwrap().uid(), 2);
}
