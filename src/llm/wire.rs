//! What the two protocols have in common: a decoder of answers, what can be wrong with one, and what a server has been
//! found not to take.

use std::sync::atomic::{AtomicU8, Ordering};

use super::{Answer, LlmError, OnDelta, failure::Said, sse::Event};

/// Puts an answer together from events or from one whole body.
pub(super) trait Decoder: Send {
    fn event(&mut self, event: &Event, on_delta: Option<&OnDelta>) -> Result<(), Fault>;
    /// The server did not stream.
    fn whole(&mut self, body: &[u8], on_delta: Option<&OnDelta>) -> Result<(), Fault>;
    /// The protocol's own end has come.
    fn is_done(&self) -> bool;
    /// There is no more.
    fn finish(self: Box<Self>) -> Result<Answer, Fault>;
}

/// Why an answer that began well is none.
#[derive(Debug)]
pub(super) enum Fault {
    /// The provider says so itself.
    Said(Said),
    /// It is not what the protocol has.
    Protocol(String),
    /// It ended before it was complete.
    Ended,
}

impl Fault {
    /// JSON that is none. The parser's message quotes what it read, so only the place is kept.
    pub(super) fn malformed(err: &serde_json::Error) -> Self {
        Self::Protocol(format!("JSON that cannot be read (line {}, column {})", err.line(), err.column()))
    }

    pub(super) fn error(self, model: &str, redact: impl Fn(&str) -> String) -> LlmError {
        match self {
            Self::Said(said) => said.error(model, redact),
            Self::Protocol(reason) => LlmError::Protocol { model: model.to_owned(), reason },
            Self::Ended => LlmError::Unavailable {
                model: model.to_owned(),
                reason: "the answer ended before it was complete".into(),
                retry_after: None,
            },
        }
    }
}

/// How an answer is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampling {
    pub(super) max_tokens: u32,
    pub(super) temperature: f64,
}

/// A parameter that a model does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Quirk {
    NoTemperature = 1,
    /// `max_completion_tokens` in place of `max_tokens`.
    CompletionTokens = 2,
    NoStreamOptions = 4,
}

/// What has been learnt of a model from its refusals, until the next start.
#[derive(Debug, Default)]
pub(super) struct Quirks(AtomicU8);

impl Quirks {
    /// How many there are, and so how often a request can be worth another try.
    pub(super) const COUNT: usize = 3;

    pub(super) fn has(&self, quirk: Quirk) -> bool {
        self.0.load(Ordering::Relaxed) & quirk as u8 != 0
    }

    /// Whether a refusal teaches something new.
    pub(super) fn learn(&self, said: &Said) -> bool {
        [
            (Quirk::NoTemperature, "temperature"),
            (Quirk::CompletionTokens, "max_completion_tokens"),
            (Quirk::NoStreamOptions, "stream_options"),
        ]
        .into_iter()
        .find(|(quirk, parameter)| !self.has(*quirk) && said.names(parameter))
        .is_some_and(|(quirk, _)| {
            self.0.fetch_or(quirk as u8, Ordering::Relaxed);
            true
        })
    }
}
