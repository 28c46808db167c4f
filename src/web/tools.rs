//! `web_search`

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Findings, Question};
use crate::{
    agent::tools::{Call, Tool, ToolDef},
    config::Config,
    cx::Cx,
    error::Result,
    llm::ContextSize,
    policy::{Access, Origin},
};

pub(super) const TOOLS: &[ToolDef] = &[ToolDef::of::<WebSearch>()];

/// What the call gets on top of the search's own time, to set money aside and to settle it.
const MARGIN: Duration = Duration::from_secs(10);

/// Search the web and get an answer with its sources. Another model does it and answers the question from what it finds;
/// it sees nothing of this job but the question, so write everything into it that it has to know.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WebSearch {
    /// What is to be found out: one question in full words.
    query: String,
    /// Results of one search.
    #[serde(default)]
    max_results: Option<u32>,
    /// How much of what is found is read: `medium` unless given.
    #[serde(default)]
    search_context_size: Option<ContextSize>,
    /// Only results from these hosts and those below them, such as `["debian.org"]`.
    #[serde(default)]
    allowed_domains: Vec<String>,
    /// No results from these hosts or those below them.
    #[serde(default)]
    excluded_domains: Vec<String>,
}

impl Tool for WebSearch {
    const NAME: &'static str = "web_search";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Web";
    const RESULT_ORIGIN: Origin = Origin::Web;
    const ABSENT: Option<&'static str> = Some(
        "the web cannot be searched here, because no provider that does it is configured; say what you could not look \
         up, and make up no source",
    );
    type Output = Findings;

    fn exists(cx: &Cx) -> bool {
        cx.llm.load().can_search()
    }

    fn time_limit(_: &Value, config: &Config) -> Option<Duration> {
        Some(config.search.timeout_seconds.0 + MARGIN)
    }

    async fn run(self, cx: &Cx, call: &Call) -> Result<Findings> {
        let question = Question {
            query: self.query,
            max_results: self.max_results,
            context_size: self.search_context_size,
            allowed_domains: self.allowed_domains,
            excluded_domains: self.excluded_domains,
        };
        super::search(cx, call, question).await
    }
}
