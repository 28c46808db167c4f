//! The configuration of `assistant-docker`: one TOML file.

use std::path::{Path, PathBuf};

use assistant_sandbox::protocol::Limits;
use serde::Deserialize;

use crate::settings::{Fault, check_ranges, line_of_key, open, read};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The engine's socket.
    pub engine: PathBuf,
    /// Images that sessions may have, by name; the first is the default.
    pub images: Vec<String>,
    /// The workspace, as the engine finds it.
    pub workspace: PathBuf,
    /// The static runner, as the engine finds it.
    pub runner: PathBuf,
    /// User and group of commands, as numbers; unset: those of the daemon, or of the workspace where that is root.
    pub user: Option<User>,
    /// Containers at once.
    pub sessions: u32,
    /// Seconds in which a container must be up.
    pub start_seconds: u32,
    /// The most that a session may ask for.
    pub limits: Limits,
}

/// Who commands are in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

/// What the daemon asks for unless it is told otherwise: `sandbox.max_timeout_seconds`.
const SECONDS: u64 = 3600;

impl Default for Config {
    fn default() -> Self {
        Self {
            engine: "/run/docker.sock".into(),
            images: vec!["assistant-work:1".to_owned()],
            workspace: "/var/lib/assistant/workspace".into(),
            runner: "/usr/lib/assistant/assistant-sandbox".into(),
            user: None,
            sessions: 16,
            start_seconds: 30,
            limits: Limits { seconds: SECONDS, ..Limits::default() },
        }
    }
}

impl Config {
    /// Reads `file`.
    pub fn load(file: &Path) -> Result<Self, Fault> {
        let (text, name) = open(file)?;
        Self::parse(&text, &name)
    }

    /// The configuration that `text` says; `file` names it in what is said of faults.
    pub fn parse(text: &str, file: &str) -> Result<Self, Fault> {
        let mut config: Self = read(text, file)?;
        // A table that names other bounds, or none as in the shipped file, does not change this one.
        let given: toml::Table = text.parse().unwrap_or_default();
        if given.get("limits").and_then(|limits| limits.get("seconds")).is_none() {
            config.limits.seconds = SECONDS;
        }
        let seconds = 1..=86_400;
        let ranges =
            [("sessions", config.sessions.into(), 1..=1024), ("start_seconds", config.start_seconds.into(), seconds)];
        check_ranges(text, file, "", &ranges)?;
        let most = config.limits;
        let limits = [
            ("seconds", most.seconds),
            ("memory_bytes", most.memory_bytes),
            ("processes", most.processes),
            ("cpu_millis", most.cpu_millis),
            ("tmp_bytes", most.tmp_bytes),
            ("file_bytes", most.file_bytes),
            ("output_bytes", most.output_bytes),
        ];
        // To an engine 0 means `no bound`.
        check_ranges(text, file, "limits.", &limits.map(|(name, value)| (name, value, 1..=i64::MAX as u64)))?;
        let fault =
            |key: &str, reason: &str| Err(Fault::at(file, line_of_key(text, key), key.to_owned(), reason.to_owned()));
        for (key, path) in [("engine", &config.engine), ("workspace", &config.workspace), ("runner", &config.runner)] {
            if !path.is_absolute() {
                return fault(key, "give an absolute path");
            }
        }
        if config.user.is_some_and(|user| user.uid == 0 || user.gid == 0) {
            return fault("user", "commands never run as root");
        }
        let is_name = |name: &String| {
            let letter = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b);
            !name.is_empty() && name.len() <= 255 && name.bytes().all(letter) && !name.contains("..")
        };
        if config.images.is_empty() || !config.images.iter().all(is_name) {
            return fault("images", "a list of one or more names of images, such as \"assistant-work:1\"");
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../../../config/docker.toml");

    #[test]
    fn a_fault_names_file_line_and_key() {
        for (text, fault) in [
            ("\nimage = []", "d.toml:2: image: unknown field `image`"),
            ("images = []", "d.toml:1: images: a list of one or more"),
            ("images = [\"a b\"]", "d.toml:1: images: "),
            ("images = [\"../x\"]", "d.toml:1: images: "),
            ("engine = \"docker.sock\"", "d.toml:1: engine: give an absolute path"),
            ("user = { uid = 0, gid = 5 }", "d.toml:1: user: commands never run as root"),
            ("sessions = 0", "d.toml:1: sessions: 0 is not from 1 to 1024"),
            ("[limits]\nprocesses = 0", "d.toml:2: limits.processes: 0 is not from 1 to"),
            ("[limits]\nmemory = 1", "d.toml:2: limits.memory: unknown field `memory`"),
        ] {
            let found = Config::parse(text, "d.toml").unwrap_err().to_string();
            assert!(found.starts_with(fault), "{text:?}: {found}");
        }
    }

    #[test]
    fn the_shipped_file_shows_every_key_commented_out() {
        assert_eq!(Config::parse(SHIPPED, "docker.toml").unwrap(), Config::default());
        let uncommented =
            |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned();
        let set = SHIPPED.lines().map(uncommented).collect::<Vec<_>>().join("\n");
        let config = Config::parse(&set, "docker.toml").unwrap();
        assert_eq!(Config { user: None, ..config }, Config::default());
        let shown: toml::Table = set.parse().unwrap();
        for key in ["engine", "images", "workspace", "runner", "user", "sessions", "start_seconds", "limits"] {
            assert!(shown.contains_key(key), "{key}");
        }
        let limits = toml::Table::try_from(Limits::default()).unwrap();
        assert!(shown["limits"].as_table().unwrap().keys().eq(limits.keys()));
    }
}
