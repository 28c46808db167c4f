//! The engine's filter of system calls for our containers: a floor below the runner's own.
//!
//! An engine's default profile refuses what the runner needs to bind protected paths read-only (namespaces and mounts,
//! in a user namespace of its own), and what it refuses to a command is never reported, because the strictest of all
//! filters wins. So this one lets through what the runner's filter knows, which then judges every command, and keeps
//! back what nobody in a container has any use for.

use std::collections::BTreeSet;

use assistant_sandbox::seccomp;
use serde_json::json;

/// Calls that administer the machine: the runner refuses them too.
const NEVER: [&str; 20] = [
    "acct",
    "adjtimex",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "finit_module",
    "init_module",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "lookup_dcookie",
    "nfsservctl",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "settimeofday",
    "swapoff",
    "swapon",
    "vhangup",
];

/// What the runner calls besides, before there is a command.
const RUNNER: [&str; 18] = [
    "clone",
    "clone3",
    "fsconfig",
    "fsmount",
    "fsopen",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "seccomp",
    "setns",
    "umount2",
    "unshare",
    "pidfd_send_signal",
];

/// The profile as engines take it (`seccomp=` of `SecurityOpt`).
pub(super) fn profile() -> String {
    let allowed: BTreeSet<&str> = seccomp::known().chain(RUNNER).filter(|name| !NEVER.contains(name)).collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW"}],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_floor_and_not_the_ground() {
        let profile: serde_json::Value = serde_json::from_str(&profile()).unwrap();
        let names: Vec<&str> =
            profile["syscalls"][0]["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        for name in ["read", "execve", "ptrace", "unshare", "mount_setattr", "landlock_restrict_self"] {
            assert!(names.contains(&name), "{name}");
        }
        for name in NEVER {
            assert!(!names.contains(&name), "{name}");
        }
        assert!(names.len() > 300, "{}", names.len());
    }
}
