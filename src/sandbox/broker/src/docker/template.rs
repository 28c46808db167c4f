//! The one kind of container there is. Only an image of the list, bounds and protected paths vary.

use std::{collections::HashMap, path::Path};

use assistant_sandbox::protocol::Limits;
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, ResourcesUlimits,
};

use super::{config::User, profile::profile};

/// Where the workspace is inside.
const WORKSPACE: &str = "/workspace";
/// Where the runner is inside.
const RUNNER: &str = "/assistant-sandbox";
/// Where the socket to the broker is inside, until the runner has connected.
const SESSION: &str = "/assistant-session";

/// The label by which a broker knows its containers again.
pub(super) const LABEL: &str = "assistant.docker";

/// Paths that show nothing: the engine's own list, and of the image what no command needs anything of. The rest of `/sys`
/// tells the runner what the kernel ended in the container for memory; it covers that before there is a command.
const MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/run",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/var",
];

/// What varies.
pub(super) struct Session<'a> {
    /// By content.
    pub(super) image: &'a str,
    pub(super) workspace: &'a Path,
    pub(super) runner: &'a Path,
    /// A directory that holds the socket for the runner and nothing else.
    pub(super) directory: &'a Path,
    /// Name of that socket.
    pub(super) socket: &'a str,
    pub(super) user: User,
    pub(super) limits: Limits,
    pub(super) protect: &'a [String],
    /// Whether the runner is passed a way to the egress proxy. The container itself has no network in any case.
    pub(super) net: bool,
    /// Whether the engine has AppArmor.
    pub(super) apparmor: bool,
    /// Value of [`LABEL`].
    pub(super) broker: &'a str,
}

/// Bytes of what `kernel.shmall` counts, `sysctl(2)`.
const PAGE: u64 = 4096;

/// Processes beyond those of commands: the runner's. An eighth more is for the runner to see, which ends commands that have
/// too many.
const SPARE: u64 = 4;

