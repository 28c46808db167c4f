//! Databases that a daemon does not touch.

use std::process::Stdio;

use crate::support::process::Place;

/// Starts it on what is there, and gives what it said when it ended.
fn refused(place: &Place) -> String {
    let output = place.command().stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!place.socket().exists(), "nothing is bound");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_newer_database_is_refused_with_what_to_do() {
    let place = Place::new("");
    place.start(&[]).stop();
    // `user_version` is a big-endian word at offset 60 of the file (sqlite.org/fileformat.html).
    let mut bytes = std::fs::read(place.database()).unwrap();
    bytes[60..64].copy_from_slice(&999_u32.to_be_bytes());
    std::fs::write(place.database(), &bytes).unwrap();
    let said = refused(&place);
    assert!(said.contains("error: ") && said.contains("schema version 999"), "{said}");
    assert!(said.contains("hint: install the newer version again"), "{said}");
    assert_eq!(std::fs::read(place.database()).unwrap(), bytes, "it is left as it was");
}

#[test]
fn a_damaged_database_is_refused_with_what_to_do() {
    let place = Place::new("");
    std::fs::create_dir(place.state()).unwrap();
    std::fs::write(place.database(), "this is no database, and it is long enough to be looked at".repeat(20)).unwrap();
    let said = refused(&place);
    assert!(said.contains("the database is damaged") && said.contains("hint: "), "{said}");
}
