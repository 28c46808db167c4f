//! The secrets that there are: the daemon, the command line and the unit of systemd all know these and no others.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::near::nearest;

/// A secret's longest size in bytes; systemd bounds the credentials of a service to 1 MiB together.
pub const MAX_BYTES: usize = 64 << 10;

macro_rules! secrets {
    ($($(#[doc = $doc:literal])+ $name:ident: $credential:literal, $env:literal;)*) => {
        /// The secrets that there are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum SecretName { $($(#[doc = $doc])+ $name,)* }

        impl SecretName {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name of its credential (systemd-creds(1)).
            pub const fn credential(self) -> &'static str {
                match self { $(Self::$name => $credential,)* }
            }

            /// The environment variable that holds it when the daemon is started by hand.
            pub const fn env(self) -> &'static str {
                match self { $(Self::$name => $env,)* }
            }

            /// What it is for.
            pub const fn doc(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($doc),+],)* }
            }
        }
    };
}

secrets! {
    /// Key for OpenRouter.
    OpenRouter: "openrouter-api-key", "OPENROUTER_API_KEY";
    /// Key for the API of OpenAI.
    OpenAi: "openai-api-key", "OPENAI_API_KEY";
    /// Key for the API of Anthropic.
    Anthropic: "anthropic-api-key", "ANTHROPIC_API_KEY";
    /// Key for the host of `llm.base_url`, whoever runs it.
    Llm: "llm-api-key", "ASSISTANT_LLM_API_KEY";
    /// Password of `email.imap_username`.
    Imap: "imap-password", "IMAP_PASSWORD";
    /// Password of `email.smtp_username`. That of IMAP is not used in its place: another host would learn it.
    Smtp: "smtp-password", "SMTP_PASSWORD";
    /// What the assistant proves itself with to `email.oauth_token_url`.
    MailOauthClient: "mail-oauth-client-secret", "ASSISTANT_MAIL_OAUTH_CLIENT_SECRET";
    /// Gets access to the mailbox at `email.oauth_token_url`.
    MailOauthRefresh: "mail-oauth-refresh-token", "ASSISTANT_MAIL_OAUTH_REFRESH_TOKEN";
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.credential())
    }
}

impl FromStr for SecretName {
    type Err = String;

    /// The credential's name; the error names the one that was meant, or all.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(found) = Self::ALL.iter().find(|name| name.credential() == text) {
            return Ok(*found);
        }
        if let Some(meant) = Self::ALL.iter().find(|name| name.env() == text) {
            return Err(format!("{text} is its name in the environment; the secret is called {meant}"));
        }
        let names = || Self::ALL.iter().map(|name| name.credential());
        Err(match nearest(&text.to_ascii_lowercase().replace('_', "-"), names()) {
            Some(near) => format!("there is no secret {text:?}; did you mean {near}?"),
            None => format!("there is no secret {text:?}; there are {}", names().collect::<Vec<_>>().join(", ")),
        })
    }
}

/// Whether a value is more than a blank or what an example file holds.
pub fn is_set(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    let example = ["change-me", "changeme", "replace-me", "your-api-key", "your_api_key", "example", "xxx", "sk-..."];
    !value.is_empty() && !example.contains(&value.as_str()) && !value.starts_with("replace-with")
}

/// What the running daemon has of a secret; never the value. Part of `GET /api/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretState {
    /// The name of its credential.
    pub name: String,
    /// Where the daemon has it from; null when it has none.
    pub source: Option<SecretSource>,
    /// Since when the daemon has had this value, over restarts too; null when it has none, or has not looked yet.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// What lacks it, or why it cannot be read.
    pub problem: Option<String>,
}

/// Where a secret came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A credential of the service.
    Credential,
    /// A variable of the environment.
    Environment,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_and_near_ones_are_named() {
        for name in SecretName::ALL {
            assert_eq!(name.credential().parse(), Ok(*name));
        }
        let refused = |text: &str| text.parse::<SecretName>().unwrap_err();
        assert_eq!(
            refused("openruter-api-key"),
            "there is no secret \"openruter-api-key\"; did you mean openrouter-api-key?"
        );
        assert!(refused("OPENAI_APIKEY").ends_with("did you mean openai-api-key?"));
        assert!(refused("ANTHROPIC_API_KEY").ends_with("the secret is called anthropic-api-key"));
        assert!(refused("wine").contains("openai-api-key, anthropic-api-key, llm-api-key, imap-password"));
    }
}
