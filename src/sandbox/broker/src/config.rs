//! The proxy's configuration: one TOML file.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    allow::{self, Entry},
    settings::{Fault, Range, check_ranges, line, open, read},
};

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Hosts that sandboxes may reach; empty: none.
    pub allow: Vec<Entry>,
    pub limits: Limits,
}

/// The file as it is written; entries are read later, because only then their lines are known.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    allow: Vec<toml::Spanned<String>>,
    limits: Limits,
}

/// Bounds of one connection, one request and all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: u32,
    /// Requests of one job at once; more are answered with 429.
    pub requests_per_job: u32,
    /// Tokens that may be granted at once.
    pub grants: u32,
    /// Seconds in which the head of a request, and the first message of TLS in a tunnel, must be there.
    pub header_seconds: u32,
    /// Bytes of the head of a request.
    pub header_bytes: u32,
    /// Seconds to resolve a name.
    pub resolve_seconds: u32,
    /// Seconds to connect, all addresses of a name together.
    pub connect_seconds: u32,
    /// Seconds without a byte in either direction.
    pub idle_seconds: u32,
    /// Seconds of one request or tunnel in all.
    pub total_seconds: u32,
    /// Bytes that one request or tunnel may send.
    pub upload_bytes: u64,
    /// Bytes that one request or tunnel may receive.
    pub download_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            requests_per_job: 256,
            grants: 256,
            header_seconds: 10,
            header_bytes: 32 << 10,
            resolve_seconds: 10,
            connect_seconds: 10,
            idle_seconds: 300,
            total_seconds: 3600,
            upload_bytes: 256 << 20,
            download_bytes: 4 << 30,
        }
    }
}

impl Limits {
    /// [`Limits::header_seconds`].
    pub fn header(&self) -> Duration {
        Duration::from_secs(self.header_seconds.into())
    }

    /// [`Limits::resolve_seconds`].
    pub fn resolve(&self) -> Duration {
        Duration::from_secs(self.resolve_seconds.into())
    }

    /// [`Limits::connect_seconds`].
    pub fn connect(&self) -> Duration {
        Duration::from_secs(self.connect_seconds.into())
    }

    /// [`Limits::idle_seconds`].
    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds.into())
    }

    /// [`Limits::total_seconds`].
    pub fn total(&self) -> Duration {
        Duration::from_secs(self.total_seconds.into())
    }

    fn ranges(&self) -> [Range; 11] {
        let seconds = 1..=86_400;
        [
            ("connections", self.connections.into(), 1..=65_536),
            ("requests_per_job", self.requests_per_job.into(), 1..=65_536),
            ("grants", self.grants.into(), 1..=65_536),
            ("header_seconds", self.header_seconds.into(), seconds.clone()),
            ("header_bytes", self.header_bytes.into(), 8192..=1 << 20),
            ("resolve_seconds", self.resolve_seconds.into(), seconds.clone()),
            ("connect_seconds", self.connect_seconds.into(), seconds.clone()),
            ("idle_seconds", self.idle_seconds.into(), seconds.clone()),
            ("total_seconds", self.total_seconds.into(), seconds),
            ("upload_bytes", self.upload_bytes, 1..=u64::MAX),
            ("download_bytes", self.download_bytes, 1..=u64::MAX),
        ]
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
        let written: Written = read(text, file)?;
        let entry = |(index, text_of): (usize, &toml::Spanned<String>)| {
            let wrong = |err: allow::Fault| {
                Fault::at(file, line(text, Some(text_of.span())), format!("allow[{index}]"), err.to_string())
            };
            text_of.get_ref().parse().map_err(wrong)
        };
        let allow = written.allow.iter().enumerate().map(entry).collect::<Result<_, _>>()?;
        let config = Self { allow, limits: written.limits };
        check_ranges(text, file, "limits.", &config.limits.ranges())?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SHIPPED: &str = include_str!("../../../../config/egress.toml");

    #[test]
    fn a_fault_names_file_line_and_key() {
        for (text, fault) in [
            ("allow = [\n  \"example.org\",\n  \"*.org\",\n]", "e.toml:3: allow[1]: \"*.org\" is no entry"),
            ("\nalow = []", "e.toml:2: alow: unknown field `alow`"),
            ("allow = \"example.org\"", "e.toml:1: allow: invalid type"),
            ("allow = [1]", "e.toml:1: allow[0]"),
            ("allow = [", "e.toml:1: "),
            ("allow = []\nallow = []", "e.toml:2: "),
            ("[limits]\nidle = 3", "e.toml:2: limits.idle: unknown field `idle`"),
            ("[limits]\nidle_seconds = 0", "e.toml:2: limits.idle_seconds: 0 is not from 1 to 86400"),
            ("[limits]\nidle_seconds = -1", "e.toml:2: limits.idle_seconds: invalid value"),
            ("[limits]\nheader_bytes = 10", "e.toml:2: limits.header_bytes: 10 is not from 8192 to 1048576"),
            ("[other]", "e.toml:1: other: unknown field `other`"),
        ] {
            let found = Config::parse(text, "e.toml").unwrap_err().to_string();
            assert!(found.starts_with(fault), "{text:?}: {found}");
        }
        let missing = Config::load(Path::new("/nonexistent/e.toml")).unwrap_err().to_string();
        assert!(missing.starts_with("/nonexistent/e.toml: reading it: "), "{missing}");
        assert_eq!(Config::parse("", "e.toml").unwrap(), Config::default());
    }

    #[test]
    fn the_shipped_file_shows_every_key_commented_out() {
        assert_eq!(Config::parse(SHIPPED, "egress.toml").unwrap(), Config::default());
        let set: String = SHIPPED
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#'])).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n")
            .replace("\n#    ", "\n    ");
        let config = Config::parse(&set, "egress.toml").unwrap();
        assert_eq!(config.limits, Limits::default());
        assert!(config.allow.len() >= 10, "{:?}", config.allow);
        let keys = |table: &toml::Table| table.keys().cloned().collect::<BTreeSet<_>>();
        let shown: toml::Table = set.parse().unwrap();
        assert_eq!(keys(&shown), BTreeSet::from(["allow".to_owned(), "limits".to_owned()]));
        assert_eq!(keys(shown["limits"].as_table().unwrap()), keys(&toml::Table::try_from(Limits::default()).unwrap()));
        // Every setting is a comment; only the heading of the table is not.
        let live: Vec<&str> = SHIPPED.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert_eq!(live, ["[limits]"]);
    }
}
