//! Clocks, percentiles, and what the kernel says about a process.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// The value below which `share` of the values lie.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = ((values.len() - 1) as f64 * share).round() as usize;
    values[index]
}

/// The middle value.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    percentile(values, 0.5)
}

/// Milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Median time of appending 4 KiB and `fdatasync`, in milliseconds.
pub(crate) fn fdatasync(dir: &Path) -> f64 {
    let path = dir.join("fdatasync-probe");
    let mut file = File::create(&path).unwrap();
    let mut times: Vec<f64> = (0..200)
        .map(|_| {
            let begin = Instant::now();
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
            millis(begin.elapsed())
        })
        .collect();
    fs::remove_file(path).unwrap();
    median(&mut times)
}

/// Processes that want to run, averaged over the last minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Processor time of a process so far, all of its threads, in milliseconds.
pub(crate) fn cpu_ms(pid: i32) -> f64 {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).unwrap();
    millis(Duration::from(clock_gettime(clock).unwrap()))
}

/// Times that any thread of a process went to sleep by itself: each is followed by a wake-up.
pub(crate) fn wakeups(pid: i32) -> u64 {
    threads(pid)
        .filter_map(|dir| fs::read_to_string(dir.join("status")).ok())
        .filter_map(|text| field(&text, "voluntary_ctxt_switches:"))
        .sum()
}

fn threads(pid: i32) -> impl Iterator<Item = std::path::PathBuf> {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap().path())
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Memory of a process that is in no file, in MiB.
pub(crate) fn anonymous(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "kilobytes")]
    let mib = field(&text, "Anonymous:").unwrap() as f64 / 1024.0;
    mib
}

/// Resident and proportional memory of a process, in MiB.
pub(crate) fn memory(pid: i32) -> (f64, f64) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "kilobytes")]
    let mib = |name| field(&text, name).unwrap() as f64 / 1024.0;
    (mib("Rss:"), mib("Pss:"))
}
