//! What a daemon does not start on, and that it leaves everything as it was.

use std::{
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Output, Stdio},
};

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

/// Nothing but what is given: no file named, no state.
fn run(arguments: &[(&str, &Path)], flags: &[&str], config_dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assistantd"));
    for (name, path) in arguments {
        command.arg(name).arg(path);
    }
    command.args(flags).env_clear().env("CONFIGURATION_DIRECTORY", config_dir).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_runtime_directory_that_cannot_be_used_is_refused_before_a_database_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (taken, long, file) = (dir.path().join("taken"), dir.path().join("x".repeat(120)), dir.path().join("file"));
    std::fs::create_dir(&taken).unwrap();
    let _other = UnixListener::bind(taken.join("api.sock")).unwrap();
    std::fs::write(&file, "").unwrap();
    for (runtime, why) in [(&taken, "another daemon listens"), (&long, "107 at most"), (&file, "making the directory")]
    {
        let output = run(&[("--state-dir", &state), ("--runtime-dir", runtime)], &[], dir.path());
        assert_eq!(output.status.code(), Some(1));
        let said = said(&output);
        assert!(said.contains(why) && said.contains(runtime.to_str().unwrap()) && said.contains("hint: "), "{said}");
        assert!(!state.join("assistant.db").exists(), "{why}");
    }
}

#[test]
fn a_check_without_a_file_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (state, runtime) = (dir.path().join("state"), dir.path().join("run"));
    let places: [(&str, &Path); 2] = [("--state-dir", &state), ("--runtime-dir", &runtime)];
    let output = run(&places, &["--check"], dir.path());
    assert!(output.status.success());
    assert!(said(&output).contains("no such file"), "{}", said(&output));
    std::fs::write(dir.path().join("assistant.toml"), "").unwrap();
    let output = run(&places, &["--check"], dir.path());
    assert!(output.status.success());
    assert!(said(&output).ends_with("assistant.toml\n"), "{}", said(&output));
}

#[test]
fn a_rehearsal_without_its_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (state, runtime) = (dir.path().join("state"), dir.path().join("run"));
    let places: [(&str, &Path); 2] = [("--state-dir", &state), ("--runtime-dir", &runtime)];
    let text = "[llm]\nprovider = \"rehearsal\"\nrehearsal_file = \"/nonexistent/scenes.json\"\n";
    std::fs::write(dir.path().join("assistant.toml"), text).unwrap();
    for flags in [&["--check"] as &[&str], &[]] {
        let output = run(&places, flags, dir.path());
        assert_eq!(output.status.code(), Some(78), "{flags:?}");
        assert!(said(&output).contains("llm.rehearsal_file /nonexistent/scenes.json"), "{}", said(&output));
        assert!(said(&output).contains("hint: "), "{}", said(&output));
        assert!(!state.exists(), "nothing is made");
    }
}
