//! Searches of the web that a provider makes while it answers: what is asked for, and what comes back beside the text.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::value::{Kind, Setting};

/// What one search of Anthropic's costs (platform.claude.com, pricing, November 2026), in US dollars, beside tokens.
pub(super) const ANTHROPIC_USD: f64 = 0.01;

/// The most that one search at OpenRouter costs with the engines that it has; it reports what a call really cost.
pub(super) const OPENROUTER_USD: f64 = 0.05;

/// Tokens of the pages of one search, as the searching model is made to read them; for reservations.
const TOKENS_PER_SEARCH: u64 = 10_000;

/// Searches that one question may take, whatever is configured.
const MOST_SEARCHES: u32 = 20;

/// A question to a model that searches the web for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WebSearch {
    /// Results of one search.
    pub max_results: u32,
    /// Results of all searches together.
    pub max_total_results: u32,
    pub context_size: ContextSize,
    /// OpenRouter's choice of an engine.
    pub engine: String,
    /// Only these hosts and what is below them; empty: any.
    pub allowed_domains: Vec<String>,
    /// Not these; only sent where nothing is in `allowed_domains`, because no provider takes both.
    pub excluded_domains: Vec<String>,
}

/// How much of what was found the searching model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContextSize {
    Low,
    #[default]
    Medium,
    High,
}

/// What an answer says of its searches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Every place of the text that rests on a page, in the order of the text; without any, the pages that were found.
    pub sources: Vec<Source>,
    /// How many searches were made, if the provider says.
    pub searches: Option<u64>,
    /// Why a search failed, in the provider's word, such as `max_uses_exceeded`.
    pub problem: Option<String>,
}

/// A page that an answer rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub url: String,
    #[serde(default)]
    pub title: String,
    /// Characters of the answer before the part that rests on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_index: Option<u64>,
    /// Characters of the answer up to the end of that part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_index: Option<u64>,
    /// The words of the page, if the provider says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content: String,
}

impl WebSearch {
    /// Searches that it may take.
    pub fn most_searches(&self) -> u32 {
        self.max_total_results.div_ceil(self.max_results.max(1)).clamp(1, MOST_SEARCHES)
    }

    /// Tokens of prompt that it may take: after each search the model reads what all of them brought so far.
    pub(super) fn most_tokens(&self) -> u64 {
        let searches = u64::from(self.most_searches());
        let per_search = match self.context_size {
            ContextSize::Low => TOKENS_PER_SEARCH / 2,
            ContextSize::Medium => TOKENS_PER_SEARCH,
            ContextSize::High => TOKENS_PER_SEARCH * 2,
        };
        searches * (searches + 1) / 2 * per_search
    }

    /// What OpenRouter is asked for: models of Perplexity search by themselves, others get its tool.
    pub(super) fn ask_openrouter(&self, model: &str, body: &mut Value) {
        if model.contains("perplexity/") {
            body["web_search_options"] = json!({ "search_context_size": self.context_size });
            return;
        }
        let mut parameters = json!({
            "engine": self.engine,
            "max_results": self.max_results,
            "max_total_results": self.max_total_results,
            "search_context_size": self.context_size,
        });
        if let Some((key, domains)) = self.domains("excluded_domains") {
            parameters[key] = domains;
        }
        body["tools"] = json!([{ "type": "openrouter:web_search", "parameters": parameters }]);
    }

    /// What Anthropic is asked for.
    pub(super) fn ask_anthropic(&self, body: &mut Value) {
        let mut tool = json!({ "type": "web_search_20250305", "name": "web_search", "max_uses": self.most_searches() });
        if let Some((key, domains)) = self.domains("blocked_domains") {
            tool[key] = domains;
        }
        body["tools"] = json!([tool]);
    }

    fn domains<'a>(&self, excluded: &'a str) -> Option<(&'a str, Value)> {
        if !self.allowed_domains.is_empty() {
            return Some(("allowed_domains", json!(self.allowed_domains)));
        }
        (!self.excluded_domains.is_empty()).then(|| (excluded, json!(self.excluded_domains)))
    }
}

impl Found {
    /// Takes a citation as OpenAI's protocol has it: its fields in `url_citation`, or in the annotation itself.
    pub(super) fn annotate(&mut self, annotation: &Value) {
        let fields = annotation.get("url_citation").unwrap_or(annotation);
        if let Ok(source) = serde_json::from_value::<Source>(fields.clone()) {
            self.sources.push(source);
        }
    }

    /// Takes an error; the first one is what matters.
    pub(super) fn fail(&mut self, code: &str) {
        self.problem.get_or_insert_with(|| code.to_owned());
    }
}

impl ContextSize {
    const ALL: [(Self, &'static str); 3] = [(Self::Low, "low"), (Self::Medium, "medium"), (Self::High, "high")];
}

impl Setting for ContextSize {
    fn kind() -> Kind {
        Kind { name: "`low`, `medium` or `high`", optional: false }
    }
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        String::from_toml(value).and_then(|text| Self::from_env(&text))
    }
    fn from_env(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, word)| *word == text.trim());
        found.map(|(size, _)| *size).ok_or_else(|| format!("expected low, medium or high, found {text:?}"))
    }
    fn to_toml(&self) -> Option<toml::Value> {
        Self::ALL.iter().find(|(size, _)| size == self).map(|(_, word)| toml::Value::String((*word).to_owned()))
    }
}
