//! The program against an interpreter of classic BPF, number by number, and against the kernel.

use std::{
    collections::BTreeSet,
    os::{
        fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
};

use seccompiler::sock_filter;

use super::{
    Around, Denied, Listener, Program, Tally,
    program::Arch,
    receive_fd, send_fd,
    table::{self, Verdict},
};
use crate::protocol::Level;

const FREE: Around = Around { apart: true, roaming: true };

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
const ABSENT: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const SILENT: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

/// Runs the program as the kernel would; the answer, and how many instructions it took.
pub(super) fn interpret(code: &[sock_filter], nr: u32, arch: u32, args: [u64; 6]) -> (u32, usize) {
    let mut data = Vec::new();
    data.extend_from_slice(&nr.to_le_bytes());
    data.extend_from_slice(&arch.to_le_bytes());
    data.extend_from_slice(&[0; 8]);
    data.extend(args.iter().flat_map(|arg| arg.to_le_bytes()));
    let (mut accumulator, mut at) = (0_u32, 0_usize);
    for step in 1.. {
        let op = &code[at];
        at += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { op.jt } else { op.jf });
        match op.code {
            0x20 => {
                let from = op.k as usize;
                accumulator = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            0x54 => accumulator &= op.k,
            0x05 => at += op.k as usize,
            0x15 => jump(accumulator == op.k),
            0x25 => jump(accumulator > op.k),
            0x35 => jump(accumulator >= op.k),
            0x06 => return (op.k, step),
            other => panic!("an instruction that the generator does not make: {other:#x}"),
        }
    }
    unreachable!()
}

struct Case {
    arch: Arch,
    level: Level,
    around: Around,
    program: Program,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for arch in Arch::ALL {
            for level in [Level::Read, Level::Work, Level::WorkNet, Level::Container] {
                for (apart, roaming) in [(true, true), (true, false), (false, true), (false, false)] {
                    let around = Around { apart, roaming };
                    let program = Program::build(arch, level, around).unwrap();
                    cases.push(Self { arch, level, around, program });
                }
            }
        }
        cases
    }

    fn says(&self, nr: u32, args: [u64; 6]) -> u32 {
        let (answer, steps) = interpret(self.program.code(), nr, self.arch.audit(), args);
        assert!(answer != ALLOW || steps <= 100, "{:?}: {nr} took {steps} instructions", self.arch);
        answer
    }

    fn number(&self, name: &str) -> Option<u32> {
        table::rows().find(|row| row.name() == name).unwrap().number(self.arch)
    }
}

#[test]
fn exactly_the_list_is_allowed() {
    for case in Case::all() {
        for nr in (0..=1024).chain([4095, 65535, 0x00ff_ffff, 0x3fff_ffff]) {
            let expected = match table::row(case.arch, nr).map(|row| row.verdict) {
                // `Own`: of the caller itself
                Some(Verdict::Allow | Verdict::Own(_)) => Some(ALLOW),
                Some(Verdict::Apart) => Some(if case.around.apart { ALLOW } else { NOTIFY }),
                Some(Verdict::Settle) => Some(if case.around.roaming { ALLOW } else { NOTIFY }),
                Some(Verdict::Refuse(_)) => Some(NOTIFY),
                Some(Verdict::Absent) | None => Some(ABSENT),
                Some(Verdict::Check(_)) => None,
            };
            let answer = case.says(nr, [0; 6]);
            match expected {
                Some(expected) => assert_eq!(answer, expected, "{:?} {nr} {:?}", case.arch, table::row(case.arch, nr)),
                None => assert!(answer == ALLOW || answer == NOTIFY, "{:?} {nr}: {answer:#x}", case.arch),
            }
        }
    }
}

#[test]
fn the_x32_convention_is_refused_and_a_foreign_architecture_killed() {
    for case in Case::all() {
        for nr in (0..=1024).map(|nr| nr | 0x4000_0000).chain([0x7fff_ffff, 0x8000_0000, 0xc000_0000, u32::MAX]) {
            assert_eq!(case.says(nr, [0; 6]), NOTIFY, "{:?} {nr:#x}", case.arch);
        }
        let i386 = 0x4000_0003;
        let arm = 0x4000_0028;
        let other = Arch::ALL.into_iter().find(|arch| *arch != case.arch).unwrap().audit();
        for foreign in [i386, arm, other, 0, u32::MAX] {
            for nr in [0, 1, 11, 102, 221, 358, 0x4000_0000] {
                let (answer, _) = interpret(case.program.code(), nr, foreign, [0; 6]);
                assert_eq!(answer, libc::SECCOMP_RET_KILL_PROCESS);
            }
        }
    }
}

