//! The daemon is killed while it brings the database of an older version to its own.

use std::time::Duration;

use assistantd::crashpoint::{Point, VARIABLE};

use super::{
    ended_within,
    evidence::{self, Evidence},
    job::Scripted,
};
use crate::support::process::Place;

/// The version after the upgrade from the one before it, and the copy of what was there before it.
const NEWEST: i64 = 3;
const OLDER: &str = "2";
const COPY: &str = "backups/before-v3-from-v2.db";

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_survives_a_kill_at_every_named_point() {
    let scripted = Scripted::start().await;
    let place = Place::new(&scripted.config());
    // One job that is done, and one that waits.
    let mut older = place.start(&[("ASSISTANT_TEST_SCHEMA", OLDER)]);
    let done = scripted.submit(&place, 1).await;
    scripted.wait_until_done(&place, done).await;
    let waits = scripted.submit(&place, 2).await;
    older.kill();
    let before = Evidence::take(&place);
    assert_eq!(version(&place, "assistant.db"), 2);

    for (point, expected) in Point::MIGRATION.iter().zip([2, 2, 2, NEWEST]) {
        let name = point.name();
        let mut process = place.start(&[(VARIABLE, name)]);
        assert!(ended_within(&mut process, Duration::from_secs(20)).await, "{name}: it was not killed");
        assert!(!process.ready, "{name}: it was ready before");
        let now = Evidence::take(&place);
        now.check_kept(&before);
        now.check_interrupted(&place, &[(1, done), (2, waits)]);
        assert_eq!(version(&place, "assistant.db"), expected, "{name}");
        let copied = place.state().join(COPY).exists();
        assert_eq!(copied, *point != Point::CopyWritten, "{name}");
    }

    let mut process = place.start(&[]);
    assert!(process.ready, "the daemon does not come back:\n{}", place.log());
    scripted.wait_until_done(&place, waits).await;
    assert_eq!(process.stop(), Some(0), "the daemon does not stop:\n{}", place.log());
    Evidence::take(&place).check_done(&place, &[(1, done), (2, waits)], &before);
    assert_eq!((version(&place, "assistant.db"), version(&place, COPY)), (NEWEST, 2));
    let copies = std::fs::read_dir(place.state().join("backups")).unwrap();
    let names: Vec<_> = copies.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [COPY.trim_start_matches("backups/")], "something is left of the copies that were cut short");
}

/// The schema version of a whole database.
fn version(place: &Place, name: &str) -> i64 {
    let copy = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let from = place.state().join(format!("{name}{suffix}"));
        if from.exists() {
            std::fs::copy(&from, copy.path().join(format!("copy{suffix}"))).unwrap();
        }
    }
    let conn = evidence::open(&copy.path().join("copy"));
    let sound: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok", "{name}");
    conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}
