//! Secrets: from systemd's credentials or the environment, never from a file of the configuration.

use std::{collections::BTreeMap, fmt, path::Path};

pub use assistant_api::secrets::SecretName;
use assistant_api::secrets::{MAX_BYTES, SecretSource, SecretState, is_set};
use secrecy::SecretString;

use super::{fault::Place, paths::Environment};

/// The secrets that are set, and why others cannot be read.
#[derive(Clone, Default)]
pub struct Secrets {
    found: BTreeMap<SecretName, (SecretString, Place)>,
    unreadable: BTreeMap<SecretName, String>,
    weak: Vec<WeakSecret>,
}

/// A secret that protects badly, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeakSecret {
    pub name: SecretName,
    pub place: Place,
    pub why: Weakness,
}

/// What makes it weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// A text from an example file; it counts as unset.
    Example,
    /// A word that everybody tries first.
    Guessable,
    /// Under [`LEAST_CHARS`].
    Short,
}

/// Characters of a secret that is not too short.
pub const LEAST_CHARS: usize = 12;

impl Secrets {
    /// Reads credentials, then the environment; a blank one or an example value counts as unset. One that cannot be read
    /// counts as unset too: what needs it says so, and all else works.
    pub fn load(credentials: Option<&Path>, environment: &Environment) -> Self {
        let mut secrets = Self::default();
        for name in SecretName::ALL {
            let credential = match credentials.map(|dir| read(dir, name.credential())).transpose() {
                Ok(credential) => credential.flatten(),
                Err(problem) => {
                    secrets.unreadable.insert(*name, problem);
                    None
                }
            };
            let value = credential.or_else(|| {
                environment.get(name.env()).map(|value| (value.to_owned(), Place::Environment(name.env().to_owned())))
            });
            let Some((value, place)) = value.filter(|(value, _)| !value.trim().is_empty()) else { continue };
            if let Some(why) = weakness(&value) {
                secrets.weak.push(WeakSecret { name: *name, place: place.clone(), why });
            }
            if is_set(&value) {
                secrets.found.insert(*name, (SecretString::from(value), place));
            }
        }
        secrets
    }

    /// The secret, if it is set.
    pub fn get(&self, name: SecretName) -> Option<SecretString> {
        self.found.get(&name).map(|(value, _)| value.clone())
    }

    /// Where it came from, if it is set.
    pub fn place(&self, name: SecretName) -> Option<&Place> {
        self.found.get(&name).map(|(_, place)| place)
    }

    /// Why it cannot be read, if it is there and cannot.
    pub fn unreadable(&self, name: SecretName) -> Option<&str> {
        self.unreadable.get(&name).map(String::as_str)
    }

    /// What there is of each, without any value.
    pub fn states(&self) -> Vec<SecretState> {
        let state = |name: &SecretName| SecretState {
            name: name.credential().to_owned(),
            source: self.place(*name).map(|place| match place {
                Place::Environment(_) => SecretSource::Environment,
                _ => SecretSource::Credential,
            }),
            since: None,
            problem: self.unreadable(*name).map(str::to_owned),
        };
        SecretName::ALL.iter().map(state).collect()
    }

    /// Those that protect badly.
    pub fn weak(&self) -> &[WeakSecret] {
        &self.weak
    }
}

impl<T: Into<String>> FromIterator<(SecretName, T)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (SecretName, T)>>(pairs: I) -> Self {
        let pair = |(name, value): (SecretName, T)| (name, (SecretString::from(value.into()), Place::Nowhere));
        Self { found: pairs.into_iter().map(pair).collect(), ..Self::default() }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.found.keys()).finish()
    }
}

