//! The file that a rehearsal plays.
//!
//! Either one JSON object `{"scenes": [SCENE, ...]}` or one SCENE per line. The first scene whose `when` fits plays:
//!
//! ```json
//! { "name": "greet",
//!   "when": { "task": ["say hello"], "role": "main" },
//!   "repeat": false,
//!   "steps": [
//!     { "text": "I look first.", "calls": [{ "name": "file_list", "arguments": { "path": "{{folder}}" } }] },
//!     { "expect": { "result": ["entries"], "tools": ["task_complete"] },
//!       "calls": [{ "name": "task_complete", "arguments": { "summary": "Greeted", "response": "Hello" } }] } ] }
//! ```
//!
//! `docs/models.md` lists every field and every template variable.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::super::{LlmError, Message, Request, Role, Stop, Usage};

/// Answers to one kind of task.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scene {
    pub(super) name: String,
    #[serde(default)]
    when: When,
    pub(super) steps: Vec<Step>,
    /// Whether the last step is played again and again.
    #[serde(default)]
    repeat: bool,
}

/// What has to be so for a scene to play; all of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct When {
    /// Texts that the messages before the first answer hold, in any case.
    task: Vec<String>,
    /// Texts that the system prompt holds.
    system: Vec<String>,
    /// The main model unless named.
    role: Option<Role>,
}

/// One answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    #[serde(default)]
    pub(super) text: String,
    #[serde(default)]
    pub(super) calls: Vec<PlayedCall>,
    #[serde(default)]
    pub(super) expect: Expect,
    #[serde(default, rename = "delay_ms", deserialize_with = "milliseconds")]
    pub(super) delay: Duration,
    #[serde(default)]
    pub(super) fail: Option<Failure>,
    #[serde(default)]
    pub(super) stop: Option<Stop>,
    #[serde(default)]
    pub(super) usage: Option<Usage>,
    /// Whether calls may name tools that were not offered, as real models do.
    #[serde(default)]
    pub(super) any_tool: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlayedCall {
    pub(super) name: String,
    /// An object, or a text that is sent as it is, valid or not.
    #[serde(default)]
    pub(super) arguments: Value,
    /// A list variable: the call is made once for each of its items, as `{{item}}`.
    #[serde(default)]
    pub(super) for_each: Option<String>,
}

/// What the request must bring, or the rehearsal ends.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    /// Texts that stand in the messages after the last answer.
    result: Vec<String>,
    /// Texts that stand anywhere in prompt and conversation.
    prompt: Vec<String>,
    /// Texts that stand nowhere in them.
    not: Vec<String>,
    /// Tools that are offered.
    tools: Vec<String>,
}

/// A failure in an answer's place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failure {
    kind: FailureKind,
    /// How often before the answer is given.
    #[serde(default = "always")]
    pub(super) times: u32,
    #[serde(default)]
    retry_after_ms: Option<u64>,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FailureKind {
    NotConfigured,
    RateLimited,
    Unavailable,
    Auth,
    Payment,
    ContextTooLong,
    Rejected,
    Protocol,
    Deadline,
}

fn always() -> u32 {
    u32::MAX
}

fn milliseconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

/// Reads a file's text.
pub(super) fn parse(text: &str) -> Result<Vec<Scene>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        scenes: Vec<Scene>,
    }
    let scenes = match serde_json::from_str::<Value>(text) {
        Ok(whole) if whole.get("scenes").is_some() => {
            serde_json::from_str::<File>(text).map_err(|err| format!("not a list of scenes: {err}"))?.scenes
        }
        _ => text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(at, line)| {
                serde_json::from_str(line).map_err(|err| format!("line {} is not a scene: {err}", at + 1))
            })
            .collect::<Result<Vec<Scene>, _>>()?,
    };
    match scenes.iter().find(|scene| scene.steps.is_empty()) {
        Some(scene) => Err(format!("the scene {:?} has no steps", scene.name)),
        None if scenes.is_empty() => Err("there are no scenes".into()),
        None => Ok(scenes),
    }
}

impl Scene {
    pub(super) fn matches(&self, request: &Request) -> bool {
        let task: String = request
            .messages
            .iter()
            .map_while(|message| if let Message::User { text } = message { Some(text.to_lowercase()) } else { None })
            .collect();
        self.when.role.unwrap_or(Role::Main) == request.role
            && self.when.task.iter().all(|part| task.contains(&part.to_lowercase()))
            && self.when.system.iter().all(|part| request.system.contains(part.as_str()))
    }

    /// The step with this number, or the one that is repeated in its place.
    pub(super) fn step(&self, index: usize) -> Option<(usize, &Step)> {
        let index = if self.repeat { index.min(self.steps.len().saturating_sub(1)) } else { index };
        self.steps.get(index).map(|step| (index, step))
    }
}

impl Expect {
    pub(super) fn check(&self, request: &Request) -> Result<(), String> {
        let text = |message: &Message| match message {
            Message::User { text } => text.clone(),
            Message::Assistant { text, calls } => {
                calls.iter().fold(text.clone(), |text, call| format!("{text}\n{} {}", call.name, call.arguments))
            }
            Message::Tool { content, .. } => content.clone(),
        };
        let news: String = request
            .messages
            .iter()
            .rev()
            .take_while(|message| !matches!(message, Message::Assistant { .. }))
            .map(|message| text(message) + "\n")
            .collect();
        let all: String = std::iter::once(request.system.clone())
            .chain(request.messages.iter().map(|message| text(message) + "\n"))
            .collect();
        if let Some(missing) = self.result.iter().find(|part| !news.contains(part.as_str())) {
            return Err(format!("the newest results lack {missing:?}"));
        }
        if let Some(missing) = self.prompt.iter().find(|part| !all.contains(part.as_str())) {
            return Err(format!("the prompt lacks {missing:?}"));
        }
        if let Some(found) = self.not.iter().find(|part| all.contains(part.as_str())) {
            return Err(format!("the prompt holds {found:?}"));
        }
        match self.tools.iter().find(|name| !request.tools.iter().any(|tool| tool.name == **name)) {
            Some(missing) => Err(format!("the tool {missing:?} was not offered")),
            None => Ok(()),
        }
    }
}

impl Failure {
    pub(super) fn error(&self) -> LlmError {
        let model = super::MODEL.to_owned();
        let reason = if self.reason.is_empty() { "rehearsed failure".to_owned() } else { self.reason.clone() };
        let retry_after = self.retry_after_ms.map(Duration::from_millis);
        match self.kind {
            FailureKind::NotConfigured => LlmError::NotConfigured(super::super::NOT_CONFIGURED.to_owned()),
            FailureKind::RateLimited => LlmError::RateLimited { model, retry_after },
            FailureKind::Unavailable => LlmError::Unavailable { model, reason, retry_after },
            FailureKind::Auth => LlmError::Auth { model, reason },
            FailureKind::Payment => LlmError::Payment { model },
            FailureKind::ContextTooLong => LlmError::ContextTooLong { model },
            FailureKind::Rejected => LlmError::Rejected { model, reason },
            FailureKind::Protocol => LlmError::Protocol { model, reason },
            FailureKind::Deadline => LlmError::Deadline { seconds: 0 },
        }
    }
}
