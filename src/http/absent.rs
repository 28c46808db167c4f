//! Paths of parts that are not there yet: a client learns that the part is missing, not that it asked wrongly.

/// Each path, with all below it, and the part that it belongs to.
const ABSENT: &[(&str, &str)] = &[
    ("/api/contacts", "contacts"),
    ("/api/entities", "entities"),
    ("/api/memories", "memory"),
    ("/api/notes", "notes"),
    ("/api/projects", "projects"),
    ("/api/reminders", "reminders"),
    ("/api/workspace/semantic-search", "search by meaning"),
];

/// The part that a path belongs to, if it is one that is not there.
pub(super) fn part(path: &str) -> Option<&'static str> {
    let below = |top: &str| path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ABSENT.iter().find(|(top, _)| below(top)).map(|(_, part)| *part)
}
