//! What a session promises, and what not: the reason, and the way out.

use std::{collections::BTreeMap, fs};

use assistant_sandbox::protocol::{Guarantee, Net, Place, Ready, VERSION};
use nix::sys::stat::fstat;

use super::{fault::Fault, kernel, options::Backend, session::Session};

/// Since this version Landlock keeps signals and abstract sockets within.
const SCOPES: i32 = 6;

/// Since this version Landlock has a say in connecting to sockets in the file system.
const SOCKETS: i32 = 9;

/// The promise of a session whose walls stand.
pub(crate) fn of(session: &Session) -> Ready {
    let mut guarantees = BTreeMap::new();
    let mut missing = BTreeMap::new();
    for guarantee in Guarantee::ALL {
        match one(session, guarantee) {
            Ok(by) => drop(guarantees.insert(guarantee, by)),
            Err(reason) => drop(missing.insert(guarantee, reason)),
        }
    }
    let workspace = fstat(&session.workspace).ok().map(|stat| Place { device: stat.st_dev, inode: stat.st_ino });
    Ready {
        version: VERSION,
        guarantees,
        missing,
        landlock_abi: u32::try_from(session.landlock).unwrap_or(0),
        workspace,
        protect: session.protect.clone(),
        limits: Some(session.limits),
        net: match &session.bridge {
            Ok(_) => {
                Net::Given("empty network namespace; one port of its loopback leads to the egress proxy".to_owned())
            }
            Err(fault) => Net::Missing(fault.to_string()),
        },
        pid: (session.backend != Backend::Docker).then(std::process::id),
    }
}

/// The promise of one whose walls could not be built: nothing.
pub(crate) fn nothing(fault: &Fault) -> Ready {
    let missing = Guarantee::ALL.into_iter().map(|guarantee| (guarantee, fault.to_string())).collect();
    let landlock_abi = u32::try_from(kernel::landlock_abi()).unwrap_or(0);
    Ready {
        version: VERSION,
        guarantees: BTreeMap::new(),
        missing,
        landlock_abi,
        workspace: None,
        protect: Vec::new(),
        limits: None,
        net: Net::Missing(fault.to_string()),
        pid: None,
    }
}

/// What bounds memory, processes, time and processors.
fn resources(session: &Session) -> Result<String, String> {
    let processors = &session.processors;
    match session.backend {
        Backend::Namespace if session.group.is_some() => {
            Ok("control group of the session; rlimits; time and output watched by the runner; /tmp by its size".to_owned())
        }
        Backend::Namespace if !processors.exact => Err(
            "without a control group of its own a session is bound to whole processors: set sandbox.cpus to a whole \
             number, use the backend `unit`, or run the daemon in a unit with Delegate=yes"
                .to_owned(),
        ),
        Backend::Namespace if !session.proc => Err(
            "without /proc, parts of which are covered here, nobody sees the memory of all processes together: use the \
             backend `unit`, or start the runner where /proc is whole"
                .to_owned(),
        ),
        Backend::Namespace => {
            let bound = if processors.hold() { "; processors by binding to some of them" } else { "" };
            Ok(format!(
                "rlimits: processes of the session together, memory of each; memory of all, time and output watched by the runner; /tmp by \
                 its size{bound}"
            ))
        }
        Backend::Unit if session.bounds.of_all() => Ok(
            "control group of the unit: memory, processes, processors; rlimits; time and output watched by the runner; \
             /tmp by its size"
                .to_owned(),
        ),
        Backend::Unit => Err(
            "the control group of the unit does not bound memory, processes and processors: it needs MemoryMax=, \
             TasksMax= and CPUQuota=, and a system whose control groups have these controllers"
                .to_owned(),
        ),
        Backend::Docker => Ok("cgroup of the container; rlimits; time and output by the runner".to_owned()),
        Backend::Landlock => Err(
            "processes are counted together with the user's own, and memory only for each: use another backend".to_owned(),
        ),
    }
}

