//! What tokens cost, and what a call may cost at most.
//!
//! Before a call [`estimate`] says what to reserve, after it [`settle`] says what it was. An unknown price counts as the
//! reserved maximum, never as zero.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Answer, Message, ModelInfo, Request, Role, Usage};
use crate::config::{
    Config,
    value::{Kind, Setting},
};

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub input: f64,
    pub output: f64,
    /// Tokens of the prompt that came out of the provider's cache; unset: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
}

/// Anthropic's mark-up for tokens that it writes into its cache for five minutes (platform.claude.com, prompt caching).
const CACHE_WRITE_FACTOR: f64 = 1.25;

/// Characters per token in an estimate: fewer than any common tokenizer needs for prose, so that it errs upwards.
const CHARS_PER_TOKEN: u64 = 3;

impl Price {
    /// Costs nothing.
    pub const FREE: Self = Self::new(0.0, 0.0);

    /// Without a price of its own for cached tokens.
    pub const fn new(input: f64, output: f64) -> Self {
        Self { input, output, cached_input: None }
    }

    /// Nano-dollars of a call; fractions count as one.
    #[expect(clippy::cast_precision_loss, reason = "bounded by token counts")]
    pub fn nanos(self, input_tokens: u64, output_tokens: u64) -> i64 {
        nanos_of_microdollars(input_tokens as f64 * self.input + output_tokens as f64 * self.output)
    }

    /// Nano-dollars of what a provider counted; its own figure wins.
    #[expect(clippy::cast_precision_loss, reason = "bounded by token counts")]
    pub fn settle(self, usage: &Usage) -> i64 {
        reported(usage).unwrap_or_else(|| {
            let special = usage.cached_tokens.saturating_add(usage.cache_write_tokens);
            let plain = usage.input_tokens.saturating_sub(special) as f64;
            nanos_of_microdollars(
                plain * self.input
                    + usage.cached_tokens as f64 * self.cached_input.unwrap_or(self.input)
                    + usage.cache_write_tokens as f64 * self.input * CACHE_WRITE_FACTOR
                    + usage.output_tokens as f64 * self.output,
            )
        })
    }
}

/// Dollars in nano-dollars; fractions count as one.
#[expect(clippy::cast_possible_truncation, reason = "saturates, which is what a cap wants")]
pub(super) fn nanos(dollars: f64) -> i64 {
    (dollars * 1e9).ceil() as i64
}

/// Dollars per million tokens times tokens is micro-dollars.
#[expect(clippy::cast_possible_truncation, reason = "saturates, which is what a cap wants")]
fn nanos_of_microdollars(microdollars: f64) -> i64 {
    (microdollars * 1000.0).ceil() as i64
}

/// What the provider says that it costs, in nano-dollars.
fn reported(usage: &Usage) -> Option<i64> {
    usage.cost_usd.filter(|dollars| dollars.is_finite() && *dollars >= 0.0).map(nanos)
}

/// What is known of the cost of a call when its answer is there; `None`: nothing.
pub(super) fn known_cost(price: Option<Price>, usage: Option<&Usage>) -> Option<i64> {
    match (price, usage) {
        (Some(price), _) if price == Price::FREE => usage.and_then(reported).or(Some(0)),
        (Some(price), Some(usage)) => Some(price.settle(usage)),
        (None, Some(usage)) => reported(usage),
        (_, None) => None,
    }
}

/// The same with searches, each at `per_search` nano-dollars unless the provider reports what all of it cost. How many
/// there were has to be known, or nothing is.
pub(super) fn known_cost_with_searches(
    tokens: Option<i64>,
    usage: Option<&Usage>,
    searches: Option<u64>,
    per_search: i64,
) -> Option<i64> {
    if per_search == 0 || usage.and_then(reported).is_some() {
        return tokens;
    }
    let searches = i64::try_from(searches?).unwrap_or(i64::MAX);
    Some(tokens?.saturating_add(per_search.saturating_mul(searches)))
}

