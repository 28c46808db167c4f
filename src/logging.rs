//! Where log lines go: the journal when standard error is connected to it, else readable lines on standard error.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, Registry,
    filter::{Targets, filter_fn},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use crate::config::Environment;

/// The target of lines about what the sandbox refused; in the journal they carry `DENIED_ID`.
pub const DENIED: &str = "assistantd::denied";

/// `MESSAGE_ID=` of a refused action; the egress proxy's refusals have the same.
const DENIED_ID: &str = "e6374d03ee344e6aa2dafb4623e836e1";

/// Changes the level while the daemon runs; cheap to clone. Does nothing where nothing was set up, as in tests.
#[derive(Clone, Default)]
pub struct Logging(Option<reload::Handle<Targets, Registry>>);

impl Logging {
    /// Sets up logging for the whole process; call once.
    ///
    /// Under systemd (`$JOURNAL_STREAM`, systemd.exec(5)) fields reach the journal as `ASSISTANT_<FIELD>`.
    pub fn start(level: &str, environment: &Environment) -> Self {
        let (filter, handle) = reload::Layer::new(targets(level));
        let journal = || {
            let layer = environment.get("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok())?;
            Some(layer.with_field_prefix(Some("ASSISTANT".into())).with_syslog_identifier("assistantd".into()))
        };
        let output = match (journal(), journal()) {
            // Fields of a line always get the prefix; a field without it belongs to a whole layer.
            (Some(plain), Some(denied)) => plain
                .with_filter(filter_fn(|metadata| metadata.target() != DENIED))
                .and_then(
                    denied
                        .with_custom_fields([("MESSAGE_ID", DENIED_ID)])
                        .with_filter(filter_fn(|metadata| metadata.target() == DENIED)),
                )
                .boxed(),
            _ => tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal() && environment.get("NO_COLOR").is_none())
                .with_target(false)
                .boxed(),
        };
        // A second start in one process is a test's; the first one stays.
        match Registry::default().with(filter).with(output).try_init() {
            Ok(()) => Self(Some(handle)),
            Err(_) => Self(None),
        }
    }

    /// Changes the level.
    pub fn set_level(&self, level: &str) {
        if let Some(handle) = &self.0 {
            let _ = handle.reload(targets(level)); // fails only when the subscriber is gone
        }
    }
}

/// Our own lines at `level`; those of libraries at `warn` at most, because a library may log what we would redact.
fn targets(level: &str) -> Targets {
    let level = match level.trim().to_ascii_lowercase().as_str() {
        "error" => LevelFilter::ERROR,
        "warn" | "warning" => LevelFilter::WARN,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => LevelFilter::INFO,
    };
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("assistantd", level)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_catalog_explains_what_was_refused() {
        let catalog = include_str!("../systemd/assistant.catalog");
        assert!(catalog.lines().any(|line| line == format!("-- {DENIED_ID}")));
    }

    #[test]
    fn a_level_is_for_our_lines_and_libraries_stay_quiet() {
        let debug = targets("debug");
        assert!(debug.would_enable("assistantd::jobs", &Level::DEBUG));
        assert!(!debug.would_enable("hyper::proto", &Level::INFO));
        assert!(debug.would_enable("hyper::proto", &Level::WARN));
        assert!(!targets("error").would_enable("hyper", &Level::WARN));
        assert!(targets("INFO").would_enable("assistantd", &Level::INFO));
    }
}