#[test]
fn arguments_decide() {
    const HIGH: u64 = 0xdead_beef_0000_0000;
    let newest = 0x1000_0000;
    let cases: &[(&str, &[u64], bool)] = &[
        ("clone", &[0x11], true),
        ("clone", &[0x003d_0f00], true),
        ("clone", &[newest | 0x11], false),
        ("clone", &[0x0002_0000], false),
        ("clone", &[HIGH | 0x4000_0000], false),
        ("clone", &[0x0200_0000], false),
        ("ioctl", &[0, 0x5401], true),
        ("ioctl", &[0, 0x5412], false),
        ("ioctl", &[0, HIGH | 0x5412], false),
        ("ioctl", &[0, 0x541c], false),
        ("ioctl", &[0, 0x5423], false),
        ("prctl", &[15], true),
        ("prctl", &[38], true),
        ("prctl", &[35], false),
        ("prctl", &[62], false),
        ("prctl", &[HIGH | 0x23], false),
        ("personality", &[0xffff_ffff], true),
        ("personality", &[u64::MAX], true),
        ("personality", &[0], true),
        ("personality", &[0x0004_0000], false),
        ("personality", &[0x0040_0000], false),
        ("seccomp", &[1, 0], true),
        ("seccomp", &[1, 8], false),
        ("seccomp", &[1, 9], false),
        ("chmod", &[0, 0o755], true),
        ("chmod", &[0, 0o1777], true),
        ("chmod", &[0, 0o4755], false),
        ("fchmod", &[0, 0o2755], false),
        ("fchmod", &[0, 0o644], true),
        ("fchmodat", &[0, 0, 0o6755], false),
        ("fchmodat", &[0, 0, 0o755], true),
        ("fchmodat2", &[0, 0, HIGH | 0o4000], false),
        ("fchmodat2", &[0, 0, 0o700], true),
        ("creat", &[0, 0o4755], false),
        ("creat", &[0, 0o644], true),
        ("open", &[0, 0o100, 0o4755], false),
        ("open", &[0, 0, 0o4755], true),
        ("openat", &[0, 0, 0o101, 0o2755], false),
        ("openat", &[0, 0, 0o101, 0o644], true),
        ("openat", &[0, 0, 0o2, 0o6777], true),
        ("openat", &[0, 0, 0o20_200_002, 0o4755], false),
        ("openat", &[0, 0, 0o20_040_002, 0o4755], false),
        ("mknod", &[0, 0o100_644], true),
        ("mknod", &[0, 0o644], true),
        ("mknod", &[0, 0o010_600], true),
        ("mknod", &[0, 0o020_600], false),
        ("mknodat", &[0, 0, 0o140_600], true),
        ("mknodat", &[0, 0, 0o060_600], false),
        ("mknodat", &[0, 0, 0o104_755], false),
        ("prlimit64", &[0, 7], true),
        ("prlimit64", &[1, 7], false),
        ("socketpair", &[1, 1], true),
        ("socketpair", &[2, 1], false),
        ("socket", &[1, 1], true),
        ("socket", &[HIGH | 1, 2], true),
        ("socket", &[16, 3], false),
        ("socket", &[17, 3], false),
        ("socket", &[38, 5], false),
        ("socket", &[40, 1], false),
        ("socket", &[0, 1], false),
        ("socket", &[9, 1], false),
    ];
    let mut seen = BTreeSet::new();
    for case in Case::all() {
        for (name, given, allowed) in cases {
            let Some(nr) = case.number(name) else { continue };
            let mut args = [0; 6];
            args[..given.len()].copy_from_slice(given);
            let expected = if *allowed { ALLOW } else { NOTIFY };
            assert_eq!(case.says(nr, args), expected, "{:?} {name} {given:x?}", case.arch);
            seen.insert(*name);
        }
        let socket = case.number("socket").unwrap();
        let net = if case.level == Level::WorkNet { ALLOW } else { NOTIFY };
        for family in [2, 10] {
            for kind in [1, 1 | 0o4000, 1 | 0o2_000_000] {
                assert_eq!(case.says(socket, [family, kind, 0, 0, 0, 0]), net);
                assert_eq!(case.says(socket, [family, kind, 6, 0, 0, 0]), net);
                assert_eq!(case.says(socket, [family, kind, 17, 0, 0, 0]), NOTIFY);
                assert_eq!(case.says(socket, [family, kind, 262, 0, 0, 0]), NOTIFY);
            }
            assert_eq!(case.says(socket, [family, 2, 17, 0, 0, 0]), net);
            assert_eq!(case.says(socket, [family, 2, 1, 0, 0, 0]), NOTIFY);
            assert_eq!(case.says(socket, [family, 3, 1, 0, 0, 0]), NOTIFY);
        }
    }
    for row in table::rows().filter(|row| matches!(row.verdict, Verdict::Check(_))) {
        assert!(seen.contains(row.name()), "no case for {}", row.name());
    }
}

