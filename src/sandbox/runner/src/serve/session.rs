//! What is the same for all commands of a session: the walls that stand already.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use assistant_sandbox::{
    protocol::{Level, Limits, PROXY_PORT},
    seccomp::{Around, Program},
};
use nix::{
    fcntl::{OFlag, open},
    sys::{
        prctl,
        stat::{Mode, umask},
    },
    unistd,
};

use super::{
    audit::{Asked, Log},
    bounds::{self, Bounds},
    bridge::{Bridge, Exit},
    cgroup::Group,
    confine::{self, Walls},
    fault::{At as _, Fault},
    modes, namespaces,
    options::{Backend, Options, Proxy},
    processors::Processors,
    root,
    rules::{self, Reach},
    scratch::Scratch,
    sweep::Sweep,
    unit,
};

/// Bytes of stack for a child that shares memory with its parent until it execs.
const STACK: usize = 256 << 10;

/// What programs read, where the root is not one that we made.
const SYSTEM: [&str; 24] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/ssl",
    "/etc/fonts",
    "/etc/pki",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/os-release",
    "/etc/debian_version",
    "/etc/mime.types",
    "/etc/libreoffice",
    "/etc/services",
    "/etc/protocols",
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/nsswitch.conf",
];

/// A session whose walls stand.
pub(crate) struct Session {
    pub(crate) backend: Backend,
    /// The workspace as commands find it, open and by name.
    pub(crate) workspace: OwnedFd,
    pub(crate) root: CString,
    /// Where commands have their temporary files.
    pub(crate) tmp: String,
    /// The directory that they are in, if it is not the session's own anyway.
    _scratch: Option<Scratch>,
    /// Whether each command can have mounts of its own.
    pub(crate) mounts: bool,
    /// Whether `/proc` is there to be replaced for each command.
    pub(crate) proc: bool,
    pub(crate) stack: Vec<u8>,
    pub(crate) processors: Processors,
    pub(crate) sweep: Sweep,
    /// The control group of its own, if it has one.
    pub(crate) group: Option<Rc<Group>>,
    /// Of a unit: what its control group bounds, as far as that is shown.
    pub(crate) bounds: Bounds,
    /// The most that a command gets.
    pub(crate) limits: Limits,
    /// Paths that no command writes, beside those that are always protected.
    pub(crate) protect: Vec<String>,
    /// Of a unit: what it keeps commands apart from.
    pub(crate) apart: unit::Apart,
    /// Of a unit: why its protected paths do not count as such.
    pub(crate) unprotected: Option<&'static str>,
    /// Whether root started the runner.
    by_root: bool,
    pub(crate) landlock: i32,
    /// Where the kernel tells what Landlock refuses, if that can be read.
    pub(crate) audit: Option<Log>,
    /// The way to the egress proxy, or why there is none.
    pub(crate) bridge: Result<Bridge, Fault>,
    /// By level, and by whether commands choose their processors.
    walls: BTreeMap<(Level, bool), Rc<Walls>>,
}

