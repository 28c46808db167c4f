//! Each request as one structured line: in the journal under systemd, else on standard error.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _,
    filter::{Targets, filter_fn},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::control::{DENIED, Record, Verdict};

/// The target of lines about refused requests, which carry a `MESSAGE_ID`.
const REFUSED: &str = "assistant_egress::refused";
const IDENTIFIER: &str = "assistant-egress";

/// Sets up logging for the whole process; call once. Fields reach the journal as `ASSISTANT_<FIELD>`.
pub fn start() {
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("assistant_broker", LevelFilter::INFO)
        .with_target("assistant_egress", LevelFilter::INFO);
    let journal = std::env::var_os("JOURNAL_STREAM").map(|_| {
        let layer = || {
            tracing_journald::layer().map(|layer| {
                layer.with_field_prefix(Some("ASSISTANT".into())).with_syslog_identifier(IDENTIFIER.into())
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

/// Writes one line.
pub(super) fn tell(record: &Record) {
    macro_rules! line {
        ($level:ident, $target:expr) => {
            tracing::$level!(
                target: $target,
                job_id = record.job,
                kind = word(record.kind),
                host = record.host,
                port = record.port,
                address = record.address.map(tracing::field::display),
                verdict = word(record.verdict),
                reason = record.reason.word(),
                rule = record.rule,
                bytes_up = record.bytes_up,
                bytes_down = record.bytes_down,
                duration_ms = record.duration_ms,
                "{}",
                record.sentence()
            )
        };
    }
    match record.verdict {
        Verdict::Refused => line!(warn, REFUSED),
        Verdict::Allowed | Verdict::Failed => line!(info, "assistant_egress"),
    }
}

fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}