/// Nano-dollars to reserve for a request: its characters divided by three, rounded up, what its searches may bring and
/// cost, and all the tokens that the answer may have, at the dearest model that may be asked; a model without a price counts `limits.unknown_price_usd`.
pub fn estimate(request: &Request, models: &[ModelInfo], config: &Config) -> i64 {
    let (tokens, searches) =
        request.search.as_ref().map_or((0, 0), |search| (search.most_tokens(), i64::from(search.most_searches())));
    let input = request.chars().div_ceil(CHARS_PER_TOKEN) + tokens;
    let output = u64::from(request.max_tokens.unwrap_or(config.llm.max_tokens_per_call));
    let unknown = Price::new(config.limits.unknown_price_usd, config.limits.unknown_price_usd);
    models
        .iter()
        .filter(|model| match request.role {
            Role::Main => matches!(&*model.role, "main" | "fallback"),
            Role::Small => model.role != "search",
            Role::Search => model.role == "search",
        })
        .map(|model| {
            let price = model.price.unwrap_or(unknown);
            let tokens = Price { input: price.input * CACHE_WRITE_FACTOR, ..price }.nanos(input, output);
            tokens.saturating_add(model.search_nanos.saturating_mul(searches))
        })
        .max()
        .unwrap_or(0)
}

/// Nano-dollars that a call counts once its answer is there: its cost, or what was reserved if that is not known.
pub fn settle(answer: &Answer, reserved_nanos: i64) -> i64 {
    answer.cost_nanos.unwrap_or(reserved_nanos)
}

/// Nano-dollars that lost attempts count: each what was reserved, which is for one attempt.
///
/// So a turn may settle more than it reserved, by at most that times its attempts less one (each model of the chain,
/// `llm.retries` times more). To reserve for all of them would hold back many times of what a turn costs; what is
/// counted here stands before the next reservation.
pub fn lost(attempts: u32, reserved_nanos: i64) -> i64 {
    reserved_nanos.saturating_mul(attempts.into())
}

/// Tokens of a call that its provider did not count: four characters to a token, of the request as of the answer.
pub fn uncounted_tokens(request: &Request, answer: &Answer) -> u64 {
    let calls: usize = answer.calls.iter().map(|call| call.name.len() + call.arguments.chars().count()).sum();
    (request.chars() + (answer.text.chars().count() + calls) as u64).div_ceil(4)
}

impl Request {
    /// Characters that the model is sent: prompt, conversation and tools.
    pub fn chars(&self) -> u64 {
        let messages: usize = self.messages.iter().map(Message::chars).sum();
        let tools: usize = self
            .tools
            .iter()
            .map(|tool| tool.name.len() + tool.description.chars().count() + tool.parameters.to_string().len())
            .sum();
        (self.system.chars().count() + messages + tools) as u64
    }
}

impl Message {
    /// Its characters, those of calls included.
    pub fn chars(&self) -> usize {
        match self {
            Self::User { text } => text.chars().count(),
            Self::Assistant { text, calls } => {
                let calls: usize =
                    calls.iter().map(|call| call.id.len() + call.name.len() + call.arguments.chars().count()).sum();
                text.chars().count() + calls
            }
            Self::Tool { call_id, name, content } => call_id.len() + name.len() + content.chars().count(),
        }
    }
}

/// The value of `llm.prices`: by the model's name, as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices(pub BTreeMap<String, Price>);

impl Prices {
    /// List prices of the models that are asked when none is named, read in November 2026 at platform.claude.com and
    /// developers.openai.com; OpenRouter passes them on and reports the cost of each call besides.
    const DEFAULT: &[(&str, Price)] = &[
        ("anthropic/claude-sonnet-4.6", Price { input: 3.0, output: 15.0, cached_input: Some(0.3) }),
        ("claude-sonnet-4-6", Price { input: 3.0, output: 15.0, cached_input: Some(0.3) }),
        ("gpt-5.4", Price { input: 2.5, output: 15.0, cached_input: None }),
        ("openai/gpt-4.1-mini", Price { input: 0.4, output: 1.6, cached_input: Some(0.1) }),
        ("openai/gpt-5.4", Price { input: 2.5, output: 15.0, cached_input: None }),
    ];

    /// The price of a model, if there is one.
    pub fn get(&self, model: &str) -> Option<Price> {
        self.0.get(model).copied()
    }
}

impl Default for Prices {
    fn default() -> Self {
        Self(Self::DEFAULT.iter().map(|(model, price)| ((*model).to_owned(), *price)).collect())
    }
}

