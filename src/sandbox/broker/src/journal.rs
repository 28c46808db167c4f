//! Log lines: in the journal under systemd, else on standard error.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _,
    filter::{Targets, filter_fn},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::control::DENIED;

/// The target of lines about refused requests, which carry a `MESSAGE_ID`.
pub(crate) const REFUSED: &str = "assistant_broker::refused";

/// Sets up logging for the whole process; call once. Fields reach the journal as `ASSISTANT_<FIELD>`.
pub fn start(identifier: &str) {
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("assistant_broker", LevelFilter::INFO)
        .with_target("assistant_egress", LevelFilter::INFO)
        .with_target("assistant_docker", LevelFilter::INFO);
    let journal = std::env::var_os("JOURNAL_STREAM").map(|_| {
        let layer = || {
            tracing_journald::layer().map(|layer| {
                layer.with_field_prefix(Some("ASSISTANT".into())).with_syslog_identifier(identifier.into())
            })
        };
        (layer(), layer())
    });
    let output = match journal {
        Some((Ok(plain), Ok(refused))) => plain
            .with_filter(filter_fn(|metadata| metadata.target() != REFUSED))
            .and_then(
                refused
                    .with_custom_fields([("MESSAGE_ID", DENIED)])
                    .with_filter(filter_fn(|metadata| metadata.target() == REFUSED)),
            )
            .boxed(),
        _ => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .boxed(),
    };
    let _ = tracing_subscriber::registry().with(output.with_filter(targets)).try_init(); // fails only if it was called before
}
