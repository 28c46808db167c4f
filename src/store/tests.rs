#![expect(clippy::disallowed_methods, reason = "these tests have no Cx whose tracker they could use")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use assistant_api::ErrorKind;

use super::*;
use crate::clock::Clock;

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("assistant.db")).unwrap();
    (dir, store)
}

fn insert(conn: &Connection, key: &str) -> Result<()> {
    conn.execute("INSERT INTO runtime_state (key, value, updated_at) VALUES (?1, '', 0)", [key])?;
    Ok(())
}

fn keys(conn: &Connection) -> Result<Vec<String>> {
    let mut statement = conn.prepare("SELECT key FROM runtime_state ORDER BY key")?;
    let keys = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(keys)
}

#[tokio::test]
async fn an_error_rolls_back_only_its_own_caller() {
    let (_dir, store) = open();
    let failing = store.write(|tx| {
        insert(tx, "lost")?;
        Err::<(), _>(Error::invalid("no"))
    });
    let (good, bad, also_good) =
        tokio::join!(store.write(|tx| insert(tx, "a")), failing, store.write(|tx| insert(tx, "b")));
    assert!(good.is_ok() && also_good.is_ok());
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.read(keys).await.unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn a_panic_is_the_callers_alone() {
    let (_dir, store) = open();
    let panicking = store.write(|tx| {
        insert(tx, "lost")?;
        let keys: [&str; 0] = [];
        insert(tx, keys.first().expect("on purpose"))
    });
    let (bad, good) = tokio::join!(panicking, store.write(|tx| insert(tx, "a")));
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::Internal);
    good.unwrap();
    assert_eq!(store.read(keys).await.unwrap(), ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_ends_the_transaction_of_a_group_loses_alone() {
    let (_dir, store) = open();
    let runs = Arc::new(AtomicUsize::new(0));
    // Holds the writer, alone in its group, so that the others form the next one.
    let (entered, inside) = std::sync::mpsc::channel();
    let gate = Arc::new(std::sync::Barrier::new(2));
    let held = tokio::spawn({
        let (store, gate) = (store.clone(), Arc::clone(&gate));
        async move {
            store
                .write(move |_| {
                    entered.send(()).map_err(Error::internal)?;
                    gate.wait();
                    Ok(())
                })
                .await
        }
    });
    tokio::task::spawn_blocking(move || inside.recv()).await.unwrap().unwrap();
    let mut others = Vec::new();
    for index in 0..10 {
        let (store, runs) = (store.clone(), Arc::clone(&runs));
        others.push(tokio::spawn(async move {
            store
                .write(move |tx| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    insert(tx, &format!("k{index}"))?;
                    if index == 5 {
                        tx.execute_batch("ROLLBACK")?;
                        return Err(Error::conflict("ended it"));
                    }
                    Ok(())
                })
                .await
        }));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    tokio::task::spawn_blocking(move || gate.wait()).await.unwrap();
    held.await.unwrap().unwrap();
    for (index, other) in others.into_iter().enumerate() {
        let result = other.await.unwrap();
        assert_eq!(result.is_ok(), index != 5, "{index}: {result:?}");
    }
    assert_eq!(store.read(keys).await.unwrap().len(), 9);
    assert!(runs.load(Ordering::Relaxed) > 10, "the others ran again");
}

#[tokio::test]
async fn readers_cannot_write() {
    let (_dir, store) = open();
    let denied = store.read(|conn| insert(conn, "x")).await;
    assert!(denied.is_err());
    assert!(store.read(keys).await.unwrap().is_empty());
}

#[tokio::test]
async fn closing_answers_what_was_queued_and_refuses_the_rest() {
    let (dir, store) = open();
    let write = store.write(|tx| insert(tx, "a"));
    let (written, ()) = tokio::join!(write, store.close());
    written.unwrap();
    let refused = store.write(|tx| insert(tx, "b")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let again = Store::open(&dir.path().join("assistant.db")).unwrap();
    assert_eq!(again.read(keys).await.unwrap(), ["a"]);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let (dir, store) = open();
    store.write(|tx| Ok(tx.pragma_update(None, "user_version", 999)?)).await.unwrap();
    store.close().await;
    let refused = Store::open(&dir.path().join("assistant.db")).err().unwrap();
    assert!(refused.message().contains("schema version 999"), "{refused}");
    assert!(refused.hint_text().unwrap().contains("newer version"));
}

#[tokio::test]
async fn what_is_not_a_database_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("assistant.db");
    fs::write(&path, "this is not a database, and it is longer than a header of one hundred bytes ".repeat(4)).unwrap();
    let refused = Store::open(&path).err().unwrap();
    assert_eq!((refused.kind(), refused.message()), (ErrorKind::Unavailable, "the database is damaged"));
    assert!(refused.hint_text().unwrap().contains("backup"));
}

/// The directory may be one that the administrator made, open to everybody.
#[tokio::test]
async fn the_database_is_private_in_a_directory_that_is_not() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join("assistant.db");
    let check = |when: &str| {
        for name in ["assistant.db", "assistant.db-wal", "assistant.db-shm"] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{when}: {name}");
        }
    };
    let store = Store::open(&path).unwrap();
    store.write(|tx| insert(tx, "a")).await.unwrap();
    check("new");
    store.close().await;
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let store = Store::open(&path).unwrap();
    store.write(|tx| insert(tx, "b")).await.unwrap();
    check("left open to all");
}

