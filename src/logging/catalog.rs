//! The lines that `journalctl --catalog` explains: each has a target of its own, and in the journal the `MESSAGE_ID=` by
//! which `systemd/assistant.catalog` knows it.

use tracing::{Event, Subscriber};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Declares the targets, to be named in the `target:` of a line, and the list of them.
macro_rules! messages {
    ($($(#[doc = $doc:literal])+ $name:ident = $target:literal, $id:literal;)*) => {
        $($(#[doc = $doc])+ pub const $name: &str = concat!("assistantd::", $target);)*

        /// Targets and their ids.
        const ALL: &[(&str, &str)] = &[$(($name, $id)),*];
    };
}

messages! {
    /// The daemon does not start, and says why.
    START_REFUSED = "start-refused", "3d0bb56268704a70bd6d0b405a0e92ef";
    /// The API would be reachable from farther away than anybody said that it should.
    PUBLIC_BIND_REFUSED = "public-bind-refused", "5b1f9a1c62c64b8f9c0d4a9b27ce61d3";
    /// The API listens farther than most people mean, as the configuration says.
    EXPOSED = "exposed", "c2f7b5a0d9e34b6e8f61a47d35b90c18";
    /// A reload found a configuration that is wrong; the old one stays in force.
    RELOAD_REFUSED = "reload-refused", "a3376019b9304f6992824837f94c1fb2";
    /// A certificate of HTTPS has a new version that cannot be served, or ends soon.
    CERTIFICATE = "certificate", "9d7a4c0e1b5f4f6fa2c83e6d70b914a5";
    /// Somebody asked for what they may not do.
    AUTH_DENIED = "auth-denied", "51a3fff94627420aae988257b5770866";
    /// The sandbox kept a command from doing something; the egress proxy's refusals have the same id.
    SANDBOX_DENIED = "sandbox-denied", "e6374d03ee344e6aa2dafb4623e836e1";
    /// Commands run with less than the best backend, or not at all.
    SANDBOX_DEGRADED = "sandbox-degraded", "b794418baf15463ab69f4eadf966d7f7";
    /// A command was ended because it took too much memory.
    JOB_OOM = "job-oom", "2325a067275a4221905501740e97d08b";
    /// A command or a whole run took too long.
    JOB_TIMEOUT = "job-timeout", "f15c7601c4f64e0384bdf5d7c4dbbf44";
    /// The database was brought to a newer schema.
    DB_MIGRATED = "db-migrated", "4729d4f90acc4cb6a88ee75590060045";
    /// The database as a whole cannot be used.
    DB_TROUBLE = "db-trouble", "41acfecbe60948ef96e5ff85bdfa0648";
    /// What is configured needs a secret that is not there.
    CREDENTIAL_MISSING = "credential-missing", "0a1ce42d65a5441ebfccd92ba43db71d";
    /// A secret is weak, or somebody else can read it or the state.
    WEAK_SECRET = "weak-secret", "fd3df2cc204a481b8c9a01e10303b4d8";
    /// The money of a job or a day is used up.
    BUDGET_EXCEEDED = "budget-exceeded", "40b8fdfd0aca4d698fc7a1bfbca9da21";
    /// The mailbox cannot be reached or read: no mail is received.
    MAILBOX = "mailbox", "ce7dcb29593241998e3aff594878e59f";
    /// A part of the daemon that must answer does not.
    WATCHDOG = "watchdog", "0aeff61ac1ab40289dd264efe04a52eb";
}

/// The id of a line, if it has one.
pub(super) fn id(target: &str) -> Option<&'static str> {
    ALL.iter().find(|(name, _)| *name == target).map(|(_, id)| *id)
}

/// Writes the lines that have an id. They are rare, so the socket to the journal is opened for each.
pub(super) struct Catalogued;

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Catalogued {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // Fields of a line always get a prefix; one without belongs to a whole layer.
        if let Some(id) = id(event.metadata().target())
            && let Ok(journal) = super::journal()
        {
            journal.with_custom_fields([("MESSAGE_ID", id)]).on_event(event, context);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
        path::Path,
    };

    use super::*;

    /// The entries of the catalog by their ids (the file's format: systemd's CATALOG.md).
    fn catalog() -> BTreeMap<String, String> {
        let text = include_str!("../../systemd/assistant.catalog");
        let mut entries = BTreeMap::new();
        let mut at = String::new();
        for line in text.lines() {
            if let Some(id) = line.strip_prefix("-- ") {
                at = id.to_owned();
                assert!(entries.insert(at.clone(), String::new()).is_none(), "{at} stands there twice");
            } else if let Some(entry) = entries.get_mut(&at) {
                entry.push_str(line);
                entry.push('\n');
            }
        }
        entries
    }

    #[test]
    fn the_catalog_explains_every_id_and_no_other() {
        let catalog = catalog();
        let listed: BTreeSet<_> = catalog.keys().map(String::as_str).collect();
        let known: BTreeSet<_> = ALL.iter().map(|(_, id)| *id).collect();
        assert_eq!(listed, known);
        assert_eq!(known.len(), ALL.len(), "an id is used twice");
        assert_eq!(id(SANDBOX_DENIED), Some(assistant_broker::control::DENIED));
        for (target, id) in ALL {
            let entry = &catalog[*id];
            let (head, body) = entry.split_once("\n\n").unwrap_or_default();
            assert!(id.len() == 32 && id.chars().all(|char| char.is_ascii_hexdigit()), "{id}");
            assert!(head.starts_with("Subject: ") && head.contains("\nDefined-By: Assistant"), "{target}");
            assert!(body.lines().count() > 2 && body.lines().all(|line| line.len() <= 80), "{target}");
        }
    }

    fn sources(dir: &Path, found: &mut String) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("catalog.rs") {
                found.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_message_is_written_by_something() {
        let mut code = String::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
        for (target, _) in ALL {
            let name = target.trim_start_matches("assistantd::").replace('-', "_").to_uppercase();
            assert!(code.contains(&format!("catalog::{name}")), "nothing writes {name}");
        }
    }
}
