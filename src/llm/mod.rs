//! Model providers: one request shape, one answer shape, typed errors; two wire protocols and a rehearsal.

mod anthropic;
mod api;
mod attempts;
mod breaker;
mod chain;
pub mod config;
mod discover;
mod failure;
mod model;
mod net;
mod openai;
pub mod price;
mod probe;
pub mod rehearsal;
mod search;
mod select;
mod sse;
mod wire;

pub use attempts::Attempts;
pub use net::post_json;
pub use search::{ContextSize, Found, Source, WebSearch};
pub use select::{NOT_CONFIGURED, build, check};

use std::{collections::BTreeMap, future::Future, pin::Pin, time::Duration};

use assistant_api::status::{Model, ModelAnswer, ModelFailure, ModelPrice, ModelTest, Server};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{config::SecretName, subsystems::Subsystem};

/// The routes of models.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "llm", routes: api::routes, tools: &[], loops: &[] };

/// Which of the configured models is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The agent's own turns, with the fallback model behind it.
    Main,
    /// Summaries and the like.
    Small,
    /// Searches of the web.
    Search,
}

/// One request to a model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    pub role: Role,
    /// The system prompt.
    pub system: String,
    pub messages: Vec<Message>,
    pub tools: Vec<ToolSpec>,
    /// Has the provider search the web for it; for [`Role::Search`].
    #[serde(default)]
    pub search: Option<WebSearch>,
    /// Overrides `llm.max_tokens_per_call`.
    pub max_tokens: Option<u32>,
    /// Overrides `llm.temperature`.
    pub temperature: Option<f64>,
    /// Overrides `llm.turn_timeout`.
    pub timeout: Option<Duration>,
    /// Counts what was paid for nothing while this was asked.
    #[serde(skip)]
    pub attempts: Attempts,
}

impl Request {
    /// A request to the main model without tools, with the configured bounds.
    pub fn new(system: impl Into<String>, messages: Vec<Message>) -> Self {
        Self {
            role: Role::Main,
            system: system.into(),
            messages,
            tools: Vec::new(),
            search: None,
            max_tokens: None,
            temperature: None,
            timeout: None,
            attempts: Attempts::default(),
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "lowercase")]
pub enum Message {
    User {
        text: String,
    },
    Assistant {
        text: String,
        calls: Vec<ToolCall>,
    },
    /// The result of one call of the assistant message before it.
    Tool {
        call_id: String,
        name: String,
        content: String,
    },
}

/// A call as the model wrote it; its arguments may be malformed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// JSON text, as received.
    pub arguments: String,
}

/// What a model is told of one tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// JSON Schema of the arguments.
    pub parameters: Value,
}

/// What a model answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub text: String,
    pub calls: Vec<ToolCall>,
    pub usage: Option<Usage>,
    /// The model that answered, as the provider names it.
    pub model: String,
    pub stop: Stop,
    /// Whether a rehearsal answered in a model's place.
    #[serde(default)]
    pub rehearsed: bool,
    /// What it cost in nano-dollars; `None`: not known, see [`price::settle`].
    #[serde(default)]
    pub cost_nanos: Option<i64>,
    /// What came of a [`WebSearch`].
    #[serde(default)]
    pub found: Found,
}

/// Tokens of one call, as the provider counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// All tokens of the prompt, those of a cache among them.
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub total_tokens: u64,
    /// US dollars, if the provider says.
    pub cost_usd: Option<f64>,
    /// Those of the prompt that came out of the provider's cache.
    #[serde(default)]
    pub cached_tokens: u64,
    /// Those of the prompt that were written into the provider's cache.
    #[serde(default)]
    pub cache_write_tokens: u64,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The model was done.
    #[default]
    End,
    /// It calls tools.
    Calls,
    /// `max_tokens` was reached: the last call may be cut.
    Length,
    /// It refused.
    Refused,
}

/// Pieces of an answer while it streams; for those who watch, nothing is decided on them.
#[derive(Clone, Debug)]
pub enum Delta {
    Text(String),
    /// A call of this tool has begun.
    Call(String),
    /// What has come so far is void: the question is put again, to the same model or the next.
    Reset,
}

/// Receives deltas; must not block.
pub type OnDelta = std::sync::Arc<dyn Fn(Delta) + Send + Sync>;

/// Why a call failed. Messages never hold a provider's body or a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LlmError {
    /// No model can be asked; the text says what to do.
    #[error("{0}")]
    NotConfigured(String),
    /// HTTP 429.
    #[error("{model} is rate limited")]
    RateLimited { model: String, retry_after: Option<Duration> },
    /// HTTP 500, 502, 503, 504, 529, a cut connection, a stall.
    #[error("{model} is not available: {reason}")]
    Unavailable { model: String, reason: String, retry_after: Option<Duration> },
    /// HTTP 401, 403: the key.
    #[error("{model} refused the key: {reason}")]
    Auth { model: String, reason: String },
    /// HTTP 402: the account.
    #[error("{model} refused for lack of credit")]
    Payment { model: String },
    /// The prompt is longer than the model takes.
    #[error("the prompt is too long for {model}")]
    ContextTooLong { model: String },
    /// HTTP 400, 404, 422: a fault of the request or of the model's name.
    #[error("{model} rejected the request: {reason}")]
    Rejected { model: String, reason: String },
    /// The answer broke the protocol.
    #[error("{model} answered something that is not its protocol: {reason}")]
    Protocol { model: String, reason: String },
    /// `llm.local_only` or a missing CA forbids the address.
    #[error("{0}")]
    Forbidden(String),
    /// The whole-turn deadline passed.
    #[error("no model answered within {seconds} s")]
    Deadline { seconds: u64 },
}

