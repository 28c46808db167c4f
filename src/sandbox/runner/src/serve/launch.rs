//! How a command is started: everything is prepared here, so that the child takes no memory.

use std::{
    ffi::CString,
    os::fd::{AsFd as _, OwnedFd},
};

use assistant_sandbox::{
    protocol::{Exec, Level, Limits, Refused, hard_bound},
    seccomp::Listener,
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl, open},
    sys::{
        resource::{Resource, getrlimit},
        socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt},
        stat::Mode,
    },
    unistd::pipe2,
};

use super::{
    confine::{Confinement, Image},
    direct, environment, family,
    fault::{At as _, Fault},
    init, kernel,
    options::Backend,
    processors::Processors,
    protect,
    session::Session,
    setup::Setup,
};

/// Processes that the user of commands may start beside them where nobody counts those apart.
const ROOM: u64 = 200;

/// Open files of one process.
const FILES: u64 = 8192;

/// What stands for it in the kernel.
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) channel: Option<OwnedFd>,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) listener: Option<Listener>,
    /// Paths in the order of their mounts.
    pub(crate) protected: Vec<CString>,
    pub(crate) note: Option<String>,
}

/// A refusal for a reason in the frame.
pub(crate) fn invalid(message: impl Into<String>) -> Refused {
    Refused { message: message.into(), kind: "validation".to_owned() }
}

/// A refusal because a wall could not be built.
pub(crate) fn unavailable(fault: &Fault) -> Refused {
    Refused { message: fault.to_string(), kind: "unavailable".to_owned() }
}

/// What a command may, of what it asked for.
pub(crate) fn bounded(asked: Limits, most: Limits) -> Limits {
    Limits {
        seconds: asked.seconds.min(most.seconds),
        memory_bytes: asked.memory_bytes.min(most.memory_bytes),
        processes: asked.processes.min(most.processes),
        cpu_millis: asked.cpu_millis.min(most.cpu_millis),
        tmp_bytes: most.tmp_bytes,
        file_bytes: asked.file_bytes.min(most.file_bytes),
        output_bytes: asked.output_bytes.min(most.output_bytes),
    }
}

fn rlimits(limits: &Limits, session: &Session) -> Result<Vec<(Resource, u64)>, Fault> {
    let mut asked = vec![
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, FILES),
        (Resource::RLIMIT_FSIZE, limits.file_bytes),
        // Below the bound of all together, so that one alone is told that there is no more before all are ended.
        (Resource::RLIMIT_DATA, limits.memory_bytes - limits.memory_bytes / 8),
    ];
    let others = match session.backend {
        // Those that its user has already, and room for what else he starts meanwhile: too coarse to promise anything,
        // and yet the end of every bomb.
        Backend::Landlock => Some(family::threads_of_user() + ROOM),
        _ => session.counted(),
    };
    if let Some(others) = others {
        asked.push((Resource::RLIMIT_NPROC, hard_bound(limits.processes) + others));
    }
    asked
        .into_iter()
        .map(|(resource, limit)| Ok((resource, limit.min(getrlimit(resource)?.1))))
        .collect::<nix::Result<_>>()
        .at("limits")
}

fn texts<'a>(field: &str, texts: impl Iterator<Item = &'a str>) -> Result<Vec<CString>, Refused> {
    texts.map(|text| CString::new(text).map_err(|_| invalid(format!("{field}: contains a NUL")))).collect()
}