/// Readers are opened when they are needed, so what goes wrong then is told to whoever asked.
#[tokio::test]
async fn a_reader_that_cannot_be_opened_names_no_path_to_its_caller() {
    let (dir, store) = open();
    fs::rename(dir.path().join("assistant.db"), dir.path().join("moved")).unwrap();
    let error = store.read(keys).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let place = dir.path().to_str().unwrap();
    let shown = format!("{error}{:?}", error.hint_text());
    assert!(!shown.contains(place), "{shown}");
    assert!(error.chain().contains(place), "{}", error.chain());
}

#[test]
fn a_second_daemon_is_told_the_first_ones_pid() {
    let dir = tempfile::tempdir().unwrap();
    let held = StateLock::take(dir.path()).unwrap();
    let refused = StateLock::take(dir.path()).err().unwrap();
    assert!(refused.message().contains(&format!("pid {}", std::process::id())), "{refused}");
    drop(held);
    StateLock::take(dir.path()).unwrap();
}

/// A full disk is a state: writes say so, reads go on, and the next write that fits clears it.
#[tokio::test]
async fn a_full_disk_flips_health_and_room_clears_it() {
    let (_dir, store) = open();
    let clock = Clock::System;
    store.probe(clock.now()).await.unwrap();
    // `max_page_count` is SQLite's own way to a full disk: the same result code, without one.
    let pages: i64 = store.read(|conn| Ok(conn.query_row("PRAGMA page_count", [], |row| row.get(0))?)).await.unwrap();
    let limit = move |pages: i64| {
        move |tx: &Connection| Ok(tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?)
    };
    store.write(limit(pages)).await.unwrap();
    let big = "x".repeat(1 << 20);
    let insert_big = move |tx: &Connection| insert(tx, &big);
    let full = store.write(insert_big.clone()).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    assert!(store.health().problem().unwrap().contains("full"));
    assert!(store.read(keys).await.is_ok());
    store.ping().await.unwrap();
    assert!(store.health().problem().is_some(), "a round trip without a write proves nothing");
    store.write(limit(1 << 20)).await.unwrap();
    store.write(insert_big).await.unwrap();
    assert_eq!(store.health().problem(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_commits() {
    let (_dir, store) = open();
    let mut callers = Vec::new();
    for index in 0..500 {
        let store = store.clone();
        callers.push(tokio::spawn(async move { store.write(move |tx| insert(tx, &format!("{index:04}"))).await }));
    }
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(store.read(keys).await.unwrap().len(), 500);
    // Each commit writes at least one frame of 4096 + 24 bytes to the WAL; one per caller would be far more than this.
    let wal = fs::metadata(store.path().with_extension("db-wal")).unwrap().len();
    assert!(wal < 500 * 4120, "{wal} bytes of WAL for 500 callers");
}

#[tokio::test]
async fn a_closed_database_has_its_own_file_alone() {
    for _ in 0..50 {
        let (dir, store) = open();
        store.write(|tx| insert(tx, "a")).await.unwrap();
        store.close().await;
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["assistant.db"], "something is still to be taken away");
    }
}
