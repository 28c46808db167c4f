//! The newest lines of the log, kept in memory for whoever looks at them through the API.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use assistant_api::{
    JobId,
    log::{LogLevel, LogLine},
};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{layer::Context, registry::LookupSpan};

/// Lines that are kept.
const LINES: usize = 2000;
/// Their bytes, as far as they are texts.
const BYTES: usize = 1 << 20;
/// Bytes of one text; the rest is in the journal.
const TEXT: usize = 2000;

/// The newest lines; cheap to clone.
#[derive(Clone, Debug)]
pub struct Recent(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    newest: watch::Sender<i64>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<LogLine>,
    bytes: usize,
    last: i64,
}

/// Which lines somebody wants.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Not those that matter less.
    pub level: Option<LogLevel>,
    pub job: Option<JobId>,
    /// Which this text occurs in, in whatever case.
    pub text: Option<String>,
}

impl Default for Recent {
    fn default() -> Self {
        Self(Arc::new(Shared { kept: Mutex::default(), newest: watch::Sender::new(0) }))
    }
}

impl Recent {
    /// The newest `limit` of the lines behind `after`, the oldest of them first.
    pub fn newest(&self, after: i64, limit: usize, wanted: &Wanted) -> Vec<LogLine> {
        let kept = self.kept();
        let behind = kept.lines.iter().rev().take_while(|line| line.id > after);
        let mut found: Vec<LogLine> = behind.filter(|line| wanted.wants(line)).take(limit).cloned().collect();
        found.reverse();
        found
    }

    /// The number of the newest line, now and from now on; 0 before the first.
    pub fn news(&self) -> watch::Receiver<i64> {
        self.0.newest.subscribe()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, at: Timestamp, mut line: LogLine) {
        let mut kept = self.kept();
        line.id = at.as_microsecond().max(kept.last + 1);
        kept.last = line.id;
        kept.bytes += size(&line);
        kept.lines.push_back(line);
        while kept.lines.len() > LINES || kept.bytes > BYTES {
            let Some(old) = kept.lines.pop_front() else { break };
            kept.bytes -= size(&old);
        }
        let last = kept.last;
        drop(kept);
        self.0.newest.send_replace(last);
    }
}

fn size(line: &LogLine) -> usize {
    let fields = line.fields.iter().map(|(name, value)| name.len() + value.as_str().map_or(8, str::len));
    line.text.len() + line.target.len() + fields.sum::<usize>()
}

impl Wanted {
    fn wants(&self, line: &LogLine) -> bool {
        let holds = |text: &str| {
            let says = |said: &str| said.to_lowercase().contains(text);
            says(&line.text) || says(&line.target) || line.fields.values().filter_map(Value::as_str).any(says)
        };
        self.level.is_none_or(|level| line.level <= level)
            && self.job.is_none_or(|job| line.job_id == Some(job))
            && self.text.as_ref().is_none_or(|text| holds(&text.to_lowercase()))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Recent {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut said = Said::default();
        attributes.record(&mut said);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(said);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(said) = span.extensions_mut().get_mut::<Said>()
        {
            values.record(said);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut said = Said::default();
        for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(outer) = span.extensions().get::<Said>() {
                said.fields.extend(outer.fields.clone());
            }
        }
        event.record(&mut said);
        #[expect(clippy::disallowed_methods, reason = "as the journal does: the time at which it is written")]
        let at = Timestamp::now();
        let metadata = event.metadata();
        let job_id = said.fields.remove("job_id").and_then(|id| id.as_i64().or_else(|| id.as_str()?.parse().ok()));
        self.keep(
            at,
            LogLine {
                id: 0,
                at,
                level: level(*metadata.level()),
                target: metadata.target().to_owned(),
                text: said.text,
                job_id: job_id.map(JobId),
                fields: said.fields,
            },
        );
    }
}

fn level(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

/// What a line or what is around it says.
#[derive(Default)]
struct Said {
    text: String,
    fields: Map<String, Value>,
}

impl Said {
    fn add(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for Said {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = shortened(value);
        if field.name() == "message" { self.text = text } else { self.add(field, text.into()) }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn logged(work: impl FnOnce()) -> Recent {
        let recent = Recent::default();
        let subscriber = tracing_subscriber::Registry::default().with(recent.clone());
        tracing::subscriber::with_default(subscriber, work);
        recent
    }

    #[test]
    fn a_line_has_its_fields_and_those_around_it() {
        let recent = logged(|| {
            let span = tracing::info_span!("request", request_id = %"r1", job_id = 1_i64);
            let _entered = span.enter();
            tracing::warn!(job_id = 7_i64, tries = 2_u64, good = false, why = "because", "it went wrong");
        });
        let lines = recent.newest(0, 10, &Wanted::default());
        let line = &lines[0];
        assert_eq!(lines.len(), 1);
        assert_eq!((line.level, line.text.as_str(), line.job_id), (LogLevel::Warn, "it went wrong", Some(JobId(7))));
        assert_eq!(
            Value::Object(line.fields.clone()),
            serde_json::json!({ "request_id": "r1", "tries": 2, "good": false, "why": "because" })
        );
    }

    #[test]
    fn what_is_wanted_is_found_in_order() {
        let recent = logged(|| {
            for number in 0..5_i64 {
                tracing::info!(job_id = number % 2, "line {number}");
            }
            tracing::error!(host = "Mail.Example", "nobody answers");
        });
        let texts = |after, limit, wanted: &Wanted| -> Vec<String> {
            recent.newest(after, limit, wanted).into_iter().map(|line| line.text).collect()
        };
        let all = Wanted::default();
        assert_eq!(texts(0, 2, &all), ["line 4", "nobody answers"]);
        let third = recent.newest(0, 10, &all)[2].id;
        assert_eq!(texts(third, 10, &all), ["line 3", "line 4", "nobody answers"]);
        assert_eq!(texts(0, 10, &Wanted { level: Some(LogLevel::Warn), ..all.clone() }), ["nobody answers"]);
        assert_eq!(texts(0, 10, &Wanted { job: Some(JobId(1)), ..all.clone() }), ["line 1", "line 3"]);
        assert_eq!(texts(0, 10, &Wanted { text: Some("mail.EXAMPLE".into()), ..all }), ["nobody answers"]);
        assert_eq!(*recent.news().borrow(), recent.newest(0, 1, &Wanted::default())[0].id);
    }

    #[test]
    fn many_and_long_lines_are_bounded() {
        let long = "ä".repeat(5000);
        let recent = logged(|| (0..3000).for_each(|_| tracing::info!("{long}")));
        let kept = recent.kept();
        assert!(kept.bytes <= BYTES && kept.lines.len() > 200, "{} bytes in {} lines", kept.bytes, kept.lines.len());
        assert!(kept.lines.iter().all(|line| line.text.chars().count() == TEXT + 1));
        assert!(kept.lines.iter().zip(kept.lines.iter().skip(1)).all(|(one, next)| one.id < next.id));
    }
}
