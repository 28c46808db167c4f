//! The probe's command line.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use serde::de::DeserializeOwned;

use super::{LIMIT, Outside, Place, Probe, all, conduct};
use crate::protocol::{Level, Limits};

const USAGE: &str = "usage: assistant-sandbox-probe [--i-am-confined | --baseline | --list] [--only NAME]...
    [--level read|work|work-net|container] [--workspace DIR] [--ours DIR] [--limits JSON] [--outside KIND=VALUE]...

Makes each attempt in a process of its own and prints one JSON line for it.
Without --baseline it runs only where a filter of system calls, no_new_privs and the lack of all capabilities show that
it is confined; --baseline runs, unconfined, those attempts that do no harm. Attempts that end the whole command when they
are stopped run only when named. --ours names a directory below .assistant to try, where that is not in DIR.
";

#[derive(Default)]
struct Arguments {
    confined: bool,
    baseline: bool,
    list: bool,
    only: Vec<String>,
    level: Level,
    limits: Limits,
    workspace: PathBuf,
    ours: Option<PathBuf>,
    outside: Outside,
}

impl Arguments {
    fn parse(mut from: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self { workspace: ".".into(), ..Self::default() };
        while let Some(argument) = from.next() {
            let mut value = || from.next().ok_or_else(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--i-am-confined" => parsed.confined = true,
                "--baseline" => parsed.baseline = true,
                "--list" => parsed.list = true,
                "--only" => parsed.only.push(value()?),
                "--level" => parsed.level = json(&argument, &format!("{:?}", value()?))?,
                "--limits" => parsed.limits = json(&argument, &value()?)?,
                "--workspace" => parsed.workspace = value()?.into(),
                "--ours" => parsed.ours = Some(value()?.into()),
                "--outside" => parsed.outside.add(&value()?)?,
                _ => return Err(format!("unknown argument: {argument}")),
            }
        }
        Ok(parsed)
    }

    fn chosen(&self) -> Result<Vec<Probe>, String> {
        let all = all();
        if let Some(name) = self.only.iter().find(|name| all.iter().all(|probe| probe.name != *name)) {
            return Err(format!("no probe is called {name}; --list names them"));
        }
        Ok(all
            .into_iter()
            .filter(|probe| match self.only.as_slice() {
                [] => self.list || !probe.alone,
                only => only.iter().any(|name| name == probe.name),
            })
            .filter(|probe| !self.baseline || probe.safe)
            .collect())
    }
}

pub(super) fn json<T: DeserializeOwned>(argument: &str, text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|err| format!("{argument}: {err}"))
}

/// The program `assistant-sandbox-probe`. Its exit code is 0 when all came out as they should or were absent, 1 when
/// not, 2 when nothing was tried.
pub fn main() -> ExitCode {
    let inherited = descriptors();
    let mut arguments = std::env::args().skip(1).peekable();
    let done = if arguments.next_if(|first| first == "conduct").is_some() {
        conduct::main(arguments)
    } else {
        Arguments::parse(arguments).and_then(|arguments| go(arguments, inherited))
    };
    match done {
        Ok(code) => code,
        Err(message) => {
            let _ = write!(io::stderr(), "assistant-sandbox-probe: {message}\n\n{USAGE}\n{}", conduct::USAGE);
            ExitCode::from(2)
        }
    }
}

fn go(arguments: Arguments, inherited: Vec<i32>) -> Result<ExitCode, String> {
    let probes = arguments.chosen()?;
    let mut out = io::stdout().lock();
    if arguments.list {
        for probe in probes {
            let expect = json_text(&probe.rule.at(arguments.level))?;
            let guarantee = probe.guarantee.as_ref().map(json_text).transpose()?;
            let guarantee = guarantee.as_deref().unwrap_or("-").trim_matches('"');
            writeln!(out, "{:<44} {:<8} {guarantee:<12} {}", probe.name, expect.trim_matches('"'), mark(&probe))
                .map_err(|err| err.to_string())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    match (arguments.confined, arguments.baseline) {
        (true, false) => confined()?,
        (false, true) => {}
        _ => return Err("one of --i-am-confined and --baseline".to_owned()),
    }
    let workspace = std::path::absolute(&arguments.workspace).map_err(|err| err.to_string())?;
    let place = Place {
        level: arguments.level,
        limits: arguments.limits,
        ours: match arguments.ours {
            Some(ours) => std::path::absolute(ours).map_err(|err| err.to_string())?,
            None => workspace.join(".assistant"),
        },
        workspace,
        outside: arguments.outside,
        inherited,
    };
    let mut good = true;
    for probe in probes {
        let report = probe.report(&place);
        good &= report.good() || report.outcome == super::Outcome::Absent;
        writeln!(out, "{}", json_text(&report)?).map_err(|err| err.to_string())?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn json_text(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|err| err.to_string())
}

fn mark(probe: &Probe) -> String {
    let harmful = match (probe.safe, probe.alone) {
        (true, _) => "",
        (false, false) => "only confined",
        (false, true) => "only confined, in a command of its own,",
    };
    if probe.limit == LIMIT { harmful.to_owned() } else { format!("{harmful} up to {} s", probe.limit.as_secs()) }
}

/// What no unconfined process has by accident.
fn confined() -> Result<(), String> {
    #[expect(
        unsafe_code,
        reason = "two questions about this process and one about its capabilities, by pointers to locals"
    )]
    let (filter, no_new_privs, capabilities) = unsafe {
        let mut head = [0x2008_0522_u32, 0]; // _LINUX_CAPABILITY_VERSION_3, this thread
        let mut sets = [0_u32; 6];
        let asked = libc::syscall(libc::SYS_capget, head.as_mut_ptr(), sets.as_mut_ptr());
        (
            libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0),
            libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
            asked != 0 || sets.iter().any(|set| *set != 0),
        )
    };
    for (missing, what) in [
        (filter != 2, "no filter of system calls"),
        (no_new_privs != 1, "no no_new_privs"),
        (capabilities, "capabilities are left"),
    ] {
        if missing {
            return Err(format!("not confined: {what}"));
        }
    }
    Ok(())
}

/// Open descriptors beside 0 to 2.
fn descriptors() -> Vec<i32> {
    (3..4096)
        .filter(|fd| {
            #[expect(unsafe_code, reason = "asks whether a number is an open descriptor")]
            let flags = unsafe { libc::fcntl(*fd, libc::F_GETFD) };
            flags >= 0
        })
        .collect()
}