#[test]
fn beside_others_a_command_schedules_itself_alone() {
    for case in Case::all() {
        let says = |name: &str, args| case.says(case.number(name).unwrap(), args);
        let others = if case.around.apart { ALLOW } else { NOTIFY };
        for name in ["sched_setparam", "sched_setscheduler", "sched_setattr"] {
            assert_eq!(says(name, [0, 8, 1, 0, 0, 0]), ALLOW);
            assert_eq!(says(name, [77, 8, 1, 0, 0, 0]), others);
        }
        for (name, process) in [("setpriority", 0), ("ioprio_set", 1)] {
            assert_eq!(says(name, [process, 0, 19, 0, 0, 0]), ALLOW);
            assert_eq!(says(name, [process, 77, 19, 0, 0, 0]), others);
            // everything of a user
            assert_eq!(says(name, [if name == "setpriority" { 2 } else { 3 }, 0, 19, 0, 0, 0]), others);
        }
    }
}

#[test]
fn where_processors_are_a_bound_nobody_chooses_them() {
    for case in Case::all() {
        let says = |pid| case.says(case.number("sched_setaffinity").unwrap(), [pid, 8, 1, 0, 0, 0]);
        let (own, others) = match case.around {
            Around { apart: true, roaming: true } => (ALLOW, ALLOW),
            Around { apart: false, roaming: true } => (ALLOW, NOTIFY),
            Around { roaming: false, .. } => (NOTIFY, NOTIFY),
        };
        assert_eq!((says(0), says(77)), (own, others), "{:?}", case.around);
        assert_eq!(case.says(case.number("sched_getaffinity").unwrap(), [0; 6]), ALLOW);
    }
}

/// What each check allows, said again in plain code.
fn allowed(name: &str, args: [u64; 6], net: bool) -> bool {
    let arg = |index: usize| u32::try_from(args[index] & 0xffff_ffff).unwrap();
    let plain = |mode: u32| mode & 0o6000 == 0;
    match name {
        "clone" => arg(0) & 0x7e02_0000 == 0,
        "socket" => match (arg(0), arg(1) & 15, arg(2)) {
            (1, _, _) => true,
            (2 | 10, 1, 0 | 6) | (2 | 10, 2, 0 | 17) => net,
            _ => false,
        },
        "socketpair" => arg(0) == 1,
        "ioctl" => !matches!(arg(1), 0x5412 | 0x541c | 0x541d | 0x5423),
        "prctl" => !matches!(arg(0), 31 | 32 | 35 | 57 | 62),
        "personality" => matches!(arg(0), 0 | 8 | 0x2_0000 | 0x2_0008 | u32::MAX),
        "seccomp" => arg(1) & 8 == 0,
        "prlimit64" => arg(0) == 0,
        "chmod" | "fchmod" | "creat" => plain(arg(1)),
        "fchmodat" | "fchmodat2" => plain(arg(2)),
        "open" => plain(arg(2)) || arg(1) & 0o20_000_100 == 0,
        "openat" => plain(arg(3)) || arg(2) & 0o20_000_100 == 0,
        "mknod" => plain(arg(1)) && matches!(arg(1) & 0o170_000, 0 | 0o10_000 | 0o100_000 | 0o140_000),
        "mknodat" => plain(arg(2)) && matches!(arg(2) & 0o170_000, 0 | 0o10_000 | 0o100_000 | 0o140_000),
        other => panic!("no rule for {other}"),
    }
}

