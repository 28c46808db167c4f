//! What is the same for all commands of a session: the walls that stand already, and what they promise.

use std::{collections::BTreeMap, os::fd::OwnedFd, path::Path, rc::Rc};

use assistant_sandbox::{
    protocol::{Guarantee, Level, Ready, VERSION},
    seccomp::Program,
};
use nix::{
    fcntl::{OFlag, open},
    sys::stat::{Mode, umask},
    unistd,
};

use super::{
    confine::{self, Walls},
    fault::{At as _, Fault},
    kernel, namespaces,
    options::{Backend, Options},
    processors::Processors,
    root,
    rules::{self, Reach},
};

/// Bytes of stack for a child that shares memory with its parent until it execs.
const STACK: usize = 256 << 10;

/// A session whose walls stand.
pub(crate) struct Session {
    /// The workspace as commands find it.
    pub(crate) workspace: OwnedFd,
    /// Whether `/proc` is there to be replaced for each command.
    pub(crate) proc: bool,
    pub(crate) stack: Vec<u8>,
    pub(crate) processors: Processors,
    walls: BTreeMap<Level, Rc<Walls>>,
    landlock: i32,
}

impl Session {
    /// Builds the walls. After a failure the process is half inside and good for nothing but to say so.
    pub(crate) fn enter(options: &Options) -> Result<Self, Fault> {
        if options.backend != Backend::Namespace {
            return Err(Fault::new("backend", "only `namespace` is built so far"));
        }
        // As root, before the uid goes: the way to the workspace may be closed to the session's user.
        unistd::chdir(&options.workspace).at("workspace")?;
        umask(Mode::empty());
        if let Some((uid, gid)) = options.user {
            namespaces::become_user(uid, gid)?;
        }
        namespaces::enter()?;
        let (uid, gid) = (unistd::getuid().as_raw(), unistd::getgid().as_raw());
        let proc = root::enter(uid, gid, options.limits.tmp_bytes)?;
        confine::lock_capabilities().at("capabilities")?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let workspace = open(root::WORKSPACE, flags, Mode::empty()).at("workspace")?;
        let landlock = rules::version(options.landlock_abi);
        let mut session = Self {
            workspace,
            proc,
            stack: vec![0; STACK],
            processors: Processors::of_this_process(),
            walls: BTreeMap::new(),
            landlock,
        };
        session.walls(Level::Work)?;
        Ok(session)
    }

    /// The Landlock rules and the filter of a level, made once.
    pub(crate) fn walls(&mut self, level: Level) -> Result<Rc<Walls>, Fault> {
        if let Some(walls) = self.walls.get(&level) {
            return Ok(walls.clone());
        }
        let filter = Program::new(level).at("seccomp")?;
        let walls = Rc::new(Walls { ruleset: self.ruleset(level)?, silent: filter.silent(), filter });
        self.walls.insert(level, walls.clone());
        Ok(walls)
    }

    fn ruleset(&self, level: Level) -> Result<OwnedFd, Fault> {
        let workspace = if level == Level::Read { Reach::Read } else { Reach::Write };
        let devices = ["null", "zero", "full", "random", "urandom", "tty"].map(|name| Path::new("/dev").join(name));
        let paths = [
            (Path::new("/"), Reach::Read),
            (Path::new("/workspace"), workspace),
            (Path::new("/tmp"), Reach::Write),
            (Path::new("/dev/shm"), Reach::Write),
        ];
        let devices =
            devices.iter().map(|device| (device.as_path(), Reach::Write)).filter(|(device, _)| device.exists());
        rules::make(self.landlock, level, paths.into_iter().chain(devices))
    }

    /// What this session promises.
    pub(crate) fn ready(&self) -> Ready {
        let guarantees = [
            (Guarantee::Read, "mount namespace with a minimal root; Landlock"),
            (
                Guarantee::Write,
                "read-only mounts but for the workspace and /tmp; protected paths bound read-only; Landlock",
            ),
            (Guarantee::Network, "empty network namespace; seccomp"),
            (Guarantee::UnixSockets, "mount and network namespaces: none of the host's is there; seccomp"),
            (Guarantee::Ipc, "ipc namespace"),
            (Guarantee::Signals, "pid namespace of each command; seccomp"),
            (
                Guarantee::Resources,
                "rlimits: processes of the session together, memory of each process; /tmp by its size; time and output by the runner",
            ),
            (Guarantee::Syscalls, "seccomp allow list"),
        ];
        Ready {
            version: VERSION,
            guarantees: guarantees.into_iter().map(|(guarantee, by)| (guarantee, by.to_owned())).collect(),
            missing: BTreeMap::new(),
            landlock_abi: u32::try_from(self.landlock).unwrap_or(0),
        }
    }
}

/// What is promised when the walls could not be built: nothing.
pub(crate) fn nothing(fault: &Fault) -> Ready {
    let missing = Guarantee::ALL.into_iter().map(|guarantee| (guarantee, fault.to_string())).collect();
    let landlock_abi = u32::try_from(kernel::landlock_abi()).unwrap_or(0);
    Ready { version: VERSION, guarantees: BTreeMap::new(), missing, landlock_abi }
}
