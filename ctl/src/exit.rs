//! What a failure means for the caller: the one place that maps error kinds and job outcomes to exit codes, and
//! transport errors to what a person can do about them.

use std::{borrow::Cow, io, path::Path, process::ExitCode, time::Duration};

use assistant_api::{ErrorKind, client, jobs::JobStatus};

use crate::access;

/// How the program ends. The numbers are part of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Denied = 4,
    Unreachable = 5,
    Conflict = 6,
    Timeout = 7,
    SandboxDenied = 8,
    NeedsReview = 9,
    Cancelled = 10,
    Retry = 75,
    Config = 78,
    Interrupted = 130,
}

impl Code {
    /// Every code with what it says, for the help and the documentation.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Ok, "done; a job that was waited for has completed"),
        (Self::Failed, "it failed; a job that was waited for has failed"),
        (Self::Usage, "the command line or the request is wrong"),
        (Self::NotFound, "there is no such thing"),
        (Self::Denied, "not allowed for this user"),
        (Self::Unreachable, "the daemon cannot be reached"),
        (Self::Conflict, "the state of the thing does not allow it"),
        (Self::Timeout, "it did not finish in time"),
        (Self::SandboxDenied, "the sandbox did not let a command do it"),
        (Self::NeedsReview, "the job waits for a person"),
        (Self::Cancelled, "the job was cancelled"),
        (Self::Retry, "not now: try again later"),
        (Self::Config, "the configuration is wrong"),
        (Self::Interrupted, "ended by Ctrl-C; a followed job goes on"),
    ];

    /// The code of each kind of error that the daemon can name.
    pub const fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid | ErrorKind::Validation | ErrorKind::MethodNotAllowed | ErrorKind::UnsupportedMedia => {
                Self::Usage
            }
            ErrorKind::Unauthorized | ErrorKind::Forbidden => Self::Denied,
            ErrorKind::NotFound | ErrorKind::NotAvailable => Self::NotFound,
            ErrorKind::Conflict | ErrorKind::PreconditionFailed => Self::Conflict,
            ErrorKind::SandboxDisabled => Self::SandboxDenied,
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::RateLimited | ErrorKind::StorageFull | ErrorKind::Unavailable => Self::Retry,
            ErrorKind::TooLarge | ErrorKind::Internal => Self::Failed,
        }
    }

    /// The code of a job that was waited for.
    pub const fn of_job(status: JobStatus) -> Self {
        match status {
            JobStatus::Completed => Self::Ok,
            JobStatus::Failed => Self::Failed,
            JobStatus::Cancelled => Self::Cancelled,
            JobStatus::NeedsReview => Self::NeedsReview,
            JobStatus::Queued | JobStatus::Running | JobStatus::Waiting => Self::Timeout,
        }
    }

    /// The other code, unless this one already tells of something worse than success.
    pub fn or(self, other: Self) -> Self {
        if self == Self::Ok { other } else { self }
    }

    /// The name that stands in `error[...]` when the daemon gave none.
    const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::Unreachable => "unreachable",
            Self::Conflict => "conflict",
            Self::Timeout => "timeout",
            Self::SandboxDenied => "sandbox_denied",
            Self::NeedsReview => "needs_review",
            Self::Cancelled => "cancelled",
            Self::Retry => "retry",
            Self::Config => "config",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why a command did not succeed, as it is shown.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    /// Stands in the brackets of `error[kind]`.
    pub kind: &'static str,
    pub message: String,
    pub hint: Option<Cow<'static, str>>,
    /// The field of the request that is at fault.
    pub field: Option<String>,
    /// Found again in the daemon's journal.
    pub request_id: Option<String>,
}

/// What commands return: how the program ends.
pub type Result<T = Code, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure that was found on this side.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, kind: code.label(), message, hint: None, field: None, request_id: None }
    }

    /// The command line asks for something impossible.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// A local file or directory could not be used.
    pub fn file(doing: &str, path: &Path, err: &io::Error) -> Self {
        let code = match err.kind() {
            io::ErrorKind::NotFound => Code::NotFound,
            io::ErrorKind::PermissionDenied => Code::Denied,
            io::ErrorKind::AlreadyExists => Code::Conflict,
            _ => Code::Failed,
        };
        Self::new(code, format!("{doing} {}: {}", path.display(), plain(err)))
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether nobody reads what is printed; that is the reader's choice and no failure.
    pub fn is_broken_pipe(&self) -> bool {
        self.kind == BROKEN_PIPE
    }
}

