//! The tools of a run: what there is, what is told of it, what is offered.

use std::collections::{BTreeMap, BTreeSet};

use super::{control, tools::ToolDef};
use crate::llm::ToolSpec;

/// Every tool that a model may load, by name.
pub(crate) struct Toolbox {
    tools: BTreeMap<&'static str, Known>,
}

struct Known {
    def: &'static ToolDef,
    spec: ToolSpec,
}

impl Toolbox {
    /// Of these definitions; the core tools are known anyway.
    pub(crate) fn new(defs: impl IntoIterator<Item = &'static ToolDef>) -> Self {
        let tools = defs.into_iter().map(|def| (def.name, Known { def, spec: def.spec() })).collect();
        Self { tools }
    }

    /// The tool of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&'static ToolDef> {
        self.tools.get(name).map(|known| known.def)
    }

    /// The schema of a tool's arguments.
    pub(crate) fn schema(&self, name: &str) -> Option<&serde_json::Value> {
        self.tools.get(name).map(|known| &known.spec.parameters)
    }

    /// The guardrail group of a tool.
    pub(crate) fn group(&self, name: &str) -> Option<&'static str> {
        self.get(name).map(|def| def.group)
    }

    /// What the model is offered: the core tools, then the loaded ones by name.
    pub(crate) fn offered(&self, loaded: &BTreeSet<String>, near_limit: bool) -> Vec<ToolSpec> {
        let mut specs = control::specs(near_limit);
        specs.extend(loaded.iter().filter_map(|name| self.tools.get(name.as_str())).map(|known| known.spec.clone()));
        specs
    }

    /// The catalogue of the system prompt: a line per tool, by name.
    pub(crate) fn catalogue(&self) -> String {
        let lines: Vec<_> = self
            .tools
            .values()
            .map(|known| format!("- {}: {}", known.def.name, first_sentence(&known.spec.description)))
            .collect();
        lines.join("\n")
    }

    /// Everything that a model may be told of the tools, as it is stored with a conversation.
    pub(crate) fn stored(&self) -> String {
        let mut specs = control::specs(true);
        specs.extend(self.tools.values().map(|known| known.spec.clone()));
        serde_json::to_string(&specs).unwrap_or_default()
    }

    /// Names that resemble `name`, for an unknown one.
    pub(crate) fn like(&self, name: &str) -> Vec<&'static str> {
        let words: Vec<_> = name.split('_').filter(|word| word.len() > 2).collect();
        self.tools.keys().copied().filter(|known| words.iter().any(|word| known.contains(word))).take(5).collect()
    }
}

fn first_sentence(text: &str) -> String {
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.find(". ") {
        Some(end) => text[..=end].to_owned(),
        None => text,
    }
}
