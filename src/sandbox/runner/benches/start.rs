//! What a command costs: `/bin/true` in a new session, in a session that stands, through bubblewrap with the same
//! minimal root, and bare. Figures of one run on one machine; the ratios count.
//!
//! `cargo bench -p assistant-sandbox`, with `ASSISTANT_SANDBOX` naming the static program of `packaging/build-sandbox.sh`.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::{
    env,
    error::Error,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use assistant_sandbox::protocol::{Exec, Frame, Kind, Level, Limits};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 300;
const USER: &str = "65534";

fn main() -> Outcome<()> {
    let program = env::var("ASSISTANT_SANDBOX").unwrap_or_else(|_| env!("CARGO_BIN_EXE_assistant-sandbox").to_owned());
    let workspace = tempfile::tempdir()?;
    std::os::unix::fs::chown(workspace.path(), Some(65534), Some(65534))?;
    let (mut bare, mut wrapped, mut first, mut later) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(timed(|| run(&mut Command::new("/bin/true")))?);
        wrapped.push(timed(|| run(&mut bubblewrap(workspace.path())))?);
        let begun = Instant::now();
        let mut session = Session::start(&program, workspace.path())?;
        session.command()?;
        first.push(begun.elapsed());
        later.push(timed(|| session.command())?);
        later.push(timed(|| session.command())?);
        session.end()?;
    }
    let load = std::fs::read_to_string("/proc/loadavg")?;
    println!("load {}", load.trim());
    let (bare, wrapped) = (median(bare), median(wrapped));
    println!("bare spawn          {bare:8.2?}");
    println!("bwrap --unshare-all {wrapped:8.2?}");
    for (name, times, base, most) in [("first command", first, wrapped, 0.65), ("later command", later, bare, 2.0)] {
        let time = median(times);
        let ratio = time.as_secs_f64() / base.as_secs_f64();
        println!("{name:19} {time:8.2?}  ratio {ratio:.2}, at most {most} wanted");
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn timed(mut work: impl FnMut() -> Outcome<()>) -> Outcome<Duration> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

fn run(command: &mut Command) -> Outcome<()> {
    if command.stdin(Stdio::null()).status()?.success() { Ok(()) } else { Err("the command failed".into()) }
}

/// The root of `src/serve/root.rs`, told to bubblewrap.
fn bubblewrap(workspace: &Path) -> Command {
    let mut command = Command::new("bwrap");
    command.args(["--unshare-all", "--new-session", "--die-with-parent", "--clearenv"]);
    command.args(["--uid", USER, "--gid", USER, "--cap-drop", "ALL"]);
    command.args(["--ro-bind", "/usr", "/usr"]);
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        if let Ok(target) = std::fs::read_link(Path::new("/").join(name)) {
            command.arg("--symlink").arg(target).arg(Path::new("/").join(name));
        }
    }
    for name in [
        "alternatives",
        "ssl",
        "fonts",
        "ld.so.cache",
        "localtime",
        "mime.types",
        "services",
        "protocols",
        "passwd",
        "group",
    ] {
        let path = Path::new("/etc").join(name);
        command.arg("--ro-bind-try").arg(&path).arg(&path);
    }
    command.args(["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--bind"]).arg(workspace).arg("/workspace");
    command.args(["--chdir", "/workspace", "/bin/true"]);
    command
}

struct Session {
    socket: UnixStream,
    child: std::process::Child,
}

impl Session {
    fn start(program: &str, workspace: &Path) -> Outcome<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(program);
        command.args(["serve", "--backend", "namespace", "--uid", USER, "--gid", USER, "--workspace"]).arg(workspace);
        let child = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
        let mut session = Self { socket: ours, child };
        session.until(Kind::Ready)?;
        Ok(session)
    }

    fn command(&mut self) -> Outcome<()> {
        let exec = Exec {
            argv: vec!["/bin/true".to_owned()],
            cwd: String::new(),
            env: std::collections::BTreeMap::new(),
            stdin: false,
            level: Level::Work,
            limits: Limits::default(),
            proxy_login: None,
        };
        Frame::json(Kind::Exec, &exec)?.write(&mut self.socket)?;
        self.until(Kind::Exit)
    }

    fn until(&mut self, kind: Kind) -> Outcome<()> {
        loop {
            let frame = Frame::read(&mut self.socket)?.ok_or("the runner closed")?;
            if frame.kind == Kind::Refused {
                return Err(String::from_utf8_lossy(&frame.body).into());
            }
            if frame.kind == kind {
                return Ok(());
            }
        }
    }

    fn end(mut self) -> Outcome<()> {
        drop(self.socket);
        self.child.wait()?;
        Ok(())
    }
}
