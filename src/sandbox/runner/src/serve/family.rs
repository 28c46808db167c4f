//! The processes below one, as `/proc` shows them, and what memory they hold.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
};

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

/// Bytes of memory that the processes below this one hold together. What several share counts once; that is only looked
/// into when the plain sum is above `limit`, as it takes the kernel longer.
pub(crate) fn memory_below(pid: i32, limit: u64) -> u64 {
    let all = below(pid, |_| ());
    let files = memory_files(&all);
    let plain: u64 = all.iter().map(|pid| plainly(*pid)).sum();
    if files + plain <= limit { files + plain } else { files + all.iter().map(|pid| fairly(*pid)).sum::<u64>() }
}

/// Bytes in the memory files that these processes hold open, each file once.
fn memory_files(all: &[i32]) -> u64 {
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
            && seen.insert((file.dev(), file.ino()))
        {
            total += file.blocks() * 512;
        }
    }
    total
}

/// Anonymous memory of one process.
fn plainly(pid: i32) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut pages = pages.split_whitespace().skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
    let (resident, files) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(files) * 4096
}

/// Its share of the anonymous memory that it holds with others.
fn fairly(pid: i32) -> u64 {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { return plainly(pid) };
    let line = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.map_or_else(|| plainly(pid), |kibibytes| kibibytes * 1024)
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
        let (plain, fair) = (memory_below(pid, u64::MAX), memory_below(pid, 0));
        assert!(plain > 0 && fair > 0 && fair <= plain + (1 << 20), "{plain} {fair}");
        for pid in met.into_iter().chain([pid]) {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        child.wait().unwrap();
    }
}
