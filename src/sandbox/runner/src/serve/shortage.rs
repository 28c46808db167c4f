//! When the kernel has no memory left for a session.

use std::fs;

use nix::{
    fcntl::{OFlag, open},
    sys::{prctl, stat::Mode},
    unistd::write,
};

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

/// How many processes of the machine the kernel has ended for want of memory.
///
/// The count of the session's own control group would tell more, but a container does not show it to what is in it.
pub(crate) fn ended() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_counts() {
        assert!(super::ended().is_some());
    }
}
