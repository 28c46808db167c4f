//! What the programs of this package begin with: arguments, a configuration, sockets, and the code they end with.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    process::ExitCode,
};

use clap::Parser;
use sd_notify::NotifyState;

use crate::{listen, settings::Fault};

const FAILURE: u8 = 1;
const USAGE: u8 = 64;
const CONFIG: u8 = 78;

/// A program, as its arguments.
pub trait Program: Parser {
    type Config;
    /// The names by which the service manager may pass sockets.
    const SOCKETS: &'static [&'static str];

    fn config_file(&self) -> &Path;

    /// Whether nothing but the configuration is to be looked at.
    fn only_checks(&self) -> bool;

    fn load(file: &Path) -> Result<Self::Config, Fault>;

    /// Runs until it is told to stop.
    fn run(self, config: Self::Config, sockets: Sockets) -> io::Result<()>;
}

/// The `main` of a program; call it before any thread exists.
pub fn main<P: Program>() -> ExitCode {
    let inherited = listen::inherited(P::SOCKETS);
    let program = match P::try_parse() {
        Ok(program) => program,
        Err(err) => {
            let _ = err.print();
            return if err.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let config = match P::load(program.config_file()) {
        Ok(config) => config,
        Err(fault) => return complain(&fault.to_string(), CONFIG),
    };
    if program.only_checks() {
        let _ = writeln!(io::stdout(), "the configuration is good: {}", program.config_file().display());
        return ExitCode::SUCCESS;
    }
    match inherited.and_then(|inherited| program.run(config, Sockets(inherited))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => complain(&err.to_string(), FAILURE),
    }
}

fn complain(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {message}");
    code.into()
}

/// The sockets that the service manager passed.
pub struct Sockets(BTreeMap<String, UnixListener>);

impl Sockets {
    /// The one with this name; or a new one that `bind` makes at `path`, as `option` gives it.
    pub fn take(
        &mut self,
        name: &str,
        option: &str,
        path: Option<&Path>,
        bind: impl FnOnce(&Path) -> io::Result<UnixListener>,
    ) -> io::Result<UnixListener> {
        match (self.0.remove(name), path) {
            (Some(socket), None) => Ok(socket),
            (None, Some(path)) => {
                bind(path).map_err(|err| io::Error::new(err.kind(), format!("listening at {}: {err}", path.display())))
            }
            (Some(_), Some(_)) => Err(io::Error::other(format!("the {name} socket is both inherited and an argument"))),
            (None, None) => Err(io::Error::other(format!("there is no {name} socket: give {option}"))),
        }
    }
}

/// Tells the service manager, if there is one.
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(err) = sd_notify::notify(state) {
        tracing::debug!(%err, "the service manager does not listen");
    }
}