#[test]
fn arguments_by_the_thousand_are_judged_as_the_rules_say() {
    const TELLING: [u64; 20] =
        [0, 1, 2, 3, 6, 8, 10, 16, 17, 31, 35, 62, 0o100, 0o4755, 0o2000, 0o60_644, 0x5412, 0x541d, 1 << 28, u64::MAX];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // as often a telling number, with something above its low half now and then, as any number
        match state % 4 {
            0 => state.rotate_left(17),
            1 => TELLING[(state >> 8) as usize % TELLING.len()] | (state & 0xffff_ffff_0000_0000),
            2 => 1 << ((state >> 8) % 33),
            _ => TELLING[(state >> 8) as usize % TELLING.len()],
        }
    };
    for case in Case::all() {
        let net = case.level == Level::WorkNet;
        for row in table::rows().filter(|row| matches!(row.verdict, Verdict::Check(_))) {
            let Some(nr) = row.number(case.arch) else { continue };
            let mut counts = [0, 0];
            for _ in 0..1000 {
                let args: [u64; 6] = std::array::from_fn(|_| random());
                let allowed = allowed(row.name(), args, net);
                counts[usize::from(allowed)] += 1;
                let expected = if allowed { ALLOW } else { NOTIFY };
                assert_eq!(case.says(nr, args), expected, "{:?} {} {args:x?}", case.arch, row.name());
            }
            assert!(counts[0] > 10 && counts[1] > 10, "{}: {counts:?} refused and allowed", row.name());
        }
    }
}

#[test]
fn few_instructions_run() {
    let mut most = 0;
    for case in Case::all() {
        for nr in 0..=512 {
            for args in [[0; 6], [1; 6], [2, 1, 6, 0, 0, 0], [10, 2, 17, 0, 0, 0], [8; 6], [0o4777; 6]] {
                let (answer, steps) = interpret(case.program.code(), nr, case.arch.audit(), args);
                if answer == ALLOW {
                    most = most.max(steps);
                }
            }
        }
        // The kernel compiles it for every command.
        assert!(case.program.code().len() <= 400, "{}", case.program.code().len());
    }
    assert!((10..=100).contains(&most), "{most}");
}

#[test]
fn the_numbers_are_those_of_libc() {
    let (mut compared, mut names, mut numbers) = (0, Vec::new(), Vec::new());
    for (row, libc) in table::rows().zip(table::LIBC) {
        let ours = row.number(Arch::NATIVE).map(i64::from);
        assert_eq!(ours, *libc, "{}", row.name());
        compared += usize::from(libc.is_some());
    }
    assert!(compared > 280, "{compared}");
    for row in table::rows() {
        names.push(row.name());
        numbers
            .extend(Arch::ALL.map(|arch| row.number(arch).map(|number| (arch.audit(), number))).into_iter().flatten());
    }
    for list in [names.len(), numbers.len()] {
        assert!(list > 300);
    }
    let (all_names, all_numbers) = (names.len(), numbers.len());
    names.sort_unstable();
    names.dedup();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!((names.len(), numbers.len()), (all_names, all_numbers), "a name or a number stands twice");
}

#[test]
fn a_silent_program_refuses_the_same_without_notice() {
    for case in Case::all() {
        let silent = case.program.silent();
        for nr in (0..=512).chain([0x4000_0000]) {
            let loud = case.says(nr, [u64::MAX; 6]);
            let (answer, _) = interpret(silent.code(), nr, case.arch.audit(), [u64::MAX; 6]);
            assert_eq!(answer, if loud == NOTIFY { SILENT } else { loud });
        }
    }
}

#[test]
fn refusals_are_told_with_the_way_out() {
    let call = |name: &str, args| Denied {
        nr: table::rows().find(|row| row.name() == name).unwrap().number(Arch::NATIVE).unwrap(),
        arch: Arch::NATIVE.audit(),
        args,
    };
    let mut tally = Tally::default();
    for _ in 0..3 {
        tally.add(&call("socket", [2, 1, 0, 0, 0, 0]));
    }
    tally.add(&call("socket", [40, 1, 0, 0, 0, 0]));
    tally.add(&call("ptrace", [0; 6]));
    tally.add(&Denied { nr: 0x4000_0001, arch: 0, args: [0; 6] });
    let denials = tally.denials();
    let inet = denials.iter().find(|denial| denial.rule.contains("internet")).unwrap();
    assert_eq!((inet.target.as_str(), inet.count, inet.layer.as_str()), ("socket", 3, "seccomp"));
    assert!(inet.suggestion.as_deref().unwrap().contains("work+net"));
    assert!(denials.iter().any(|denial| denial.rule == "vsock sockets are not allowed"));
    assert!(denials.iter().any(|denial| denial.target == "ptrace" && denial.rule.contains("traced")));
    assert!(denials.iter().any(|denial| denial.target == "call 0x40000001" && denial.rule.contains("x32")));
    for nr in 0..1000 {
        tally.add(&Denied { nr: nr | 0x4000_0000, arch: 0, args: [0; 6] });
    }
    let denials = tally.denials();
    assert!(denials.len() <= 257);
    assert_eq!(denials.iter().map(|denial| denial.count).sum::<u64>(), 1006);
}

