//! Mail on the wire: what came and what was decided about it, what went out, what was made of attachments.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EffectId, EmailId, JobId, effects::EffectState, jobs::Email};

/// What was decided about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It made a job.
    Job,
    /// It was added to the open job of its thread.
    Joined,
    /// It answered the question of a job.
    Answered,
    /// It approved what a job asked for.
    Approved,
    /// It refused what a job asked for.
    Denied,
    /// It is kept and nobody acts on it.
    Stored,
    /// A person said that nothing is to be done about it.
    Ignored,
    /// It had come before.
    Duplicate,
    /// Nobody wrote it, or there were too many.
    Loop,
    /// It tells what became of a mail that was sent.
    Bounce,
    /// The assistant sent it itself.
    Own,
    /// It could not be read.
    SetAside,
}

impl Decision {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Job,
        Self::Joined,
        Self::Answered,
        Self::Approved,
        Self::Denied,
        Self::Stored,
        Self::Ignored,
        Self::Duplicate,
        Self::Loop,
        Self::Bounce,
        Self::Own,
        Self::SetAside,
    ];

    /// As it stands on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Joined => "joined",
            Self::Answered => "answered",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Stored => "stored",
            Self::Ignored => "ignored",
            Self::Duplicate => "duplicate",
            Self::Loop => "loop",
            Self::Bounce => "bounce",
            Self::Own => "own",
            Self::SetAside => "set_aside",
        }
    }
}

impl std::str::FromStr for Decision {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.iter().map(|decision| decision.as_str()).collect::<Vec<_>>().join(", ");
        let found = Self::ALL.iter().copied().find(|decision| decision.as_str() == text);
        found.ok_or_else(|| format!("there is no decision {text:?}; there are {}", names()))
    }
}

/// A message that came, and what was decided about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Received {
    pub id: i64,
    /// Its item in a thread; null of a duplicate and of what could not be read.
    pub email_id: Option<EmailId>,
    /// Which folder it came to: `user@host/folder`.
    pub mailbox: String,
    pub message_id: Option<String>,
    pub from_address: Option<String>,
    pub subject: Option<String>,
    pub size_bytes: i64,
    /// Whether the mail system proves the sender to be who `From` names.
    pub verified: bool,
    /// By what, or why not.
    pub verification: serde_json::Value,
    pub decision: Decision,
    /// Why, in words.
    pub reason: String,
    /// Who decided, when it was a person.
    pub decided_by: Option<String>,
    pub job_id: Option<JobId>,
    /// Whether it was moved to the archive folder: `none`, `due`, `done`, `failed`.
    pub archive: String,
    pub archive_error: Option<String>,
    /// When the mail server got it.
    pub received_at: Timestamp,
    pub decided_at: Timestamp,
}

/// A mail that goes or went out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outgoing {
    pub id: i64,
    pub effect_id: EffectId,
    pub job_id: Option<JobId>,
    /// `agent`: a job's own; `result`: the answer to who asked; `question`, `approval`, `notice`, `progress`: told by the
    /// daemon; `test`.
    pub kind: String,
    pub message_id: String,
    pub in_reply_to: Option<String>,
    pub from_address: String,
    pub to_addresses: Vec<String>,
    pub cc_addresses: Vec<String>,
    pub subject: String,
    /// Where it stands: `unknown` waits for a person.
    pub state: EffectState,
    pub attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<Timestamp>,
    /// What the server said last.
    pub answer: Option<String>,
    /// Whether a copy lies in the folder of sent mail: `none`, `due`, `done`, `failed`.
    pub sent_copy: String,
    pub sent_copy_error: Option<String>,
    /// What a mail that came back says of it.
    pub bounce: Option<String>,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
}

