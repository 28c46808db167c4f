//! Each request as one structured line.

use crate::{
    control::{Record, Verdict},
    journal::REFUSED,
};

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
        Verdict::Allowed | Verdict::Failed => line!(info, "assistant_broker::egress"),
    }
}

fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}
