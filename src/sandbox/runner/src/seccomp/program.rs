//! The filter program, built before the fork and installed after it.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use seccompiler::{BpfProgram, TargetArch, sock_filter};

use super::{
    checks::Check,
    compact::compact,
    table::{self, Verdict},
};
use crate::protocol::Level;

/// Architectures that the table knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    /// Both, for tests of one architecture's table on the other.
    #[cfg(test)]
    pub(super) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The one that this program runs on.
    pub(super) const NATIVE: Self = if cfg!(target_arch = "x86_64") { Self::X86_64 } else { Self::Aarch64 };

    /// The kernel's number for it, `AUDIT_ARCH_*`.
    pub(super) fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    fn target(self) -> TargetArch {
        match self {
            Self::X86_64 => TargetArch::x86_64,
            Self::Aarch64 => TargetArch::aarch64,
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the filter has system call numbers for x86_64 and aarch64");

/// Bit of a number that asks for the x32 calling convention, and everything above.
pub(super) const X32: u32 = 0x4000_0000;

/// What the program does when it refuses.
const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
const ABSENT: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const SILENT: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
pub(super) const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
pub(super) const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// What the filter need not see to, as others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// Namespaces or a uid of its own separate the command from other processes: it may use shared memory, queues and
    /// semaphores with names, and change how another process is scheduled, because all that it can name is its own.
    pub apart: bool,
    /// Nothing depends on which processors it runs on: it may choose them.
    pub roaming: bool,
}

/// A filter, ready to be installed.
#[derive(Clone)]
pub struct Program {
    code: BpfProgram,
}

impl Program {
    /// The filter of a level.
    pub fn new(level: Level, around: Around) -> io::Result<Self> {
        Self::build(Arch::NATIVE, level, around)
    }

    /// The same filter without notices: what it refuses gets a plain `EPERM`. For a runner that is itself below a
    /// filter with a listener, of which the kernel allows one.
    #[must_use]
    pub fn silent(&self) -> Self {
        let mut code = self.code.clone();
        replace(&mut code, NOTIFY, SILENT);
        Self { code }
    }

    /// Puts the filter on the calling thread, for ever, and gives the listener that its refusals go to (close-on-exec).
    /// From then on a refused call waits until somebody answers there. Needs `no_new_privs`. Makes one system call and
    /// allocates nothing: fit for a child between fork and exec.
    pub fn install(&self) -> io::Result<OwnedFd> {
        let listener = self.load(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
        #[expect(unsafe_code, reason = "the kernel gave this descriptor to us alone")]
        let listener = unsafe { OwnedFd::from_raw_fd(listener) };
        Ok(listener)
    }

    /// Puts a [`Program::silent`] filter on the calling thread.
    pub fn install_silent(&self) -> io::Result<()> {
        self.load(0).map(drop)
    }

    fn load(&self, flags: libc::c_ulong) -> io::Result<i32> {
        let len = u16::try_from(self.code.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
        let program = libc::sock_fprog { len, filter: self.code.as_ptr().cast_mut().cast() };
        #[expect(
            unsafe_code,
            reason = "no safe wrapper gives the listener; the kernel copies the program and keeps nothing"
        )]
        let answer =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
        match i32::try_from(answer) {
            Ok(answer) if answer >= 0 => Ok(answer),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(super) fn build(arch: Arch, level: Level, around: Around) -> io::Result<Self> {
        let net = level == Level::WorkNet;
        let mut calls = Vec::new();
        for row in table::rows() {
            let Some(number) = row.number(arch) else { continue };
            let checked = |check: Check| -> io::Result<BpfProgram> {
                let mut code = check.compile(number, net, arch.target()).map_err(io::Error::other)?;
                replace(&mut code, libc::SECCOMP_RET_TRAP, NOTIFY);
                Ok(code)
            };
            let leaf = match row.verdict {
                Verdict::Allow => answer(libc::SECCOMP_RET_ALLOW),
                Verdict::Apart | Verdict::Own(_) if around.apart => answer(libc::SECCOMP_RET_ALLOW),
                Verdict::Settle if around.apart && around.roaming => answer(libc::SECCOMP_RET_ALLOW),
                Verdict::Settle if around.roaming => checked(Check::Own { arg: 0 })?,
                Verdict::Apart | Verdict::Settle | Verdict::Refuse(_) => answer(NOTIFY),
                Verdict::Absent => answer(ABSENT),
                Verdict::Check(check) => checked(check)?,
                Verdict::Own(arg) => checked(Check::Own { arg })?,
            };
            calls.push((number, leaf));
        }
        calls.sort_by_key(|(number, _)| *number);

        let mut code = vec![
            instruction(LOAD, 0, 0, 4),
            instruction(EQUAL, 1, 0, arch.audit()),
            instruction(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
            instruction(LOAD, 0, 0, 0),
            instruction(AT_LEAST, 0, 1, X32),
            instruction(RETURN, 0, 0, NOTIFY),
        ];
        code.extend(search(&ranges(calls))?);
        Ok(Self { code: compact(&code)? })
    }

    #[cfg(test)]
    pub(super) fn code(&self) -> &[sock_filter] {
        &self.code
    }
}

pub(super) fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

fn answer(action: u32) -> BpfProgram {
    vec![instruction(RETURN, 0, 0, action)]
}

fn replace(code: &mut BpfProgram, old: u32, new: u32) {
    for op in code.iter_mut().filter(|op| op.code == RETURN && op.k == old) {
        op.k = new;
    }
}

/// Numbers from here to the next range's first, and the code for them.
type Range = (u32, BpfProgram);

/// Neighbours with the same code become one range; numbers that the table does not have are [`ABSENT`].
fn ranges(calls: Vec<(u32, BpfProgram)>) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut push = |start: u32, code: BpfProgram| {
        if ranges.last().is_none_or(|(_, last)| *last != code) {
            ranges.push((start, code));
        }
    };
    let mut next = 0;
    for (number, code) in calls {
        if number > next {
            push(next, answer(ABSENT));
        }
        push(number, code);
        next = number + 1;
    }
    push(next, answer(ABSENT));
    ranges
}

/// A binary search for the accumulator among the ranges, their code at its leaves.
fn search(ranges: &[Range]) -> io::Result<BpfProgram> {
    let (left, right) = match ranges {
        [] => return Ok(answer(ABSENT)),
        [(_, code)] => return Ok(code.clone()),
        _ => ranges.split_at(ranges.len() / 2),
    };
    let (below, above) = (search(left)?, search(right)?);
    let middle = right[0].0;
    let mut code = if let Ok(far) = u8::try_from(below.len()) {
        vec![instruction(AT_LEAST, far, 0, middle)]
    } else {
        let far = u32::try_from(below.len()).map_err(io::Error::other)?;
        vec![instruction(AT_LEAST, 0, 1, middle), instruction(JUMP, 0, 0, far)]
    };
    code.extend(below);
    code.extend(above);
    Ok(code)
}
