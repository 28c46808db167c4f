//! The daemon's side of the protocol, as plain as can be.

use std::{
    collections::BTreeMap,
    fs,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{PermissionsExt as _, chown},
            net::UnixStream,
            process::CommandExt as _,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use assistant_sandbox::protocol::{Exec, Exit, Frame, Kind, Level, Limits, Net, Ready, Refused, Started};
use tempfile::TempDir;

/// Whoever runs the commands in tests.
pub(crate) const NOBODY: u32 = 65534;

/// Who starts the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starter {
    /// Root, with `--uid` and `--gid`.
    Root,
    /// An ordinary user, which the commands then are as well.
    User,
}

/// Those that this machine can play. Only root can become another user.
pub(crate) fn starters() -> Vec<Starter> {
    if is_root() { vec![Starter::Root, Starter::User] } else { vec![Starter::User] }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A workspace that belongs to whoever runs the commands.
pub(crate) struct Workspace {
    dir: TempDir,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let workspace = Self { dir };
        fs::create_dir(workspace.path()).unwrap();
        workspace.own("");
        workspace
    }

    /// Beside it lies what no command may reach.
    pub(crate) fn outside(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("workspace")
    }

    /// The runner where any user may start it, which the directory of the build need not be.
    pub(crate) fn runner(&self) -> PathBuf {
        let copy = self.outside().join("assistant-sandbox");
        if !copy.exists() {
            fs::copy(env!("CARGO_BIN_EXE_assistant-sandbox"), &copy).unwrap();
        }
        copy
    }

    pub(crate) fn join(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    fn own(&self, path: &str) {
        own(&self.join(path));
    }

    /// Makes a file, with the directories on the way.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let mut at = String::new();
        for part in Path::new(path).parent().unwrap() {
            at.push_str(part.to_str().unwrap());
            if fs::create_dir(self.join(&at)).is_ok() {
                self.own(&at);
            }
            at.push('/');
        }
        fs::write(self.join(path), content).unwrap();
        self.own(path);
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.join(path)).unwrap()
    }
}

/// Gives a path to whoever runs the commands.
pub(crate) fn own(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// A runner and the socket to it. Its end ends the runner.
pub(crate) struct Session {
    pub(crate) socket: UnixStream,
    pub(crate) child: Child,
    pub(crate) ready: Ready,
}

/// What a command gave.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) exit: Exit,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Done {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn all(&self) -> String {
        self.text() + &String::from_utf8_lossy(&self.stderr)
    }
}

impl Session {
    pub(crate) fn start(starter: Starter, workspace: &Workspace, arguments: &[&str]) -> Self {
        Self::start_with("namespace", starter, workspace, arguments)
    }

    /// With one of the backends for which nobody else builds walls.
    pub(crate) fn start_with(backend: &str, starter: Starter, workspace: &Workspace, arguments: &[&str]) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(workspace.runner());
        command.args(["serve", "--backend", backend, "--workspace"]).arg(workspace.path()).args(arguments);
        match starter {
            Starter::Root => drop(command.args(["--uid", "65534", "--gid", "65534"])),
            Starter::User if is_root() => drop(command.uid(NOBODY).gid(NOBODY)),
            Starter::User => {}
        }
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        Self::over(ours, command)
    }

    /// With a runner that has the other end of this socket.
    pub(crate) fn over(socket: UnixStream, mut command: Command) -> Self {
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let child = command.spawn().unwrap();
        // Else our copy of its end would stay open.
        drop(command);
        let mut session = Self { socket, child, ready: empty() };
        let frame = session.frame();
        assert_eq!(frame.kind, Kind::Ready);
        session.ready = frame.parse().unwrap();
        session
    }

    pub(crate) fn frame(&mut self) -> Frame {
        Frame::read(&mut self.socket).unwrap().expect("the runner closed")
    }

    pub(crate) fn send(&mut self, kind: Kind, body: &[u8]) {
        Frame { kind, body: body.to_vec() }.write(&mut self.socket).unwrap();
    }

    pub(crate) fn begin(&mut self, exec: &Exec) {
        Frame::json(Kind::Exec, exec).unwrap().write(&mut self.socket).unwrap();
    }

    /// Until the command is running.
    pub(crate) fn started(&mut self) -> Started {
        let frame = self.frame();
        assert_eq!(frame.kind, Kind::Started, "{}", String::from_utf8_lossy(&frame.body));
        frame.parse().unwrap()
    }

    /// Until the command has ended.
    pub(crate) fn finish(&mut self) -> Result<Done, Refused> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let frame = self.frame();
            match frame.kind {
                Kind::Stdout => stdout.extend(frame.body),
                Kind::Stderr => stderr.extend(frame.body),
                Kind::Exit => return Ok(Done { exit: frame.parse().unwrap(), stdout, stderr }),
                Kind::Refused => return Err(frame.parse().unwrap()),
                _ => {}
            }
        }
    }

    pub(crate) fn run(&mut self, exec: &Exec) -> Result<Done, Refused> {
        self.begin(exec);
        self.finish()
    }

    /// Runs a shell script.
    pub(crate) fn sh(&mut self, script: &str) -> Done {
        self.run(&sh(script)).unwrap()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

fn empty() -> Ready {
    Ready {
        version: 0,
        guarantees: BTreeMap::new(),
        missing: BTreeMap::new(),
        landlock_abi: 0,
        workspace: None,
        protect: Vec::new(),
        limits: None,
        net: Net::default(),
        pid: None,
    }
}

pub(crate) fn exec(argv: &[&str]) -> Exec {
    Exec {
        argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
        cwd: String::new(),
        env: BTreeMap::new(),
        stdin: false,
        level: Level::Work,
        limits: Limits::default(),
        proxy_login: None,
    }
}

pub(crate) fn sh(script: &str) -> Exec {
    exec(&["/bin/sh", "-c", script])
}

/// Runs a test as whoever can start a runner here.
pub(crate) fn each(test: impl Fn(Starter, &Workspace)) {
    for starter in starters() {
        test(starter, &Workspace::new());
    }
}
