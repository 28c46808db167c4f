//! The tools of a run: what there is, what is told of it, what is offered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{control, tools::ToolDef};
use crate::{cx::Cx, llm::ToolSpec};

/// Every tool that a model may load, by name.
pub struct Toolbox {
    tools: BTreeMap<&'static str, Known>,
    /// The tools it was made of, in their order.
    names: Vec<&'static str>,
    /// What is said of tools that do not exist here, a line each.
    missing: String,
    /// [`Toolbox::stored`]
    stored: String,
}

struct Known {
    def: &'static ToolDef,
    spec: ToolSpec,
}

impl Toolbox {
    /// Of these definitions; the core tools are known anyway.
    pub(crate) fn new(defs: impl IntoIterator<Item = &'static ToolDef>) -> Self {
        let defs: Vec<_> = defs.into_iter().collect();
        let names = defs.iter().map(|def| def.name).collect();
        let tools: BTreeMap<_, _> = defs.into_iter().map(|def| (def.name, Known { def, spec: def.spec() })).collect();
        let specs: Vec<_> = control::specs(true).iter().chain(tools.values().map(|known| &known.spec)).collect();
        let stored = serde_json::to_string(&specs).unwrap_or_default();
        Self { tools, names, missing: String::new(), stored }
    }

    /// With these tools missing.
    pub(crate) fn without(mut self, missing: impl IntoIterator<Item = &'static ToolDef>) -> Self {
        let lines = missing.into_iter().filter_map(|def| Some(format!("- {}: {}\n", def.name, def.absent?)));
        self.missing = lines.collect();
        self
    }

    /// The one of the present configuration. Making one takes long beside a step of a job, so the last one is kept.
    pub(crate) fn current(cx: &Cx) -> Arc<Self> {
        let kept = &cx.process.toolbox;
        if let Some(last) =
            kept.load_full().filter(|last| cx.tools().map(|def| def.name).eq(last.names.iter().copied()))
        {
            return last;
        }
        let made = Arc::new(Self::new(cx.tools()).without(cx.missing_tools()));
        kept.store(Some(Arc::clone(&made)));
        made
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
        let mut specs = control::specs(near_limit).to_vec();
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

    /// What there is not, for the system prompt: a line per tool, empty if there is nothing to say.
    pub(crate) fn missing(&self) -> &str {
        &self.missing
    }

    /// Everything that a model may be told of the tools, as it is stored with a conversation.
    pub(crate) fn stored(&self) -> &str {
        &self.stored
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
