//! When the kernel has no memory left for a session.

use std::fs;

use nix::{
    fcntl::{OFlag, open},
    sys::{prctl, stat::Mode},
    unistd::write,
};

use super::{bounds::Bounds, cgroup::Group};

/// Makes the process that calls it, and all that it starts, the first that the kernel ends. It takes no memory itself, and
/// where nobody may say so the limits have to do.
pub(crate) fn first_to_go() {
    // The files of a process that is not dumpable are root's.
    let _ = prctl::set_dumpable(true);
    if let Ok(file) = open("/proc/self/oom_score_adj", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        let _ = write(&file, b"1000");
    }
    let _ = prctl::set_dumpable(false);
}

/// How many processes the kernel has ended for want of memory: of the session's control group, or of the machine where
/// others made that group and do not show it to what is in it.
pub(crate) fn ended(group: Option<&Group>, unit: &Bounds) -> Option<u64> {
    if let Some(group) = group {
        return Some(group.shortages());
    }
    if let Some(kills) = unit.kills() {
        return Some(kills);
    }
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_counts() {
        assert!(super::ended(None, &super::Bounds::default()).is_some());
    }
}
