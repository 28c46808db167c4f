//! What any program may take for granted, without any program but this one.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    Place, Probe, Rule, Stop, Tried, ensure,
    files::c_path,
    run::{check, fork, leave, wait},
};
use crate::protocol::Guarantee;

pub(super) const PROBES: &[Probe] = &[
    Probe::must_work("read-workspace", |place| {
        let entries = fs::read_dir(&place.workspace)?.count();
        Ok(format!("{entries} entries"))
    }),
    Probe::must_work("temporary-files", |_| {
        let scratch = Place::scratch_in(&std::env::temp_dir())?;
        fs::write(scratch.join("a"), "x".repeat(1 << 20))?;
        fs::rename(scratch.join("a"), scratch.join("b"))?;
        Ok(format!("{} bytes", fs::metadata(scratch.join("b"))?.len()))
    }),
    Probe::must_work("devices", devices),
    Probe::must_work("random-numbers", |_| {
        let mut bytes = [0_u8; 64];
        File::open("/dev/urandom")?.read_exact(&mut bytes[..32])?;
        #[expect(unsafe_code, reason = "room for as many bytes as are asked for")]
        let got = unsafe { libc::getrandom(bytes[32..].as_mut_ptr().cast(), 32, 0) };
        ensure(got == 32 && bytes.iter().any(|byte| *byte != bytes[0]), format!("{got}: {bytes:?}"))?;
        Ok("64 bytes".to_owned())
    }),
    Probe::must_work("threads", |_| {
        let threads: Vec<_> = (0..32_u64).map(|number| std::thread::spawn(move || number * number)).collect();
        let sum: u64 = threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum();
        ensure(sum == 10_416, format!("the sum is {sum}"))?;
        Ok("32 threads".to_owned())
    }),
    Probe::must_work("child-processes", |_| {
        for _ in 0..32 {
            let child = fork()?;
            if child == 0 {
                leave();
            }
            ensure(wait(child)? == 0, "a child failed")?;
        }
        Ok("32 children".to_owned())
    }),
    Probe::must_work("signal-own-child", |_| {
        let child = fork()?;
        if child == 0 {
            #[expect(unsafe_code, reason = "waits to be ended")]
            unsafe {
                libc::pause();
            }
            leave();
        }
        #[expect(unsafe_code, reason = "a child of this process that is not reaped yet")]
        let answer = unsafe { libc::kill(child, libc::SIGTERM) };
        check(answer)?;
        let status = wait(child)?;
        ensure(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGTERM, format!("{status:#x}"))?;
        Ok("ended by SIGTERM".to_owned())
    }),
    Probe::must_work("unix-sockets-inside", sockets),
    Probe::must_work("shared-memory-inside", |_| {
        let path = format!("/dev/shm/probe-{}", std::process::id());
        fs::write(&path, "shared")?;
        let read = fs::read_to_string(&path)?;
        fs::remove_file(path)?;
        ensure(read == "shared", read)?;
        Ok("/dev/shm".to_owned())
    }),
    Probe::must_work("memory-map-of-file", memory_map),
    Probe::must_work("program-from-memory", memory_program),
    Probe::must_work("timers-and-clocks", |_| {
        let begun = Instant::now();
        std::thread::sleep(Duration::from_millis(30));
        ensure(begun.elapsed() >= Duration::from_millis(30), "the clock stands")?;
        let file = File::open("/usr/share/zoneinfo/Europe/Berlin")
            .or_else(|_| File::open("/usr/share/zoneinfo/UTC"))
            .map_err(|err| Stop::Absent(format!("no time zones: {err}")))?;
        Ok(format!("time zones of {} bytes", file.metadata()?.len()))
    }),
    Probe::must_work("time-zone-of-the-host", |_| {
        let zone = match fs::read("/etc/localtime") {
            Ok(zone) => zone,
            Err(err) if fs::symlink_metadata("/etc/localtime").is_err() => {
                return Err(Stop::Absent(format!("/etc/localtime: {err}")));
            }
            Err(err) => return Err(Stop::Broken(format!("/etc/localtime leads nowhere: {err}"))),
        };
        ensure(zone.starts_with(b"TZif"), "/etc/localtime is no time zone")?;
        // What `TZ` names is looked for by the C library alone; one that is not there would silently mean UTC.
        match std::env::var("TZ") {
            Ok(name) if name.contains('/') => {
                let file = Path::new("/usr/share/zoneinfo").join(name.trim_start_matches(':'));
                ensure(file.is_file(), format!("TZ={name} names no time zone"))?;
                Ok(format!("/etc/localtime, and TZ={name}"))
            }
            _ => Ok("/etc/localtime".to_owned()),
        }
    }),
    Probe::must_work("utf8-names", |place| {
        let scratch = place.scratch()?;
        let name = "Ä žluťoučký 世界 😀";
        fs::write(scratch.join(name), "x")?;
        let found = fs::read_dir(scratch.path())?.flatten().any(|entry| entry.file_name() == name);
        ensure(found, "the name is not there again")?;
        Ok(name.to_owned())
    }),
    Probe::must_work("links-inside", |place| {
        let scratch = place.scratch()?;
        fs::write(scratch.join("a"), "x")?;
        fs::hard_link(scratch.join("a"), scratch.join("b"))?;
        std::os::unix::fs::symlink("b", scratch.join("c"))?;
        ensure(fs::read(scratch.join("c"))? == b"x", "another content")?;
        Ok("hard and symbolic".to_owned())
    }),
    Probe::new("file-of-one-gigabyte", Rule::NeedsWrite, Some(Guarantee::Write), gigabyte).harmful().slow(60),
    Probe::must_work("file-locks", |place| {
        let scratch = place.scratch()?;
        let (one, two) = (File::create(scratch.join("lock"))?, File::open(scratch.join("lock"))?);
        one.lock()?;
        ensure(two.try_lock().is_err(), "locked twice")?;
        one.unlock()?;
        two.lock()?;
        Ok("locked, unlocked, locked".to_owned())
    }),
    Probe::must_work("script-in-scratch", |place| {
        let scratch = place.scratch()?;
        let path = scratch.join("script");
        fs::write(&path, "#!/bin/sh\necho \"from $0\"\n")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let output = Command::new(&path).output()?;
        ensure(output.stdout.starts_with(b"from "), format!("{output:?}"))?;
        Ok("it ran".to_owned())
    }),
    Probe::must_work("look-at-own-process", |_| {
        for name in ["self/status", "self/exe", "self/fd", "self/maps", "self/mountinfo", "thread-self/comm"] {
            fs::metadata(format!("/proc/{name}")).map_err(|err| Stop::Broken(format!("/proc/{name}: {err}")))?;
        }
        Ok("/proc".to_owned())
    }),
    Probe::must_work("own-name", |_| {
        #[expect(unsafe_code, reason = "a plain system call")]
        let uid = unsafe { libc::geteuid() };
        let users = fs::read_to_string("/etc/passwd")?;
        let known = users.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()));
        known.map(|line| line.split(':').take(1).collect()).ok_or_else(|| Stop::Broken(format!("{uid} has no name")))
    }),
    Probe::must_work("notice-changes-of-files", inotify),
];

