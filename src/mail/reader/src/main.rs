//! `assistant-mail`: reads one message or document for the daemon, confined to it.

use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
    str::FromStr,
};

use assistant_mail::{
    confine::{self, Bounds},
    convert,
    document::Kind,
    message,
    protocol::Said,
};

const USAGE: &str = "\
usage: assistant-mail read [OPTION...]            the message, a file, on standard input; a socket as standard output
       assistant-mail extract INDEX [OPTION...]   the message; the attachment of this number on standard output
       assistant-mail convert KIND [OPTION...]    the document; what it says on standard output, as Markdown
options: --memory BYTES, --seconds N of the processor, --output BYTES at most (of extract and convert)
The daemon starts it for every message and document; before it looks at one it gives up everything but its memory.";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next();
    let outcome = match verb.as_deref() {
        Some("read") => Bounds::parse(arguments).and_then(|bounds| read(&bounds)),
        Some("extract") => named(&mut arguments).and_then(|index| extract(index, &Bounds::parse(arguments)?)),
        Some("convert") => named(&mut arguments).and_then(|kind| convert(kind, &Bounds::parse(arguments)?)),
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

/// What stands after the verb.
fn named<T: FromStr<Err: Display>>(arguments: &mut impl Iterator<Item = String>) -> Result<T, String> {
    let text = arguments.next().ok_or(USAGE)?;
    text.parse().map_err(|err| format!("`{text}`: {err}"))
}

fn extract(index: u32, bounds: &Bounds) -> Result<(), String> {
    let map = confine::enter(bounds).map_err(|err| format!("cannot be confined: {err}"))?;
    message::extract(&map, index, bounds.output, &mut io::stdout().lock())
}

fn convert(kind: Kind, bounds: &Bounds) -> Result<(), String> {
    let map = confine::enter(bounds).map_err(|err| format!("cannot be confined: {err}"))?;
    let bounds = convert::Bounds::of(map.len() as u64, bounds.output);
    let out = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
    convert::convert(kind, &map, bounds, out).map_err(|err| err.to_string())
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