/// A credential that is there; the error says what is wrong with it, without its place, which is systemd's.
fn read(dir: &Path, name: &str) -> Result<Option<(String, Place)>, String> {
    let path = dir.join(name);
    match std::fs::metadata(&path) {
        Ok(meta) if !meta.is_file() => return Err("the credential is no regular file".into()),
        Ok(meta) if meta.len() > MAX_BYTES as u64 => {
            return Err(format!("the credential has {} bytes, more than {MAX_BYTES}", meta.len()));
        }
        Ok(_) => {}
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(format!("the credential cannot be read: {err}")),
    }
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some((text.trim().to_owned(), Place::File(path, None)))),
        Err(err) => Err(format!("the credential cannot be read: {err}")),
    }
}

fn weakness(value: &str) -> Option<Weakness> {
    let guessed = ["password", "postgres", "assistant", "secret", "admin"];
    match value.trim() {
        value if !is_set(value) => Some(Weakness::Example),
        value if guessed.contains(&value.to_ascii_lowercase().as_str()) => Some(Weakness::Guessable),
        value if value.chars().count() < LEAST_CHARS => Some(Weakness::Short),
        _ => None,
    }
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
        let secrets = Secrets::load(Some(dir.path()), &environment);
        assert_eq!(shown(&secrets, SecretName::OpenRouter).as_deref(), Some("from-file"));
        assert_eq!(shown(&secrets, SecretName::OpenAi).as_deref(), Some("second"));
        assert_eq!(shown(&secrets, SecretName::Anthropic), None);
        assert_eq!(shown(&secrets, SecretName::Llm), None);
        assert_eq!(secrets.place(SecretName::OpenAi), Some(&Place::Environment("OPENAI_API_KEY".into())));
        assert!(!format!("{secrets:?}").contains("from-file"));
    }

    #[test]
    fn the_unit_loads_each_credential_by_its_name_alone() {
        let unit = include_str!("../../systemd/assistantd.service");
        let loaded: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix("LoadCredential")).collect();
        let known: Vec<_> = SecretName::ALL.iter().map(|name| format!("Encrypted={name}")).collect();
        assert_eq!(loaded, known, "systemd/assistantd.service and ctl/api/src/secrets.rs name different secrets");
    }

    #[test]
    fn a_weak_secret_is_known_by_its_place_and_only_an_example_counts_as_unset() {
        for (value, why, used) in [
            ("change-me", Some(Weakness::Example), false),
            ("REPLACE-WITH-A-STRONG-PASSWORD", Some(Weakness::Example), false),
            ("Password", Some(Weakness::Guessable), true),
            ("elevenchars", Some(Weakness::Short), true),
            ("twelve chars", None, true),
            (" ", None, false),
        ] {
            let secrets = Secrets::load(None, &[("OPENAI_API_KEY", value)].into_iter().collect());
            assert_eq!(secrets.weak().first().map(|weak| weak.why), why, "{value}");
            assert_eq!(secrets.get(SecretName::OpenAi).is_some(), used, "{value}");
            assert!(secrets.weak().iter().all(|weak| weak.place == Place::Environment("OPENAI_API_KEY".into())));
        }
    }

    #[test]
    fn a_credential_that_cannot_be_read_is_unset_and_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("llm-api-key")).unwrap();
        std::fs::write(dir.path().join("openai-api-key"), [0xff, 0xfe]).unwrap();
        let environment = [("OPENROUTER_API_KEY", "canary")].into_iter().collect();
        let secrets = Secrets::load(Some(dir.path()), &environment);
        assert_eq!(shown(&secrets, SecretName::Llm), None);
        let states = secrets.states();
        let state = |name: SecretName| states.iter().find(|state| state.name == name.credential()).unwrap();
        assert_eq!(state(SecretName::Llm).problem.as_deref(), Some("the credential is no regular file"));
        assert!(state(SecretName::OpenAi).problem.as_deref().unwrap().starts_with("the credential cannot be read"));
        assert_eq!(state(SecretName::OpenRouter).source, Some(SecretSource::Environment));
        assert_eq!(
            (state(SecretName::Anthropic).source, state(SecretName::Anthropic).problem.as_deref()),
            (None, None)
        );
        assert!(!format!("{states:?}").contains("canary"));
    }
}
