//! Every system call: its number on both architectures and what the filter does with it.
//!
//! Begun from what systemd's `@system-service` holds, without `@aio`, `@keyring` and whatever reaches another process,
//! the kernel or the machine. `memfd_create` and `execveat` stay allowed at every level: an interpreter runs a program
//! from memory as well, and what runs is confined the same.

use super::{checks::Check, program::Arch};

/// What the filter does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    /// Allowed where the command has namespaces of its own.
    Apart,
    /// Allowed for the caller itself (pid 0 in this argument, with nothing in those before it); for others where the
    /// command has namespaces of its own.
    Own(u8),
    /// As [`Verdict::Own`] of the first argument, where commands may choose their processors.
    Settle,
    /// The arguments decide.
    Check(Check),
    /// `ENOSYS` without notice, as a kernel without the call says it.
    Absent,
    /// Refused and reported, with this reason.
    Refuse(&'static str),
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    name: &'static str,
    x86_64: Option<u32>,
    aarch64: Option<u32>,
    pub(super) verdict: Verdict,
}

impl Row {
    pub(super) fn name(&self) -> &'static str {
        self.name.trim_start_matches("SYS_")
    }

    pub(super) fn number(&self, arch: Arch) -> Option<u32> {
        match arch {
            Arch::X86_64 => self.x86_64,
            Arch::Aarch64 => self.aarch64,
        }
    }
}

/// All rows.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    KNOWN.iter().chain(NEWER)
}

/// The row of a number.
pub(super) fn row(arch: Arch, number: u32) -> Option<&'static Row> {
    rows().find(|row| row.number(arch) == Some(number))
}

macro_rules! number {
    (-) => {
        None
    };
    ($number:literal) => {
        Some($number)
    };
}

macro_rules! rows {
    ($($verdict:expr => { $($name:ident $x86_64:tt $aarch64:tt;)* })*) => {
        &[$($(Row {
            name: stringify!($name),
            x86_64: number!($x86_64),
            aarch64: number!($aarch64),
            verdict: $verdict,
        },)*)*]
    };
}

// With the numbers that libc has, too, for the test that compares them on the architecture that it runs on.
macro_rules! known_rows {
    ($($verdict:expr => { $($name:ident $x86_64:tt $aarch64:tt;)* })*) => {
        const KNOWN: &[Row] = rows! { $($verdict => { $($name $x86_64 $aarch64;)* })* };

        #[cfg(test)]
        pub(super) const LIBC: &[Option<libc::c_long>] = &[$($(libc_number!($name $x86_64 $aarch64),)*)*];
    };
}

#[cfg(all(test, target_arch = "x86_64"))]
macro_rules! libc_number {
    ($name:ident - $aarch64:tt) => {
        None
    };
    ($name:ident $x86_64:tt $aarch64:tt) => {
        Some(libc::$name)
    };
}

#[cfg(all(test, target_arch = "aarch64"))]
macro_rules! libc_number {
    ($name:ident $x86_64:tt -) => {
        None
    };
    ($name:ident $x86_64:tt $aarch64:tt) => {
        Some(libc::$name)
    };
}

