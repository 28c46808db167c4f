//! Jobs on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ApprovalId, EmailId, JobId};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Ready to run, or waiting for its `run_at`.
    Queued,
    /// Held by a worker.
    Running,
    /// Waiting for other work that it started.
    Waiting,
    /// Waiting for a person.
    NeedsReview,
    /// Done; the answer is in `metadata.final_response`.
    Completed,
    /// Given up; `last_error` says why.
    Failed,
    /// Ended by a person.
    Cancelled,
}

impl JobStatus {
    /// Every status, open ones first.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Running, Self::Waiting, Self::NeedsReview, Self::Completed, Self::Failed, Self::Cancelled];

    /// The status as it stands on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::NeedsReview => "needs_review",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the job may still change by itself or by an answer; at most one open job per thread exists.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Waiting | Self::NeedsReview)
    }
}

impl std::str::FromStr for JobStatus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|status| status.as_str()).collect();
            format!("unknown status {text:?}; one of {}", known.join(", "))
        })
    }
}

impl std::fmt::Display for JobStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A new job.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// One line, 1 to 240 characters.
    pub subject: String,
    /// The task itself, at least one character.
    pub body: String,
    /// A label for where the job came from; gives no rights. Default `dashboard@local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_address: Option<String>,
    /// Higher runs first; -1000 to 1000, default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// When to run: RFC 3339, a wall time in the configured zone (`2026-11-23T09:00`), or one with a zone
    /// (`2026-11-23T09:00[Europe/Berlin]`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<String>,
    /// Run this long from now, such as `2h` or `1d 30m`; not together with `run_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_in: Option<String>,
    /// Create the job but hold it (`waiting`) until `POST /api/jobs/{id}/release`, so that attachments can be put
    /// in place first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// Workspace paths, relative, that the prompt names as attachments; those of a held job are given at release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<String>,
    /// Model calls that each run may make, instead of `limits.max_iterations_per_task`: 1 to 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_iterations_per_task: Option<i64>,
    /// Tokens that each run may use, instead of `limits.max_tokens_per_task`: 1 to 100,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens_per_task: Option<i64>,
    /// US dollars that all of its runs together may cost, instead of `limits.max_job_cost_usd`: 0 (no limit of its own)
    /// to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_job_cost_usd: Option<f64>,
}

/// What a job carries beside its columns.
pub type Metadata = Map<String, Value>;

/// One row of the job table.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    pub id: JobId,
    pub thread_id: String,
    pub trigger_email_id: Option<EmailId>,
    pub status: JobStatus,
    pub priority: i64,
    /// Runs that were started since a person last queued it.
    pub attempts: i64,
    pub max_attempts: i64,
    pub run_at: Timestamp,
    /// When the present worker took it.
    pub locked_at: Option<Timestamp>,
    pub has_new_context: bool,
    pub task_summary: String,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    pub last_error: Option<String>,
    /// What a waiting job needs from a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
}

/// What has to happen before a `needs_review` job goes on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Needs {
    /// `answer`, `approval`, `limits`, `time`, `prompt`, `model`, `budget` or `review`.
    pub what: String,
    /// The question, the exact call, or the reason.
    pub text: String,
    /// The command that gives it, ready to type.
    pub command: String,
    /// The approval that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<ApprovalId>,
}

/// A job in a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobListItem {
    #[serde(flatten)]
    pub job: Job,
    /// US dollars.
    pub cost_total: f64,
    pub trigger_from_address: Option<String>,
    pub trigger_subject: Option<String>,
    pub trigger_received_at: Option<Timestamp>,
    /// Whether it is proved that the mail which made the job is of `trigger_from_address`; unset where no mail made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_verified: Option<bool>,
    pub context_email_count: i64,
    /// What a running job is at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<PresentStep>,
}

/// The newest row of a job's log that begins or ends a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PresentStep {
    /// As in a row of the log.
    pub event_type: String,
    pub tool_name: Option<String>,
    /// The command that is run, or the first argument of a call; one line of at most 120 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    pub at: Timestamp,
}

/// `GET /api/jobs`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobList {
    pub jobs: Vec<JobListItem>,
    /// Pass as `cursor` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `POST /api/jobs`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobCreated {
    pub job: Job,
}

/// What a job has used so far.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Always `USD`.
    pub currency: String,
    pub cost_total: f64,
    pub api_call_count: i64,
    pub total_tokens: i64,
    pub first_usage_at: Option<Timestamp>,
    pub last_usage_at: Option<Timestamp>,
}

/// One item of a job's thread.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Email {
    pub id: EmailId,
    pub message_id: String,
    pub in_reply_to: Option<String>,
    pub references_header: Vec<String>,
    pub thread_id: String,
    pub from_address: String,
    pub to_addresses: Vec<String>,
    pub cc_addresses: Vec<String>,
    pub subject: String,
    pub body_text: Option<String>,
    pub body_html: Option<String>,
    pub attachments: Vec<Value>,
    pub received_at: Timestamp,
    pub downloaded_at: Timestamp,
    pub folder: String,
    pub is_actionable: bool,
    pub created_at: Timestamp,
}

/// A thread item with its place in the conversation.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ThreadMessage {
    #[serde(flatten)]
    pub email: Email,
    /// `email` for what came in, `sent_email` for what went out.
    pub context_type: String,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// Unique within the thread, such as `email:12`.
    pub thread_item_id: String,
}