impl LlmError {
    /// One word for what kind of failure it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotConfigured(_) => "not_configured",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable { .. } => "unavailable",
            Self::Auth { .. } => "auth",
            Self::Payment { .. } => "payment",
            Self::ContextTooLong { .. } => "context_too_long",
            Self::Rejected { .. } => "rejected",
            Self::Protocol { .. } => "protocol",
            Self::Forbidden(_) => "forbidden",
            Self::Deadline { .. } => "deadline",
        }
    }

    /// Whether another attempt later may succeed by itself.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. } | Self::Unavailable { .. } | Self::Protocol { .. } | Self::Deadline { .. }
        )
    }

    /// When the provider wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A future that is boxed because its trait is used as an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that answers requests: a provider, a chain of them, or a rehearsal. Dropping the future cancels the call.
pub trait Llm: Send + Sync {
    /// Asks, and answers when the answer is complete.
    fn ask<'a>(&'a self, request: &'a Request, on_delta: Option<OnDelta>) -> BoxFuture<'a, Result<Answer, LlmError>>;

    /// What is configured, for status pages and for reservations; never a secret.
    fn models(&self) -> Vec<ModelInfo>;

    /// Whether there is a model for [`Role::Search`].
    fn can_search(&self) -> bool {
        false
    }

    /// Finds out what [`Llm::models`] does not know yet: whether a host is ours, whether an Ollama is there and what it
    /// has. Short, costs nothing, and only asks loopback and private addresses; call it before showing models to a
    /// person, and before an estimate.
    fn prepare(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Connects to every host that would be asked, and sends nothing else.
    fn reach(&self) -> BoxFuture<'_, Vec<Server>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Makes one real call to each model. Costs what a small call costs.
    fn test(&self) -> BoxFuture<'_, Vec<ModelTest>> {
        Box::pin(async {
            let Some(info) = self.models().into_iter().next() else { return Vec::new() };
            let begun = std::time::Instant::now();
            let answer = self.ask(&probe::request(), None).await;
            vec![probe::report(info, &answer, begun.elapsed())]
        })
    }
}

/// One configured model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelInfo {
    /// `main`, `fallback`, `small` or `search`.
    pub role: String,
    /// `openai`, `openrouter`, `anthropic`, `ollama` or `rehearsal`.
    pub provider: String,
    pub model: String,
    /// Without user information.
    pub base_url: String,
    /// The host that sees the prompts.
    pub host: String,
    /// Loopback or private address: nothing leaves the network, and it costs nothing unless priced.
    pub local: bool,
    pub price: Option<price::Price>,
    /// Nano-dollars of one search of the web at most, beside tokens.
    pub search_nanos: i64,
    /// Why it cannot be asked at the moment.
    pub problem: Option<String>,
    /// The secret without which it cannot be asked.
    #[serde(skip)]
    pub missing: Option<SecretName>,
    /// How long it is left alone after failures.
    #[serde(skip)]
    pub paused: Option<Duration>,
    /// Its failures since the configuration was loaded, by [`LlmError::kind`].
    #[serde(skip)]
    pub failed: BTreeMap<&'static str, u64>,
    /// The last of them, the newest first.
    #[serde(skip)]
    pub recent: Vec<ModelFailure>,
    /// Those since it answered last.
    #[serde(skip)]
    pub in_a_row: u32,
    /// When it answered last.
    #[serde(skip)]
    pub answered: Option<ModelAnswer>,
}

impl From<ModelInfo> for Model {
    fn from(info: ModelInfo) -> Self {
        Self {
            role: info.role,
            provider: info.provider,
            model: info.model,
            base_url: info.base_url,
            host: info.host,
            local: info.local,
            price: info.price.map(ModelPrice::from),
            problem: info.problem,
            failures: info.failed.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
            paused_seconds: info.paused.map(|left| left.as_secs().max(1)),
            failures_in_a_row: info.in_a_row,
            recent_failures: info.recent,
            last_answer: info.answered,
        }
    }
}

impl From<price::Price> for ModelPrice {
    fn from(price: price::Price) -> Self {
        Self { input: price.input, output: price.output }
    }
}

/// The hosts that see the prompts, each once.
pub fn prompt_hosts(models: &[Model]) -> Vec<String> {
    let mut hosts: Vec<String> =
        models.iter().map(|model| model.host.clone()).filter(|host| !host.is_empty()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

#[cfg(test)]
pub(crate) mod tests;
