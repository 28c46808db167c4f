//! The daemon's own log, by `assistantctl log`.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use assistant_api::log::{LogLevel, LogList};

use super::ctl::{Desk, Ran, TASK};

const KEY: &str = "sk-canary-of-the-log-5bd0c1";

#[track_caller]
fn good(ran: &Ran) -> &str {
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    &ran.out
}

#[test]
fn the_log_is_shown_filtered_and_followed() {
    let desk = Desk::with("", &[("OPENAI_API_KEY", KEY)]);
    good(&desk.run(&["submit", TASK, "--attach", "reports", "--wait"]));
    let all = desk.run(&["log", "-n", "2000"]);
    let all = good(&all);
    assert!(all.contains("info "), "{all}");
    assert!(!all.contains(KEY), "{all}");

    let list = |arguments: &[&str]| -> LogList {
        serde_json::from_value(desk.json(&[&["log", "-n", "2000"], arguments].concat())).unwrap()
    };
    let lines = list(&[]).lines;
    assert!(lines.is_sorted_by(|one, next| one.id < next.id && one.at <= next.at));
    let of_job = list(&["--job", "1"]).lines;
    assert!(!of_job.is_empty() && of_job.iter().all(|line| line.job_id.is_some_and(|id| id.0 == 1)), "{of_job:?}");
    assert_eq!(list(&["--job", "999"]).lines, []);
    let warned = list(&["--level", "warn"]).lines;
    assert!(warned.iter().all(|line| line.level <= LogLevel::Warn), "{warned:?}");
    let word = lines[0].text.split(' ').next().unwrap().to_uppercase();
    assert!(list(&["--grep", &word]).lines.contains(&lines[0]), "{word}");

    // What is written while somebody follows: the first line shows that the stream stands.
    let mut following = desk.command(&["log", "-f", "-n", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(following.stdout.take().unwrap()).lines();
    assert!(shown.next().unwrap().is_ok());
    good(&desk.run(&["stop", "--all"]));
    let told = shown.map_while(Result::ok).find(|line| line.contains("stop")).unwrap();
    assert!(told.contains("warn "), "{told}");
    following.kill().unwrap();
    following.wait().unwrap();
}

#[test]
fn what_cannot_be_asked_of_the_log_is_told() {
    let desk = Desk::with("", &[]);
    let wrong = desk.run(&["log", "--level", "loud"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.err);
    assert!(wrong.err.contains("error, warn, info, debug and trace"), "{}", wrong.err);
    let wrong = desk.run(&["query", "GET", "/api/log?limit=0"]);
    assert!(wrong.err.contains("limit is 0; it goes from 1 to 2000"), "{}", wrong.err);
}
