//! The real `assistantd` as a process of its own, in a temporary directory, ended with the value that holds it.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use assistant_api::client::Client;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Directories and configuration of a daemon that can be started, killed and started again.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    config: PathBuf,
}

impl Place {
    /// `config` is the text of `assistant.toml`.
    pub(crate) fn new(config: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("assistant-test-").tempdir().unwrap();
        let path = dir.path().join("assistant.toml");
        fs::write(&path, config).unwrap();
        fs::create_dir_all(dir.path().join("run")).unwrap();
        Self { config: path, dir }
    }

    /// Where the daemon keeps everything.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.state().join("assistant.db")
    }

    /// The files of the jobs.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.state().join("workspace")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("run/api.sock")
    }

    pub(crate) fn config_file(&self) -> &Path {
        &self.config
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.socket())
    }

    /// What the daemon wrote to its standard error so far, all starts together.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The command that starts the daemon here, without any variable that could reach a real model.
    pub(crate) fn command(&self) -> Command {
        self.command_through(&[])
    }

    /// The same, started by a program that becomes it, such as `unshare`.
    pub(crate) fn command_through(&self, starter: &[&str]) -> Command {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut words = starter.iter().copied().chain([env!("CARGO_BIN_EXE_assistantd")]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .args(["--config".as_ref(), self.config.as_os_str()])
            .args(["--state-dir".as_ref(), self.state().as_os_str()])
            .args(["--runtime-dir".as_ref(), self.dir.path().join("run").as_os_str()])
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| {
                matches!(name.as_str(), "PATH" | "HOME" | "RUST_BACKTRACE" | "ASSISTANT_TEST_RUN" | "LLVM_PROFILE_FILE")
            }))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// Starts the daemon and waits until it says that it is ready, or ends.
    pub(crate) fn start(&self, variables: &[(&str, &str)]) -> Process {
        self.start_as(self.command(), variables)
    }

    /// Starts it by a command of one's own that becomes it.
    pub(crate) fn start_as(&self, mut command: Command, variables: &[(&str, &str)]) -> Process {
        let notify = self.dir.path().join("notify");
        let _ = fs::remove_file(&notify);
        let listener = UnixDatagram::bind(&notify).unwrap();
        // The daemon may be somebody else.
        fs::set_permissions(&notify, fs::Permissions::from_mode(0o666)).unwrap();
        listener.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let child = command.env("NOTIFY_SOCKET", &notify).envs(variables.iter().copied()).spawn().unwrap();
        let mut process = Process { child, ready: false };
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut message = [0; 4096];
        while Instant::now() < deadline {
            if let Ok(length) = listener.recv(&mut message)
                && String::from_utf8_lossy(&message[..length]).lines().any(|line| line == "READY=1")
            {
                process.ready = true;
                return process;
            }
            if process.has_ended() {
                return process;
            }
        }
        panic!("the daemon did not get ready:\n{}", self.log());
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// Whether it said so before it ended.
    pub(crate) ready: bool,
}

impl Process {
    /// Takes over a daemon that was just started; whether it is ready is not known.
    pub(crate) fn of(child: Child) -> Self {
        Self { child, ready: false }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// As a power cut would.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// As the service manager would; the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let _ = kill(self.pid(), Signal::SIGTERM);
        self.wait(Duration::from_secs(30))
    }

    /// Waits for its end; the exit code, `None` for a signal.
    pub(crate) fn wait(&mut self, at_most: Duration) -> Option<i32> {
        let deadline = Instant::now() + at_most;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the daemon still runs after {at_most:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
