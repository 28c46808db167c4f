//! The sandbox from outside: its programs as they are started for real.
//!
//! The runner is met as the daemon meets it: over its socket, with the kernel's own walls around the commands, as root
//! with `--uid`, where the tests run as root, and as an ordinary user. The probe runs within them, and without.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops at the first thing that is not as it should be, and says so when it cannot run"
)]

mod audit;
mod baseline;
mod basics;
mod bridge;
mod client;
mod direct;
mod ends;
mod filter;
mod matrix;
mod ownership;
mod probe;
mod processors;
mod protected;
mod regressions;
mod walls;

use assistant_sandbox::probe::Report;

/// The probe, as it was built for these tests.
const PROBE: &str = env!("CARGO_BIN_EXE_assistant-sandbox-probe");

/// The probe's lines.
fn reports(stdout: &[u8], stderr: &[u8]) -> Vec<Report> {
    let text = String::from_utf8_lossy(stdout);
    let lines: Result<Vec<_>, _> = text.lines().map(serde_json::from_str).collect();
    match lines {
        Ok(reports) if !reports.is_empty() => reports,
        other => panic!("{other:?}\n{text}\n{}", String::from_utf8_lossy(stderr)),
    }
}
