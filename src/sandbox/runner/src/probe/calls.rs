//! System calls that must not reach the kernel. Their arguments are such that a kernel which looks at them finds fault
//! and does nothing: only `EPERM`, `EACCES`, `ENOSYS`, for a socket `EAFNOSUPPORT` (what systemd's filter says, and a kernel
//! without the family), and a kill are refusals, any other answer has let the call in.

use super::{Stop, Tried};

/// One call to try.
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) safe: bool,
    number: libc::c_long,
    args: [usize; 6],
}

const fn call(name: &'static str, number: libc::c_long, args: [usize; 6]) -> Call {
    Call { name, safe: true, number, args }
}

const fn harmful(name: &'static str, number: libc::c_long, args: [usize; 6]) -> Call {
    Call { name, safe: false, number, args }
}

const NO_FD: usize = usize::MAX;
const NO_PID: usize = 0x3fff_fff0;
/// An address that nobody may read.
const BAD: usize = 1;
const ODD: usize = 0x7ead_beef;

impl Call {
    pub(super) fn go(&self) -> Tried {
        let args = &self.args;
        #[expect(unsafe_code, reason = "whatever points somewhere points to nothing")]
        let answer = unsafe { libc::syscall(self.number, args[0], args[1], args[2], args[3], args[4], args[5]) };
        if answer >= 0 {
            return Ok(format!("the kernel answered {answer}"));
        }
        let err = std::io::Error::last_os_error();
        match err.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EAFNOSUPPORT) => Err(Stop::Refused(err.to_string())),
            _ => Ok(format!("the kernel looked at it: {err}")),
        }
    }
}

