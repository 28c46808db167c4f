use std::path::PathBuf;

use super::*;
use crate::store::{connect, make_private};

const V1: Migration = ("0001_first", "CREATE TABLE pets (name TEXT NOT NULL);");
const V2: Migration = ("0002_second", "ALTER TABLE pets ADD COLUMN legs INTEGER NOT NULL DEFAULT 4;");
/// Its first statement succeeds, its second does not.
const BROKEN: Migration = ("0003_third", "DELETE FROM pets; INSERT INTO nowhere VALUES (1);");

/// A database of version 1 that holds a row.
struct Place {
    dir: tempfile::TempDir,
    conn: Connection,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("assistant.db");
        make_private(&path).unwrap();
        let mut conn = connect(&path, false).unwrap().unwrap();
        run_list(&mut conn, &path, &[V1]).unwrap();
        conn.execute("INSERT INTO pets VALUES ('rex')", []).unwrap();
        Self { dir, conn }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("assistant.db")
    }

    fn backup(&self, name: &str) -> PathBuf {
        self.dir.path().join("backups").join(name)
    }

    fn migrate(&mut self, migrations: &[Migration]) -> Result<()> {
        let path = self.path();
        run_list(&mut self.conn, &path, migrations)
    }
}

/// The version, the names of the columns, the names of the pets.
fn look(conn: &Connection) -> (i64, Vec<String>, Vec<String>) {
    let all = |sql: &str| -> Vec<String> {
        conn.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(std::result::Result::unwrap).collect()
    };
    (
        conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap(),
        all("SELECT name FROM pragma_table_info('pets')"),
        all("SELECT name FROM pets"),
    )
}

fn version_1() -> (i64, Vec<String>, Vec<String>) {
    (1, vec!["name".into()], vec!["rex".into()])
}

fn version_2() -> (i64, Vec<String>, Vec<String>) {
    (2, vec!["name".into(), "legs".into()], vec!["rex".into()])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_upgrade_leaves_a_readable_private_copy_of_what_was() {
    let mut place = Place::new();
    assert!(!place.dir.path().join("backups").exists(), "a new database has nothing to copy");
    place.migrate(&[V1, V2]).unwrap();
    assert_eq!(look(&place.conn), version_2());
    let backup = place.backup("before-v2-from-v1.db");
    assert_eq!(look(&connect(&backup, true).unwrap().unwrap()), version_1());
    assert_eq!((mode(&backup), mode(backup.parent().unwrap())), (0o600, 0o700));
    fs::remove_file(&backup).unwrap();
    place.migrate(&[V1, V2]).unwrap();
    assert!(!backup.exists(), "nothing was pending");
}

#[test]
fn a_migration_that_fails_takes_those_before_it_along() {
    let mut place = Place::new();
    let error = place.migrate(&[V1, V2, BROKEN]).unwrap_err();
    assert!(error.message().contains("0003_third"), "{error}");
    assert!(error.hint_text().unwrap().contains("the database is as it was before"), "{error:?}");
    assert_eq!(look(&place.conn), version_1());
    place.conn.execute("INSERT INTO pets VALUES ('tom')", []).unwrap();
    place.conn.execute("DELETE FROM pets WHERE name = 'tom'", []).unwrap();
    // The fixed program brings it up, whatever the failed one left in the backups.
    place.migrate(&[V1, V2]).unwrap();
    assert_eq!(look(&place.conn), version_2());
}

/// What lies on the disk in the middle of an upgrade is what a power cut leaves.
#[test]
fn an_upgrade_that_is_cut_short_is_done_again() {
    let mut place = Place::new();
    let path = place.path();
    let cut = tempfile::tempdir().unwrap();
    back_up(&place.conn, &path, 1, 2).unwrap();
    let tx = place.conn.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    tx.execute_batch(V2.1).unwrap();
    tx.pragma_update(None, "user_version", 2).unwrap();
    tx.cache_flush().unwrap(); // as far as the log, and not committed
    for name in ["assistant.db", "assistant.db-wal"] {
        fs::copy(path.with_file_name(name), cut.path().join(name)).unwrap();
    }
    drop(tx);
    fs::create_dir(cut.path().join("backups")).unwrap();
    let backup = cut.path().join("backups/before-v2-from-v1.db");
    fs::write(backup.with_file_name(".before-v2.db"), "half a copy").unwrap();

    let path = cut.path().join("assistant.db");
    let mut conn = connect(&path, false).unwrap().unwrap();
    assert_eq!(look(&conn), version_1());
    run_list(&mut conn, &path, &[V1, V2]).unwrap();
    assert_eq!(look(&conn), version_2());
    assert_eq!(look(&connect(&backup, true).unwrap().unwrap()), version_1());
}

#[test]
fn a_copy_that_cannot_be_made_stops_the_upgrade() {
    let mut place = Place::new();
    fs::write(place.dir.path().join("backups"), "in the way").unwrap();
    let error = place.migrate(&[V1, V2]).unwrap_err();
    assert!(error.message().contains("backups"), "{error}");
    assert_eq!(look(&place.conn), version_1());
}

#[test]
fn the_command_line_knows_the_same_version() {
    assert_eq!(current() as u64, assistant_api::status::SCHEMA_VERSION);
}
