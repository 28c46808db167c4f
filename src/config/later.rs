//! Names that configurations of the assistant may have and this version does not: they are refused or warned about as
//! such, and not taken for misspelt ones.

/// A key and its environment variable on each line, `-` for none.
const NAMES: &str = include_str!("later.txt");

fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES.lines().filter_map(|line| line.split_once(' '))
}

/// Whether `path` is such a key, or a table that has nothing but such keys.
pub(super) fn key(path: &str) -> bool {
    path != "-"
        && names().any(|(key, _)| key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Whether `name` is such a variable.
pub(super) fn variable(name: &str) -> bool {
    name != "-" && names().any(|(_, variable)| variable == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_exists_is_not_listed() {
        for table in Config::default().tables() {
            for entry in table.keys() {
                let path = format!("{}.{}", table.name(), entry.name);
                assert!(!key(&path), "{path} exists now: take it off the list");
                let name = entry.env_name(table.name());
                assert!(!variable(&name), "{name} exists now: take it off the list");
            }
        }
    }
}
