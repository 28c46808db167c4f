//! One file per command or group: its arguments, whose comments are its help, and what it does.

pub mod backup;
pub mod completion;
pub mod config;
pub mod dashboard;
pub mod doctor;
pub mod effects;
pub mod events;
pub mod files;
pub mod job;
pub mod jobs;
pub mod log;
pub mod mail;
pub mod models;
pub mod notifications;
pub mod query;
pub mod sandbox;
pub mod secret;
pub mod setup;
pub mod status;
pub mod storage;
pub mod submit;
pub mod switch;
pub mod token;
pub mod tools;
pub mod web;

use std::{io::IsTerminal as _, time::Duration};

use assistant_api::JobId;
use jiff::SignedDuration;

use crate::{
    exit::{Failure, Result},
    progress,
};

/// Reads a length of time such as `90s`, `10m` or `1h 30m`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let parsed: Result<SignedDuration, _> = text.parse();
    let length = parsed.map_err(|_| "a length of time such as 90s, 10m or 1h 30m".to_owned())?;
    length.try_into().map_err(|_| "it lies in the past".to_owned())
}

/// Reads the id of a job.
fn job_id(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|_| "a job's id is a number, such as 7; assistantctl jobs lists them".to_owned())
}

/// A limit of money.
fn dollars(text: &str) -> Result<f64, String> {
    let read = text.parse().ok().filter(|dollars| (0.0..=1_000_000.0).contains(dollars));
    read.ok_or_else(|| "US dollars from 0, which is no limit, to 1000000, such as 0.50".to_owned())
}

/// Asks a person whether to go on; without a terminal there is nobody to ask, and `--yes` is needed.
fn confirm(yes: bool, question: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage(format!("{question} Nobody can be asked here")).hint("pass --yes if it is meant"));
    }
    progress::ask(&format!("{question} [y/N] "));
    let mut answer = String::new();
    // An unreadable terminal has not agreed.
    _ = stdin.read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(crate::exit::Code::Failed, "nothing was done"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("1h 30m", 5400), ("1h30m", 5400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "soon", "-5m", "10 parsecs"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
