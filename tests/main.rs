//! The tests that need more than one module: whole daemons, the API over a real socket, the real programs.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at the first thing that is not as it should be, and long ones say how far they are"
)]

mod api;
mod cli;
mod crash;
mod daemon;
mod mail;
mod support;
mod work;
