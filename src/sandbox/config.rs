//! `[sandbox]`

use assistant_sandbox::protocol::{Guarantee, Level};
use toml::Value;

use crate::config::{
    section::section,
    value::{Bytes, Kind, Seconds, Setting},
};

section! {
    /// Where commands run, and how much of the machine they may use.
    pub struct Sandbox = "sandbox" {
        /// Let jobs and people run commands.
        enabled: bool = true, env "AGENT_SANDBOX_ENABLED";
        /// What makes the walls: `auto`, `unit`, `namespace`, `docker` or `landlock`. `auto` takes the first of these that
        /// gives every required guarantee.
        backend: Choice = Choice::Auto;
        /// What commands of jobs may: `read` (workspace read-only), `work` (workspace, no network), `work+net` (the network
        /// through the egress proxy as well), `container` (in a container image).
        level: JobLevel = JobLevel(Level::Work);
        /// Guarantees without which nothing is run: `read`, `write`, `network`, `unix_sockets`, `ipc`, `signals`,
        /// `resources`, `syscalls`.
        require: Guarantees = Guarantees(Guarantee::ALL.to_vec());
        /// The runner's program. Unset: `assistant-sandbox` beside the daemon's, else in `/usr/lib/assistant`.
        runner: Option<String> = None, check crate::config::check::absolute;
        /// The socket of `assistant-sandbox.socket`, for the backend `unit`.
        unit_socket: String = "/run/assistant-sandbox/run.sock".to_owned(), check crate::config::check::absolute;
        /// Where the daemon writes the bounds and the protected paths that it asks of units; their first command reads it.
        unit_wishes: String = "/run/assistantd/sandbox.json".to_owned(), check crate::config::check::absolute;
        /// The socket of `assistant-docker`, for the backend `docker`.
        docker_socket: String = "/run/assistant-docker/run.sock".to_owned(), check crate::config::check::absolute;
        /// The socket of `assistant-egress` for commands, to which those of the level `work+net` are led.
        egress_socket: String = "/run/assistant-egress/proxy.sock".to_owned(), check crate::config::check::absolute;
        /// The socket of `assistant-egress` for the daemon, which grants each session of that level a token.
        egress_control: String = "/run/assistant-egress/control.sock".to_owned(), check crate::config::check::absolute;
        /// The image of containers; one that `docker.toml` lists.
        image: String = "assistant-work:1".to_owned(), env "SANDBOX_RUN_IMAGE";
        /// As root: the uid that commands run as, to whom the workspace then seems to belong. Unset: its owner, or 65533 where
        /// that is root.
        uid: Option<u32> = None;
        /// Paths of the workspace that no command writes, beside `.assistant/` and each repository's `.git/hooks` and
        /// `.git/config`. One that is not there is made, as a directory if it ends with a slash.
        protect: Vec<String> = Vec::new();
        /// Memory of one session.
        memory: Bytes = Bytes(2 << 30), env "SANDBOX_RUN_MEMORY_BYTES", in Bytes(16 << 20)..=Bytes(1 << 50);
        /// Processors of one session; a part of one needs the backend `unit` or `docker`.
        cpus: f64 = 2.0, env "SANDBOX_RUN_CPUS", in 0.01..=1024.0;
        /// Processes and threads of one session.
        processes: u32 = 512, env "SANDBOX_RUN_PIDS_LIMIT", in 4..=4_000_000;
        /// Size of `/tmp`.
        tmp: Bytes = Bytes(512 << 20), env "SANDBOX_RUN_TMPFS_SIZE", in Bytes(1 << 20)..=Bytes(1 << 50);
        /// Size of the largest file that a command writes.
        max_file: Bytes = Bytes(4 << 30), in Bytes(1 << 10)..=Bytes(1 << 50);
        /// Time of a command that names none.
        default_timeout_seconds: Seconds = Seconds::new(300), env "SANDBOX_DEFAULT_TIMEOUT_SECONDS", in Seconds::new(1)..=Seconds::new(86_400);
        /// The longest time that a command can ask for.
        max_timeout_seconds: Seconds = Seconds::new(3600), env "SANDBOX_MAX_TIMEOUT_SECONDS", in Seconds::new(1)..=Seconds::new(86_400);
        /// Bytes of standard output, and as many of standard error, that an answer carries: the first and the last.
        max_shown: Bytes = Bytes(16 << 10), in Bytes(256)..=Bytes(1 << 20);
        /// Bytes of each that are kept whole beside it, in the tool-result cache.
        max_kept: Bytes = Bytes(8 << 20), in Bytes(256)..=Bytes(256 << 20);
        /// Bytes of output of one command; one that says more is ended.
        max_output: Bytes = Bytes(64 << 20), in Bytes(1 << 10)..=Bytes(1 << 40);
        /// Sessions at a time; further ones wait.
        max_sessions: u32 = 64, in 1..=4096;
    }
}

