//! The tests that need more than one module: whole daemons, the API over a real socket, the real programs.

#[expect(dead_code, reason = "tests that need it come with the daemon")]
mod support;
