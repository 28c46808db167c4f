//! Tries to break out of the sandbox that it runs in, and to do ordinary work there; says of each attempt how it went.

use std::process::ExitCode;

fn main() -> ExitCode {
    assistant_sandbox::probe::main()
}