/// The value of `sandbox.backend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Auto,
    Unit,
    Namespace,
    Docker,
    Landlock,
}

impl Choice {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Auto, "auto"),
        (Self::Unit, "unit"),
        (Self::Namespace, "namespace"),
        (Self::Docker, "docker"),
        (Self::Landlock, "landlock"),
    ];
}

/// The value of `sandbox.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLevel(pub Level);

impl JobLevel {
    const ALL: [(Self, &'static str); 4] = [
        (Self(Level::Read), "read"),
        (Self(Level::Work), "work"),
        (Self(Level::WorkNet), "work+net"),
        (Self(Level::Container), "container"),
    ];

    /// As it stands in the configuration.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(level, _)| *level == self).map_or("", |(_, name)| name)
    }
}

/// Types whose values are words.
macro_rules! words {
    ($type:ty, $kind:literal) => {
        impl Setting for $type {
            fn kind() -> Kind {
                Kind { name: $kind, optional: false }
            }
            fn from_toml(value: &Value) -> Result<Self, String> {
                String::from_toml(value).and_then(|text| Self::from_env(&text))
            }
            fn from_env(text: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().find(|(_, word)| *word == text.trim());
                found.map(|(value, _)| *value).ok_or_else(|| {
                    let words: Vec<_> = Self::ALL.iter().map(|(_, word)| *word).collect();
                    format!("expected one of {}, found {text:?}", words.join(", "))
                })
            }
            fn to_toml(&self) -> Option<Value> {
                Self::ALL.iter().find(|(value, _)| value == self).map(|(_, word)| Value::String((*word).to_owned()))
            }
        }
    };
}

words!(Choice, "`auto`, `unit`, `namespace`, `docker` or `landlock`");
words!(JobLevel, "`read`, `work`, `work+net` or `container`");

/// The value of `sandbox.require`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarantees(pub Vec<Guarantee>);

impl Guarantees {
    fn of(words: &[String]) -> Result<Self, String> {
        let guarantee = |word: &String| {
            serde_json::from_value(serde_json::Value::String(word.clone()))
                .map_err(|_| format!("{word:?} is no guarantee; there are {}", names(&Guarantee::ALL).join(", ")))
        };
        words.iter().map(guarantee).collect::<Result<_, _>>().map(Self)
    }
}

/// Guarantees as they are written.
pub(super) fn names(guarantees: &[Guarantee]) -> Vec<String> {
    guarantees
        .iter()
        .filter_map(|guarantee| serde_json::to_value(guarantee).ok()?.as_str().map(str::to_owned))
        .collect()
}

impl Setting for Guarantees {
    fn kind() -> Kind {
        Kind { name: "list of guarantees", optional: false }
    }
    fn from_toml(value: &Value) -> Result<Self, String> {
        Vec::<String>::from_toml(value).and_then(|words| Self::of(&words))
    }
    fn from_env(text: &str) -> Result<Self, String> {
        Vec::<String>::from_env(text).and_then(|words| Self::of(&words))
    }
    fn to_toml(&self) -> Option<Value> {
        names(&self.0).to_toml()
    }
}
