//! From outside: plants what must not be reached, has a runner run the probe, and says what came of it.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
};

use super::{
    Cell, Expect, Outcome, Plants, Probe, Report, all,
    arguments::{json, json_text},
};
use crate::protocol::{Denial, End, Exec, Exit, Frame, Kind, Level, Limits, Ready, Refused, VERSION, pass_proxy};

pub(super) const USAGE: &str =
    "       assistant-sandbox-probe conduct --probe PATH [--level LEVEL] [--limits JSON] [--only NAME]... [--outside DIR] \\
           [--proxy SOCKET] [--cells FILE --cell NAME [--bless yes]] (--socket PATH | -- RUNNER ARGUMENT...)

Conducting, it runs where nothing confines it: connects to a runner's socket or starts a runner, and has it run the probe
at PATH, as a command there finds it. What must not be reached is put into a new directory below DIR, /tmp by default.
A descriptor of the egress proxy's SOCKET is passed to a runner that takes one (`--proxy passed`).
With --cells all is well if every promise was tried and held, and what came out otherwise stands under NAME in FILE; with
--bless it is written there.
";

#[derive(Default)]
struct Arguments {
    probe: String,
    level: Level,
    limits: Limits,
    only: Vec<String>,
    outside: Option<PathBuf>,
    proxy: Option<PathBuf>,
    cells: Option<PathBuf>,
    cell: String,
    bless: bool,
    socket: Option<PathBuf>,
    runner: Vec<String>,
}

impl Arguments {
    fn parse(mut from: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self::default();
        while let Some(argument) = from.next() {
            let mut value = || from.next().ok_or_else(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--probe" => parsed.probe = value()?,
                "--level" => parsed.level = json(&argument, &format!("{:?}", value()?))?,
                "--limits" => parsed.limits = json(&argument, &value()?)?,
                "--only" => parsed.only.push(value()?),
                "--outside" => parsed.outside = Some(value()?.into()),
                "--proxy" => parsed.proxy = Some(value()?.into()),
                "--cells" => parsed.cells = Some(value()?.into()),
                "--cell" => parsed.cell = value()?,
                "--bless" => parsed.bless = value()? == "yes",
                "--socket" => parsed.socket = Some(value()?.into()),
                "--" => parsed.runner = from.by_ref().collect(),
                _ => return Err(format!("unknown argument: {argument}")),
            }
        }
        match (&parsed.socket, parsed.runner.is_empty()) {
            _ if parsed.probe.is_empty() => Err("--probe: missing".to_owned()),
            _ if parsed.cells.is_some() == parsed.cell.is_empty() => {
                Err("--cells and --cell: give both or none".to_owned())
            }
            (Some(_), true) | (None, false) => Ok(parsed),
            _ => Err("one of --socket and -- with a runner".to_owned()),
        }
    }
}

/// Has a runner run the probe.
#[derive(Clone, Debug)]
pub struct Conductor {
    /// The probe as a command finds it.
    pub probe: String,
    pub level: Level,
    pub limits: Limits,
    /// The probes to run; none means all.
    pub only: Vec<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Conducted {
    pub reports: Vec<Report>,
    /// What was refused meanwhile, as the runner heard it, of all commands together.
    pub denials: Vec<Denial>,
}

impl Conductor {
    /// Runs them, over the socket of a runner that is ready: most in one command, and those that may end theirs each in
    /// one of its own. Errors are for people.
    pub fn conduct(&self, socket: &mut UnixStream, plants: &Plants) -> Result<Conducted, String> {
        let chosen = |probe: &Probe| self.only.is_empty() || self.only.iter().any(|name| name == probe.name);
        let (alone, together): (Vec<_>, Vec<_>) = all().into_iter().filter(chosen).partition(|probe| probe.alone);
        let mut conducted = Conducted::default();
        if !together.is_empty() {
            let names = if self.only.is_empty() { &[][..] } else { &together };
            let (stdout, stderr, exit) = self.run(socket, names, plants)?;
            if exit.end != End::Exited {
                return Err(format!("the probe was ended: {:?}", exit.end));
            }
            conducted.add(&stdout, &stderr, exit.denials)?;
        }
        for probe in alone {
            let (stdout, stderr, exit) = self.run(socket, &[probe], plants)?;
            if exit.end == End::OutOfMemory {
                conducted.reports.push(probe.stopped(self.level));
            } else {
                conducted.add(&stdout, &stderr, exit.denials)?;
            }
        }
        Ok(conducted)
    }

