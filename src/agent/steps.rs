//! What the steps of a conversation hold: the bodies of `steps` rows, one type per kind.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    jobs::steps::{NewStep, StepKind},
    llm::{Stop, ToolCall},
    policy::Origin,
};

/// `prompt`: what a conversation begins with. The system prompt is the step's shared text, so that jobs with the same
/// configuration store it once; a later run whose system prompt differs appends another one without `user`. A second
/// step carries what is told of the tools, in the same way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PromptBody {
    /// The job's context; `None` when only the system prompt is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// Of the fences.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// The newest thread item that the context holds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seen_item: i64,
    /// Whether the text is the list of tools.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tools: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// `answer`: what the model said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AnswerBody {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// With ids that are unique within the conversation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    pub(crate) model: String,
    pub stop: Stop,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rehearsed: bool,
}

/// `result`: what one call of the answer before it gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ResultBody {
    /// Position of the call in its answer.
    pub index: usize,
    pub call_id: String,
    pub name: String,
    pub ok: bool,
    /// What the model sees: all of it when it is short, else a beginning with the path of the whole.
    pub text: String,
    /// Where the whole is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<Cached>,
    /// SHA-256 of the whole result, its first 16 hexadecimal digits: how the loop detector knows it again.
    pub hash: String,
    /// Names that `get_tool_specs` loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loaded: Vec<String>,
}

/// A whole result in the tool-result cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cached {
    /// Relative to the workspace.
    pub path: String,
    pub sha256: String,
    pub bytes: u64,
}

/// `note`: what the host tells the model between its answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NoteBody {
    pub text: String,
    /// Why it was written.
    pub why: Why,
    /// The newest thread item that it tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_item: Option<i64>,
}

/// Why a note was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Why {
    /// A person told the job something.
    Instruction,
    /// The thread has new items.
    NewContext,
    /// The run goes on after a stop.
    Resumed,
    /// An answer without a tool call.
    NoCall,
    /// The loop detector's warning.
    Loop,
    /// A bound that an answer ran into.
    Limit,
    /// A final answer that says what nothing shows.
    Claim,
}

/// `summary`: stands for every step up to `upto`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SummaryBody {
    pub upto: i64,
    pub text: String,
    /// Whether a model wrote it; otherwise it was put together by rule.
    pub by_model: bool,
}

/// A step of this kind.
pub(crate) fn new(kind: StepKind, body: &impl Serialize, origin: Origin) -> NewStep {
    // These types have no map with other than text keys, so that this cannot fail; null would show as a broken step.
    let body = serde_json::to_value(body).unwrap_or(Value::Null);
    NewStep { kind, body, text: None, origin }
}

/// The body of a step.
pub(crate) fn body<T: DeserializeOwned>(seq: i64, body: &Value) -> Result<T> {
    T::deserialize(body).map_err(|err| Error::internal(format!("step {seq} cannot be read: {err}")))
}
