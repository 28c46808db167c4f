//! `assistant-mail`: reads one message for the daemon, confined to it.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use assistant_mail::{
    confine::{self, Bounds},
    message,
    protocol::Said,
};

const USAGE: &str = "\
usage: assistant-mail read [--memory BYTES] [--seconds N]   the message, a file, on standard input; a socket as standard output
The daemon starts it for every message; before it looks at one it gives up everything but its memory.";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next();
    let outcome = match verb.as_deref() {
        Some("read") => Bounds::parse(arguments).and_then(|bounds| read(&bounds)),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

fn read(bounds: &Bounds) -> Result<(), String> {
    let map = confine::enter(bounds).map_err(|err| format!("cannot be confined: {err}"))?;
    let said = message::read(&map).map_or_else(Said::Failed, |message| Said::Message(Box::new(message)));
    say(&said).map_err(|err| err.to_string())
}

/// One line to who started it.
fn say(said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

#[expect(clippy::print_stderr, reason = "standard error is where who started it reads why it ended")]
fn fail(message: &str) -> ExitCode {
    eprintln!("assistant-mail: {message}");
    ExitCode::FAILURE
}