/// Prepares and starts a command.
pub(crate) fn launch(session: &mut Session, exec: &Exec, limits: &Limits) -> Result<Process, Refused> {
    let program = exec.argv.first().ok_or_else(|| invalid("argv: empty"))?;
    let mut variables = environment::variables(&exec.env, &session.tmp).map_err(invalid)?;
    match (exec.level, &session.bridge) {
        (Level::WorkNet, Ok(bridge)) if bridge.fault().is_some() => {
            return Err(bridge.fault().map_or_else(|| invalid("level"), unavailable));
        }
        (Level::WorkNet, Ok(_)) => variables.extend(environment::proxies(exec.proxy_login.as_ref()).map_err(invalid)?),
        (Level::WorkNet, Err(fault)) => return Err(unavailable(fault)),
        _ if exec.proxy_login.is_some() => return Err(invalid("proxy_login: only at the level work-net")),
        _ => {}
    }
    let programs = environment::candidates(program, &variables).map_err(invalid)?;
    let argv = texts("argv", exec.argv.iter().map(String::as_str))?;
    let pairs: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let envp = texts("env", pairs.iter().map(String::as_str))?;
    let cwd = if exec.cwd.is_empty() { "." } else { &exec.cwd };
    if cwd.starts_with('/') {
        return Err(invalid(format!("cwd: `{cwd}` is not relative to the workspace")));
    }
    let working_directory = CString::new(cwd).map_err(|_| invalid("cwd: contains a NUL"))?;
    let image = Image::new(programs, argv, envp);
    prepare(session, exec, limits, image, working_directory).map_err(|fault| unavailable(&fault))
}

fn prepare(
    session: &mut Session,
    exec: &Exec,
    limits: &Limits,
    image: Image,
    working_directory: CString,
) -> Result<Process, Fault> {
    let read_only = exec.level == Level::Read;
    let plan = if read_only || !session.mounts {
        protect::Plan::default()
    } else {
        protect::plan(session.workspace.as_fd(), &session.protect)?
    };
    let processors = processors(session, limits)?;
    let (stdin, ours_in) = if exec.stdin {
        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC).at("pipe")?;
        (theirs, Some(unblocked(ours)?))
    } else {
        (open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).at("/dev/null")?, None)
    };
    let (ours_out, stdout) = pipe2(OFlag::O_CLOEXEC).at("pipe")?;
    let (ours_err, stderr) = pipe2(OFlag::O_CLOEXEC).at("pipe")?;
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).at("socketpair")?;
    if session.audit.is_some() {
        // The number of the process that sends the listener, as the audit log has it.
        setsockopt(&ours, sockopt::PassCred, &true).at("socketpair")?;
    }
    let setup = Setup {
        confinement: Confinement {
            pointers: image.pointers(),
            image,
            stdin,
            stdout,
            stderr,
            channel: theirs,
            rlimits: rlimits(limits, session)?,
            walls: session.walls(exec.level, !processors.hold())?,
            logged: session.audit.is_some(),
            processors,
            goes_first: session.group.is_some() || matches!(session.backend, Backend::Unit | Backend::Docker),
        },
        proc: session.proc,
        workspace: session.root.clone(),
        read_only: read_only && session.mounts,
        holds: plan.holds,
        working_directory,
    };
    let own_pids = session.backend == Backend::Namespace;
    let mounts = if session.mounts { libc::CLONE_NEWNS } else { 0 };
    let forked = kernel::fork_with(mounts | if own_pids { libc::CLONE_NEWPID } else { 0 });
    if forked.as_ref().is_ok_and(Option::is_none) {
        if own_pids { init::run(&setup, &mut session.stack) } else { direct::run(&setup) }
    }
    let (pid, pidfd) = forked.transpose().unwrap_or(Err(Errno::ECHILD)).at("fork")?;
    Ok(Process {
        pid,
        pidfd,
        channel: Some(ours),
        stdin: ours_in,
        stdout: Some(unblocked(ours_out)?),
        stderr: Some(unblocked(ours_err)?),
        listener: None,
        protected: setup.holds.into_iter().map(|(path, _)| path).collect(),
        note: plan.note,
    })
}

/// Those of the session, or fewer if the command is to have less.
fn processors(session: &Session, limits: &Limits) -> Result<Processors, Fault> {
    if limits.cpu_millis >= session.limits.cpu_millis {
        return Ok(session.processors);
    }
    let some = session.processors.within(limits.cpu_millis)?;
    let reason = "a command is bound to whole processors, where its session is not bound to a part of one";
    if some.exact { Ok(some) } else { Err(Fault::new("limits.cpu_millis", reason)) }
}

fn unblocked(fd: OwnedFd) -> Result<OwnedFd, Fault> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).at("pipe")?;
    Ok(fd)
}
