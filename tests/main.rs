//! The tests that need more than one module: whole daemons, the API over a real socket, the real programs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first thing that is not as it should be")]

mod api;
mod cli;
mod crash;
mod daemon;
#[expect(dead_code, reason = "tests that need it come with the agent")]
mod support;
