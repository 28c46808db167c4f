//! Files of variables as the service manager reads them (`EnvironmentFile=`, systemd.exec(5)).

use std::{io, path::Path};

/// Names and values of a file.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<(String, String)>> {
    Ok(parse(&std::fs::read_to_string(path)?))
}

/// One assignment on a line; a backslash at its end continues it, quotes may stand around a value.
fn parse(text: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\n", "");
    let lines = joined.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let pair = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some((name.trim().to_owned(), unquoted(value.trim()).to_owned()))
    };
    lines.filter_map(pair).filter(|(name, _)| !name.is_empty()).collect()
}

fn unquoted(value: &str) -> &str {
    let within = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_and_comments_are_not() {
        let text = "# A=1\n;B=2\n\n LOG_LEVEL = debug\nADMIN_NAME=\"Ann B\"\nX='y'\nLONG=a\\\nb\nnothing\n=c\nEMPTY=\n";
        let expected = [("LOG_LEVEL", "debug"), ("ADMIN_NAME", "Ann B"), ("X", "y"), ("LONG", "ab"), ("EMPTY", "")];
        assert_eq!(parse(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
