//! Guards, races, the trash and the disk.

use std::process::Command;

use assistant_api::ErrorKind;

use super::*;
use crate::root::Mode;

#[tokio::test]
async fn of_writers_that_read_the_same_version_one_wins() {
    let bed = Bed::new().await;
    let admin = actor(Role::Admin);
    for round in 0..20 {
        let first = write(&bed.cx, &admin, "a".into(), format!("round {round}").into(), Mode::Replace).await.unwrap();
        let mtime: i64 = first.mtime_ns.parse().unwrap();
        let writers = (0..8).map(|writer| {
            let (cx, admin) = (bed.cx.clone(), admin.clone());
            bed.cx.tasks.spawn(async move {
                write(&cx, &admin, "a".into(), format!("{round} by {writer}").into(), Mode::Unchanged(mtime)).await
            })
        });
        let mut won = Vec::new();
        for (writer, result) in futures_util::future::join_all(writers).await.into_iter().enumerate() {
            match result.unwrap() {
                Ok(_) => won.push(writer),
                Err(err) => assert_eq!(err.kind(), ErrorKind::Conflict),
            }
        }
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
        assert_eq!(bed.text("a"), format!("{round} by {}", won[0]));
    }
    fs::remove_file(bed.inside.join("a")).unwrap();
    let err = write(&bed.cx, &admin, "a".into(), "x".into(), Mode::Unchanged(1)).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Conflict);
    assert!(!bed.there("a"), "a deleted file does not come back");
}

#[tokio::test]
async fn appends_of_many_jobs_all_arrive() {
    let bed = Bed::new().await;
    let appends = (0..40).map(|number| {
        let (cx, call) = (bed.cx.clone(), call(JobId(7 + number % 2)));
        bed.cx.tasks.spawn(async move {
            append(&cx, &Actor::job(&call, "file_append"), "log".into(), format!("{number}\n").into()).await.unwrap();
        })
    });
    futures_util::future::join_all(appends).await.into_iter().for_each(Result::unwrap);
    let mut lines: Vec<i64> = bed.text("log").lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn things_of_one_name_deleted_in_one_second_all_lie_in_the_trash() {
    let bed = Bed::new().await;
    let (admin, operator) = (actor(Role::Admin), actor(Role::Operator));
    let mut paths = Vec::new();
    for number in 0..20 {
        bed.put("d/same", format!("{number}"));
        paths.push(delete(&bed.cx, &operator, "d/same".into()).await.unwrap().trash_path.unwrap());
    }
    let distinct: std::collections::BTreeSet<_> = paths.iter().collect();
    assert_eq!(distinct.len(), 20);
    for (number, path) in paths.iter().enumerate() {
        assert_eq!(bed.text(path), number.to_string());
    }
    let (page, next) = listing(&bed.cx, None, 15).await.unwrap();
    assert_eq!((page.entries.len(), page.entries[0].original_path.as_str()), (15, "d/same"));
    assert_eq!(listing(&bed.cx, next, 15).await.unwrap().0.entries.len(), 5);

    let restored = restore(&bed.cx, &operator, paths[3].clone(), None).await.unwrap();
    assert_eq!((restored.relative_path.as_str(), bed.text("d/same").as_str()), ("d/same", "3"));
    let err = restore(&bed.cx, &operator, paths[4].clone(), None).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Conflict);
    restore(&bed.cx, &operator, paths[4].clone(), Some("elsewhere/x".into())).await.unwrap();
    assert_eq!(bed.text("elsewhere/x"), "4");
    for wrong in ["d/same", ".trash", ".trash/none", "../x"] {
        assert!(restore(&bed.cx, &operator, wrong.into(), Some("y".into())).await.is_err(), "{wrong}");
    }
    assert_eq!(bed.count("SELECT count(*) FROM trash").await, 18);

    let err = delete(&bed.cx, &operator, paths[5].clone()).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Forbidden, "for good only by an admin");
    let gone = delete(&bed.cx, &admin, paths[5].clone()).await.unwrap();
    assert!(gone.permanent && gone.trash_path.is_none() && !bed.there(&paths[5]));
    assert_eq!(bed.count("SELECT count(*) FROM trash").await, 17);
    let long = "ü".repeat(127);
    bed.put(&long, "x");
    let trashed = delete(&bed.cx, &operator, long.clone()).await.unwrap().trash_path.unwrap();
    let back = restore(&bed.cx, &operator, trashed, None).await.unwrap();
    assert_eq!(back.name, long, "a name too long for the trash comes back whole");
}