fn one(session: &Session, guarantee: Guarantee) -> Result<String, String> {
    use Backend::{Docker, Landlock, Namespace, Unit};
    let protected = "protected paths cannot be mounted read-only, as user namespaces are not to be had here: allow them \
                     to this program, or use the backend `namespace`";
    let fixed = match (guarantee, session.backend) {
        (Guarantee::Resources, _) => return resources(session),
        (Guarantee::Read, Namespace) => Ok("mount namespace with a minimal root; Landlock"),
        (Guarantee::Read, Unit) => Ok("file system of the unit; Landlock"),
        (Guarantee::Read, Docker) => Ok("file system of the container; Landlock"),
        (Guarantee::Read, Landlock) => Ok("Landlock (names and sizes of other files can still be seen)"),
        (Guarantee::Write, Namespace) => {
            Ok("read-only mounts but for the workspace and /tmp; protected paths bound read-only; Landlock")
        }
        (Guarantee::Write, Landlock) => {
            Err("protected paths in the workspace can be written: use the backend `namespace` or `unit`")
        }
        (Guarantee::Write, Docker) if !session.mounts => Err(protected),
        (Guarantee::Write, Unit) if session.unprotected.is_some() => Err(session.unprotected.unwrap_or_default()),
        (Guarantee::Write, Unit) => Ok("file system of the unit; protected paths bound read-only; Landlock"),
        (Guarantee::Write, Docker) => Ok("file system of the container; protected paths bound read-only; Landlock"),
        (Guarantee::Network, Namespace) => Ok("empty network namespace; seccomp"),
        (Guarantee::Network, _) => Ok("seccomp: no sockets but local ones"),
        (Guarantee::UnixSockets, Namespace) => Ok("mount and network namespaces: none of the host's is there; seccomp"),
        (Guarantee::UnixSockets, _) if session.landlock >= SOCKETS => Ok("Landlock"),
        (Guarantee::UnixSockets, Landlock) => Err(
            "sockets in the file system can be connected to before version 9 of Landlock (kernel 7.1): use another backend",
        ),
        (Guarantee::UnixSockets, Unit | Docker) if host_sockets() => {
            Err("the host's /run is to be seen: keep it out of the unit or the container")
        }
        (Guarantee::UnixSockets, Unit) if !session.apart.net && session.landlock < SCOPES => Err(
            "abstract sockets of the host can be connected to: the unit needs PrivateNetwork=yes and its ExecStartPre=",
        ),
        (Guarantee::UnixSockets, Unit | Docker) => Ok("none of the host's is in the file system"),
        (Guarantee::Ipc, Namespace) => Ok("ipc namespace"),
        (Guarantee::Ipc, Unit) if !session.apart.ipc => Err(
            "nobody has seen that its ipc namespace is its own: the unit needs PrivateIPC=yes, which systemd knows from \
             version 248 on, and its ExecStartPre=",
        ),
        (Guarantee::Ipc, Unit) => Ok("ipc namespace of the unit"),
        (Guarantee::Ipc, Docker) => Ok("ipc namespace of the container"),
        (Guarantee::Ipc, Landlock) => Ok("seccomp: no shared memory, queues or semaphores; Landlock"),
        (Guarantee::Signals, Namespace) => Ok("pid namespace of each command; seccomp"),
        (Guarantee::Signals, Unit) if !session.apart.user => Err(
            "nobody has said whose processes are the session's: the unit needs its ExecStartPre= and DynamicUser=yes",
        ),
        (Guarantee::Signals, Unit) if fs::metadata("/proc/1/cmdline").is_ok() => Err(
            "processes outside can be looked at: the unit needs ProtectProc=invisible, which systemd knows from version 247 on",
        ),
        (Guarantee::Signals, Unit) => Ok("a uid of the session's own; seccomp"),
        (Guarantee::Signals, Docker) => Ok("pid namespace of the container; seccomp"),
        (Guarantee::Signals, Landlock) if session.landlock >= SCOPES => Ok("Landlock; seccomp"),
        (Guarantee::Signals, Landlock) => {
            Err("processes of the same user can be signalled before version 6 of Landlock (kernel 6.12)")
        }
        (Guarantee::Syscalls, _) => Ok("seccomp allow list"),
    };
    fixed.map(str::to_owned).map_err(str::to_owned)
}

/// Whether sockets of a whole system are about.
fn host_sockets() -> bool {
    ["/run/systemd/private", "/run/systemd/journal", "/run/dbus", "/run/docker.sock", "/var/run/docker.sock"]
        .iter()
        .any(|path| fs::symlink_metadata(path).is_ok())
}