    fn run(
        &self,
        socket: &mut UnixStream,
        only: &[Probe],
        plants: &Plants,
    ) -> Result<(Vec<u8>, Vec<u8>, Exit), String> {
        let said = |err: io::Error| err.to_string();
        let (level, limits) = (json_text(&self.level)?, json_text(&self.limits)?);
        let mut argv = [&self.probe, "--i-am-confined", "--level", level.trim_matches('"'), "--limits", &limits]
            .map(str::to_owned)
            .to_vec();
        argv.extend(only.iter().flat_map(|probe| ["--only".to_owned(), probe.name.to_owned()]));
        argv.extend(plants.outside().arguments());
        let (level, limits) = (self.level, self.limits);
        let exec = Exec { argv, cwd: String::new(), env: [].into(), stdin: false, level, limits, proxy_login: None };
        Frame::json(Kind::Exec, &exec).and_then(|frame| frame.write(socket)).map_err(said)?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let frame = next(socket).map_err(said)?;
            match frame.kind {
                Kind::Stdout => stdout.extend(frame.body),
                Kind::Stderr => stderr.extend(frame.body),
                Kind::Exit => return Ok((stdout, stderr, frame.parse().map_err(said)?)),
                Kind::Refused => return Err(frame.parse::<Refused>().map_err(said)?.message),
                _ => {}
            }
        }
    }
}

impl Conducted {
    fn add(&mut self, stdout: &[u8], stderr: &[u8], denials: Vec<Denial>) -> Result<(), String> {
        let lines = String::from_utf8_lossy(stdout);
        let reports: Vec<Report> =
            lines.lines().map(|line| json("the probe's line", line)).collect::<Result<_, _>>()?;
        if reports.is_empty() {
            return Err(format!("the probe said nothing: {}", String::from_utf8_lossy(stderr)));
        }
        self.reports.extend(reports);
        self.denials.extend(denials);
        Ok(())
    }
}

impl Probe {
    /// It came to the bound of all memory, and its command was ended for that.
    fn stopped(&self, level: Level) -> Report {
        let (expect, guarantee) = (self.rule.at(level), self.proves(level));
        let outcome = if expect == Expect::Denied { Outcome::Denied } else { Outcome::Failed };
        let detail = "the runner ended the whole command for its memory".to_owned();
        Report { name: self.name.to_owned(), guarantee, expect, outcome, detail }
    }
}

/// The attempts that each want a command for themselves, with what to say of one when its command ended for memory.
pub fn alone(level: Level) -> Vec<Report> {
    all().iter().filter(|probe| probe.alone).map(|probe| probe.stopped(level)).collect()
}