#[tokio::test]
async fn what_another_program_writes_meanwhile_is_not_overwritten() {
    let bed = Bed::new().await;
    bed.put("shared", "start\n");
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (flag, path) = (Arc::clone(&stop), bed.inside.join("shared"));
    // Another program that replaces the file all the time, as an editor does.
    let other = std::thread::spawn(move || {
        let mut written: u64 = 0;
        while !flag.load(std::sync::atomic::Ordering::Relaxed) {
            written += 1;
            let beside = path.with_extension("swp");
            fs::write(&beside, format!("other {written}\n")).unwrap();
            fs::rename(&beside, &path).unwrap();
            std::thread::sleep(Duration::from_millis(written % 12));
        }
    });
    let (mut won, mut lost) = (0, 0);
    for number in 0..200 {
        match write(&bed.cx, &actor(Role::Admin), "shared".into(), format!("ours {number}\n").into(), Mode::Replace)
            .await
        {
            Ok(_) => won += 1,
            Err(err) => {
                assert_eq!(err.kind(), ErrorKind::Conflict, "{err}");
                lost += 1;
            }
        }
        let now = bed.text("shared");
        assert!(now.starts_with("other ") || now == format!("ours {number}\n"), "{now:?}");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    other.join().unwrap();
    println!("{won} writes won, {lost} were refused");
    assert!(won > 0 && lost > 0, "both happen: {won} {lost}");
    let left: Vec<_> = fs::read_dir(&bed.inside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["shared"], "nothing temporary is left");
    assert_eq!(bed.count("SELECT count(*) FROM effects WHERE state NOT IN ('confirmed', 'failed')").await, 0);
}

/// A small file system of its own; gone with the test. `None` where this user may not mount.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path, bytes: u32) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={bytes},mode=0777");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        done.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_is_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = dir.path().join("small");
    let Some(_tmpfs) = Tmpfs::mount(&mounted, 256 << 10) else {
        let reason = "a full disk: this user may not mount a tmpfs";
        println!("skipped: {reason}");
        if let Some(file) = std::env::var_os("ASSISTANT_TEST_SKIPS") {
            use std::io::Write as _;
            let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
            file.write_all(format!("{reason}\n").as_bytes()).unwrap();
        }
        return;
    };
    let mut config = Config::default();
    config.filesystem.shared_root = Some(mounted.to_str().unwrap().to_owned());
    config.filesystem.require_mount = true;
    let mut bed = Bed::with(config).await;
    bed.inside.clone_from(&mounted);
    bed.tool("file_write", json!({"path": "a", "content": "old"})).await.unwrap();
    let big = "x".repeat(400 << 10);
    for tool in ["file_write", "file_append"] {
        let err = bed.tool(tool, json!({"path": "a", "content": big})).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::StorageFull, "{err}");
        assert!(err.message().contains("the disk is full") && !err.message().contains("small"), "{err}");
        assert_eq!(bed.text("a"), "old");
    }
    let mut api = bed.api().await;
    let answer = api.send("PUT", &uri("upload", &[("path", "new/up")]), &[], big).await;
    assert_eq!(answer.status, 507, "{:?}", answer.body);
    bed.put("dir/file", vec![0; 150 << 10]);
    let err = bed.tool("file_copy", json!({"source_path": "dir", "destination_path": "dir2"})).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::StorageFull, "{err}");
    let mut left: Vec<_> = fs::read_dir(&mounted).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a", "dir"], "nothing is left behind");
    assert_eq!(bed.count("SELECT count(*) FROM effects WHERE state NOT IN ('confirmed', 'failed')").await, 0);
    // There is room again.
    fs::remove_dir_all(mounted.join("dir")).unwrap();
    bed.tool("file_write", json!({"path": "a", "content": "new"})).await.unwrap();
    assert_eq!(bed.text("a"), "new");
}
