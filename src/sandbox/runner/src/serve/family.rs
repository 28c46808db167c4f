//! The processes below one, as `/proc` shows them, and what memory they hold.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
};

use super::kernel;

/// All processes below this one, nearest first. Each is shown to `meet` before its own children are looked for.
pub(crate) fn below(pid: i32, mut meet: impl FnMut(i32)) -> Vec<i32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        if next > 0 {
            meet(pid);
        }
        next += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.filter_map(Result::ok) {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
    }
    all.split_off(1)
}

/// Processes and threads of our user, wherever they come from.
pub(crate) fn threads_of_user() -> u64 {
    let user = nix::unistd::getuid().to_string();
    // Who owns a directory of /proc is not who runs there, if that process may not be dumped.
    let threads = |status: String| {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        (field("Uid:") == Some(&user)).then(|| field("Threads:")?.parse::<u64>().ok()).flatten()
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    processes.filter_map(|process| threads(fs::read_to_string(process.path().join("status")).ok()?)).sum()
}

/// Bytes of memory that the processes below this one hold together, and those that nobody holds but that are there: what
/// is in memory files that are open, and in segments with a key. What several share counts once; that is only looked into
/// when the plain sum is above `limit`, as it takes the kernel longer. Segments count if our ipc namespace is theirs alone.
pub(crate) fn memory_below(pid: i32, limit: u64, own_ipc: bool) -> u64 {
    let all = below(pid, |_| ());
    let (files, open) = memory_files(&all);
    let kept = files + if own_ipc { segments() } else { 0 };
    let plain: u64 = all.iter().map(|pid| plainly(*pid)).sum();
    if kept + plain <= limit { kept + plain } else { kept + all.iter().map(|pid| fairly(*pid, &open)).sum::<u64>() }
}

/// Bytes in the memory files that these processes hold open, each file once, and the numbers of the files.
fn memory_files(all: &[i32]) -> (u64, BTreeSet<u64>) {
    let mut seen = BTreeSet::new();
    let open =
        all.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok()).flatten().filter_map(Result::ok);
    let mut total = 0;
    for entry in open {
        let path = entry.path();
        if !fs::read_link(&path).is_ok_and(|name| name.as_os_str().as_bytes().starts_with(b"/memfd:")) {
            continue;
        }
        if let Ok(file) = fs::metadata(&path)
            && seen.insert(file.ino())
        {
            total += file.blocks() * 512;
        }
    }
    (total, seen)
}

/// Bytes in the System V segments of our ipc namespace.
fn segments() -> u64 {
    rows_of_segments(["rss", "swap"]).into_iter().flatten().sum()
}

/// Removes the segments of our ipc namespace: they stay when those who made them have ended.
pub(crate) fn remove_segments() {
    for [id] in rows_of_segments(["shmid"]) {
        let _ = i32::try_from(id).map(kernel::remove_segment);
    }
}

fn rows_of_segments<const N: usize>(columns: [&str; N]) -> Vec<[u64; N]> {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let mut lines = table.lines();
    let head: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
    let places = columns.map(|name| head.iter().position(|word| *word == name));
    let row = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        places.map(|place| place.and_then(|at| words.get(at)?.parse().ok()).unwrap_or(0))
    };
    lines.map(row).collect()
}

/// Memory of one process that is no file's.
fn plainly(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field(&text, "RssAnon:") + field(&text, "RssShmem:")
}

/// Its share of the memory that it holds with others, without what counts among files and segments.
fn fairly(pid: i32, open: &BTreeSet<u64>) -> u64 {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { return plainly(pid) };
    let shared = field(&text, "Pss_Shmem:");
    let kept = if shared > 0 { counted_elsewhere(pid, open) } else { 0 };
    field(&text, "Pss_Anon:") + shared.saturating_sub(kept)
}

/// Its share of mapped files that are open as well, and of segments.
fn counted_elsewhere(pid: i32, open: &BTreeSet<u64>) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let mut total = 0;
    let mut elsewhere = false;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Pss:") if elsewhere => total += field(line, "Pss:"),
            // address, rights, offset, device, number, name
            Some(first) if first.contains('-') => {
                let number = words.nth(3).and_then(|number| number.parse().ok());
                let name = words.next().unwrap_or_default();
                let file = name.starts_with("/memfd:") && number.is_some_and(|number| open.contains(&number));
                elsewhere = file || name.starts_with("/SYSV");
            }
            _ => {}
        }
    }
    total
}

/// A number of kibibytes, in bytes.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_family_is_found_with_its_memory() {
        let mut child = Command::new("sh").args(["-c", "sleep 1000 & sleep 1000 & wait"]).spawn().unwrap();
        let pid = child.id().cast_signed();
        let mut met = Vec::new();
        for _ in 0..200 {
            met.clear();
            if below(pid, |pid| met.push(pid)).len() == 2 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(met.len(), 2);
        let (plain, fair) = (memory_below(pid, u64::MAX, false), memory_below(pid, 0, false));
        assert!(plain > 0 && fair > 0 && fair <= plain + (1 << 20), "{plain} {fair}");
        for pid in met.into_iter().chain([pid]) {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        child.wait().unwrap();
    }
}
