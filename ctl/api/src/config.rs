//! The configuration on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `GET /api/config`. Secrets are no part of the configuration and are not here.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// The configuration file; drop-ins are in `conf.d` beside it. It need not exist.
    #[serde(default)]
    pub file: String,
    /// Every key, by section, in the order of the documentation.
    pub settings: Vec<Setting>,
}

/// One key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Its path, such as `llm.model`.
    pub key: String,
    /// Its value in force; null when it is unset.
    pub value: Value,
    /// Where the value came from: `default`, `<file>:<line>` or `environment <NAME>`.
    pub origin: String,
    /// Its value when nobody sets it; null when it is unset then.
    pub default: Value,
    /// The environment variable that sets it.
    pub environment: String,
    /// What values look like.
    pub kind: String,
    /// What it means.
    pub doc: String,
    /// Whether a change takes effect only when the daemon starts again.
    pub restart: bool,
}

/// `POST /api/reload`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// Keys whose values changed.
    pub changed: Vec<String>,
    /// Those of them that take effect only when the daemon starts again.
    pub restart: Vec<String>,
    /// What looks like a mistake but harms nothing.
    pub warnings: Vec<String>,
}
