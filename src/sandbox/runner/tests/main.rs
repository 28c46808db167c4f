//! The runner as the daemon meets it: over its socket, with the kernel's own walls around the commands.
//!
//! Each test runs as root with `--uid`, where the tests run as root, and as an ordinary user.

mod basics;
mod client;
