//! The table: rules from the configuration, then the built-in ones, first match wins.

use serde::Deserialize;
use serde_json::Value;

use super::{Access, Decision, Origin, Verdict};
use crate::config::value::{Kind, Setting};

/// One rule of `policy.rules`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A tool name, `*` allowed at the end.
    #[serde(default = "any")]
    pub tool: String,
    /// Matches calls of this access; unset: any.
    #[serde(default)]
    pub access: Option<Access>,
    /// Matches when the least trusted origin is this or less trusted; unset: any.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// What happens.
    pub decision: Choice,
    /// Shown to the person or told to the model.
    #[serde(default)]
    pub reason: Option<String>,
}

fn any() -> String {
    "*".into()
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    Allow,
    Ask,
    Deny,
}

/// The value of `policy.rules`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    pub list: Vec<Rule>,
    source: Option<toml::Value>,
}

impl Setting for Rules {
    fn kind() -> Kind {
        Kind { name: "list of rules", optional: false }
    }
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        let list = Vec::<Rule>::deserialize(value.clone()).map_err(|err| err.message().to_owned())?;
        Ok(Self { list, source: Some(value.clone()) })
    }
    fn from_env(_: &str) -> Result<Self, String> {
        Err("rules can only be set in a TOML file".into())
    }
    fn to_toml(&self) -> Option<toml::Value> {
        self.source.clone().or_else(|| Some(toml::Value::Array(Vec::new())))
    }
}

/// Decides one call. `origin` is the least trusted origin that reached the model before it.
///
/// `arguments` are the resolved ones; built-in rules do not look at them yet, rules of later tools do.
pub fn decide(rules: &Rules, tool: &str, access: Access, _arguments: &Value, origin: Origin) -> Decision {
    for (index, rule) in rules.list.iter().enumerate() {
        if rule.matches(tool, access, origin) {
            let reason = rule.reason.clone().unwrap_or_else(|| format!("policy.rules[{index}] says so"));
            let verdict = match rule.decision {
                Choice::Allow => Verdict::Allow,
                Choice::Ask => Verdict::Ask(reason),
                Choice::Deny => Verdict::Deny(reason),
            };
            return Decision { verdict, rule: format!("config[{index}]") };
        }
    }
    built_in(tool, access, origin)
}

impl Rule {
    fn matches(&self, tool: &str, access: Access, origin: Origin) -> bool {
        let named = match self.tool.strip_suffix('*') {
            Some(prefix) => tool.starts_with(prefix),
            None => self.tool == tool,
        };
        named && self.access.is_none_or(|wanted| wanted == access) && self.origin.is_none_or(|floor| origin >= floor)
    }
}

fn built_in(tool: &str, access: Access, origin: Origin) -> Decision {
    let (verdict, rule) = match access {
        Access::Control => (Verdict::Allow, "control"),
        Access::Read => (Verdict::Allow, "read"),
        Access::Write if origin < Origin::Attachment => (Verdict::Allow, "write-trusted"),
        Access::Write => (
            Verdict::Ask(format!("{tool} was asked for after reading text from {}", origin.as_str())),
            "write-untrusted",
        ),
        Access::Send | Access::Run if origin <= Origin::Contact => (Verdict::Allow, "act-trusted"),
        Access::Send | Access::Run => {
            (Verdict::Ask(format!("{tool} was asked for after reading text from {}", origin.as_str())), "act-untrusted")
        }
    };
    Decision { verdict, rule: rule.into() }
}
