//! What the kernel says of this process (proc(5), getrusage(2)).

use std::fs;

use nix::sys::{
    resource::{Resource, UsageWho, getrlimit, getrusage},
    time::TimeVal,
};

/// Figures of the process; those that the kernel does not tell are absent.
pub(super) struct Usage {
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) open_fds: Option<usize>,
    pub(super) max_fds: Option<u64>,
    pub(super) cpu_seconds: Option<f64>,
}

impl Usage {
    pub(super) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let kibibytes = |name: &str| number(name).map(|count| count * 1024);
        #[expect(clippy::cast_precision_loss, reason = "seconds of processor time")]
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        Self {
            resident_bytes: kibibytes("VmRSS"),
            virtual_bytes: kibibytes("VmSize"),
            threads: number("Threads"),
            // One of them is the directory that is being read.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|found| found.count().saturating_sub(1)),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            cpu_seconds: getrusage(UsageWho::RUSAGE_SELF)
                .ok()
                .map(|usage| seconds(usage.user_time()) + seconds(usage.system_time())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_them() {
        let usage = Usage::now();
        assert!(usage.resident_bytes > Some(1 << 20) && usage.virtual_bytes >= usage.resident_bytes);
        assert!(usage.threads >= Some(1) && usage.cpu_seconds.is_some());
        let before = usage.open_fds.unwrap();
        let _file = fs::File::open("/dev/null").unwrap();
        assert!(before >= 3 && usage.max_fds.unwrap() > before as u64);
    }
}