/// One row of a job's log. Secrets and provider bodies are redacted before they are stored.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LogRow {
    pub id: i64,
    pub job_id: JobId,
    /// Grows by one per row of the job.
    pub sequence: i64,
    /// `llm_request`, `llm_response`, `tool_call`, `tool_result`, `error`, `status_change`, `supervisor_note`,
    /// `tool_output` (of a command that runs) or `policy`.
    pub event_type: String,
    pub tool_name: Option<String>,
    pub tool_action: Option<String>,
    pub input_data: Option<Value>,
    pub output_data: Option<Value>,
    pub tokens_used: Option<Value>,
    pub duration_ms: Option<i64>,
    pub created_at: Timestamp,
}

/// What may be done with a job now.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the shape of the answer")]
pub struct Actions {
    pub can_cancel: bool,
    pub can_requeue: bool,
    pub can_review_override: bool,
    pub can_answer: bool,
    pub can_approve: bool,
}

/// The limits of a run as they are configured; a review starts from them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReviewDefaults {
    pub max_iterations_per_task: i64,
    pub max_tokens_per_task: i64,
    /// US dollars of the job, all of its runs together; 0: none of its own.
    #[serde(default)]
    pub max_job_cost_usd: f64,
    #[serde(default)]
    pub max_run_seconds: u64,
}

/// Why a job stopped, and how far it had come.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReviewDiagnostics {
    /// `token_budget`, `max_iterations`, `spend_cap`, `stalled`, `repeated_failure`, `agent_limit_request`, `other` or `unknown`.
    pub stop_reason: String,
    pub explanation: String,
    pub limits: Value,
    pub usage: Value,
}

/// `GET /api/jobs/{id}`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobDetail {
    pub job: Job,
    pub usage: Usage,
    pub trigger_email: Option<Email>,
    /// The newest 20 items of the thread.
    pub thread_messages: Vec<ThreadMessage>,
    pub thread_emails: Vec<Email>,
    pub emails: Vec<Email>,
    /// The newest 500 rows, oldest first.
    pub logs: Vec<LogRow>,
    /// Whether there are older rows than `logs` holds.
    pub logs_truncated: bool,
    /// Pass to `GET /api/jobs/{id}/logs` as `cursor` for the older rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs_cursor: Option<String>,
    pub actions: Actions,
    pub review_defaults: ReviewDefaults,
    pub review_diagnostics: Option<ReviewDiagnostics>,
    /// The call that waits for a yes, whole and as it would be made; for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// What the job did that outlives it, newest first.
    pub effects: Vec<crate::effects::Effect>,
    /// Workspace paths that the job wrote and that still exist, relative.
    pub written_paths: Vec<String>,
}

/// A page of older log rows.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LogPage {
    pub logs: Vec<LogRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The part of a job that changes while it runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobPoll {
    pub id: JobId,
    pub status: JobStatus,
    pub last_error: Option<String>,
    pub task_summary: String,
    pub updated_at: Timestamp,
    pub locked_at: Option<Timestamp>,
    pub attempts: i64,
    pub completed_at: Option<Timestamp>,
    pub metadata: Metadata,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
}

/// `GET /api/jobs/{id}/poll`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Poll {
    pub job: JobPoll,
    pub usage: Usage,
    pub actions: Actions,
    /// At most 200 rows after `after_sequence`, oldest first.
    pub new_logs: Vec<LogRow>,
}

/// The answer to a change of a job: its new status, or `created`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StatusReply {
    pub status: String,
}

/// `POST /api/jobs/{id}/review-override`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewOverride {
    /// At most 10,000 characters; told to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// 1 to 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_iterations_per_task: Option<i64>,
    /// 1 to 100,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens_per_task: Option<i64>,
    /// US dollars, those already spent among them: 0 (no limit of its own) to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_job_cost_usd: Option<f64>,
    /// Whether the job goes back to the queue at once.
    #[serde(default = "yes")]
    pub requeue: bool,
}

impl Default for ReviewOverride {
    fn default() -> Self {
        Self {
            instruction: None,
            max_iterations_per_task: None,
            max_tokens_per_task: None,
            max_job_cost_usd: None,
            requeue: yes(),
        }
    }
}

fn yes() -> bool {
    true
}

/// `POST /api/jobs/{id}/instructions`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInstruction {
    /// 1 to 10,000 characters; the model sees it at its next step.
    pub instruction: String,
}

/// `POST /api/jobs/{id}/answer`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// 1 to 10,000 characters.
    pub answer: String,
}

/// `POST /api/jobs/{id}/approve` and `.../deny`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The approval that was shown; without it the one that is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<ApprovalId>,
    /// Told to the model with a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A question to a person about one exact call; the answer is good for that call only, once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    pub id: ApprovalId,
    pub job_id: JobId,
    pub tool: String,
    /// The arguments of the call, as it would be made.
    pub args: Value,
    /// SHA-256 of tool name and arguments, hexadecimal; the approval is bound to it.
    pub args_hash: String,
    /// Why a person is asked.
    pub reason: String,
    /// The policy rule that asks.
    pub rule: String,
    /// `pending`, `approved`, `denied`, `used` or `void`.
    pub state: String,
    pub created_at: Timestamp,
    /// The command that says yes, ready to type.
    pub command: String,
}

/// `GET /api/approvals`: what is pending, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalList {
    pub approvals: Vec<Approval>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `POST /api/jobs/{id}/release`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Workspace paths, relative, that the prompt names.
    #[serde(default)]
    pub attachments: Vec<String>,
}

/// What an erase removed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Erased {
    pub root_job_id: JobId,
    pub job_ids: Vec<JobId>,
    pub thread_ids: Vec<String>,
    pub shared_thread_ids: Vec<String>,
    /// Rows per table; zero counts are left out.
    pub deleted: Map<String, Value>,
}

/// `DELETE /api/jobs/{id}`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EraseReply {
    pub erased: Erased,
}
