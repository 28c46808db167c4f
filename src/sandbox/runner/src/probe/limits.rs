//! Using up what others need as well. They run confined alone.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
};

use super::{
    Place, Probe, Stop, Tried, attempt,
    run::{check, fork, leave, wait},
};
use crate::protocol::Guarantee::Resources;

pub(super) const PROBES: &[Probe] = &[
    Probe::must_fail(Resources, "fork-bomb", fork_bomb).harmful().slow(30),
    Probe::must_fail(Resources, "thread-bomb", thread_bomb).harmful().slow(30),
    Probe::must_fail(Resources, "memory-bomb", memory_bomb).harmful().alone().slow(60),
    Probe::must_fail(Resources, "memory-bomb-by-children", memory_bomb_by_children).harmful().alone().slow(60),
    Probe::must_fail(Resources, "memory-bomb-by-memory-files", memory_bomb_by_files).harmful().alone().slow(60),
    Probe::must_fail(Resources, "memory-bomb-by-shared-maps", memory_bomb_by_maps).harmful().alone().slow(60),
    Probe::must_fail(Resources, "memory-bomb-by-segments", memory_bomb_by_segments).harmful().alone().slow(60),
    Probe::must_fail(Resources, "disk-bomb-in-tmp", disk_bomb).harmful().slow(60),
    Probe::must_fail(Resources, "inode-bomb-in-tmp", inode_bomb).harmful().slow(60),
    Probe::must_fail(Resources, "file-larger-than-allowed", large_file).harmful(),
    Probe::must_fail(Resources, "descriptor-bomb", descriptor_bomb).harmful(),
    Probe::must_fail(Resources, "leave-a-core-file", core_file).harmful(),
    Probe::must_fail(Resources, "raise-limits", raise_limits),
    Probe::must_fail(Resources, "raise-priority", |_| {
        #[expect(unsafe_code, reason = "a plain system call on this process")]
        let answer = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) };
        attempt(check(answer), "nice -10")
    }),
    Probe::must_fail(Resources, "real-time-priority", |_| {
        let priority: i32 = 1; // all of `struct sched_param`
        #[expect(unsafe_code, reason = "a number that lives, on this process; not every C library has the call")]
        let answer = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &raw const priority) };
        attempt(check(i32::try_from(answer).unwrap_or(-1)), "SCHED_FIFO")
    }),
    Probe::must_fail(Resources, "escape-the-out-of-memory-killer", |_| {
        attempt(fs::write("/proc/self/oom_score_adj", "-1000"), "oom_score_adj -1000")
    }),
    Probe::must_fail(Resources, "leave-the-control-group", |_| {
        let path = "/sys/fs/cgroup/cgroup.procs";
        attempt(fs::write(path, "0"), format!("{path} was written"))
    })
    .harmful(),
];

/// Ends children however the probe ends.
struct Children(Vec<i32>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &self.0 {
            #[expect(unsafe_code, reason = "children of this process that are not reaped yet")]
            unsafe {
                libc::kill(*child, libc::SIGKILL);
            }
        }
        for child in self.0.drain(..) {
            let _ = wait(child);
        }
    }
}

fn fork_bomb(place: &Place) -> Tried {
    let wanted = place.limits.processes + 64;
    let mut children = Children(Vec::new());
    for number in 0..wanted {
        match fork() {
            Ok(0) => {
                #[expect(unsafe_code, reason = "waits to be ended")]
                unsafe {
                    libc::pause();
                }
                leave();
            }
            Ok(child) => children.0.push(child),
            Err(err) => return Err(Stop::Refused(format!("after {number}: {err}"))),
        }
    }
    Ok(format!("{wanted} processes"))
}

fn thread_bomb(place: &Place) -> Tried {
    let wanted = place.limits.processes + 64;
    for number in 0..wanted {
        let thread = std::thread::Builder::new().stack_size(16 << 10).spawn(|| {
            loop {
                std::thread::park();
            }
        });
        if let Err(err) = thread {
            return Err(Stop::Refused(format!("after {number}: {err}")));
        }
    }
    Ok(format!("{wanted} threads"))
}

fn memory_bomb(place: &Place) -> Tried {
    const CHUNK: usize = 16 << 20;
    let wanted = place.limits.memory_bytes + (128 << 20);
    let mut held: Vec<Vec<u8>> = Vec::new();
    let mut total = 0_u64;
    while total < wanted {
        match memory(CHUNK) {
            Ok(chunk) => held.push(chunk),
            Err(err) => return Err(Stop::Refused(format!("after {} MiB: {err}", total >> 20))),
        }
        total += CHUNK as u64;
    }
    Ok(format!("{} MiB", total >> 20))
}

