//! Where log lines go: the journal when standard error is connected to it, else readable lines on standard error.

pub mod catalog;
pub mod recent;

use std::io::{self, IsTerminal as _};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, Registry,
    filter::{Targets, filter_fn},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use self::recent::Recent;
use crate::config::Environment;

/// Changes the level while the daemon runs; cheap to clone. Does nothing where nothing was set up, as in tests.
#[derive(Clone, Default)]
pub struct Logging {
    handle: Option<reload::Handle<Targets, Registry>>,
    to_journal: bool,
    recent: Recent,
}

impl Logging {
    /// Sets up logging for the whole process; call once.
    ///
    /// Under systemd (`$JOURNAL_STREAM`, systemd.exec(5)) fields reach the journal as `ASSISTANT_<FIELD>`.
    pub fn start(level: &str, environment: &Environment) -> Self {
        let (filter, handle) = reload::Layer::new(targets(level));
        let journal = environment.get("JOURNAL_STREAM").and_then(|_| journal().ok());
        let to_journal = journal.is_some();
        let output = match journal {
            Some(journal) => journal
                .with_filter(filter_fn(|metadata| metadata.is_span() || catalog::id(metadata.target()).is_none()))
                .and_then(catalog::Catalogued)
                .boxed(),
            None => tracing_subscriber::fmt::layer()
                .with_writer(io::stderr)
                .with_ansi(io::stderr().is_terminal() && environment.get("NO_COLOR").is_none())
                .with_target(false)
                .boxed(),
        };
        let recent = Recent::default();
        // A second start in one process is a test's; the first one stays.
        let started = Registry::default().with(filter).with(output).with(recent.clone()).try_init().is_ok();
        Self { handle: started.then_some(handle), to_journal, recent }
    }

    /// Whether lines go to the journal.
    pub fn is_journal(&self) -> bool {
        self.to_journal
    }

    /// The newest lines.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Changes the level.
    pub fn set_level(&self, level: &str) {
        if let Some(handle) = &self.handle {
            let _ = handle.reload(targets(level)); // fails only when the subscriber is gone
        }
    }
}

/// What speaks to the journal; fails where there is none.
fn journal() -> io::Result<tracing_journald::Layer> {
    let layer = tracing_journald::layer()?;
    Ok(layer.with_field_prefix(Some("ASSISTANT".into())).with_syslog_identifier("assistantd".into()))
}

/// Our own lines at `level`, what was asked of the daemon always; those of libraries at `warn` at most, because
/// a library may log what we would redact.
fn targets(level: &str) -> Targets {
    let level = match level.trim().to_ascii_lowercase().as_str() {
        "error" => LevelFilter::ERROR,
        "warn" | "warning" => LevelFilter::WARN,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => LevelFilter::INFO,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("assistantd", level)
        .with_target("audit", LevelFilter::INFO)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_level_is_for_our_lines_and_libraries_stay_quiet() {
        let debug = targets("debug");
        assert!(debug.would_enable("assistantd::jobs", &Level::DEBUG));
        assert!(!debug.would_enable("hyper::proto", &Level::INFO));
        assert!(debug.would_enable("hyper::proto", &Level::WARN));
        assert!(!targets("error").would_enable("hyper", &Level::WARN));
        assert!(targets("error").would_enable("audit", &Level::INFO), "who asked for what is always written");
        assert!(targets("INFO").would_enable("assistantd", &Level::INFO));
    }
}
