//! Measures what docs/performance.md tells: `tests/bench/run.sh` builds everything and runs all of it.
//!
//! Each line carries the figure, the same work done by the bare library in the same run, their ratio, the goal, the
//! median `fdatasync` of the disk and the load of the machine. All traffic stays on this machine.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark prints its figures, and stops at the first thing that is not as it should be"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with the tests, which use more of it")]
mod support;

#[path = "../mail/servers.rs"]
#[expect(dead_code, reason = "shared with the tests, which use more of it")]
mod servers;

mod api;
mod bare;
mod commands;
mod crowd;
mod footprint;
mod jobs;
mod lists;
mod load;
mod mail;
mod measure;
mod seed;
mod start;
mod table;

use std::{path::PathBuf, process::ExitCode};

use self::table::Table;
use crate::support::process::Place;

const PARTS: &[&str] = &["start", "idle", "api", "lists", "crowd", "jobs", "commands", "mail", "size"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare-open", database, socket] => return bare::open_and_listen(database.as_ref(), socket.as_ref()),
        ["bare-http", socket] => return bare::serve(socket.as_ref()),
        _ => {}
    }
    if let Some(unknown) = arguments.iter().find(|name| !PARTS.contains(&name.as_str())) {
        eprintln!("there is no part {unknown}; the parts are {}", PARTS.join(", "));
        return ExitCode::from(2);
    }
    let wanted = |part: &str| arguments.is_empty() || arguments.iter().any(|name| name == part);
    let scratch = tempfile::tempdir().unwrap();
    let mut table = Table::begin(scratch.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if wanted("start") {
        start::measure(&mut table);
    }
    if wanted("idle") {
        footprint::idle(&mut table);
    }
    runtime.block_on(async {
        if wanted("api") {
            api::measure(&mut table).await;
        }
        if wanted("lists") {
            lists::measure(&mut table).await;
        }
        if wanted("crowd") {
            crowd::measure(&mut table).await;
        }
        if wanted("jobs") {
            jobs::measure(&mut table).await;
        }
        if wanted("commands") {
            commands::measure(&mut table).await;
        }
        if wanted("mail") {
            mail::measure(&mut table).await;
        }
    });
    if wanted("size") {
        footprint::sizes(&mut table);
    }
    if table.end() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A daemon's place whose configuration names `base_url` as its model server.
fn place(base_url: &str) -> Place {
    Place::new(&format!(
        "[llm]\nprovider = \"openai\"\nbase_url = \"{base_url}\"\nmodel = \"scripted\"\n[log]\nlevel = \"warn\"\n"
    ))
}

/// A program that was built beside the daemon.
fn program(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_assistantd")).with_file_name(name)
}