fn devices(_: &Place) -> Tried {
    for name in ["null", "zero", "full", "random", "urandom"] {
        let path = format!("/dev/{name}");
        let found = fs::metadata(&path).map_err(|err| Stop::Broken(format!("{path}: {err}")))?;
        ensure(found.file_type().is_char_device(), format!("{path} is no device"))?;
    }
    let mut zeros = [1_u8; 16];
    File::open("/dev/zero")?.read_exact(&mut zeros)?;
    OpenOptions::new().write(true).open("/dev/null")?.write_all(&zeros)?;
    let full = OpenOptions::new().write(true).open("/dev/full")?.write_all(&zeros);
    ensure(zeros == [0; 16] && full.is_err(), format!("{zeros:?} {full:?}"))?;
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1")] {
        let found = fs::read_link(format!("/dev/{name}"))?;
        ensure(found == Path::new(target), format!("/dev/{name} is {}", found.display()))?;
    }
    Ok("null, zero, full, random, fd".to_owned())
}

fn sockets(_: &Place) -> Tried {
    let scratch = Place::scratch_in(&std::env::temp_dir())?;
    let path = scratch.join("socket");
    let listener = UnixListener::bind(&path)?;
    let mut ours = UnixStream::connect(&path)?;
    let (mut theirs, _) = listener.accept()?;
    ours.write_all(b"ping")?;
    let mut heard = [0; 4];
    theirs.read_exact(&mut heard)?;
    ensure(&heard == b"ping", "something else was heard")?;
    Ok("bound, connected, heard".to_owned())
}

