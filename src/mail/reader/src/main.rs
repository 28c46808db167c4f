//! `assistant-mail`: reads one message or document for the daemon, confined to it.

use std::{
    fmt::Display,
    io::{self, BufRead as _, Read as _, Write as _},
    os::fd::AsFd as _,
    process::ExitCode,
    str::FromStr,
};

use assistant_mail::{
    confine::{self, Bounds},
    convert,
    document::Kind,
    lookup, message,
    protocol::{Records, Said},
    render,
    verify::Verifier,
};

const USAGE: &str = "\
usage: assistant-mail read [OPTION...]            the message, a file, on standard input; a socket as standard output
       assistant-mail extract INDEX [OPTION...]   the message; the attachment of this number on standard output
       assistant-mail convert KIND [OPTION...]    the document; what it says on standard output, as Markdown
       assistant-mail render [OPTION...]          Markdown; its HTML on standard output
       assistant-mail lookup [--server ADDRESS]   names on standard input, their TXT records on standard output
options: --memory BYTES, --seconds N of the processor, --output BYTES at most (of extract and convert)
The daemon starts it for every message and document; before it looks at one it gives up everything but its memory.";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next();
    let outcome = match verb.as_deref() {
        Some("read") => Bounds::parse(arguments).and_then(|bounds| read(&bounds)),
        Some("extract") => named(&mut arguments).and_then(|index| extract(index, &Bounds::parse(arguments)?)),
        Some("convert") => named(&mut arguments).and_then(|kind| convert(kind, &Bounds::parse(arguments)?)),
        Some("render") => Bounds::parse(arguments).and_then(|bounds| rendered(&bounds)),
        Some("lookup") => look_up(arguments),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

fn read(bounds: &Bounds) -> Result<(), String> {
    let verifier = Verifier::new()?;
    let map = confine::enter(bounds).map_err(|err| format!("cannot be confined: {err}"))?;
    let said = match message::read(&map) {
        Err(reason) => Said::Failed(reason),
        Ok(mut message) => {
            message.authentication =
                verifier.verify(&map, &message, &mut ask).map_err(|err| format!("nobody looks names up: {err}"))?;
            Said::Message(Box::new(message))
        }
    };
    say(&said).map_err(|err| err.to_string())
}

fn rendered(bounds: &Bounds) -> Result<(), String> {
    let map = confine::enter(bounds).map_err(|err| format!("cannot be confined: {err}"))?;
    let html = render::html(&String::from_utf8_lossy(&map));
    let mut out = io::stdout().lock();
    out.write_all(html.as_bytes()).and_then(|()| out.flush()).map_err(|err| err.to_string())
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

/// Has names looked up by who started it.
fn ask(names: Vec<String>) -> io::Result<Records> {
    say(&Said::Names(names))?;
    let mut line = Vec::new();
    let mut byte = [0; 4096];
    while line.last() != Some(&b'\n') {
        match nix::unistd::read(io::stdout().as_fd(), &mut byte)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => line.extend_from_slice(&byte[..read]),
        }
    }
    serde_json::from_slice(&line).map_err(io::Error::other)
}

fn look_up(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let server = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => None,
        (Some("--server"), Some(server)) => Some(server),
        _ => return Err(USAGE.into()),
    };
    let names: Vec<String> =
        io::stdin().lock().take(1 << 16).lines().collect::<io::Result<_>>().map_err(|err| err.to_string())?;
    let records = lookup::look_up(&names, server.as_deref())?;
    let line = serde_json::to_string(&records).map_err(|err| err.to_string())?;
    writeln!(io::stdout(), "{line}").map_err(|err| err.to_string())
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
