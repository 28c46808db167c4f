//! The one error every layer above the store speaks: a kind, a sentence, and what to do about it.
//!
//! It knows nothing of HTTP, exit codes or models; those mappings are in `http/problem.rs`, `ctl/src/exit.rs` and
//! `agent/tools.rs`. The source is for the journal and is never shown to a caller.

use std::{borrow::Cow, fmt, time::Duration};

pub use assistant_api::ErrorKind;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What every fallible function above the store returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with a kind that callers may branch on.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    hint: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    in_doubt: bool,
    source: Option<Source>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(message: impl Into<Cow<'static, str>>) -> Self {
            Self::new(ErrorKind::$kind, message)
        }
    )*};
}

impl Error {
    /// An error of any kind. The message is lower case, without a full stop, and says what was being done.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            field: None,
            hint: None,
            retry_after: None,
            in_doubt: false,
            source: None,
        }))
    }

    constructors! {
        /// The request cannot be understood or asks for something impossible.
        invalid => Invalid;
        /// A field is missing, of the wrong type or out of range; name it with [`Error::field`].
        validation => Validation;
        /// The role, or a guard, does not allow it.
        forbidden => Forbidden;
        /// The thing is in a state that does not allow it.
        conflict => Conflict;
        /// Larger than a limit.
        too_large => TooLarge;
        /// It did not finish in time.
        timeout => Timeout;
        /// The disk is full, or below the free-space mark.
        storage_full => StorageFull;
        /// A part that is needed does not answer or is not configured.
        unavailable => Unavailable;
    }

    /// There is no such `what`.
    pub fn not_found(what: &'static str, id: impl fmt::Display) -> Self {
        Self::new(ErrorKind::NotFound, format!("{what} {id} not found"))
    }

    /// A fault of the daemon itself; callers see only "internal error".
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::new(ErrorKind::Internal, "internal error").source(source)
    }

    /// Names the field that is at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Says that what was to be done may have been done, wholly or in part, before this happened. Without it an error
    /// means that nothing was.
    #[must_use]
    pub fn in_doubt(mut self) -> Self {
        self.0.in_doubt = true;
        self
    }

    /// Keeps the cause, for the journal only.
    #[must_use]
    pub fn source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What a caller may branch on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The field that is at fault.
    pub fn field_name(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// What to do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// When to try again.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether what was to be done may have been done all the same.
    pub fn is_in_doubt(&self) -> bool {
        self.0.in_doubt
    }

    /// The whole chain on one line, for the journal.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(err: rusqlite::Error) -> Self {
        crate::store::health::classify(err)
    }
}

impl From<serde_json::Error> for Error {
    fn from(err: serde_json::Error) -> Self {
        Self::internal(err)
    }
}
