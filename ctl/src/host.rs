//! What this machine has to do as root: restart the service, put users into groups, encrypt credentials. All of it by the
//! programs that the system has for it.

use std::{
    ffi::OsStr,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::{
    exit::{Code, Failure, Result},
    text,
};

/// The daemon's service.
pub const SERVICE: &str = "assistantd.service";

/// Where systemd looks for units that nobody generated.
const UNITS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// This machine, or what a test has for it.
pub struct Host {
    /// Where programs are looked for, instead of in `$PATH`.
    pub programs: Option<PathBuf>,
    /// Whether systemd runs here and has the daemon's service.
    pub service: bool,
}

impl Host {
    /// This machine.
    pub fn here() -> Self {
        let runs = Path::new("/run/systemd/system").is_dir();
        let installed = UNITS.iter().any(|dir| Path::new(dir).join(SERVICE).exists());
        Self { programs: None, service: runs && installed }
    }

    /// Runs a program, with `input` as its standard input; the error is what it said, without what it was given.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Result<Vec<u8>> {
        let program = self.programs.as_ref().map_or_else(|| name.into(), |dir| dir.join(name));
        let output = output(Command::new(program).args(arguments), input).map_err(|err| match err.kind() {
            io::ErrorKind::NotFound => Failure::new(Code::NotFound, format!("the program {name} is not there")),
            _ => Failure::new(Code::Failed, format!("running {name}: {err}")),
        })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().map(text::one_line).find(|line| !line.is_empty());
        let why = last.unwrap_or_else(|| output.status.to_string());
        Err(Failure::new(Code::Failed, format!("{name} failed: {why}")))
    }

    /// Restarts the service and waits until it is ready.
    pub fn restart(&self) -> Result<()> {
        // One that failed too often, as for a credential that cannot be decrypted, is not started again otherwise. Where
        // nothing failed there is nothing to forget.
        let socket = SERVICE.replace(".service", ".socket");
        _ = self.run("systemctl", ["reset-failed", SERVICE, &socket], b"");
        let restarted = self.run("systemctl", ["restart", SERVICE], b"");
        restarted.map(drop).map_err(|failure| failure.hint("journalctl -u assistantd -n 20 says why"))
    }
}

fn output(command: &mut Command, input: &[u8]) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // A program that does not read is judged by its exit status. What is given to it fits into the pipe's buffer.
    if let Some(mut stdin) = child.stdin.take() {
        _ = stdin.write_all(input);
    }
    child.wait_with_output()
}