fn memory_map(place: &Place) -> Tried {
    use std::os::fd::AsRawFd as _;
    let scratch = place.scratch()?;
    fs::write(scratch.join("file"), "mapped")?;
    let file = OpenOptions::new().read(true).write(true).open(scratch.join("file"))?;
    #[expect(unsafe_code, reason = "a shared map of six bytes of a file that nobody shortens")]
    unsafe {
        let both = libc::PROT_READ | libc::PROT_WRITE;
        let map = libc::mmap(std::ptr::null_mut(), 6, both, libc::MAP_SHARED, file.as_raw_fd(), 0);
        if map == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        map.cast::<u8>().write(b'M');
        libc::munmap(map, 6);
    }
    ensure(fs::read(scratch.join("file"))? == b"Mapped", "the file is as it was")?;
    Ok("read and written".to_owned())
}

fn memory_program(_: &Place) -> Tried {
    use std::os::fd::{AsRawFd as _, FromRawFd as _};
    #[expect(unsafe_code, reason = "a name that lives; the descriptor is taken at once")]
    let mut file = unsafe {
        let fd = check(libc::memfd_create(c"probe".as_ptr(), 0))?;
        File::from_raw_fd(fd)
    };
    file.write_all(&fs::read("/proc/self/exe")?)?;
    let output = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd())).arg("--list").output();
    match output {
        // The kernel does not run what is open for writing; that the call came through is enough.
        Err(err) if err.raw_os_error() == Some(libc::ETXTBSY) => Ok("made; busy".to_owned()),
        Ok(output) if output.status.success() => Ok("made and run".to_owned()),
        other => Err(Stop::Broken(format!("{other:?}"))),
    }
}

fn gigabyte(place: &Place) -> Tried {
    let scratch = Place::scratch_in(&place.workspace).map_err(|err| Stop::Refused(err.to_string()))?;
    let length = (1_u64 << 30).min(place.limits.file_bytes);
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(scratch.join("large"))?;
    // with holes: the bound is on the length, and the test machine's disk is not ours to wear out
    for offset in (0..length).step_by(64 << 20) {
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(&[1; 4096])?;
    }
    file.seek(SeekFrom::Start(length - 4))?;
    file.write_all(b"last")?;
    file.seek(SeekFrom::End(-4))?;
    let mut last = [0; 4];
    file.read_exact(&mut last)?;
    ensure(&last == b"last" && file.metadata()?.len() == length, "it is not as it was written")?;
    Ok(format!("{length} bytes"))
}

fn inotify(place: &Place) -> Tried {
    use std::os::fd::FromRawFd as _;
    let scratch = place.scratch()?;
    let path = c_path(scratch.path())?;
    #[expect(unsafe_code, reason = "a path that lives; the descriptor is taken at once")]
    let mut events = unsafe {
        let fd = check(libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK))?;
        let file = File::from_raw_fd(fd);
        check(libc::inotify_add_watch(fd, path.as_ptr(), libc::IN_CREATE))?;
        file
    };
    fs::write(scratch.join("new"), "x")?;
    let read = events.read(&mut [0; 1024])?;
    Ok(format!("{read} bytes of events"))
}
