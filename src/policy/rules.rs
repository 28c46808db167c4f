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
/// `arguments` are the resolved ones. `requester` is the mail address that asked for the job, if it is verified: what the
/// job has found is for them, whatever it has read on the way.
pub fn decide(
    rules: &Rules,
    tool: &str,
    access: Access,
    arguments: &Value,
    origin: Origin,
    requester: Option<&str>,
) -> Decision {
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
    if access == Access::Send && requester.is_some_and(|requester| is_answer(arguments, requester)) {
        return Decision { verdict: Verdict::Allow, rule: "act-requester".into() };
    }
    built_in(tool, access, origin)
}

/// Whether something goes to the requester, to nobody else, and without a file.
fn is_answer(arguments: &Value, requester: &str) -> bool {
    let empty = |name: &str| match arguments.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    let to = arguments.get("to").and_then(Value::as_array).filter(|to| !to.is_empty());
    let is_requester = |one: &Value| one.as_str().is_some_and(|one| one.trim().eq_ignore_ascii_case(requester));
    to.is_some_and(|to| to.iter().all(is_requester)) && ["cc", "bcc", "attachments"].into_iter().all(empty)
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
        // A command changes the workspace and reaches nothing else: the sandbox sees to that.
        Access::Write | Access::Run if origin < Origin::Attachment => (Verdict::Allow, "write-trusted"),
        Access::Write | Access::Run => (
            Verdict::Ask(format!("{tool} was asked for after reading text from {}", origin.as_str())),
            "write-untrusted",
        ),
        Access::Send if origin <= Origin::Contact => (Verdict::Allow, "act-trusted"),
        Access::Send => {
            (Verdict::Ask(format!("{tool} was asked for after reading text from {}", origin.as_str())), "act-untrusted")
        }
    };
    Decision { verdict, rule: rule.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(toml: &str) -> Result<Rules, String> {
        let table: toml::Table = toml.parse().unwrap();
        Rules::from_toml(&table["rules"])
    }

    fn verdict(rules: &Rules, tool: &str, access: Access, origin: Origin) -> (&'static str, String) {
        let decision = decide(rules, tool, access, &Value::Null, origin, None);
        let word = match decision.verdict {
            Verdict::Allow => "allow",
            Verdict::Ask(_) => "ask",
            Verdict::Deny(_) => "deny",
        };
        (word, decision.rule)
    }

    #[test]
    fn built_in_rules_for_every_access_and_origin() {
        use Access::{Control, Read, Run, Send, Write};
        for origin in Origin::ALL {
            let trusted_for_writes = origin < Origin::Attachment;
            let trusted_for_acts = origin <= Origin::Contact;
            let expected = |trusted| if trusted { "allow" } else { "ask" };
            for (access, word) in [
                (Control, "allow"),
                (Read, "allow"),
                (Write, expected(trusted_for_writes)),
                (Send, expected(trusted_for_acts)),
                (Run, expected(trusted_for_writes)),
            ] {
                assert_eq!(verdict(&Rules::default(), "x", access, origin).0, word, "{access:?} {origin:?}");
            }
        }
    }

    #[test]
    fn an_answer_to_the_requester_alone_needs_no_asking() {
        use serde_json::json;
        let verdict = |rules: &Rules, arguments: Value, requester: Option<&str>| {
            decide(rules, "email_send", Access::Send, &arguments, Origin::Stranger, requester)
        };
        let me = Some("me@home.example");
        let allowed = verdict(&Rules::default(), json!({ "to": ["ME@home.example"], "cc": [] }), me);
        assert_eq!((allowed.verdict, allowed.rule.as_str()), (Verdict::Allow, "act-requester"));
        for (arguments, requester) in [
            (json!({ "to": ["me@home.example"] }), None),
            (json!({ "to": [] }), me),
            (json!({ "to": "me@home.example" }), me),
            (json!({ "to": ["me@home.example", "evil@evil.example"] }), me),
            (json!({ "to": ["me@home.example,evil@evil.example"] }), me),
            (json!({ "to": ["me@home.example"], "cc": ["evil@evil.example"] }), me),
            (json!({ "to": ["me@home.example"], "attachments": [{ "path": "keys" }] }), me),
            (json!({ "to": ["evil@evil.example"] }), me),
        ] {
            let decision = verdict(&Rules::default(), arguments.clone(), requester);
            assert!(matches!(decision.verdict, Verdict::Ask(_)), "{arguments}");
        }
        let denied = rules(r#"rules = [{ tool = "email_send", decision = "deny" }]"#).unwrap();
        assert!(matches!(verdict(&denied, json!({ "to": ["me@home.example"] }), me).verdict, Verdict::Deny(_)));
    }

    #[test]
    fn the_first_matching_rule_of_the_configuration_wins() {
        let rules = rules(
            r#"rules = [
                { tool = "file_delete", decision = "deny", reason = "nothing is deleted here" },
                { tool = "file_*", access = "write", origin = "web", decision = "ask" },
                { access = "write", decision = "allow" },
            ]"#,
        )
        .unwrap();
        let check = |tool, access, origin| verdict(&rules, tool, access, origin);
        assert_eq!(check("file_delete", Access::Write, Origin::Owner), ("deny", "config[0]".into()));
        assert_eq!(check("file_write", Access::Write, Origin::Stranger), ("ask", "config[1]".into()));
        assert_eq!(check("file_write", Access::Write, Origin::Attachment), ("allow", "config[2]".into()));
        assert_eq!(check("file_read", Access::Read, Origin::Stranger), ("allow", "read".into()));
    }

    #[test]
    fn a_rule_that_does_not_fit_is_refused() {
        for wrong in [
            r#"rules = [{ decision = "perhaps" }]"#,
            r#"rules = [{ tool = "x" }]"#,
            r#"rules = [{ decision = "ask", orgin = "web" }]"#,
            r#"rules = "ask""#,
        ] {
            assert!(rules(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn trust_only_falls() {
        for a in Origin::ALL {
            for b in Origin::ALL {
                assert!(a.least(b) >= a && a.least(b) >= b);
            }
            assert_eq!(a.as_str().parse(), Ok(a));
        }
    }
}