impl Setting for Prices {
    fn kind() -> Kind {
        Kind { name: "table of prices; what it names is added to the default", optional: false }
    }
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        let prices = BTreeMap::<String, Price>::deserialize(value.clone()).map_err(|err| err.message().to_owned())?;
        let valid = |price: f64| price.is_finite() && price >= 0.0;
        let valid = |price: &Price| valid(price.input) && valid(price.output) && price.cached_input.is_none_or(valid);
        if let Some((model, _)) = prices.iter().find(|(_, price)| !valid(price)) {
            return Err(format!("the price of {model:?} is not a positive number"));
        }
        let mut all = Self::default();
        all.0.extend(prices);
        Ok(all)
    }
    fn from_env(_: &str) -> Result<Self, String> {
        Err("prices can only be set in a TOML file".into())
    }
    fn to_toml(&self) -> Option<toml::Value> {
        toml::Value::try_from(&self.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(chars: usize) -> Request {
        Request::new("", vec![Message::User { text: "ä".repeat(chars) }])
    }

    fn model(role: &str, price: Option<Price>) -> ModelInfo {
        ModelInfo { role: role.into(), price, ..ModelInfo::default() }
    }

    #[test]
    fn an_estimate_takes_the_dearest_model_that_may_be_asked() {
        let mut config = Config::default();
        config.llm.max_tokens_per_call = 1000;
        let cheap = model("main", Some(Price::new(1.0, 2.0)));
        let dear = model("fallback", Some(Price::new(4.0, 8.0)));
        // 301 characters are 101 tokens, 25 percent dearer if the provider writes them into a cache.
        assert_eq!(estimate(&request(301), &[cheap.clone(), dear.clone()], &config), 505_000 + 8_000_000);
        let small = model("small", Some(Price::new(100.0, 100.0)));
        assert_eq!(estimate(&request(301), &[cheap, dear, small], &config), 505_000 + 8_000_000);
    }

    #[test]
    fn an_unknown_price_counts_the_maximum_and_no_model_nothing() {
        let mut config = Config::default();
        config.limits.unknown_price_usd = 10.0;
        let request = Request { max_tokens: Some(100), ..request(300) };
        assert_eq!(estimate(&request, &[model("main", None)], &config), 1_250_000 + 1_000_000);
        assert_eq!(estimate(&request, &[], &config), 0);
    }

    #[test]
    fn settling_prefers_what_the_provider_reports() {
        let usage = Usage { input_tokens: 1000, output_tokens: 10, cost_usd: Some(0.5), ..Usage::default() };
        let price = Some(Price::new(3.0, 15.0));
        assert_eq!(known_cost(price, Some(&usage)), Some(500_000_000));
        assert_eq!(known_cost(None, Some(&usage)), Some(500_000_000));
        assert_eq!(known_cost(Some(Price::FREE), Some(&usage)), Some(500_000_000));
        let unreported = Usage { cost_usd: None, ..usage };
        assert_eq!(known_cost(price, Some(&unreported)), Some(3_150_000));
        for nonsense in [-1.0, f64::NAN, f64::INFINITY] {
            let usage = Usage { cost_usd: Some(nonsense), ..usage };
            assert_eq!(known_cost(price, Some(&usage)), Some(3_150_000));
        }
    }

    #[test]
    fn what_is_not_known_counts_what_was_reserved() {
        assert_eq!(known_cost(None, Some(&Usage::default())), None);
        assert_eq!(known_cost(Some(Price::new(1.0, 1.0)), None), None);
        assert_eq!(known_cost(Some(Price::FREE), None), Some(0));
        assert_eq!(settle(&Answer::default(), 77), 77);
        assert_eq!(settle(&Answer { cost_nanos: Some(0), ..Answer::default() }, 77), 0);
    }

    #[test]
    fn cached_tokens_have_their_own_price() {
        let usage = Usage {
            input_tokens: 1000,
            cached_tokens: 600,
            cache_write_tokens: 300,
            output_tokens: 0,
            ..Usage::default()
        };
        let price = Price { input: 10.0, output: 0.0, cached_input: Some(1.0) };
        // 100 plain at 10, 600 cached at 1, 300 written at 12.5.
        assert_eq!(price.settle(&usage), 1_000_000 + 600_000 + 3_750_000);
        assert_eq!(Price::new(10.0, 0.0).settle(&usage), 1_000_000 + 6_000_000 + 3_750_000);
    }

    #[test]
    fn a_configured_price_is_added_to_the_known_ones() {
        let value = toml::from_str::<toml::Value>("'a/b' = { input = 1, output = 2.5 }").unwrap();
        let prices = Prices::from_toml(&value).unwrap();
        assert_eq!(prices.get("a/b"), Some(Price::new(1.0, 2.5)));
        assert!(prices.get("claude-sonnet-4-6").is_some());
        assert_eq!(Prices::from_toml(&prices.to_toml().unwrap()).unwrap(), prices);
        for bad in ["a = { input = -1, output = 2 }", "a = { input = 1 }", "a = { input = 1, output = 2, x = 3 }"] {
            assert!(Prices::from_toml(&toml::from_str(bad).unwrap()).is_err(), "{bad}");
        }
    }
}
