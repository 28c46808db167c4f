//! More processors than a session may use. Where the machine has no more there is nothing to try, and nothing to refuse.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    Place, Probe, Stop, Tried,
    run::{fork, leave, wait},
};
use crate::protocol::Guarantee::Resources;

pub(super) const PROBES: &[Probe] = &[
    Probe::must_fail(Resources, "spin-on-more-processors", spin).harmful().slow(30),
    Probe::must_fail(Resources, "choose-more-processors", |_| widen(0)),
    Probe::must_fail(Resources, "choose-more-processors-for-a-child", |_| {
        let child = fork()?;
        if child == 0 {
            #[expect(unsafe_code, reason = "waits to be ended")]
            unsafe {
                libc::pause();
            }
            leave();
        }
        let tried = widen(child);
        #[expect(unsafe_code, reason = "a child that is not reaped yet")]
        unsafe {
            libc::kill(child, libc::SIGKILL);
        }
        wait(child)?;
        tried
    }),
];

/// Asks for all processors. Where the time is bounded and not the processors, it has them already.
fn widen(pid: i32) -> Tried {
    let before = allowed(pid)?;
    let all = [u64::MAX; 16];
    #[expect(unsafe_code, reason = "a set that lives, on this process or a child")]
    let answer = unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(&all), all.as_ptr()) };
    if answer < 0 {
        return Err(Stop::Refused(io::Error::last_os_error().to_string()));
    }
    match allowed(pid)? {
        after if after > before => Ok(format!("{before} processors, then {after}")),
        after => Err(Stop::Refused(format!("{after} processors, as before"))),
    }
}

/// On how many processors a process may run.
fn allowed(pid: i32) -> io::Result<u64> {
    let mut set = [0_u64; 128];
    #[expect(unsafe_code, reason = "room for as many bytes as are told")]
    let answer = unsafe { libc::syscall(libc::SYS_sched_getaffinity, pid, size_of_val(&set), set.as_mut_ptr()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(set.iter().map(|word| u64::from(word.count_ones())).sum())
}

/// How long it spins.
const WHILE: Duration = Duration::from_secs(1);

/// More processes than it may use processors, and what they get.
fn spin(place: &Place) -> Tried {
    let end = Instant::now() + WHILE;
    let before = used();
    let mut children = Vec::new();
    for _ in 0..place.limits.cpu_millis.div_ceil(1000) + 2 {
        let child = fork()?;
        if child == 0 {
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            leave();
        }
        children.push(child);
    }
    for child in children {
        wait(child)?;
    }
    let used = used().saturating_sub(before);
    let text = format!("{} ms of processors in {} ms", used.as_millis(), WHILE.as_millis());
    // clocks and periods blur it
    let most = WHILE.as_millis() * (u128::from(place.limits.cpu_millis) * 12 / 10 + 100) / 1000;
    if used.as_millis() > most { Ok(text) } else { Err(Stop::Refused(text)) }
}

/// By children that were waited for.
fn used() -> Duration {
    #[expect(unsafe_code, reason = "a structure of numbers that the kernel fills")]
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}
