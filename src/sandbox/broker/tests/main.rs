//! The programs of this package as commands and the daemon meet them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first thing that is not as it should be"
)]

#[cfg(feature = "docker")]
mod docker;
mod egress;
