//! Secrets: from systemd's credentials or the environment, never from a file of the configuration.

use std::{collections::BTreeMap, fmt, path::Path};

use secrecy::SecretString;

use super::{
    fault::{ConfigError, Fault, Place},
    paths::Environment,
};

/// A secret's longest size, as systemd bounds credentials to 1 MiB together.
const MAX_BYTES: u64 = 64 << 10;

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
}

/// The secrets that are set.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<SecretName, (SecretString, Place)>);

impl Secrets {
    /// Reads credentials, then the environment; a blank one or an example value counts as unset.
    ///
    /// # Errors
    /// A credential that is there but cannot be read.
    pub fn load(credentials: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let mut found = BTreeMap::new();
        for name in SecretName::ALL {
            let credential = match credentials {
                Some(dir) => read(dir, name.credential())?,
                None => None,
            };
            let value = credential.or_else(|| {
                environment.get(name.env()).map(|value| (value.to_owned(), Place::Environment(name.env().to_owned())))
            });
            if let Some((value, place)) = value.filter(|(value, _)| is_set(value)) {
                found.insert(*name, (SecretString::from(value), place));
            }
        }
        Ok(Self(found))
    }

    /// The secret, if it is set.
    pub fn get(&self, name: SecretName) -> Option<SecretString> {
        self.0.get(&name).map(|(value, _)| value.clone())
    }

    /// Where it came from, if it is set.
    pub fn place(&self, name: SecretName) -> Option<&Place> {
        self.0.get(&name).map(|(_, place)| place)
    }
}

impl<T: Into<String>> FromIterator<(SecretName, T)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (SecretName, T)>>(pairs: I) -> Self {
        Self(
            pairs.into_iter().map(|(name, value)| (name, (SecretString::from(value.into()), Place::Nowhere))).collect(),
        )
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn read(dir: &Path, name: &str) -> Result<Option<(String, Place)>, ConfigError> {
    let path = dir.join(name);
    let fault = |message: String| Fault::new(Place::File(path.clone(), None), None, message);
    match std::fs::metadata(&path) {
        Ok(meta) if !meta.is_file() => return Err(fault("a credential must be a regular file".into()).into()),
        Ok(meta) if meta.len() > MAX_BYTES => {
            return Err(
                fault(format!("a credential has at most {MAX_BYTES} bytes, this one has {}", meta.len())).into()
            );
        }
        Ok(_) => {}
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(fault(format!("cannot read this credential: {err}")).into()),
    }
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some((text.trim().to_owned(), Place::File(path, None)))),
        Err(err) => Err(fault(format!("cannot read this credential: {err}")).into()),
    }
}

/// Whether a value is more than a blank or what an example file holds.
pub fn is_set(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    let example = ["change-me", "changeme", "replace-me", "your-api-key", "your_api_key", "example", "xxx", "sk-..."];
    !value.is_empty() && !example.contains(&value.as_str()) && !value.starts_with("replace-with")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn shown(secrets: &Secrets, name: SecretName) -> Option<String> {
        secrets.get(name).map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn a_credential_wins_over_the_environment_and_blanks_are_unset() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("openrouter-api-key"), "from-file\n").unwrap();
        std::fs::write(dir.path().join("openai-api-key"), " \n").unwrap();
        let environment = [
            ("OPENROUTER_API_KEY", "from-env"),
            ("OPENAI_API_KEY", "second"),
            ("ANTHROPIC_API_KEY", "  "),
            ("ASSISTANT_LLM_API_KEY", "change-me"),
        ]
        .into_iter()
        .collect();
        let secrets = Secrets::load(Some(dir.path()), &environment).unwrap();
        assert_eq!(shown(&secrets, SecretName::OpenRouter).as_deref(), Some("from-file"));
        assert_eq!(shown(&secrets, SecretName::OpenAi).as_deref(), Some("second"));
        assert_eq!(shown(&secrets, SecretName::Anthropic), None);
        assert_eq!(shown(&secrets, SecretName::Llm), None);
        assert_eq!(secrets.place(SecretName::OpenAi), Some(&Place::Environment("OPENAI_API_KEY".into())));
        assert!(!format!("{secrets:?}").contains("from-file"));
    }

    #[test]
    fn a_credential_that_cannot_be_read_is_a_fault_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("llm-api-key")).unwrap();
        let error = Secrets::load(Some(dir.path()), &Environment::default()).unwrap_err();
        assert!(error.to_string().ends_with("llm-api-key: a credential must be a regular file"), "{error}");
    }
}
