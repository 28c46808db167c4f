//! What tokens cost, and what a call may cost at most.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Usage;
use crate::config::value::{Kind, Setting};

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub input: f64,
    pub output: f64,
}

impl Price {
    /// Costs nothing.
    pub const FREE: Self = Self { input: 0.0, output: 0.0 };

    /// Nano-dollars of a call; fractions count as one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "bounded by token counts")]
    pub fn nanos(self, input_tokens: u64, output_tokens: u64) -> i64 {
        ((input_tokens as f64 * self.input + output_tokens as f64 * self.output) * 1000.0).ceil() as i64
    }

    /// Nano-dollars of what a provider counted; its own figure wins.
    #[expect(clippy::cast_possible_truncation, reason = "dollars of one call")]
    pub fn settle(self, usage: &Usage) -> i64 {
        match usage.cost_usd {
            Some(dollars) if dollars.is_finite() && dollars >= 0.0 => (dollars * 1e9).ceil() as i64,
            _ => self.nanos(usage.input_tokens, usage.output_tokens),
        }
    }
}

/// The value of `llm.prices`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices(pub BTreeMap<String, Price>);

impl Setting for Prices {
    fn kind() -> Kind {
        Kind { name: "table of prices", optional: false }
    }
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        let prices = BTreeMap::<String, Price>::deserialize(value.clone()).map_err(|err| err.message().to_owned())?;
        match prices.iter().find(|(_, price)| !(price.input >= 0.0 && price.output >= 0.0)) {
            Some((model, _)) => Err(format!("the price of {model:?} is not a positive number")),
            None => Ok(Self(prices)),
        }
    }
    fn from_env(_: &str) -> Result<Self, String> {
        Err("prices can only be set in a TOML file".into())
    }
    fn to_toml(&self) -> Option<toml::Value> {
        toml::Value::try_from(&self.0).ok()
    }
}