impl Session {
    /// Builds the walls. After a failure the process is half inside and good for nothing but to say so.
    pub(crate) fn enter(options: &Options) -> Result<Self, Fault> {
        let exit = options.proxy.as_ref().map(|proxy| match proxy {
            Proxy::At(path) => Exit::find(path).map(Some),
            Proxy::Passed => Ok(None),
        });
        // As root, before the uid goes: the way to the workspace may be closed to the session's user.
        unistd::chdir(&options.workspace).at("workspace")?;
        let mut limits = options.limits;
        let mut protect = options.protect.clone();
        let (mut shown, mut apart) = (Bounds::default(), unit::Apart::default());
        if options.backend == Backend::Unit {
            apart = unit::Apart::look(Path::new(unit::OUTSIDE))?;
            shown = Bounds::of_this_process(Path::new(bounds::SHOWN));
            limits = unit::limits(limits, &shown);
            protect = unit::protected(options.protected.as_deref());
        }
        let landlock = rules::version(options.landlock_abi);
        let audit = if options.user.is_some() && landlock >= rules::LOGGED { Asked::open() } else { None };
        let (group, processors) = share(options, &limits, &shown)?;
        umask(Mode::empty());
        let mut own = None;
        if let Some((uid, gid)) = options.user {
            if options.backend == Backend::Namespace {
                own = root::workspace_of((uid, gid))?;
            }
            namespaces::become_user(uid, gid)?;
        }
        if unistd::getuid().is_root() {
            return Err(Fault::new("user", "commands never run as root: give --uid and --gid"));
        }
        let mut proc = false;
        let mut mounts = true;
        let mut tmp = "/tmp".to_owned();
        let mut scratch = None;
        let mut workspace = options.workspace.clone();
        let sweep = match options.backend {
            Backend::Namespace => {
                let (uid, gid) = (unistd::getuid().as_raw(), unistd::getgid().as_raw());
                proc = namespaces::enter(|| root::enter(uid, gid, options.limits.tmp_bytes, own))?;
                workspace = PathBuf::from(root::WORKSPACE);
                Sweep::Namespace
            }
            Backend::Unit => {
                mounts = false;
                // There already is as good: all of `/tmp` is the session's own.
                let _ = fs::create_dir("/tmp/home");
                Sweep::Uid
            }
            Backend::Docker => {
                mounts = namespaces::enter_mounts()?;
                let (uid, gid) = (unistd::getuid().as_raw(), unistd::getgid().as_raw());
                if !mounts || root::mend(uid, gid, options.limits.tmp_bytes).is_err() {
                    // The promises tell what is lacking.
                    let _ = fs::create_dir("/tmp/home");
                }
                Sweep::Uid
            }
            Backend::Landlock => {
                mounts = false;
                let own = Scratch::new()?;
                tmp = String::from(own.path());
                scratch = Some(own);
                Sweep::Descendants
            }
        };
        if sweep != Sweep::Namespace {
            prctl::set_child_subreaper(true).at("subreaper")?;
            prctl::set_dumpable(false).at("dumpable")?;
        }
        if mounts {
            confine::lock_capabilities().at("capabilities")?;
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = CString::new(workspace.as_os_str().as_bytes()).map_err(|err| Fault::new("workspace", err))?;
        let workspace = open(root.as_c_str(), flags, Mode::empty()).at("workspace")?;
        let unprotected = match options.backend {
            Backend::Unit => unit::unprotected(workspace.as_fd(), options.protected.as_deref(), &protect),
            _ => None,
        };
        let mut session = Self {
            backend: options.backend,
            workspace,
            root,
            tmp,
            _scratch: scratch,
            mounts,
            proc,
            stack: vec![0; STACK],
            processors,
            sweep,
            group,
            bounds: shown,
            limits,
            protect,
            apart,
            unprotected,
            by_root: options.user.is_some(),
            landlock,
            audit: audit.and_then(Asked::answer),
            bridge: bridge(exit, options.backend, mounts),
            walls: BTreeMap::new(),
        };
        session.walls(Level::Work, !session.processors.hold())?;
        Ok(session)
    }

    /// How many processes the kernel counts together with a command's: the runner, and the first of a pid namespace. It
    /// counts by user and user namespace, so the number means something only where those are the session's alone.
    pub(crate) fn counted(&self) -> Option<u64> {
        match self.backend {
            Backend::Namespace => Some(2),
            Backend::Unit => Some(1),
            Backend::Docker => self.mounts.then_some(1),
            Backend::Landlock => None,
        }
    }

    /// Makes what a command has left readable for whoever the workspace is for. Root can read it anyway.
    pub(crate) fn mend(&self, level: Level) {
        if !self.by_root && level != Level::Read {
            modes::mend(self.workspace.as_fd(), self.backend == Backend::Unit);
        }
    }

    /// The Landlock rules and the filter of a level, made once.
    pub(crate) fn walls(&mut self, level: Level, roaming: bool) -> Result<Rc<Walls>, Fault> {
        if let Some(walls) = self.walls.get(&(level, roaming)) {
            return Ok(walls.clone());
        }
        let around = Around { apart: self.backend != Backend::Landlock, roaming };
        let filter = Program::new(level, around).at("seccomp")?;
        let walls = Rc::new(Walls { ruleset: self.ruleset(level)?, silent: filter.silent(), filter });
        self.walls.insert((level, roaming), walls.clone());
        Ok(walls)
    }

    fn ruleset(&self, level: Level) -> Result<OwnedFd, Fault> {
        let workspace = if level == Level::Read { Reach::Read } else { Reach::Write };
        let mut paths: Vec<(PathBuf, Reach)> = match self.backend {
            // A root that holds nothing else.
            Backend::Docker if Path::new("/sys/fs").exists() => {
                // Of the machine: it could not be covered.
                let entries = fs::read_dir("/").at("/")?.filter_map(Result::ok).map(|entry| entry.path());
                let others = entries.filter(|path| path != Path::new("/sys")).map(|path| (path, Reach::Read));
                others.chain([("/dev/shm".into(), Reach::Write)]).collect()
            }
            Backend::Namespace | Backend::Docker => vec![("/".into(), Reach::Read), ("/dev/shm".into(), Reach::Write)],
            Backend::Unit => {
                let own = [("/proc", Reach::Read), ("/dev/shm", Reach::Write)];
                system().chain(own.map(|(path, reach)| (path.into(), reach))).collect()
            }
            Backend::Landlock => system().collect(),
        };
        paths.push((PathBuf::from(std::ffi::OsStr::from_bytes(self.root.to_bytes())), workspace));
        paths.push((PathBuf::from(&self.tmp), Reach::Write));
        let devices = ["null", "zero", "full", "random", "urandom", "tty"];
        paths.extend(devices.map(|name| (Path::new("/dev").join(name), Reach::Write)));
        let port = (level == Level::WorkNet).then_some(PROXY_PORT);
        rules::make(self.landlock, port, paths.iter().map(|(path, reach)| (path.as_path(), *reach)))
    }
}

/// The control group of the session, if the runner can make one or sees the counts of the one around it, and its processors: some of all, where nobody counts its
/// time. While the machine can still be seen.
fn share(options: &Options, limits: &Limits, bounds: &Bounds) -> Result<(Option<Rc<Group>>, Processors), Fault> {
    let group = match options.backend {
        Backend::Namespace => Group::enter(&options.cgroup, limits)?.map(Rc::new),
        Backend::Docker => Group::around().map(Rc::new),
        Backend::Unit | Backend::Landlock => None,
    };
    let counted = match options.backend {
        Backend::Namespace | Backend::Landlock => group.is_some(),
        Backend::Unit => bounds.of_all(),
        Backend::Docker => true,
    };
    // Where nobody bounds the memory of all together, the runner may go with its command when the machine has none left.
    // Elsewhere only the command is to go: see `shortage::first_to_go`.
    if group.is_none() && matches!(options.backend, Backend::Namespace | Backend::Landlock) {
        let _ = fs::write("/proc/self/oom_score_adj", "1000"); // where nobody may say so, the limits have to do
    }
    let all = Processors::all()?;
    Ok((group, if counted { all } else { all.within(limits.cpu_millis)? }))
}

fn bridge(exit: Option<Result<Option<Exit>, Fault>>, backend: Backend, mounts: bool) -> Result<Bridge, Fault> {
    let none = |reason| Fault::new("network", reason);
    match (exit, backend) {
        (None, _) => Err(none("the runner was started without --proxy")),
        (_, Backend::Landlock) => Err(none("with this backend commands have no network of their own")),
        // What is passed is in nobody's sight.
        (Some(Ok(Some(_)) | Err(_)), Backend::Unit | Backend::Docker) if !mounts => {
            Err(none("without mounts of its own the runner cannot hide the egress proxy's socket from commands"))
        }
        (Some(exit), _) => Bridge::open(exit?, backend),
    }
}

fn system() -> impl Iterator<Item = (PathBuf, Reach)> {
    SYSTEM.iter().map(|path| (PathBuf::from(path), Reach::Read))
}
