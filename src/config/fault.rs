//! What is wrong with the configuration: where, which key, why, and what to do.

use std::{fmt, path::PathBuf};

use crate::error::Error;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file as a whole, or one of its lines (from 1).
    File(PathBuf, Option<usize>),
    /// An environment variable.
    Environment(String),
    /// Nowhere: it follows from defaults.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, Some(line)) => write!(f, "{}:{line}", path.display()),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Nowhere => f.write_str("configuration"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    /// The path of the key, such as `llm.temperature`.
    pub key: Option<String>,
    /// Never holds a secret.
    pub message: String,
    pub hint: Option<String>,
}

impl Fault {
    pub(super) fn new(place: Place, key: Option<&str>, message: impl Into<String>) -> Self {
        Self { place, key: key.map(str::to_owned), message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong, at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub faults: Vec<Fault>,
}

impl From<Fault> for ConfigError {
    fn from(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Error {
    fn from(err: ConfigError) -> Self {
        let error = Self::validation(err.to_string());
        let first = err.faults.into_iter().next();
        let Some(Fault { key, hint, .. }) = first else { return error };
        let error = match key {
            Some(key) => error.field(key),
            None => error,
        };
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}
