//! `assistant-sandbox`: runs the commands of one session, confined. The daemon starts it with a socket as standard input,
//! or systemd does, which then also has it prepare the session before and clear up after it, as root.

mod prepare;
mod reclaim;
mod serve;
mod userdb;

/// In a static program the C library's own asks the kernel for a page at a time, and so keeps the first command waiting.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

use std::{ffi::OsString, process::ExitCode};

use prepare::Place;
use serve::options::{Options, USAGE};

const UNIT_USAGE: &str = "\
       assistant-sandbox prepare|reclaim --workspace DIR --session DIR --user NAME
         [--wishes FILE] [--unit NAME] [--tmp-bytes N] [--protect PATH]...
As root, before and after a session of a unit: what it needs beside its unit, and what it has left.";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    let run: fn(&Place) -> _ = match first.as_ref().and_then(|first| first.to_str()) {
        Some("prepare") => prepare::begin,
        Some("reclaim") => prepare::end,
        _ => return serve(first.into_iter().chain(arguments)),
    };
    match place(arguments) {
        Err(message) => fail(2, &format!("{message}\n{USAGE}\n{UNIT_USAGE}")),
        Ok(place) => run(&place).map_or_else(|fault| fail(1, &fault.to_string()), |()| ExitCode::SUCCESS),
    }
}

fn serve(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(message) => return fail(2, &format!("{message}\n{USAGE}\n{UNIT_USAGE}")),
    };
    match serve::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => fail(1, &err.to_string()),
    }
}

fn place(arguments: impl Iterator<Item = OsString>) -> Result<Place, String> {
    let mut arguments = arguments
        .map(|argument| argument.into_string().map_err(|argument| format!("{}: not valid UTF-8", argument.display())));
    let mut place = Place::default();
    while let Some(name) = arguments.next().transpose()? {
        let value = arguments.next().transpose()?.ok_or_else(|| format!("{name}: needs a value"))?;
        match name.as_str() {
            "--workspace" => place.workspace = value.into(),
            "--session" => place.session = value.into(),
            "--user" => place.user = value,
            "--wishes" => place.wishes = Some(value.into()),
            "--unit" => place.unit = Some(value),
            "--tmp-bytes" => {
                let bytes = value.parse().map_err(|_| format!("{name}: `{value}` is not a number in range"))?;
                place.tmp_bytes = Some(bytes);
            }
            "--protect" => place.protect.push(value),
            _ => return Err(format!("unknown option `{name}`")),
        }
    }
    match &place {
        Place { workspace, .. } if !workspace.is_absolute() => Err("--workspace: not an absolute path".to_owned()),
        Place { session, .. } if !session.is_absolute() => Err("--session: not an absolute path".to_owned()),
        Place { user, .. } if user.is_empty() => Err("--user: missing".to_owned()),
        _ => Ok(place),
    }
}

#[expect(clippy::print_stderr, reason = "standard error is where whoever started the runner reads why it ended")]
fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("assistant-sandbox: {message}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_a_place_and_a_user() {
        let parse = |line: &str| place(line.split(' ').map(OsString::from));
        let found = parse("--workspace /w --session /s --user as1 --protect a --protect b/").unwrap();
        assert_eq!((found.user.as_str(), found.protect.len()), ("as1", 2));
        for (line, reason) in [
            ("--session /s --user u", "--workspace"),
            ("--workspace w --session /s --user u", "--workspace"),
            ("--workspace /w --session s --user u", "--session"),
            ("--workspace /w --session /s", "--user"),
            ("--workspace /w --session", "needs a value"),
            ("--workspace /w --tmp-bytes x", "not a number"),
            ("--shell yes", "unknown option"),
        ] {
            assert!(parse(line).unwrap_err().contains(reason), "{line}");
        }
    }
}
