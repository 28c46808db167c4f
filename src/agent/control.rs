//! The tools that steer the run itself: always offered, known to the loop, without effect on anything else.

use std::{collections::BTreeSet, sync::LazyLock};

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{parse, tools};
use crate::{jobs::NeedsWhat, llm::ToolSpec};

/// Ends the job and hands over its result. Call it once, when everything that was asked for is done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskComplete {
    /// One or two sentences for the list of jobs: what was done.
    pub summary: String,
    /// The answer to the person who asked, complete and readable on its own; Markdown. Must not be blank.
    pub response: String,
}

/// Ends the job as failed. Only when it cannot be done, not when something is merely difficult or a question is open.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskFailed {
    /// What stands in the way, what was tried, and what would help.
    pub reason: String,
}

/// Asks a person and pauses the job until they answer. Ask everything that is open in one question.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestInput {
    /// `requester`: whoever asked for this job; `admin`: the person who runs this assistant.
    pub recipient: Recipient,
    /// The question, with what the person has to know to answer it.
    pub question: String,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Recipient {
    #[serde(alias = "human", alias = "sender", alias = "original_sender")]
    Requester,
    Admin,
}

/// Asks for more room when a limit is near and the job cannot be finished within it. Pauses the job.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestLimitIncrease {
    /// What is done, what is left, and how much it will take.
    pub reason: String,
    /// Which limit.
    #[serde(default)]
    pub resource: Resource,
}

/// A limit that can be raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    Tokens,
    Iterations,
    #[default]
    Both,
}

impl RequestInput {
    /// What a person is shown: who is asked, and the question.
    pub fn review_reason(&self) -> String {
        let who = match self.recipient {
            Recipient::Requester => NeedsWhat::FOR_REQUESTER,
            Recipient::Admin => NeedsWhat::FOR_ADMIN,
        };
        format!("{who}{}", self.question.trim())
    }
}

impl Resource {
    fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Iterations => "iterations",
            Self::Both => "both",
        }
    }
}

/// Makes tools from the catalogue usable from the next answer on. Name everything that you expect to need at once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetToolSpecs {
    /// Names from the catalogue.
    pub tools: Vec<String>,
}

/// A call of one of these tools, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    Complete(TaskComplete),
    Fail(TaskFailed),
    Ask(RequestInput),
    MoreRoom(RequestLimitIncrease),
    Load(Vec<String>),
}

pub const TASK_COMPLETE: &str = "task_complete";
pub const TASK_FAILED: &str = "task_failed";
pub const REQUEST_INPUT: &str = "request_input";
pub const REQUEST_LIMIT_INCREASE: &str = "request_limit_increase";
pub const GET_TOOL_SPECS: &str = "get_tool_specs";

/// Every name.
pub const NAMES: [&str; 5] = [GET_TOOL_SPECS, TASK_COMPLETE, TASK_FAILED, REQUEST_INPUT, REQUEST_LIMIT_INCREASE];

/// What a model is told of these tools; `request_limit_increase` only near a limit.
pub fn specs(near_limit: bool) -> &'static [ToolSpec] {
    if near_limit { SPECS.as_slice() } else { &SPECS[..SPECS.len() - 1] }
}

/// Made of the types once: every step of every job needs them. The last one is offered near a limit only.
static SPECS: LazyLock<[ToolSpec; 5]> = LazyLock::new(|| {
    [
        spec::<GetToolSpecs>(GET_TOOL_SPECS),
        spec::<TaskComplete>(TASK_COMPLETE),
        spec::<TaskFailed>(TASK_FAILED),
        spec::<RequestInput>(REQUEST_INPUT),
        spec::<RequestLimitIncrease>(REQUEST_LIMIT_INCREASE),
    ]
});

fn spec<T: JsonSchema>(name: &str) -> ToolSpec {
    tools::spec_of(name, tools::schema_of::<T>())
}

/// Understands a call of one of these tools; `None` when `name` is another one. The error is for the model.
pub fn read(name: &str, mut arguments: Map<String, Value>) -> Option<Result<Control, Value>> {
    let spec = specs(true).iter().find(|spec| spec.name == name)?;
    parse::coerce(&spec.parameters, &mut arguments);
    let arguments = Value::Object(arguments);
    Some(match name {
        TASK_COMPLETE => typed::<TaskComplete>(name, arguments).and_then(|call| {
            not_blank(&call.response, "response")?;
            Ok(Control::Complete(call))
        }),
        TASK_FAILED => typed::<TaskFailed>(name, arguments).and_then(|call| {
            not_blank(&call.reason, "reason")?;
            Ok(Control::Fail(call))
        }),
        REQUEST_INPUT => typed::<RequestInput>(name, arguments).and_then(|call| {
            not_blank(&call.question, "question")?;
            Ok(Control::Ask(call))
        }),
        REQUEST_LIMIT_INCREASE => typed::<RequestLimitIncrease>(name, arguments).and_then(|call| {
            not_blank(&call.reason, "reason")?;
            Ok(Control::MoreRoom(call))
        }),
        _ => typed::<GetToolSpecs>(name, arguments).map(|call| Control::Load(call.tools)),
    })
}