const BROKEN_PIPE: &str = "broken_pipe";

/// The system's words without `(os error 2)`.
fn plain(err: &io::Error) -> String {
    let text = err.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Writing to the standard output failed.
impl From<io::Error> for Failure {
    fn from(err: io::Error) -> Self {
        let mut failure = Self::new(Code::Failed, format!("writing the output: {}", plain(&err)));
        if err.kind() == io::ErrorKind::BrokenPipe {
            failure.kind = BROKEN_PIPE;
        }
        failure
    }
}

impl From<client::Error> for Failure {
    fn from(err: client::Error) -> Self {
        let message = err.to_string();
        match err {
            client::Error::NoSocket(_) | client::Error::Refused(_) => {
                Self::new(Code::Unreachable, message).hint(how_to_start())
            }
            client::Error::Denied(_) => Self::new(Code::Denied, message).hint(access::way_in()),
            client::Error::Connect { .. } => Self::new(Code::Unreachable, message),
            client::Error::Lost(_) => Self::new(Code::Unreachable, message)
                .hint("the daemon may have stopped: see assistantctl doctor and journalctl -u assistantd"),
            client::Error::Timeout(_) => {
                Self::new(Code::Timeout, message).hint("see assistantctl doctor and journalctl -u assistantd")
            }
            client::Error::Invalid(_) => Self::usage(message),
            client::Error::Protocol(_) => Self::new(Code::Failed, message)
                .hint("daemon and assistantctl may differ in version: compare both in assistantctl doctor"),
            client::Error::Problem { problem, retry_after } => Self {
                code: Code::of(problem.kind),
                kind: problem.kind.as_str(),
                message: problem.title,
                hint: problem.hint.map(Cow::Owned).or_else(|| retry_after.map(again)),
                field: problem.field,
                request_id: Some(problem.request_id).filter(|id| !id.is_empty()),
            },
        }
    }
}

fn again(after: Duration) -> Cow<'static, str> {
    format!("try again in {} s", after.as_secs()).into()
}

/// The command that starts the daemon here.
pub fn how_to_start() -> &'static str {
    if Path::new("/run/systemd/system").is_dir() {
        "start it with: sudo systemctl start assistantd (by hand: assistantd), or name its socket with --socket"
    } else {
        "start it with: assistantd, or name its socket with --socket"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_code() {
        let kinds = [
            (ErrorKind::Invalid, 2),
            (ErrorKind::Validation, 2),
            (ErrorKind::Unauthorized, 4),
            (ErrorKind::Forbidden, 4),
            (ErrorKind::NotFound, 3),
            (ErrorKind::MethodNotAllowed, 2),
            (ErrorKind::Conflict, 6),
            (ErrorKind::PreconditionFailed, 6),
            (ErrorKind::TooLarge, 1),
            (ErrorKind::UnsupportedMedia, 2),
            (ErrorKind::RateLimited, 75),
            (ErrorKind::Timeout, 7),
            (ErrorKind::StorageFull, 75),
            (ErrorKind::Unavailable, 75),
            (ErrorKind::Internal, 1),
        ];
        for (kind, code) in kinds {
            assert_eq!(Code::of(kind) as u8, code, "{kind:?}");
        }
    }

    #[test]
    fn codes_are_listed_once_and_in_order() {
        let numbers: Vec<u8> = Code::ALL.iter().map(|(code, _)| *code as u8).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    }

    #[test]
    fn each_transport_error_has_its_code_and_a_way_out() {
        let socket = || "/run/assistant/api.sock".into();
        for (err, code, hint) in [
            (client::Error::NoSocket(socket()), Code::Unreachable, "start it"),
            (client::Error::Refused(socket()), Code::Unreachable, "start it"),
            (client::Error::Denied(socket()), Code::Denied, "assistant-users"),
            (client::Error::Timeout(Duration::from_secs(1)), Code::Timeout, "doctor"),
        ] {
            let failure = Failure::from(err);
            assert_eq!(failure.code, code);
            assert!(failure.hint.as_deref().unwrap_or_default().contains(hint), "{failure:?}");
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        assert!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_broken_pipe());
        assert!(!Failure::from(io::Error::from(io::ErrorKind::StorageFull)).is_broken_pipe());
    }
}