/// As many bytes, every page of them written.
fn memory(bytes: usize) -> Result<Vec<u8>, std::collections::TryReserveError> {
    const PAGE: [u8; 4096] = [1; 4096];
    let mut held = Vec::new();
    held.try_reserve_exact(bytes)?;
    for _ in 0..bytes / PAGE.len() {
        held.extend_from_slice(&PAGE);
    }
    Ok(held)
}

/// Time for the runner to look around.
const NOTICED: std::time::Duration = std::time::Duration::from_secs(3);

/// Each child stays below what one process may have; together they do not.
fn memory_bomb_by_children(place: &Place) -> Tried {
    const CHILDREN: u64 = 4;
    let share = usize::try_from(place.limits.memory_bytes / 3).map_err(|err| Stop::Broken(err.to_string()))?;
    let (mut from, mut to) = std::io::pipe()?;
    let mut children = Children(Vec::new());
    for _ in 0..CHILDREN {
        let child = fork()?;
        if child == 0 {
            if let Ok(held) = memory(share) {
                let _ = to.write_all(&held[..1]);
                #[expect(unsafe_code, reason = "waits to be ended")]
                unsafe {
                    libc::pause();
                }
            }
            leave();
        }
        children.0.push(child);
    }
    drop(to);
    // The others' ends of the pipe are open while they hold; as many bytes as children, or fewer and the end.
    let mut holding = 0;
    while holding < CHILDREN {
        match from.read(&mut [0])? {
            0 => break,
            _ => holding += 1,
        }
        if holding == CHILDREN {
            std::thread::sleep(NOTICED);
            return Ok(format!("{holding} processes with {} MiB each", share >> 20));
        }
        if children.0.iter().any(|child| ended(*child)) {
            break;
        }
    }
    Err(Stop::Refused(format!("{holding} of {CHILDREN} processes with {} MiB each", share >> 20)))
}

fn ended(child: i32) -> bool {
    #[expect(unsafe_code, reason = "asks after a child and leaves it to be waited for")]
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, child.cast_unsigned(), &raw mut info, options) == 0 && info.si_pid() == child
    }
}

/// Memory that is no process's own.
fn memory_bomb_by_files(place: &Place) -> Tried {
    use std::os::fd::FromRawFd as _;
    let wanted = place.limits.memory_bytes + (128 << 20);
    let chunk = vec![1; 1 << 20];
    let mut held = Vec::new();
    let mut total = 0_u64;
    while total < wanted {
        #[expect(unsafe_code, reason = "a name that lives; the descriptor is taken at once")]
        let made = unsafe { check(libc::memfd_create(c"probe".as_ptr(), 0)).map(|fd| File::from_raw_fd(fd)) };
        let written = made.and_then(|mut file| {
            for _ in 0..64 {
                file.write_all(&chunk)?;
            }
            Ok(file)
        });
        match written {
            Ok(file) => held.push(file),
            Err(err) => return Err(Stop::Refused(format!("after {} MiB: {err}", total >> 20))),
        }
        total += 64 << 20;
    }
    std::thread::sleep(NOTICED);
    Ok(format!("{} MiB in {} files", total >> 20, held.len()))
}

/// Writes to every page.
///
/// # Safety
/// There are so many bytes at this address, and nobody else uses them.
#[expect(unsafe_code, reason = "memory that only the kernel and this process know of")]
unsafe fn fill(at: *mut libc::c_void, bytes: usize) {
    for page in (0..bytes).step_by(4096) {
        // SAFETY: as promised.
        unsafe { at.cast::<u8>().add(page).write_volatile(1) };
    }
}

const PART: usize = 64 << 20;

/// Memory that is shared, with nobody, and of files that are no longer open.
fn memory_bomb_by_maps(place: &Place) -> Tried {
    let wanted = place.limits.memory_bytes + (128 << 20);
    let mut total = 0_u64;
    while total < wanted {
        #[expect(unsafe_code, reason = "a new map that is kept until the end, and a descriptor that is closed at once")]
        let mapped = unsafe {
            let both = libc::PROT_READ | libc::PROT_WRITE;
            let (file, flags) = if (total / PART as u64).is_multiple_of(2) {
                (-1, libc::MAP_SHARED | libc::MAP_ANONYMOUS)
            } else {
                let file = check(libc::memfd_create(c"probe".as_ptr(), 0))?;
                check(libc::ftruncate(file, 64 << 20))?;
                (file, libc::MAP_SHARED)
            };
            let map = libc::mmap(std::ptr::null_mut(), PART, both, flags, file, 0);
            libc::close(file);
            if map != libc::MAP_FAILED {
                fill(map, PART);
            }
            map
        };
        if mapped == libc::MAP_FAILED {
            return Err(Stop::Refused(format!("after {} MiB: {}", total >> 20, std::io::Error::last_os_error())));
        }
        total += PART as u64;
    }
    std::thread::sleep(NOTICED);
    Ok(format!("{} MiB", total >> 20))
}