fn typed<T: DeserializeOwned>(name: &str, arguments: Value) -> Result<T, Value> {
    serde_json::from_value(arguments)
        .map_err(|err| json!({ "error": format!("the arguments of {name} do not fit: {err}"), "kind": "validation" }))
}

fn not_blank(text: &str, field: &str) -> Result<(), Value> {
    if text.trim().is_empty() {
        return Err(json!({ "error": format!("{field} must not be blank"), "kind": "validation", "field": field }));
    }
    Ok(())
}

impl RequestLimitIncrease {
    /// The reason that a person is shown; job views recognise its beginning.
    pub fn review_reason(&self) -> String {
        format!("agent limit increase request ({}): {}", self.resource.as_str(), self.reason.trim())
    }
}

/// The answer to `get_tool_specs`: what was loaded, what does not exist, and the rules of what was loaded.
pub fn load_result(
    wanted: &[String],
    exists: &dyn Fn(&str) -> Option<&'static str>,
    loaded_before: &BTreeSet<String>,
) -> (Value, Vec<String>) {
    let mut loaded = Vec::new();
    let mut invalid = Vec::new();
    let mut groups = BTreeSet::new();
    for name in wanted {
        let name = parse::tool_name(name);
        match exists(&name) {
            Some(group) => {
                groups.insert(group);
                if !loaded.contains(&name) {
                    loaded.push(name);
                }
            }
            // These are there without being loaded.
            None if NAMES.contains(&name.as_str()) => {}
            None => invalid.push(name),
        }
    }
    let mut enabled: BTreeSet<&str> = loaded_before.iter().map(String::as_str).collect();
    enabled.extend(loaded.iter().map(String::as_str));
    enabled.extend([GET_TOOL_SPECS, TASK_COMPLETE, TASK_FAILED, REQUEST_INPUT]);
    let mut result = json!({ "loaded": loaded, "invalid": invalid, "enabled_tools": enabled });
    let guardrails: Map<String, Value> =
        groups.into_iter().filter_map(|group| Some((group.to_owned(), guardrail(group)?.into()))).collect();
    if !guardrails.is_empty() {
        result["guardrails"] = guardrails.into();
    }
    (result, loaded)
}

/// The rules for a group of tools: the paragraph under its heading.
fn guardrail(group: &str) -> Option<&'static str> {
    include_str!("prompts/guardrails.md").split("\n## ").skip(1).find_map(|section| {
        let (heading, text) = section.split_once('\n')?;
        (heading.trim() == group).then(|| text.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "so that json! can stand in the call")]
    fn call(name: &str, arguments: Value) -> Result<Control, Value> {
        read(name, arguments.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn every_offered_tool_is_understood_and_described() {
        let specs = specs(true);
        assert_eq!(specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>(), NAMES);
        assert!(specs.iter().all(|spec| spec.description.len() > 40 && spec.parameters["type"] == "object"));
        assert!(!super::specs(false).iter().any(|spec| spec.name == REQUEST_LIMIT_INCREASE));
        assert!(read("file_read", Map::new()).is_none());
    }

    #[test]
    fn a_blank_response_does_not_complete() {
        let error = call(TASK_COMPLETE, json!({"summary": "s", "response": " \n"})).unwrap_err();
        assert_eq!(error["field"], "response");
        assert!(call(TASK_COMPLETE, json!({"summary": "s"})).is_err());
    }

    #[test]
    fn recipients_have_aliases_and_others_are_refused() {
        for name in ["requester", "human", "sender", "original_sender"] {
            let Ok(Control::Ask(ask)) = call(REQUEST_INPUT, json!({"recipient": name, "question": "which?"})) else {
                panic!("{name}")
            };
            assert_eq!(ask.recipient, Recipient::Requester);
        }
        assert!(call(REQUEST_INPUT, json!({"recipient": "boss", "question": "which?"})).is_err());
    }

    #[test]
    fn a_limit_request_names_its_resource() {
        let Ok(Control::MoreRoom(more)) = call(REQUEST_LIMIT_INCREASE, json!({"reason": "ten files left"})) else {
            panic!()
        };
        assert_eq!(more.review_reason(), "agent limit increase request (both): ten files left");
    }

    #[test]
    fn loading_names_what_is_there_what_is_not_and_the_rules() {
        let exists = |name: &str| (name == "file_read" || name == "file_write").then_some("Files");
        let before = BTreeSet::from(["file_write".to_owned()]);
        let wanted = ["file_read", "functions.file_read", "mail_send", "task_complete"].map(str::to_owned);
        let (result, loaded) = load_result(&wanted, &exists, &before);
        assert_eq!(loaded, ["file_read"]);
        assert_eq!(result["invalid"], json!(["mail_send"]));
        assert!(result["enabled_tools"].as_array().unwrap().contains(&"file_write".into()));
        assert!(result["guardrails"]["Files"].as_str().unwrap().len() > 50, "{result}");
        assert!(call(GET_TOOL_SPECS, json!({"tools": {"a": 1}})).is_err());
        assert_eq!(call(GET_TOOL_SPECS, json!({"tools": "file_read"})), Ok(Control::Load(vec!["file_read".into()])));
    }
}