/// The container as the engine takes it.
pub(super) fn container(of: &Session<'_>) -> ContainerCreateBody {
    let limits = of.limits;
    ContainerCreateBody {
        hostname: Some("sandbox".to_owned()),
        user: Some(format!("{}:{}", of.user.uid, of.user.gid)),
        attach_stdin: Some(false),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        open_stdin: Some(false),
        tty: Some(false),
        entrypoint: Some(vec![RUNNER.to_owned()]),
        cmd: Some(arguments(of)),
        // An image may bring a check of its health, which would be a command that nobody asked for.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        image: Some(of.image.to_owned()),
        working_dir: Some("/".to_owned()),
        network_disabled: Some(true),
        labels: Some(HashMap::from([(LABEL.to_owned(), of.broker.to_owned())])),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            ipc_mode: Some("private".to_owned()),
            privileged: Some(false),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(security(of.apparmor)),
            pids_limit: Some(signed(limits.processes + limits.processes / 8 + SPARE)),
            memory: Some(signed(limits.memory_bytes)),
            memory_swap: Some(signed(limits.memory_bytes)),
            // Segments stay when those who made them are ended: they must not fill all memory, or the kernel ends the runner.
            sysctls: Some(HashMap::from([("kernel.shmall".to_owned(), (limits.memory_bytes / 2 / PAGE).to_string())])),
            nano_cpus: Some(signed(limits.cpu_millis.saturating_mul(1_000_000))),
            shm_size: Some(64 << 20),
            oom_score_adj: Some(500),
            ulimits: Some(vec![ResourcesUlimits { name: Some("core".to_owned()), soft: Some(0), hard: Some(0) }]),
            tmpfs: Some(HashMap::from([(
                "/tmp".to_owned(),
                format!(
                    "rw,nosuid,nodev,exec,mode=1777,size={},nr_inodes={}",
                    limits.tmp_bytes,
                    (limits.tmp_bytes / 2048).clamp(1024, 1 << 20), // as the runner does with its own
                ),
            )])),
            mounts: Some(vec![
                mount(of.workspace, WORKSPACE, false),
                mount(of.runner, RUNNER, true),
                mount(of.directory, SESSION, true),
            ]),
            masked_paths: Some(MASKED.map(str::to_owned).to_vec()),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            auto_remove: Some(true),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// AppArmor's profile for containers refuses all mounts, those of the runner too.
fn security(apparmor: bool) -> Vec<String> {
    let mut options = vec!["no-new-privileges".to_owned(), format!("seccomp={}", profile())];
    options.extend(apparmor.then(|| "apparmor=unconfined".to_owned()));
    options
}

fn arguments(of: &Session<'_>) -> Vec<String> {
    let limits = of.limits;
    let mut arguments = vec!["serve".to_owned(), "--backend".to_owned(), "docker".to_owned()];
    let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    option("--workspace", WORKSPACE.to_owned());
    option("--connect", format!("{SESSION}/{}", of.socket));
    option("--seconds", limits.seconds.to_string());
    option("--memory-bytes", limits.memory_bytes.to_string());
    option("--processes", limits.processes.to_string());
    option("--cpu-millis", limits.cpu_millis.to_string());
    option("--tmp-bytes", limits.tmp_bytes.to_string());
    option("--file-bytes", limits.file_bytes.to_string());
    option("--output-bytes", limits.output_bytes.to_string());
    if of.net {
        option("--proxy", "passed".to_owned());
    }
    for path in of.protect {
        option("--protect", path.clone());
    }
    arguments
}

fn mount(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole of what the engine is asked for: a change of it is a change of what a container may.
    #[test]
    fn a_container_may_nothing_but_this() {
        let session = Session {
            image: "sha256:0",
            workspace: Path::new("/w"),
            runner: Path::new("/r"),
            directory: Path::new("/s/1"),
            socket: "runner",
            user: User { uid: 7, gid: 8 },
            limits: Limits::default(),
            protect: &["a/b".to_owned()],
            net: false,
            apparmor: false,
            broker: "/s",
        };
        let body = serde_json::to_value(container(&session)).unwrap();
        let bind = |source: &str, target: &str, read_only: bool| {
            serde_json::json!({"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only,
                "BindOptions": {"Propagation": "rprivate"}})
        };
        let expected = serde_json::json!({
            "Hostname": "sandbox", "User": "7:8", "AttachStdin": false, "AttachStdout": false, "AttachStderr": false,
            "OpenStdin": false, "Tty": false, "Entrypoint": ["/assistant-sandbox"],
            "Cmd": ["serve", "--backend", "docker", "--workspace", "/workspace",
                "--connect", "/assistant-session/runner", "--seconds", "300", "--memory-bytes", "2147483648",
                "--processes", "512", "--cpu-millis", "2000", "--tmp-bytes", "536870912", "--file-bytes", "4294967296",
                "--output-bytes", "67108864", "--protect", "a/b"],
            "Healthcheck": {"Test": ["NONE"]}, "Image": "sha256:0", "WorkingDir": "/", "NetworkDisabled": true,
            "Labels": {"assistant.docker": "/s"},
            "HostConfig": {
                "NetworkMode": "none", "IpcMode": "private", "Privileged": false, "ReadonlyRootfs": true,
                "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges", format!("seccomp={}", profile())], "PidsLimit": 580, "Memory": 2_147_483_648_i64, "Sysctls": {"kernel.shmall": "262144"},
                "MemorySwap": 2_147_483_648_i64, "NanoCpus": 2_000_000_000, "ShmSize": 67_108_864, "OomScoreAdj": 500,
                "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
                "Tmpfs": {"/tmp": "rw,nosuid,nodev,exec,mode=1777,size=536870912,nr_inodes=262144"},
                "Mounts": [bind("/w", "/workspace", false), bind("/r", "/assistant-sandbox", true),
                    bind("/s/1", "/assistant-session", true)],
                "MaskedPaths": MASKED, "LogConfig": {"Type": "none"}, "AutoRemove": true,
            },
        });
        assert_eq!(body, expected);

        // At level work+net the runner takes a descriptor of the proxy's socket, and that is all of the difference.
        let mut expected = expected;
        let arguments = expected["Cmd"].as_array_mut().unwrap();
        let at = arguments.iter().position(|argument| argument == "--protect").unwrap();
        arguments.splice(at..at, ["--proxy".into(), "passed".into()]);
        let body = serde_json::to_value(container(&Session { net: true, ..session })).unwrap();
        assert_eq!(body, expected);
    }
}