/// Forks, installs in the child, and lets it run `deed` there, which must make plain system calls only and gives the
/// child's exit code.
fn confined(program: &Program, deed: fn() -> i32) -> (i32, Vec<Denied>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    #[expect(unsafe_code, reason = "the child makes system calls only until it exits")]
    let child = unsafe { libc::fork() };
    if child == 0 {
        #[expect(unsafe_code, reason = "plain system calls")]
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let code = match program.install() {
                Ok(listener) => send_fd(theirs.as_fd(), listener.as_fd()).map_or(102, |()| {
                    drop(listener);
                    deed()
                }),
                Err(_) => 101,
            };
            libc::_exit(code);
        }
    }
    drop(theirs);
    let mut listener = Listener::new(receive_fd(ours.as_fd()).unwrap().expect("a listener"));
    let mut heard = Vec::new();
    while let Some(fd) = listener.fd() {
        let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        #[expect(unsafe_code, reason = "poll on one descriptor")]
        unsafe {
            libc::poll(&raw mut poll, 1, 10_000)
        };
        assert_ne!(poll.revents, 0, "nothing was heard for ten seconds");
        while let Some(denied) = listener.receive() {
            heard.push(denied);
        }
    }
    let mut status = 0;
    #[expect(unsafe_code, reason = "waits for the child made above")]
    unsafe {
        libc::waitpid(child, &raw mut status, 0)
    };
    (status, heard)
}

fn errno_of(answer: i64) -> i32 {
    if answer < 0 { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 }
}

#[test]
fn the_kernel_takes_it_and_the_runner_hears_every_refusal() {
    #[expect(unsafe_code, reason = "plain system calls with null or constant arguments")]
    fn deed() -> i32 {
        unsafe {
            for _ in 0..3 {
                if errno_of(libc::syscall(libc::SYS_ptrace, 0, 0, 0, 0)) != libc::EPERM {
                    return 1;
                }
            }
            if errno_of(i64::from(libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0))) != libc::EPERM {
                return 2;
            }
            if errno_of(libc::syscall(libc::SYS_clone3, 0, 0)) != libc::ENOSYS {
                return 3;
            }
            let pair = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
            if pair < 0 {
                return 4;
            }
            if errno_of(libc::syscall(libc::SYS_seccomp, 1, 8, 0)) != libc::EPERM {
                return 5;
            }
            0
        }
    }
    for level in [Level::Read, Level::Work, Level::WorkNet, Level::Container] {
        let (status, heard) = confined(&Program::new(level, FREE).unwrap(), deed);
        assert_eq!(status, 0, "{level:?}");
        let names: Vec<_> = heard.iter().map(Denied::name).collect();
        assert_eq!(names, ["ptrace", "ptrace", "ptrace", "socket", "seccomp"]);
        assert_eq!(heard[3].args[0], 40);
    }
}

#[test]
fn without_the_runner_refused_calls_still_fail() {
    #[expect(unsafe_code, reason = "plain system calls with null or constant arguments")]
    fn deed(go: i32) -> i32 {
        let mut byte = 0_u8;
        unsafe {
            libc::read(go, (&raw mut byte).cast(), 1);
            errno_of(libc::syscall(libc::SYS_ptrace, 0, 0, 0, 0))
        }
    }
    let program = Program::new(Level::Work, FREE).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut pipe = [0; 2];
    #[expect(unsafe_code, reason = "the child makes system calls only until it exits")]
    let child = unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        libc::fork()
    };
    if child == 0 {
        #[expect(unsafe_code, reason = "plain system calls")]
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let code = match program.install() {
                Ok(listener) => {
                    let sent = send_fd(theirs.as_fd(), listener.as_fd());
                    drop(listener);
                    sent.map_or(102, |()| deed(pipe[0]))
                }
                Err(_) => 101,
            };
            libc::_exit(code);
        }
    }
    #[expect(unsafe_code, reason = "the pipe's writing end, ours alone; then the wait for the child made above")]
    let status = unsafe {
        drop(Listener::new(receive_fd(ours.as_fd()).unwrap().expect("a listener")));
        let go = OwnedFd::from_raw_fd(pipe[1]);
        assert_eq!(libc::write(go.as_raw_fd(), b"x".as_ptr().cast(), 1), 1);
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        status
    };
    assert_eq!(libc::WEXITSTATUS(status), libc::ENOSYS, "{status:#x}");
}
