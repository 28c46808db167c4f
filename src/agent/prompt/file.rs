//! The prompt file: the owner's, or the one that comes with the program.

use std::path::{Path, PathBuf};

use crate::{
    config::Config,
    error::{Error, Result},
};

/// The text that is used when there is no file and none was asked for.
const BUILT_IN: &str = include_str!("../../../config/AGENT.md");
const DEFAULT_NAME: &str = "AGENT.md";

/// The text of `prompt.agent_file`; a relative name is looked for in `dir`, the directory of the configuration file.
/// Without the file, `NAME.example` beside it is used; without that, the built-in text if the name is the default.
///
/// # Errors
/// `validation`, naming the key, when a file that was asked for is missing, empty, unreadable or not text.
pub(crate) fn agent_text(config: &Config, dir: Option<&Path>) -> Result<String> {
    let name = &config.prompt.agent_file;
    let path = match dir {
        Some(dir) => dir.join(name),
        None => PathBuf::from(name),
    };
    let fault = |what: String| {
        Error::validation(what)
            .field("prompt.agent_file")
            .hint(format!("put a prompt there, or remove the key to use the built-in one ({DEFAULT_NAME})"))
    };
    let mut example = path.clone().into_os_string();
    example.push(".example");
    let places = if dir.is_none() && name == DEFAULT_NAME { Vec::new() } else { vec![path.clone(), example.into()] };
    for place in places {
        match std::fs::read(&place) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes)
                    .map_err(|_| fault(format!("the prompt file {} is not UTF-8", place.display())))?;
                if text.trim().is_empty() {
                    return Err(fault(format!("the prompt file {} is empty", place.display())));
                }
                return Ok(truncated(text, config.prompt.max_context_file_bytes.0));
            }
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
            Err(err) => return Err(fault(format!("the prompt file {} cannot be read: {err}", place.display()))),
        }
    }
    if name == DEFAULT_NAME {
        return Ok(truncated(BUILT_IN.to_owned(), config.prompt.max_context_file_bytes.0));
    }
    Err(fault(format!("the prompt file {} does not exist", path.display())))
}

/// Whether jobs will find a prompt: for `--check` and the start.
///
/// # Errors
/// As `agent_text`.
pub fn check(config: &Config, dir: Option<&Path>) -> Result<()> {
    agent_text(config, dir).map(drop)
}

fn truncated(mut text: String, max_bytes: u64) -> String {
    let max = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
    }
    text
}
