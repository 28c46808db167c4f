//! `assistantd --show-config`, for when there is no daemon to ask.

use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::process::Place;

fn show(place: &Place, arguments: &[&str]) -> Output {
    let mut command = place.command();
    command
        .arg("--show-config")
        .args(arguments)
        .env("OPENROUTER_API_KEY", "sk-canary")
        .env("AGENT_TIMEZONE", "Europe/Berlin");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

#[test]
fn every_value_is_printed_with_its_origin() {
    let place = Place::new("[jobs]\nworkers = 3\n");
    let output = show(&place, &["--origin"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |key: &str| text.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("{text}"));
    assert!(line("jobs.workers = 3").ends_with("assistant.toml:2"), "{}", line("jobs.workers"));
    assert!(line("app.timezone = \"Europe/Berlin\"").ends_with("# environment AGENT_TIMEZONE"));
    assert!(line("jobs.max_attempts = 3").ends_with("# default"));
    assert!(!text.contains("canary"));
    assert!(!place.state().exists(), "nothing is started");
}

#[test]
fn the_same_as_json() {
    let place = Place::new("");
    let output = show(&place, &["-o", "json"]);
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["schema"], "v1");
    assert!(printed["settings"].as_array().unwrap().len() > 50);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("canary"));
    assert_eq!(show(&Place::new("nonsense = 1"), &[]).status.code(), Some(78));
}