pub(super) const CALLS: &[Call] = &[
    call("call-ptrace", libc::SYS_ptrace, [0x4206, NO_PID, 0, 0, 0, 0]),
    call("call-process-vm-readv", libc::SYS_process_vm_readv, [NO_PID, BAD, 1, BAD, 1, 0]),
    call("call-process-vm-writev", libc::SYS_process_vm_writev, [NO_PID, BAD, 1, BAD, 1, 0]),
    call("call-pidfd-getfd", libc::SYS_pidfd_getfd, [NO_FD, 0, 0, 0, 0, 0]),
    call("call-kcmp", libc::SYS_kcmp, [NO_PID, NO_PID, 99, 0, 0, 0]),
    call("call-process-madvise", libc::SYS_process_madvise, [NO_FD, BAD, 1, 0, 0, 0]),
    call("call-process-mrelease", libc::SYS_process_mrelease, [NO_FD, 0, 0, 0, 0, 0]),
    call("call-move-pages", libc::SYS_move_pages, [NO_PID, 1, BAD, BAD, BAD, 0]),
    call("call-migrate-pages", libc::SYS_migrate_pages, [NO_PID, ODD, BAD, BAD, 0, 0]),
    call("call-perf-event-open", libc::SYS_perf_event_open, [BAD, 0, NO_FD, NO_FD, 0, 0]),
    call("call-bpf", libc::SYS_bpf, [ODD, BAD, 16, 0, 0, 0]),
    call("call-userfaultfd", libc::SYS_userfaultfd, [ODD, 0, 0, 0, 0, 0]),
    call("call-memfd-secret", libc::SYS_memfd_secret, [ODD, 0, 0, 0, 0, 0]),
    call("call-fanotify-init", libc::SYS_fanotify_init, [ODD, 0, 0, 0, 0, 0]),
    call("call-fanotify-mark", libc::SYS_fanotify_mark, [NO_FD, 0, 0, 0, 0, 0]),
    call("call-io-uring-setup", libc::SYS_io_uring_setup, [1, BAD, 0, 0, 0, 0]),
    call("call-io-uring-enter", libc::SYS_io_uring_enter, [NO_FD, 1, 0, 0, 0, 0]),
    call("call-io-uring-register", libc::SYS_io_uring_register, [NO_FD, 0, 0, 0, 0, 0]),
    call("call-io-setup", libc::SYS_io_setup, [0, BAD, 0, 0, 0, 0]),
    call("call-add-key", libc::SYS_add_key, [BAD, BAD, BAD, 1, 0, 0]),
    call("call-request-key", libc::SYS_request_key, [BAD, BAD, BAD, 0, 0, 0]),
    call("call-keyctl-session", libc::SYS_keyctl, [0, NO_FD - 2, 0, 0, 0, 0]),
    call("call-name-to-handle-at", libc::SYS_name_to_handle_at, [NO_FD, BAD, BAD, BAD, 0, 0]),
    call("call-open-by-handle-at", libc::SYS_open_by_handle_at, [NO_FD, BAD, 0, 0, 0, 0]),
    call("call-setns", libc::SYS_setns, [NO_FD, 0, 0, 0, 0, 0]),
    call("call-mount", libc::SYS_mount, [BAD, BAD, BAD, 0, 0, 0]),
    call("call-umount2", libc::SYS_umount2, [BAD, 0, 0, 0, 0, 0]),
    call("call-pivot-root", libc::SYS_pivot_root, [BAD, BAD, 0, 0, 0, 0]),
    call("call-chroot", libc::SYS_chroot, [BAD, 0, 0, 0, 0, 0]),
    call("call-fsopen", libc::SYS_fsopen, [BAD, ODD, 0, 0, 0, 0]),
    call("call-fsconfig", libc::SYS_fsconfig, [NO_FD, 0, 0, 0, 0, 0]),
    call("call-fsmount", libc::SYS_fsmount, [NO_FD, 0, 0, 0, 0, 0]),
    call("call-open-tree", libc::SYS_open_tree, [NO_FD, BAD, ODD, 0, 0, 0]),
    call("call-move-mount", libc::SYS_move_mount, [NO_FD, BAD, NO_FD, BAD, ODD, 0]),
    call("call-mount-setattr", libc::SYS_mount_setattr, [NO_FD, BAD, 0, BAD, 0, 0]),
    call("call-syslog", libc::SYS_syslog, [ODD, 0, 0, 0, 0, 0]),
    call("call-settimeofday", libc::SYS_settimeofday, [BAD, 0, 0, 0, 0, 0]),
    call("call-clock-settime", libc::SYS_clock_settime, [ODD, BAD, 0, 0, 0, 0]),
    call("call-adjtimex", libc::SYS_adjtimex, [BAD, 0, 0, 0, 0, 0]),
    call("call-sethostname", libc::SYS_sethostname, [BAD, 4, 0, 0, 0, 0]),
    call("call-swapon", libc::SYS_swapon, [BAD, 0, 0, 0, 0, 0]),
    call("call-acct", libc::SYS_acct, [BAD, 0, 0, 0, 0, 0]),
    call("call-quotactl", libc::SYS_quotactl, [ODD, BAD, 0, 0, 0, 0]),
    call("call-finit-module", libc::SYS_finit_module, [NO_FD, BAD, 0, 0, 0, 0]),
    call("call-delete-module", libc::SYS_delete_module, [BAD, 0, 0, 0, 0, 0]),
    call("call-kexec-load", libc::SYS_kexec_load, [0, 0, 0, ODD, 0, 0]),
    harmful("call-reboot", libc::SYS_reboot, [ODD, 0, 0, 0, 0, 0]),
    harmful("call-vhangup", libc::SYS_vhangup, [0; 6]),
    call("call-seccomp-listener", libc::SYS_seccomp, [1, 8, 0, 0, 0, 0]),
    call("call-vsock", libc::SYS_socket, [40, 1, 0, 0, 0, 0]),
    call("cve-2017-5226-tiocsti", libc::SYS_ioctl, [0, 0x5412, BAD, 0, 0, 0]),
    call("cve-2019-10063-tiocsti-high-bits", libc::SYS_ioctl, [0, 0x1_0000_5412, BAD, 0, 0, 0]),
    call("call-tioclinux", libc::SYS_ioctl, [0, 0x541c, BAD, 0, 0, 0]),
    call("call-tiocsetd", libc::SYS_ioctl, [0, 0x5423, BAD, 0, 0, 0]),
    call("call-personality-exec-reads", libc::SYS_personality, [0x0040_0000, 0, 0, 0, 0, 0]),
    call("call-personality-fixed-addresses", libc::SYS_personality, [0x0004_0000, 0, 0, 0, 0, 0]),
    call("call-prctl-set-mm", libc::SYS_prctl, [35, ODD, 0, 0, 0, 0]),
    call("call-prctl-core-scheduling", libc::SYS_prctl, [62, 0, NO_PID, 0, BAD, 0]),
];