/// System V segments, which stay when nobody is attached.
fn memory_bomb_by_segments(place: &Place) -> Tried {
    let wanted = place.limits.memory_bytes + (128 << 20);
    let mut total = 0_u64;
    while total < wanted {
        #[expect(unsafe_code, reason = "a segment that is let go at once; the session ends with its namespace")]
        let made = unsafe {
            let id = libc::shmget(libc::IPC_PRIVATE, PART, 0o600 | libc::IPC_CREAT);
            let at = if id < 0 { usize::MAX as *mut libc::c_void } else { libc::shmat(id, std::ptr::null(), 0) };
            if at as usize != usize::MAX {
                fill(at, PART);
                libc::shmdt(at);
            }
            at as usize != usize::MAX
        };
        if !made {
            return Err(Stop::Refused(format!("after {} MiB: {}", total >> 20, std::io::Error::last_os_error())));
        }
        total += PART as u64;
    }
    std::thread::sleep(NOTICED);
    Ok(format!("{} MiB", total >> 20))
}

fn disk_bomb(place: &Place) -> Tried {
    let scratch = Place::scratch_in(&std::env::temp_dir())?;
    let wanted = place.limits.tmp_bytes + (8 << 20);
    let chunk = vec![1; 1 << 20];
    let mut total = 0_u64;
    // in several files, so that the bound of one does not pass for that of all
    for number in 0.. {
        let mut file = File::create(scratch.join(&number.to_string()))?;
        for _ in 0..64 {
            if total >= wanted {
                return Ok(format!("{} MiB", total >> 20));
            }
            if let Err(err) = file.write_all(&chunk) {
                return Err(Stop::Refused(format!("after {} MiB: {err}", total >> 20)));
            }
            total += 1 << 20;
        }
    }
    Err(Stop::Broken("no end".to_owned()))
}

fn inode_bomb(place: &Place) -> Tried {
    // as many as a file system of that size has, and more
    let wanted = place.limits.tmp_bytes / 1024;
    let scratch = Place::scratch_in(&std::env::temp_dir())?;
    for number in 0..wanted {
        if let Err(err) = File::create(scratch.join(&number.to_string())) {
            return Err(Stop::Refused(format!("after {number}: {err}")));
        }
    }
    Ok(format!("{wanted} files"))
}

fn large_file(place: &Place) -> Tried {
    let scratch = place.scratch()?;
    let file = File::create(scratch.join("large"))?;
    attempt(file.set_len(place.limits.file_bytes + 1), "it is longer than allowed")
}

fn descriptor_bomb(_: &Place) -> Tried {
    const WANTED: usize = 70_000;
    let mut held = Vec::new();
    while held.len() < WANTED {
        match File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(err) => return Err(Stop::Refused(format!("after {}: {err}", held.len()))),
        }
    }
    Ok(format!("{WANTED} descriptors"))
}

fn core_file(_: &Place) -> Tried {
    let child = fork()?;
    if child == 0 {
        #[expect(unsafe_code, reason = "ends this process the way that leaves a core")]
        unsafe {
            libc::signal(libc::SIGABRT, libc::SIG_DFL);
            libc::raise(libc::SIGABRT);
        }
        leave();
    }
    let status = wait(child)?;
    super::ensure(libc::WIFSIGNALED(status), format!("it did not abort: {status:#x}"))?;
    if libc::WCOREDUMP(status) { Ok("the kernel wrote one".to_owned()) } else { Err(Stop::Refused("none".to_owned())) }
}

fn raise_limits(_: &Place) -> Tried {
    super::any([libc::RLIMIT_NPROC, libc::RLIMIT_NOFILE, libc::RLIMIT_FSIZE, libc::RLIMIT_CORE].map(|resource| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        #[expect(unsafe_code, reason = "a structure that lives, on this process")]
        let answer = unsafe {
            check(libc::getrlimit(resource, &raw mut limit))?;
            let above = if limit.rlim_max == libc::RLIM_INFINITY { limit.rlim_max } else { limit.rlim_max + 1 };
            limit = libc::rlimit { rlim_cur: limit.rlim_cur, rlim_max: above };
            libc::setrlimit(resource, &raw const limit)
        };
        let done = format!("limit {resource} may be {}", limit.rlim_max);
        match check(answer) {
            // above the kernel's own bound
            Err(err) if err.raw_os_error() == Some(libc::EINVAL) => Ok(done),
            answer => attempt::<i32>(answer, done),
        }
    }))
}