known_rows! {
    // Files: names, contents, metadata. What of it is within reach is decided by mounts and Landlock.
    Verdict::Allow => {
        SYS_read 0 63; SYS_write 1 64; SYS_close 3 57; SYS_fstat 5 80; SYS_newfstatat 262 79; SYS_stat 4 -;
        SYS_lstat 6 -; SYS_statx 332 291; SYS_access 21 -; SYS_faccessat 269 48; SYS_faccessat2 439 439;
        SYS_lseek 8 62; SYS_pread64 17 67; SYS_pwrite64 18 68; SYS_readv 19 65; SYS_writev 20 66; SYS_preadv 295 69;
        SYS_pwritev 296 70; SYS_preadv2 327 286; SYS_pwritev2 328 287; SYS_dup 32 23; SYS_dup2 33 -; SYS_dup3 292 24;
        SYS_fcntl 72 25; SYS_flock 73 32; SYS_fsync 74 82; SYS_fdatasync 75 83; SYS_sync 162 81; SYS_syncfs 306 267;
        SYS_truncate 76 45; SYS_ftruncate 77 46; SYS_fallocate 285 47; SYS_getdents 78 -; SYS_getdents64 217 61;
        SYS_getcwd 79 17; SYS_chdir 80 49; SYS_fchdir 81 50; SYS_rename 82 -; SYS_renameat2 316 276; SYS_mkdir 83 -;
        SYS_mkdirat 258 34; SYS_rmdir 84 -; SYS_link 86 -; SYS_linkat 265 37; SYS_unlink 87 -; SYS_unlinkat 263 35;
        SYS_symlink 88 -; SYS_symlinkat 266 36; SYS_readlink 89 -; SYS_readlinkat 267 78; SYS_chown 92 -;
        SYS_fchown 93 55; SYS_lchown 94 -; SYS_fchownat 260 54; SYS_umask 95 166; SYS_utime 132 -; SYS_utimes 235 -;
        SYS_utimensat 280 88; SYS_futimesat 261 -; SYS_statfs 137 43; SYS_fstatfs 138 44; SYS_setxattr 188 5;
        SYS_lsetxattr 189 6; SYS_fsetxattr 190 7; SYS_getxattr 191 8; SYS_lgetxattr 192 9; SYS_fgetxattr 193 10;
        SYS_listxattr 194 11; SYS_llistxattr 195 12; SYS_flistxattr 196 13; SYS_removexattr 197 14;
        SYS_lremovexattr 198 15; SYS_fremovexattr 199 16; SYS_readahead 187 213; SYS_fadvise64 221 223;
        SYS_sendfile 40 71; SYS_splice 275 76; SYS_tee 276 77; SYS_vmsplice 278 75; SYS_copy_file_range 326 285;
        SYS_close_range 436 436; SYS_pipe 22 -; SYS_pipe2 293 59; SYS_inotify_init 253 -; SYS_inotify_init1 294 26;
        SYS_inotify_add_watch 254 27; SYS_inotify_rm_watch 255 28; SYS_memfd_create 319 279;
    }
    // Waiting and time.
    Verdict::Allow => {
        SYS_poll 7 -; SYS_ppoll 271 73; SYS_select 23 -; SYS_pselect6 270 72; SYS_epoll_create 213 -;
        SYS_epoll_create1 291 20; SYS_epoll_ctl 233 21; SYS_epoll_wait 232 -; SYS_epoll_pwait 281 22;
        SYS_epoll_pwait2 441 441; SYS_eventfd 284 -; SYS_eventfd2 290 19; SYS_signalfd 282 -; SYS_signalfd4 289 74;
        SYS_timerfd_create 283 85; SYS_timerfd_settime 286 86; SYS_timerfd_gettime 287 87; SYS_nanosleep 35 101;
        SYS_clock_nanosleep 230 115; SYS_clock_gettime 228 113; SYS_clock_getres 229 114; SYS_gettimeofday 96 169;
        SYS_time 201 -; SYS_times 100 153; SYS_alarm 37 -; SYS_getitimer 36 102; SYS_setitimer 38 103;
        SYS_timer_create 222 107; SYS_timer_settime 223 110; SYS_timer_gettime 224 108; SYS_timer_getoverrun 225 109;
        SYS_timer_delete 226 111; SYS_pause 34 -;
    }
    // Memory.
    Verdict::Allow => {
        SYS_mmap 9 222; SYS_mprotect 10 226; SYS_munmap 11 215; SYS_brk 12 214; SYS_mremap 25 216; SYS_msync 26 227;
        SYS_mincore 27 232; SYS_madvise 28 233; SYS_mlock 149 228; SYS_mlock2 325 284; SYS_munlock 150 229;
        SYS_mlockall 151 230; SYS_munlockall 152 231; SYS_remap_file_pages 216 234; SYS_pkey_mprotect 329 288;
        SYS_pkey_alloc 330 289; SYS_pkey_free 331 290; SYS_membarrier 324 283; SYS_mseal 462 462; SYS_mbind 237 235;
        SYS_set_mempolicy 238 237; SYS_get_mempolicy 239 236;
    }
    // Processes, threads, signals; whose, is decided by the pid namespace, the uid and Landlock.
    Verdict::Allow => {
        SYS_fork 57 -; SYS_vfork 58 -; SYS_execve 59 221; SYS_execveat 322 281; SYS_exit 60 93; SYS_exit_group 231 94;
        SYS_wait4 61 260; SYS_waitid 247 95; SYS_getpid 39 172; SYS_getppid 110 173; SYS_gettid 186 178;
        SYS_getpgid 121 155; SYS_setpgid 109 154; SYS_getpgrp 111 -; SYS_getsid 124 156; SYS_setsid 112 157;
        SYS_kill 62 129; SYS_tkill 200 130; SYS_tgkill 234 131; SYS_pidfd_open 434 434; SYS_pidfd_send_signal 424 424;
        SYS_rt_sigaction 13 134; SYS_rt_sigprocmask 14 135; SYS_rt_sigreturn 15 139; SYS_rt_sigpending 127 136;
        SYS_rt_sigtimedwait 128 137; SYS_rt_sigqueueinfo 129 138; SYS_rt_tgsigqueueinfo 297 240;
        SYS_rt_sigsuspend 130 133; SYS_sigaltstack 131 132; SYS_restart_syscall 219 128; SYS_futex 202 98;
        SYS_futex_waitv 449 449; SYS_set_robust_list 273 99; SYS_get_robust_list 274 100; SYS_set_tid_address 218 96;
        SYS_rseq 334 293; SYS_arch_prctl 158 -; SYS_getcpu 309 168; SYS_sched_yield 24 124;
        SYS_sched_getaffinity 204 123;  SYS_sched_getparam 143 121;
         SYS_sched_getscheduler 145 120;
        SYS_sched_get_priority_max 146 125; SYS_sched_get_priority_min 147 126; SYS_sched_rr_get_interval 148 127;
        SYS_sched_getattr 315 275;  SYS_getpriority 140 141;
        SYS_ioprio_get 252 31;   SYS_getrusage 98 165;
    }
    // How processes are scheduled.
    Verdict::Own(0) => {
        SYS_sched_setparam 142 118; SYS_sched_setscheduler 144 119; SYS_sched_setattr 314 274;
    }
    Verdict::Settle => {
        SYS_sched_setaffinity 203 122;
    }
    Verdict::Own(1) => {
        SYS_setpriority 141 140; SYS_ioprio_set 251 30;
    }
    Verdict::Check(Check::Limits) => {
        SYS_prlimit64 302 261;
    }
    // Identity and the system. Without capabilities the setters change nothing that matters.
    Verdict::Allow => {
        SYS_getuid 102 174; SYS_geteuid 107 175; SYS_getgid 104 176; SYS_getegid 108 177; SYS_getgroups 115 158;
        SYS_getresuid 118 148; SYS_getresgid 120 150; SYS_setuid 105 146; SYS_setgid 106 144; SYS_setreuid 113 145;
        SYS_setregid 114 143; SYS_setresuid 117 147; SYS_setresgid 119 149; SYS_setfsuid 122 151;
        SYS_setfsgid 123 152; SYS_setgroups 116 159; SYS_capget 125 90; SYS_capset 126 91; SYS_uname 63 160;
        SYS_sysinfo 99 179; SYS_getrandom 318 278; SYS_landlock_create_ruleset 444 444; SYS_landlock_add_rule 445 445;
        SYS_landlock_restrict_self 446 446;
    }
    // Sockets, once made.
    Verdict::Allow => {
        SYS_bind 49 200; SYS_connect 42 203; SYS_listen 50 201; SYS_accept 43 202; SYS_accept4 288 242;
        SYS_getsockname 51 204; SYS_getpeername 52 205; SYS_getsockopt 55 209; SYS_setsockopt 54 208;
        SYS_sendto 44 206; SYS_sendmsg 46 211; SYS_sendmmsg 307 269; SYS_recvfrom 45 207; SYS_recvmsg 47 212;
        SYS_recvmmsg 299 243; SYS_shutdown 48 210;
    }
    // Shared memory, queues and semaphores with names: only in an ipc namespace of the command's own.
    Verdict::Apart => {
        SYS_shmget 29 194; SYS_shmat 30 196; SYS_shmctl 31 195; SYS_shmdt 67 197; SYS_semget 64 190; SYS_semop 65 193;
        SYS_semtimedop 220 192; SYS_semctl 66 191; SYS_msgget 68 186; SYS_msgsnd 69 189; SYS_msgrcv 70 188;
        SYS_msgctl 71 187; SYS_mq_open 240 180; SYS_mq_unlink 241 181; SYS_mq_timedsend 242 182;
        SYS_mq_timedreceive 243 183; SYS_mq_notify 244 184; SYS_mq_getsetattr 245 185;
    }
    Verdict::Check(Check::Clone) => {
        SYS_clone 56 220;
    }
    Verdict::Check(Check::Family) => {
        SYS_socket 41 198;
    }
    Verdict::Check(Check::Pair) => {
        SYS_socketpair 53 199;
    }
    Verdict::Check(Check::Ioctl) => {
        SYS_ioctl 16 29;
    }
    Verdict::Check(Check::Prctl) => {
        SYS_prctl 157 167;
    }
    Verdict::Check(Check::Personality) => {
        SYS_personality 135 92;
    }
    Verdict::Check(Check::Filter) => {
        SYS_seccomp 317 277;
    }
    Verdict::Check(Check::Mode { mode: 1, flags: None }) => {
        SYS_chmod 90 -; SYS_fchmod 91 52; SYS_creat 85 -;
    }
    Verdict::Check(Check::Mode { mode: 2, flags: None }) => {
        SYS_fchmodat 268 53;
    }
    Verdict::Check(Check::Mode { mode: 2, flags: Some(1) }) => {
        SYS_open 2 -;
    }
    Verdict::Check(Check::Mode { mode: 3, flags: Some(2) }) => {
        SYS_openat 257 56;
    }
    Verdict::Check(Check::Node { mode: 1 }) => {
        SYS_mknod 133 -;
    }
    Verdict::Check(Check::Node { mode: 2 }) => {
        SYS_mknodat 259 33;
    }
    // A plain `ENOSYS`: libc has another way (`clone`, `openat`), whose arguments a filter can read.
    Verdict::Absent => {
        SYS_clone3 435 435; SYS_openat2 437 437;
    }
    // A plain `ENOSYS`, which is what every kernel of today says or an ordinary program expects.
    Verdict::Absent => {
        SYS_uselib 134 -; SYS_ustat 136 -; SYS_sysfs 139 -; SYS__sysctl 156 -; SYS_nfsservctl 180 42;
        SYS_getpmsg 181 -; SYS_putpmsg 182 -; SYS_afs_syscall 183 -; SYS_tuxcall 184 -; SYS_security 185 -;
        SYS_set_thread_area 205 -; SYS_get_thread_area 211 -; SYS_lookup_dcookie 212 18; SYS_epoll_ctl_old 214 -;
        SYS_epoll_wait_old 215 -; SYS_vserver 236 -;
    }
    Verdict::Refuse("other processes cannot be traced or read") => {
        SYS_ptrace 101 117; SYS_process_vm_readv 310 270; SYS_process_vm_writev 311 271; SYS_pidfd_getfd 438 438;
        SYS_kcmp 312 272; SYS_process_madvise 440 440; SYS_process_mrelease 448 448; SYS_migrate_pages 256 238;
        SYS_move_pages 279 239;
    }
    Verdict::Refuse("new namespaces cannot be made or entered") => {
        SYS_unshare 272 97; SYS_setns 308 268;
    }
    Verdict::Refuse("mounts and roots cannot be changed") => {
        SYS_mount 165 40; SYS_umount2 166 39; SYS_pivot_root 155 41; SYS_chroot 161 51; SYS_open_tree 428 428;
        SYS_move_mount 429 429; SYS_fsopen 430 430; SYS_fsconfig 431 431; SYS_fsmount 432 432; SYS_fspick 433 433;
        SYS_mount_setattr 442 442;
    }
    Verdict::Refuse("asynchronous calls would pass the filter by") => {
        SYS_io_uring_setup 425 425; SYS_io_uring_enter 426 426; SYS_io_uring_register 427 427; SYS_io_setup 206 0;
        SYS_io_destroy 207 1; SYS_io_getevents 208 4; SYS_io_submit 209 2; SYS_io_cancel 210 3;
    }
    Verdict::Refuse("the kernel's key rings are shared with the host") => {
        SYS_add_key 248 217; SYS_request_key 249 218; SYS_keyctl 250 219;
    }
    Verdict::Refuse("files cannot be opened by handle") => {
        SYS_name_to_handle_at 303 264; SYS_open_by_handle_at 304 265;
    }
    Verdict::Refuse("programs cannot be loaded into the kernel or watch it") => {
        SYS_bpf 321 280; SYS_perf_event_open 298 241; SYS_userfaultfd 323 282; SYS_fanotify_init 300 262;
        SYS_fanotify_mark 301 263; SYS_memfd_secret 447 447; SYS_set_mempolicy_home_node 450 450;
        SYS_modify_ldt 154 -;
    }
    Verdict::Refuse("the machine cannot be administered") => {
        SYS_init_module 175 105; SYS_finit_module 313 273; SYS_delete_module 176 106; SYS_kexec_load 246 104;
        SYS_kexec_file_load 320 294; SYS_reboot 169 142; SYS_swapon 167 224; SYS_swapoff 168 225; SYS_acct 163 89;
        SYS_quotactl 179 60; SYS_quotactl_fd 443 443; SYS_syslog 103 116; SYS_vhangup 153 58; SYS_sethostname 170 161;
        SYS_setdomainname 171 162; SYS_settimeofday 164 170; SYS_clock_settime 227 112; SYS_adjtimex 159 171;
        SYS_clock_adjtime 305 266; SYS_iopl 172 -; SYS_ioperm 173 -;
    }
}

// Those that libc lacks on one of the two.
const NEWER: &[Row] = rows! {
    Verdict::Allow => {
        renameat 264 38; sync_file_range 277 84; getrlimit 97 163; setrlimit 160 164; cachestat 451 451;
        map_shadow_stack 453 453; futex_wake 454 454; futex_wait 455 455; futex_requeue 456 456; setxattrat 463 463;
        getxattrat 464 464; listxattrat 465 465; removexattrat 466 466;
    }
    Verdict::Check(Check::Mode { mode: 2, flags: None }) => {
        fchmodat2 452 452;
    }
    Verdict::Absent => {
        statmount 457 457; listmount 458 458; lsm_get_self_attr 459 459; lsm_set_self_attr 460 460;
        lsm_list_modules 461 461; file_getattr 468 468; file_setattr 469 469;
    }
    Verdict::Refuse("mounts and roots cannot be changed") => {
        open_tree_attr 467 467;
    }
};
