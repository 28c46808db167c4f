//! `assistant-sandbox`: runs the commands of one session, confined. The daemon starts it with a socket as standard input.

mod serve;

use std::process::ExitCode;

use serve::options::{Options, USAGE};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(message) => return fail(2, &format!("{message}\n{USAGE}")),
    };
    match serve::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => fail(1, &err.to_string()),
    }
}

#[expect(clippy::print_stderr, reason = "standard error is where whoever started the runner reads why it ended")]
fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("assistant-sandbox: {message}");
    ExitCode::from(code)
}
