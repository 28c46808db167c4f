//! The daemon's state on the wire.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    JobId, Role,
    jobs::{JobStatus, Needs},
    sandbox::SandboxBrief,
    secrets::SecretState,
};

/// The version of the database's schema that programs of this version write.
pub const SCHEMA_VERSION: u64 = 3;

/// `GET /health`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `ok`, or `degraded`: it answers, and something that it is there for does not go.
    pub status: String,
    /// Whether it takes work; not while it stops.
    #[serde(default)]
    pub ready: bool,
    /// What does not go, and what mends it; null for those who are not let in.
    #[serde(default)]
    pub reasons: Option<Vec<Warning>>,
    /// What to do before anybody can log in over the network; null when somebody can.
    #[serde(default)]
    pub login: Option<String>,
}

/// `GET /health/live` and `GET /health/ready`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Alive {
    /// `ok`.
    pub status: String,
}

/// `GET /api`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApiInfo {
    /// Version of the daemon.
    pub version: String,
    /// What this API has beyond the first version; names are only added.
    pub api_extensions: Vec<String>,
    /// What the caller may do.
    pub role: Option<Role>,
    pub limits: ApiLimits,
}

/// Bounds of requests.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApiLimits {
    /// Bytes of a JSON body.
    pub max_body_bytes: u64,
    /// Bytes of an upload; 0 = no limit.
    pub max_upload_bytes: u64,
    /// Connections at the same time.
    pub max_connections: u32,
    /// Seconds that an ordinary request may take.
    pub request_timeout_seconds: u64,
}

/// `GET /api/status`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub started_at: Timestamp,
    pub uptime_seconds: u64,
    /// Set while everything is stopped by hand.
    pub stopped: Option<Stopped>,
    /// Jobs by status; every status is listed.
    pub jobs: BTreeMap<String, i64>,
    /// The newest jobs that wait for a person, at most 20.
    pub waiting: Vec<WaitingJob>,
    /// How many wait for a person.
    pub waiting_total: i64,
    pub workers: Workers,
    pub models: Vec<Model>,
    /// The hosts that see the prompts.
    pub prompt_hosts: Vec<String>,
    pub workspace: Part,
    pub database: Database,
    pub disk: Disk,
    pub spend: Spend,
    pub sandbox: SandboxBrief,
    /// What the daemon has of each secret; never a value.
    #[serde(default)]
    pub secrets: Vec<SecretState>,
    /// Where it listens, by the addresses that the sockets really have.
    #[serde(default)]
    pub listening: Vec<Listening>,
    /// What does not stop the daemon and should be mended.
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

/// `POST /api/doctor`: what only the daemon itself can find out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// Where it listens.
    pub listening: Vec<Listening>,
    /// The servers that are configured, each tried now by TCP and TLS; nothing else is sent.
    pub servers: Vec<Server>,
}

/// A socket that the API listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listening {
    /// A path, or an address with its port.
    pub address: String,
    /// Who can reach it: `socket`, `loopback`, `private`, `every` or `public`.
    pub reach: String,
    /// What stands before it.
    pub guard: String,
}

/// A server that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Server {
    /// What it is for: `model`, `mail that comes`, `mail that goes out`.
    pub purpose: String,
    /// Host, and port if it is an unusual one.
    pub host: String,
    /// Milliseconds until it answered; null when it did not.
    pub latency_ms: Option<i64>,
    /// Why it did not.
    pub problem: Option<String>,
}

/// Something that does not stop the daemon and should be mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// `weak-secret`, `secret-in-environment`, `readable-by-others`, `unused-variable`, `unknown-variable`,
    /// `credential-missing`, `backup-old`, `public-bind`, `no-login`, `docs-exposed` or `openapi-exposed`.
    pub name: String,
    /// What is wrong, in one sentence; never the value of a secret.
    pub text: String,
    /// The command that mends it.
    pub mend: String,
}

/// Since when, and by whom, everything is stopped.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Stopped {
    pub at: Timestamp,
    pub by: String,
}

