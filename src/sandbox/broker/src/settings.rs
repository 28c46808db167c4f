//! Files of settings: one TOML file, unknown keys refused, faults with line and key.

use std::{
    fmt, fs,
    ops::{self, RangeInclusive},
    path::Path,
};

use serde::de::DeserializeOwned;

/// What is wrong with a configuration, and where.
#[derive(Debug, thiserror::Error)]
pub struct Fault {
    file: String,
    line: Option<usize>,
    key: Option<String>,
    reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.key {
            Some(key) => write!(f, ": {key}: {}", self.reason),
            None => write!(f, ": {}", self.reason),
        }
    }
}

impl Fault {
    pub(crate) fn at(file: &str, line: Option<usize>, key: String, reason: String) -> Self {
        Self { file: file.to_owned(), line, key: Some(key), reason }
    }
}

/// The text of a file, and its name as faults tell it.
pub(crate) fn open(file: &Path) -> Result<(String, String), Fault> {
    let name = file.display().to_string();
    match fs::read_to_string(file) {
        Ok(text) => Ok((text, name)),
        Err(err) => Err(Fault { file: name, line: None, key: None, reason: format!("reading it: {err}") }),
    }
}

/// The settings that `text` says; `file` names it in what is said of faults.
pub(crate) fn read<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Fault> {
    let fault = |line, key, reason: &str| Fault { file: file.to_owned(), line, key, reason: reason.to_owned() };
    let deserializer =
        toml::Deserializer::parse(text).map_err(|err| fault(line(text, err.span()), None, err.message()))?;
    serde_path_to_error::deserialize(deserializer).map_err(|err| {
        let key = Some(err.path().to_string()).filter(|path| path != ".");
        fault(line(text, err.inner().span()), key, err.inner().message())
    })
}

/// A key, its value, and what it may be.
pub(crate) type Range = (&'static str, u64, RangeInclusive<u64>);

/// Holds numbers to their ranges, once the text is known to be good.
pub(crate) fn check_ranges(text: &str, file: &str, table: &str, ranges: &[Range]) -> Result<(), Fault> {
    match ranges.iter().find(|(_, value, range)| !range.contains(value)) {
        None => Ok(()),
        Some((name, value, range)) => {
            let reason = format!("{value} is not from {} to {}", range.start(), range.end());
            Err(Fault::at(file, line_of_key(text, name), format!("{table}{name}"), reason))
        }
    }
}

/// The line in which a span begins, from 1.
pub(crate) fn line(text: &str, span: Option<ops::Range<usize>>) -> Option<usize> {
    span.and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1)
}

/// Where a key is set.
pub(crate) fn line_of_key(text: &str, key: &str) -> Option<usize> {
    text.lines().position(|line| line.trim_start().starts_with(key)).map(|index| index + 1)
}
