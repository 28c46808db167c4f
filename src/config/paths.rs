//! Where configuration, state and sockets lie: told by systemd, fixed for root, in the XDG directories otherwise.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::fault::{ConfigError, Fault, Place};

/// The environment as it was when the process began, before any thread existed.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Of this process.
    pub fn capture() -> Self {
        let text = |value: OsString| value.to_string_lossy().into_owned();
        Self(std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect())
    }

    /// What a service with these variables gets: nothing else of this environment but where things lie.
    #[must_use]
    pub fn of_service(self, variables: Vec<(String, String)>) -> Self {
        let kept = self.0.into_iter().filter(|(name, _)| {
            matches!(name.as_str(), "HOME" | "PATH") || name.starts_with("XDG_") || name.ends_with("_DIRECTORY")
        });
        Self(kept.chain(variables).collect())
    }

    /// The value of a variable, trimmed; a blank one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The names that are set, blank ones left out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| self.get(name).is_some())
    }

    /// An absolute path in a variable; systemd separates several by colons, the first counts.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let first = self.get(name)?.split(':').next()?;
        Some(PathBuf::from(first)).filter(|path| path.is_absolute())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub config: Option<PathBuf>,
    pub state_dir: Option<PathBuf>,
    pub runtime_dir: Option<PathBuf>,
}

/// Where things lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// The configuration file; `conf.d` lies beside it.
    pub config: PathBuf,
    /// Whether the file was asked for by name, and so has to be there.
    pub config_required: bool,
    pub state_dir: PathBuf,
    /// Holds `api.sock`.
    pub runtime_dir: PathBuf,
    /// systemd's `$CREDENTIALS_DIRECTORY`.
    pub credentials_dir: Option<PathBuf>,
}

impl Paths {
    /// The command line wins, then systemd's variables, then fixed paths for root or the XDG directories
    /// (XDG Base Directory Specification) for everybody else.
    ///
    /// # Errors
    /// When a user has neither `$HOME` nor the XDG variable that is needed.
    pub fn find(wanted: &Wanted, environment: &Environment, root: bool) -> Result<Self, ConfigError> {
        let user = |variable: &str, fallback: &str, option: &str| {
            environment
                .path(variable)
                .or_else(|| environment.path("HOME").map(|home| home.join(fallback)))
                .map(|dir| dir.join("assistant"))
                .ok_or_else(|| {
                    Fault::new(
                        Place::Environment(variable.to_owned()),
                        None,
                        format!("neither ${variable} nor $HOME is set"),
                    )
                    .hint(format!("pass {option}"))
                })
        };
        let state_dir = match (&wanted.state_dir, environment.path("STATE_DIRECTORY")) {
            (Some(dir), _) => absolute(dir),
            (None, Some(dir)) => dir,
            (None, None) if root => "/var/lib/assistant".into(),
            (None, None) => user("XDG_STATE_HOME", ".local/state", "--state-dir")?,
        };
        let runtime_dir = match (&wanted.runtime_dir, environment.path("RUNTIME_DIRECTORY")) {
            (Some(dir), _) => absolute(dir),
            (None, Some(dir)) => dir,
            (None, None) if root => "/run/assistant".into(),
            // Without a login session there is no private runtime directory; the state directory is private too.
            (None, None) => {
                environment.path("XDG_RUNTIME_DIR").map_or_else(|| state_dir.join("run"), |dir| dir.join("assistant"))
            }
        };
        let config = match (&wanted.config, environment.path("CONFIGURATION_DIRECTORY")) {
            (Some(file), _) => absolute(file),
            (None, Some(dir)) => dir.join("assistant.toml"),
            (None, None) if root => "/etc/assistant/assistant.toml".into(),
            (None, None) => user("XDG_CONFIG_HOME", ".config", "--config")?.join("assistant.toml"),
        };
        Ok(Self {
            config,
            config_required: wanted.config.is_some(),
            state_dir,
            runtime_dir,
            credentials_dir: environment.path("CREDENTIALS_DIRECTORY"),
        })
    }

    /// The API's socket when the daemon binds it itself.
    pub fn socket(&self) -> PathBuf {
        self.runtime_dir.join("api.sock")
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pairs: &[(&str, &str)], root: bool) -> Result<Paths, ConfigError> {
        Paths::find(&Wanted::default(), &pairs.iter().copied().collect(), root)
    }

    #[test]
    fn root_and_systemd_and_users_have_their_places() {
        let root = find(&[], true).unwrap();
        assert_eq!(root.state_dir, Path::new("/var/lib/assistant"));
        assert_eq!(root.socket(), Path::new("/run/assistant/api.sock"));
        assert_eq!(root.config, Path::new("/etc/assistant/assistant.toml"));
        let unit = find(
            &[
                ("STATE_DIRECTORY", "/s:/other"),
                ("RUNTIME_DIRECTORY", "/r"),
                ("CONFIGURATION_DIRECTORY", "/c"),
                ("CREDENTIALS_DIRECTORY", "/k"),
            ],
            false,
        )
        .unwrap();
        assert_eq!((unit.state_dir.as_path(), unit.runtime_dir.as_path()), (Path::new("/s"), Path::new("/r")));
        assert_eq!(unit.config, Path::new("/c/assistant.toml"));
        assert_eq!(unit.credentials_dir.as_deref(), Some(Path::new("/k")));
        let user = find(&[("HOME", "/home/u"), ("XDG_RUNTIME_DIR", "/run/user/7")], false).unwrap();
        assert_eq!(user.state_dir, Path::new("/home/u/.local/state/assistant"));
        assert_eq!(user.runtime_dir, Path::new("/run/user/7/assistant"));
        assert_eq!(user.config, Path::new("/home/u/.config/assistant/assistant.toml"));
        assert!(!user.config_required);
    }

    #[test]
    fn a_user_without_a_home_is_told_which_option_to_pass() {
        let fault = find(&[], false).unwrap_err().faults.remove(0);
        assert_eq!(fault.to_string(), "environment XDG_STATE_HOME: neither $XDG_STATE_HOME nor $HOME is set");
        assert_eq!(fault.hint.as_deref(), Some("pass --state-dir"));
    }

    #[test]
    fn the_command_line_wins() {
        let wanted = Wanted {
            config: Some("/x/a.toml".into()),
            state_dir: Some("/x/s".into()),
            runtime_dir: Some("/x/r".into()),
        };
        let paths = Paths::find(&wanted, &[("STATE_DIRECTORY", "/s")].into_iter().collect(), true).unwrap();
        assert_eq!(paths.state_dir, Path::new("/x/s"));
        assert!(paths.config_required);
    }
}