/// A job that waits for a person.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WaitingJob {
    pub id: JobId,
    pub status: JobStatus,
    pub subject: String,
    pub updated_at: Timestamp,
    /// What it needs, with the command that gives it.
    pub needs: Option<Needs>,
}

/// Who works on jobs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Workers {
    /// `jobs.workers`.
    pub configured: u32,
    /// Jobs that run now.
    pub busy: i64,
}

/// One configured model.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// `main`, `fallback` or `small`.
    pub role: String,
    pub provider: String,
    pub model: String,
    /// Without user information and query.
    pub base_url: String,
    /// The host that sees the prompts.
    pub host: String,
    /// Whether the prompts stay on loopback and private addresses.
    pub local: bool,
    /// US dollars per million tokens, if known.
    pub price: Option<ModelPrice>,
    /// Why it cannot be asked at the moment, such as that it failed so often that it is left alone for a while.
    pub problem: Option<String>,
    /// Its failures since the configuration was read, by their kind.
    #[serde(default)]
    pub failures: BTreeMap<String, u64>,
    /// How long it is left alone, because it failed too often or asked for it; null: it is asked.
    #[serde(default)]
    pub paused_seconds: Option<u64>,
    /// Failures since its last answer; `llm.circuit_failures` of them pause it.
    #[serde(default)]
    pub failures_in_a_row: u32,
    /// The last failures, the newest first.
    #[serde(default)]
    pub recent_failures: Vec<ModelFailure>,
    /// When it answered last.
    #[serde(default)]
    pub last_answer: Option<ModelAnswer>,
}

/// Something that a model did not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelFailure {
    pub at: Timestamp,
    /// Such as `unavailable`, `rate_limited` or `auth`.
    pub kind: String,
    /// In a sentence; nothing of an answer but the provider's own, without keys.
    pub reason: String,
}

/// That a model answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelAnswer {
    pub at: Timestamp,
    /// Milliseconds until the answer was whole.
    pub latency_ms: i64,
}

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelPrice {
    pub input: f64,
    pub output: f64,
}

/// `GET /api/models`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Models {
    pub models: Vec<Model>,
    /// The hosts that see the prompts.
    pub prompt_hosts: Vec<String>,
}

/// `POST /api/models/test`: one real call to each configured model.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelTests {
    pub models: Vec<ModelTest>,
}

/// What came of calling a model.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelTest {
    /// `main`, `fallback` or `small`.
    pub role: String,
    pub provider: String,
    pub model: String,
    /// The host that was called.
    pub host: String,
    /// Whether it answered.
    pub ok: bool,
    /// Milliseconds until the answer was complete.
    pub latency_ms: Option<i64>,
    /// Whether it called the tool that it was asked to call; null when it did not answer.
    pub tools: Option<bool>,
    /// US dollars per million tokens, if known.
    pub price: Option<ModelPrice>,
    /// What this call cost in US dollars, if known.
    pub cost: Option<f64>,
    /// Why it did not answer, or what is odd about the answer.
    pub problem: Option<String>,
}

/// Whether a part of the daemon can be used.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    pub ok: bool,
    /// Why not.
    pub problem: Option<String>,
}

/// The database.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Database {
    pub ok: bool,
    pub problem: Option<String>,
    pub size_bytes: u64,
    pub schema_version: u64,
}

/// The disk that holds the state directory.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// `retention.min_free_bytes`: below it new work is refused.
    pub min_free_bytes: u64,
    pub low: bool,
}

/// Money, in US dollars.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Spend {
    /// Settled and reserved in this UTC day.
    pub today: f64,
    /// `limits.max_daily_cost_usd`; 0 = no limit.
    pub daily_limit: f64,
}

/// `GET /api/stats`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    pub jobs: Vec<StatusCount>,
    pub projects: Vec<StatusCount>,
    pub reminders: Vec<StatusCount>,
    pub deep_research: Vec<StatusCount>,
    pub costs: Costs,
    pub email_count: i64,
    pub log_count: i64,
    pub contact_count: i64,
    pub memory_count: i64,
    pub active_memory_count: i64,
    pub expired_memory_count: i64,
}

