use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink},
    path::Path,
};

use super::*;

const SESSION: u32 = 61_500;
const OTHER: u32 = 61_501;
const OWNER: (u32, u32) = (61_002, 61_003);

fn is_root() -> bool {
    Uid::effective().is_root()
}

fn give(path: &Path, uid: u32, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    lchown(path, Some(uid), Some(uid)).unwrap();
}

fn of(path: &Path) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

fn reclaim(root: &Path) -> Tally {
    Deed { of: &|uid| uid == SESSION, to: OWNER }.below(fs::File::open(root).unwrap().as_fd()).unwrap()
}

#[test]
fn what_a_session_left_is_the_owners_and_nothing_else_is_touched() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
    for path in [&inside, &outside, &inside.join("closed"), &inside.join("closed/deep"), &inside.join("others")] {
        fs::create_dir(path).unwrap();
    }
    for path in ["closed/deep/secret", "unreadable", "program", "others/file", "owners"] {
        fs::write(inside.join(path), path).unwrap();
    }
    for path in ["foreign", "target"] {
        fs::write(outside.join(path), path).unwrap();
    }
    fs::hard_link(outside.join("foreign"), inside.join("linked")).unwrap();
    symlink(outside.join("target"), inside.join("link")).unwrap();
    lchown(inside.join("link"), Some(SESSION), Some(SESSION)).unwrap();
    symlink(&outside, inside.join("way-out")).unwrap();
    give(&outside.join("foreign"), OTHER, 0o600);
    give(&outside.join("target"), SESSION, 0o600);
    give(&inside.join("closed/deep/secret"), SESSION, 0o600);
    give(&inside.join("closed/deep"), SESSION, 0o700);
    give(&inside.join("closed"), SESSION, 0o1000);
    give(&inside.join("unreadable"), SESSION, 0o000);
    give(&inside.join("program"), SESSION, 0o4711);
    give(&inside.join("others/file"), SESSION, 0o640);
    give(&inside.join("others"), OTHER, 0o700);
    give(&inside.join("owners"), OWNER.0, 0o600);

    assert_eq!(reclaim(&inside), Tally { changed: 7, failed: 0 });
    let ours = |path: &str, mode| assert_eq!(of(&inside.join(path)), (OWNER.0, OWNER.1, mode), "{path}");
    ours("closed", 0o770);
    ours("closed/deep", 0o770);
    ours("closed/deep/secret", 0o660);
    ours("unreadable", 0o660);
    ours("program", 0o771);
    ours("others/file", 0o660);
    assert_eq!(of(&inside.join("link")), (OWNER.0, OWNER.1, 0o777));
    // Another session's, the owner's own, and whatever lies outside, however it was linked to.
    assert_eq!(of(&inside.join("others")), (OTHER, OTHER, 0o700));
    assert_eq!(of(&inside.join("owners")), (OWNER.0, OWNER.0, 0o600));
    assert_eq!(of(&inside.join("linked")), (OTHER, OTHER, 0o600));
    assert_eq!(of(&outside.join("target")), (SESSION, SESSION, 0o600));
    assert_eq!(reclaim(&inside), Tally::default(), "nothing is left to do");
}

#[test]
fn a_hard_link_to_a_file_of_the_sessions_is_the_same_file() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("one"), "x").unwrap();
    fs::hard_link(dir.path().join("one"), dir.path().join("two")).unwrap();
    give(&dir.path().join("one"), SESSION, 0o600);
    assert_eq!(reclaim(dir.path()), Tally { changed: 1, failed: 0 });
    assert_eq!(of(&dir.path().join("two")), (OWNER.0, OWNER.1, 0o660));
}

#[test]
fn what_is_mounted_below_is_left_alone() {
    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    // Of this thread alone.
    let walked = std::thread::spawn(move || {
        if unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).is_err() {
            return None;
        }
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let below = path.join("below");
        fs::create_dir(&below).unwrap();
        mount(Some("tmpfs"), &below, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        fs::write(below.join("file"), "x").unwrap();
        give(&below.join("file"), SESSION, 0o600);
        let tally = reclaim(&path);
        Some((tally, of(&below.join("file"))))
    });
    if let Some((tally, file)) = walked.join().unwrap() {
        assert_eq!((tally, file), (Tally::default(), (SESSION, SESSION, 0o600)));
    }
}

/// Deeper than any path that the kernel takes, and than any number of open files.
#[test]
fn depth_is_no_escape() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let mut at: OwnedFd = fs::File::open(dir.path()).unwrap().into();
    for _ in 0..3000 {
        nix::sys::stat::mkdirat(&at, c"d", Mode::from_bits_truncate(0o700)).unwrap();
        fchownat(&at, c"d", Some(Uid::from_raw(SESSION)), None, AtFlags::AT_SYMLINK_NOFOLLOW).unwrap();
        at = openat(&at, c"d", flags, Mode::empty()).unwrap();
    }
    assert_eq!(reclaim(dir.path()), Tally { changed: 3000, failed: 0 });
    assert_eq!(fstat(&at).unwrap().st_uid, OWNER.0);
}

/// A writer swaps a directory for a link to one outside, all the time.
#[test]
fn a_race_leads_nowhere() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
    fs::create_dir_all(inside.join("a")).unwrap();
    fs::create_dir(&outside).unwrap();
    for number in 0..200 {
        for place in [inside.join("a"), outside.clone()] {
            fs::write(place.join(number.to_string()), "x").unwrap();
            give(&place.join(number.to_string()), SESSION, 0o600);
        }
    }
    symlink(&outside, inside.join("b")).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (a, b, c) = (inside.join("a"), inside.join("b"), inside.join("c"));
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                for (from, to) in [(&a, &c), (&b, &a), (&c, &b), (&a, &c), (&b, &a), (&c, &b)] {
                    let _ = fs::rename(from, to);
                }
            }
        });
        for _ in 0..50 {
            let _ = Deed { of: &|uid| uid == SESSION, to: OWNER }.below(fs::File::open(&inside).unwrap().as_fd());
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    for number in 0..200 {
        assert_eq!(of(&outside.join(number.to_string())), (SESSION, SESSION, 0o600));
    }
}