/// 0 when everything came out as it should, 1 when not, 2 when nothing could be tried.
pub(super) fn main(arguments: impl Iterator<Item = String>) -> Result<ExitCode, String> {
    let said = |err: io::Error| err.to_string();
    let arguments = Arguments::parse(arguments)?;
    let plants = Plants::new(arguments.outside.as_deref().unwrap_or(Path::new("/tmp"))).map_err(said)?;
    let mut runner = Runner::reach(&arguments).map_err(said)?;
    if let Some(proxy) = &arguments.proxy {
        let proxy = open(proxy, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| said(errno.into()))?;
        pass_proxy(runner.socket.as_fd(), proxy.as_fd()).map_err(said)?;
    }
    let frame = next(&mut runner.socket).map_err(said)?;
    if frame.kind != Kind::Ready {
        return Err(format!("the runner began with {:?}", frame.kind));
    }
    let ready: Ready = frame.parse().map_err(said)?;
    if ready.version != VERSION {
        return Err(format!("the runner speaks version {} of the protocol, this probe {VERSION}", ready.version));
    }
    let Arguments { probe, level, limits, only, cells, cell: name, bless, .. } = arguments;
    let conducted = Conductor { probe, level, limits, only }.conduct(&mut runner.socket, &plants)?;
    let touched = plants.touched().map_err(said)?;
    let (mut text, mut good) = describe(&ready, &conducted, &touched);
    if let Some(cells) = cells {
        let cell = Cell::of(&ready, &conducted.reports);
        let mut wrong = cell.doubts(&conducted.reports, &[]);
        wrong.extend(cell.hold(&cells, &name, bless).map_err(said)?.err());
        good = wrong.is_empty() && touched.is_empty();
        for wrong in wrong {
            let _ = writeln!(text, "doubtful  {wrong}");
        }
    }
    io::stdout().write_all(text.as_bytes()).map_err(said)?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn next(socket: &mut UnixStream) -> io::Result<Frame> {
    Frame::read(socket)?.ok_or_else(|| io::Error::other("the runner has closed"))
}

/// The table, and whether all is well: everything that must fail was tried and failed, what could be tried worked, and
/// nobody has touched what was planted.
fn describe(ready: &Ready, conducted: &Conducted, touched: &[String]) -> (String, bool) {
    let mut text = String::new();
    let mut good = touched.is_empty();
    for (guarantee, by) in &ready.guarantees {
        let _ = writeln!(text, "promised  {:<44} {by}", format!("{guarantee:?}").to_lowercase());
    }
    for (guarantee, why) in &ready.missing {
        let _ = writeln!(text, "missing   {:<44} {why}", format!("{guarantee:?}").to_lowercase());
    }
    for report in &conducted.reports {
        let fine = report.good() || (report.expect == Expect::Works && report.outcome == Outcome::Absent);
        good &= fine;
        let outcome = format!("{:?}", report.outcome).to_lowercase();
        let mark = if fine { "" } else { "  <== WRONG" };
        let detail = report.detail.replace('\n', " ");
        let _ = writeln!(text, "{outcome:<9} {:<44} {detail}{mark}", report.name);
    }
    for thing in touched {
        let _ = writeln!(text, "touched   {thing}  <== WRONG");
    }
    let refusals: u64 = conducted.denials.iter().map(|denial| denial.count).sum();
    let wrong = text.matches("<== WRONG").count();
    let _ = writeln!(text, "{} attempts, {wrong} wrong; {refusals} refusals were heard", conducted.reports.len());
    (text, good)
}

struct Runner {
    socket: UnixStream,
    child: Option<Child>,
}

impl Runner {
    fn reach(arguments: &Arguments) -> io::Result<Self> {
        if let Some(path) = &arguments.socket {
            return Ok(Self { socket: UnixStream::connect(path)?, child: None });
        }
        let (socket, theirs) = UnixStream::pair()?;
        let (program, rest) = arguments.runner.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let child = Command::new(program).args(rest).stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
        Ok(Self { socket, child: Some(child) })
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_marked_and_counted() {
        let ready = Ready {
            version: VERSION,
            guarantees: [].into(),
            missing: [].into(),
            landlock_abi: 7,
            workspace: None,
            protect: Vec::new(),
            limits: None,
            net: crate::protocol::Net::default(),
            pid: None,
        };
        let of = |reports| Conducted { reports, denials: Vec::new() };
        let report =
            |expect, outcome| Report { name: "x".to_owned(), guarantee: None, expect, outcome, detail: String::new() };
        for (expect, outcome, fine) in [
            (Expect::Denied, Outcome::Denied, true),
            (Expect::Denied, Outcome::Allowed, false),
            (Expect::Denied, Outcome::Absent, false),
            (Expect::Denied, Outcome::Broken, false),
            (Expect::Denied, Outcome::Hung, false),
            (Expect::Works, Outcome::Works, true),
            (Expect::Works, Outcome::Absent, true),
            (Expect::Works, Outcome::Failed, false),
            (Expect::Works, Outcome::Crashed, false),
        ] {
            let (text, good) = describe(&ready, &of(vec![report(expect, outcome)]), &[]);
            assert_eq!((good, text.contains("WRONG")), (fine, !fine), "{text}");
        }
        let (text, good) = describe(&ready, &of(Vec::new()), &["a file".to_owned()]);
        assert!(!good && text.contains("1 wrong"), "{text}");
    }

    #[test]
    fn it_wants_a_probe_and_one_runner() {
        let parse = |line: &str| Arguments::parse(line.split(' ').map(str::to_owned)).err();
        assert_eq!(parse("--probe /p --socket /s"), None);
        assert_eq!(parse("--probe /p --level work-net -- a b"), None);
        for (line, reason) in [
            ("--socket /s", "--probe"),
            ("--probe /p", "one of"),
            ("--probe /p --socket /s -- a", "one of"),
            ("--probe /p --level none --socket /s", "--level"),
            ("--probe", "wants a value"),
            ("--probe /p --more", "unknown argument"),
            ("--probe /p --socket /s --cells /c", "give both"),
            ("--probe /p --socket /s --cell x", "give both"),
        ] {
            assert!(parse(line).unwrap().contains(reason), "{line}");
        }
    }
}
