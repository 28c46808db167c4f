//! `[llm]`

use super::search::ContextSize;
use crate::config::{
    section::section,
    value::{Bytes, Seconds},
};

section! {
    /// The models that think. Keys come from credentials or the environment, never from this file:
    /// `OPENROUTER_API_KEY`, `OPENAI_API_KEY`, `ANTHROPIC_API_KEY`, or `ASSISTANT_LLM_API_KEY` for the host of `base_url`.
    pub struct Llm = "llm" {
        /// `openai` (any compatible server), `openrouter`, `anthropic`, `ollama` or `rehearsal`. Unset: a set
        /// `base_url` selects `openai`, else the first of an API key that is present and an Ollama on loopback.
        provider: Option<String> = None, env "AGENT_LLM_PROVIDER", check crate::config::check::provider;
        /// The main model. Unset: the provider's default, or the first that the server has. A model of another provider
        /// is named with it, here and below: `anthropic:NAME`, `openai:NAME`, `openrouter:NAME`, `ollama:NAME`.
        model: Option<String> = None, env "AGENT_LLM_MODEL";
        /// Asked when the main model does not answer (429, 5xx, timeout, broken answer), or is not there any more.
        fallback_model: Option<String> = None, env "AGENT_LLM_FALLBACK_MODEL";
        /// A cheaper model for summaries and the like. Unset: `limits.summarization_model`, else the main model.
        small_model: Option<String> = None;
        /// Root of the API, such as `http://127.0.0.1:11434/v1`. Unset: the provider's own.
        base_url: Option<String> = None, env "AGENT_LLM_BASE_URL", check crate::config::check::url;
        /// Sampling temperature, 0 to 2.
        temperature: f64 = 0.2, env "AGENT_LLM_TEMPERATURE", in 0.0..=2.0;
        /// Tokens that one answer may have.
        max_tokens_per_call: u32 = 4096, env "AGENT_LLM_MAX_TOKENS_PER_CALL", in 1..=1_000_000;
        /// Time for one whole turn: all models of the chain and all their retries.
        turn_timeout: Seconds = Seconds::new(300), in Seconds::new(1)..=Seconds::new(86400);
        /// Time for one request until its answer is complete.
        request_timeout: Seconds = Seconds::new(180), in Seconds::new(1)..=Seconds::new(86400);
        /// Time without any byte after which a streaming answer counts as stalled.
        stall_timeout: Seconds = Seconds::new(60), in Seconds::new(1)..=Seconds::new(86400);
        /// Time for a connection to be made.
        connect_timeout: Seconds = Seconds::new(10), in Seconds::new(1)..=Seconds::new(600);
        /// How often the models are asked again within a turn when none of them answered.
        retries: u32 = 2, in 0..=20;
        /// First pause before that; doubles each time, with jitter. A provider's `Retry-After` goes before it.
        retry_backoff: Seconds = Seconds::new(1), in Seconds::new(0)..=Seconds::new(600);
        /// Bytes that one answer may have on its way.
        max_answer_bytes: Bytes = Bytes(8 << 20), in Bytes(4096)..=Bytes(1 << 30);
        /// Failures in a row after which a model is left alone for `circuit_cooldown`.
        circuit_failures: u32 = 5, in 1..=1000;
        /// How long a model is left alone.
        circuit_cooldown: Seconds = Seconds::new(60);
        /// Let no model request leave loopback and private addresses; proxies are not used then.
        local_only: bool = false;
        /// A PEM file with further certificate authorities to trust.
        ca_file: Option<String> = None, check crate::config::check::absolute;
        /// The file that `rehearsal` plays.
        rehearsal_file: Option<String> = None;
        /// US dollars per million tokens, by model: `"some/model" = { input = 3.0, output = 15.0 }`, with `cached_input` if
        /// that is cheaper. What is named here is added to the default, which knows the models that are asked by default.
        prices: super::price::Prices = super::price::Prices::default();
    }
}

section! {
    /// Searches of the web, which OpenRouter or Anthropic make: with a key of either, jobs can search. The provider and its
    /// search engine see what is searched for.
    pub struct Search = "search" {
        /// Let jobs search the web.
        enabled: bool = true, env "AGENT_SEARCH_ENABLED";
        /// The model that searches, of OpenRouter or Anthropic, named as in `llm.model`; one of `perplexity/` searches by
        /// itself. Unset: `openai/gpt-4.1-mini` at OpenRouter, the main model or `claude-sonnet-4-6` at Anthropic; the main
        /// model's provider goes first, then OpenRouter.
        model: Option<String> = None, env "AGENT_SEARCH_MODEL";
        /// OpenRouter's search engine, such as `auto`, `native` or `exa`.
        engine: String = "auto".to_owned(), env "AGENT_SEARCH_ENGINE", check crate::config::check::word;
        /// Results of one search, unless the model asks for another number.
        max_results: u32 = 5, env "AGENT_SEARCH_MAX_RESULTS", in 1..=25;
        /// Results of one call, and so the most that a model can ask for.
        max_total_results: u32 = 15, env "AGENT_SEARCH_MAX_TOTAL_RESULTS", in 1..=100;
        /// How much of what was found the searching model reads: `low`, `medium` or `high`.
        search_context_size: ContextSize = ContextSize::Medium, env "AGENT_SEARCH_CONTEXT_SIZE";
        /// Hosts that results may come from, with those below them. Empty: all. A model can narrow this and not widen it.
        allowed_domains: Vec<String> = Vec::new(), env "AGENT_SEARCH_ALLOWED_DOMAINS", check crate::config::check::domains;
        /// Hosts that no result comes from, nor from those below them.
        excluded_domains: Vec<String> = Vec::new(), env "AGENT_SEARCH_EXCLUDED_DOMAINS", check crate::config::check::domains;
        /// Tokens that the answer may have.
        max_tokens: u32 = 3000, in 1..=100_000;
        /// Time for one call, all its searches included.
        timeout_seconds: Seconds = Seconds::new(90), in Seconds::new(1)..=Seconds::new(3600);
        /// US dollars that one search costs, beside tokens. Unset: 0.01 at Anthropic; 0.05 are set aside at OpenRouter, which
        /// says what it really was.
        price_usd: Option<f64> = None, check crate::config::check::price;
    }
}
