//! What the reader gives up before it looks at a message: everything but its memory and the three streams it was given.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    str::FromStr as _,
};

use landlock::{ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, Scope};
use memmap2::Mmap;
use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// How much one message may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Address space, in bytes.
    pub memory: u64,
    /// Time of the processor, in seconds.
    pub seconds: u64,
    /// Bytes of what is written; of an attachment or a document.
    pub output: u64,
}

impl Bounds {
    /// From `--memory BYTES`, `--seconds N` and `--output BYTES`.
    ///
    /// # Errors
    /// In words, when they are something else.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut bounds = Self { memory: 128 << 20, seconds: 20, output: 25 << 20 };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name}: needs a value"))?;
            let number = u64::from_str(&value).map_err(|_| format!("{name}: `{value}` is not a number"))?;
            match name.as_str() {
                "--memory" => bounds.memory = number,
                "--seconds" => bounds.seconds = number.max(1),
                "--output" => bounds.output = number,
                _ => return Err(format!("unknown option `{name}`")),
            }
        }
        Ok(bounds)
    }
}

/// Maps the file at standard input, then gives up everything else for good.
///
/// # Errors
/// When it is no file, or the kernel refuses one of the walls: then nothing may be read.
pub fn enter(bounds: &Bounds) -> io::Result<Mmap> {
    let map = map(io::stdin().as_fd())?;
    prctl::set_no_new_privs()?;
    prctl::set_dumpable(false)?;
    landlock().map_err(io::Error::other)?;
    limits(bounds)?;
    seccompiler::apply_filter(&filter().map_err(io::Error::other)?).map_err(io::Error::other)?;
    Ok(map)
}

#[expect(unsafe_code, reason = "a file is mapped that its one writer has finished, and that nobody else can open")]
fn map(file: BorrowedFd<'_>) -> io::Result<Mmap> {
    // SAFETY: the daemon writes a message once and never changes it; should it be cut off all the same, this process ends.
    unsafe { Mmap::map(&file) }
}

fn limits(bounds: &Bounds) -> io::Result<()> {
    for (resource, limit) in [
        (Resource::RLIMIT_AS, bounds.memory),
        (Resource::RLIMIT_CPU, bounds.seconds),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, bounds.output),
        (Resource::RLIMIT_NOFILE, 0),
        (Resource::RLIMIT_NPROC, 0),
    ] {
        setrlimit(resource, limit, limit)?;
    }
    Ok(())
}

/// No path, no port, no other process; what the kernel does not know it leaves to the filter of system calls, which
/// allows none of it either.
fn landlock() -> Result<(), landlock::RulesetError> {
    let newest = ABI::V6;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?
        .restrict_self()
        .map(drop)
}

const PROT_EXEC: u64 = 4;

/// Kills the process at every system call but those that memory, the streams and the end of a program take.
fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let any = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_sched_yield,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let data = || {
        let condition = SeccompCondition::new(2, Dword, SeccompCmpOp::MaskedEq(PROT_EXEC), 0)?;
        Ok(vec![SeccompRule::new(vec![condition])?])
    };
    let mut rules: std::collections::BTreeMap<_, _> = any.into_iter().map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_mmap, data()?);
    rules.insert(libc::SYS_mprotect, data()?);
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?.try_into()
}