/// How many rows have a status.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StatusCount {
    pub status: String,
    pub count: i64,
}

/// What the models have cost, in US dollars.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Costs {
    /// Always `USD`.
    pub currency: String,
    pub lifetime_total: f64,
    /// Since the first day of this UTC month.
    pub month_total: f64,
    /// `lifetime_total` over `charged_job_count`.
    pub average_per_job: f64,
    pub job_count: i64,
    /// Jobs that cost anything.
    pub charged_job_count: i64,
    /// Model calls.
    pub api_call_count: i64,
}

/// `GET /api/stats/days`: the last days, each of UTC, oldest first; none is left out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DayStats {
    pub days: Vec<Day>,
}

/// What a day came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Day {
    /// Such as `2026-11-23`.
    pub date: String,
    /// What the models cost, in US dollars.
    pub cost: f64,
    /// The same by model, as the provider names it; the empty name stands for calls that nobody answered.
    pub models: BTreeMap<String, f64>,
    /// Model calls.
    pub calls: i64,
    /// Tokens in and out.
    pub tokens: i64,
    /// Jobs that ended, by the state they ended in; states of no job are left out.
    pub outcomes: BTreeMap<String, i64>,
}

/// One tool.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    pub name: String,
    pub description: String,
    /// `control`, `read`, `write`, `send` or `run`.
    pub access: String,
    /// Tools that share a guardrail text.
    pub group: String,
    /// JSON Schema of the arguments.
    pub parameters: Value,
}

/// `GET /api/tools`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ToolList {
    pub tools: Vec<Tool>,
}

/// `GET /api/tools/{name}`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ToolReply {
    pub tool: Tool,
}

/// `POST /api/stop`, `POST /api/resume`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StopReply {
    /// `stopped` or `running`.
    pub status: String,
    pub stopped: Option<Stopped>,
}

/// `GET /api/config/status`: what is configured and what can be used. Never a secret.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConfigStatus {
    /// Tools that end or steer a run.
    pub terminal_tools: Vec<String>,
    pub email_tools: ToolGroup,
    pub memory_tools: ToolGroup,
    pub note_tools: ToolGroup,
    pub reminder_tools: ToolGroup,
    pub calendar_tools: ToolGroup,
    pub project_tools: ToolGroup,
    pub deep_research_tools: ToolGroup,
    pub file_tools: ToolGroup,
    pub tool_result_cache: ToolResultCache,
    pub artifact_processing: ToolGroup,
    pub command_tools: ToolGroup,
    pub search_tools: ToolGroup,
    pub fusion_tools: ToolGroup,
    pub admin: AdminStatus,
    pub org: OrgStatus,
    pub llm: LlmStatus,
    pub limits: LimitsStatus,
}

/// Tools that belong together.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ToolGroup {
    /// Whether they can be used.
    pub available: bool,
    #[serde(default)]
    pub tools: Vec<String>,
    /// What else is to be known of this group.
    #[serde(flatten)]
    pub details: serde_json::Map<String, Value>,
}

/// Large tool results that are kept as files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ToolResultCache {
    pub enabled: bool,
    /// Relative to the workspace.
    pub root: String,
    pub min_bytes: u64,
    pub retention_days: u64,
}

/// The person the assistant works for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AdminStatus {
    pub available: bool,
    pub email: Option<String>,
}

/// The organization the assistant works in.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OrgStatus {
    pub security_email: Option<String>,
    pub internal_email_domains: Vec<String>,
}

/// The main model.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LlmStatus {
    pub available: bool,
    pub model: String,
    /// Without user information and query.
    pub base_url: String,
    pub uses_openrouter: bool,
}

/// Limits of a job.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LimitsStatus {
    pub max_iterations_per_task: u32,
    pub max_tokens_per_task: u32,
    pub max_tokens_per_call: u32,
}