/// What was made of an attachment or a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    pub artifact_id: i64,
    pub email_id: EmailId,
    /// `attachment` or `youtube_url`
    pub source: String,
    pub label: String,
    pub original_filename: Option<String>,
    pub content_type: Option<String>,
    pub source_uri: Option<String>,
    pub size_bytes: Option<i64>,
    /// `pending`, `clean`, `infected`, `error`, `skipped` or `not_applicable`
    pub scan_status: String,
    pub scan_result: Option<String>,
    /// `pending`, `ready`, `unsupported`, `failed` or `skipped`
    pub conversion_status: String,
    /// In the workspace, relative to it.
    pub markdown_path: Option<String>,
    pub markdown_size_bytes: Option<i64>,
    pub error: Option<String>,
}

/// The answer to `GET /api/mail/received`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReceivedList {
    /// Newest first.
    pub received: Vec<Received>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// The answer to `GET /api/mail/received/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReceivedDetail {
    pub received: Received,
    /// Names and values of its headers, in their order.
    pub headers: Vec<(String, String)>,
    /// What is kept of it; its `body_html` loads nothing and runs nothing.
    pub email: Option<Email>,
    pub artifacts: Vec<Artifact>,
}

/// The answer to `GET /api/mail/outbox`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutgoingList {
    /// Newest first.
    pub outbox: Vec<Outgoing>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// The answer to `GET /api/mail/outbox/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutgoingDetail {
    pub outgoing: Outgoing,
    /// The text as it was written, Markdown.
    pub body_text: String,
    /// What is attached: names, types and sizes.
    pub attachments: Vec<serde_json::Value>,
    /// Whether it ends with the sentence that a machine wrote it.
    pub disclosure_added: bool,
}

/// What a person decides about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ByHand {
    /// Act on it: the person stands for who sent it.
    Accept,
    /// Nothing is to be done about it.
    Ignore,
}

/// `POST /api/mail/received/{id}/decide`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    pub decision: ByHand,
}

/// One line of `GET /api/emails`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EmailHead {
    pub id: EmailId,
    pub message_id: String,
    pub thread_id: String,
    pub from_address: String,
    pub subject: String,
    pub received_at: Timestamp,
    pub is_actionable: bool,
}

/// The answer to `GET /api/emails`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EmailList {
    /// Newest first.
    pub emails: Vec<EmailHead>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// The answer to `GET /api/emails/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EmailDetail {
    pub email: Email,
    pub artifacts: Vec<Artifact>,
}

/// What the daemon does about the mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Watching {
    /// No mail is received: there is no `email.imap_host`.
    #[default]
    Off,
    /// It logs in.
    Connecting,
    /// It takes in what came.
    Fetching,
    /// The server tells of new mail at once (IDLE).
    Idle,
    /// The folder is looked at every `email.imap_poll_interval_seconds`.
    Polling,
    /// There is no connection; it is tried again.
    Failing,
}

/// How it stands with receiving.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inbox {
    pub watching: Watching,
    /// `user@host/folder`
    pub mailbox: Option<String>,
    /// Since when it does.
    pub since: Option<Timestamp>,
    /// What went wrong last, since there was a connection.
    pub error: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    pub error_at: Option<Timestamp>,
    /// Attempts in a row that failed.
    pub failures: u32,
}

/// One step of `assistantctl mail test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestStep {
    /// `imap_tls`, `imap_login`, `folders`, `idle`, `smtp_login`, `send` or `arrival`
    pub step: String,
    pub ok: bool,
    /// What was found, or what is wrong and what to do about it.
    pub detail: String,
    pub duration_ms: u64,
}

/// What the mailbox can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestResult {
    /// All steps were.
    pub ok: bool,
    pub steps: Vec<TestStep>,
}

/// The answer to `GET /api/mail`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MailStatus {
    pub inbox: Inbox,
    /// Whether mail can be sent: there is a server for it and an address to send from.
    pub sends: bool,
    /// Mails that wait for an attempt.
    pub due: i64,
    /// Mails of which nobody knows whether they arrived; each waits for a person.
    pub unknown: i64,
    /// Messages that could not be read.
    pub set_aside: i64,
    /// Messages that are still to be moved to the archive folder.
    pub to_archive: i64,
}
