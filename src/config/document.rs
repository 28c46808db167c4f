//! `config/assistant.toml`, `docs/configuration.md` and the man page, written from the declarations of the keys.
//!
//! `BLESS=1 cargo test --lib config::document` writes them; otherwise a stale one fails the test.

use std::{fmt::Write as _, path::Path};

use super::{
    Config, SecretName,
    section::{Key, Table},
};

const EXAMPLE: &str = "config/assistant.toml";
const VARIABLES: &str = "debian/assistant.default";
const MANUAL: &str = "docs/configuration.md";
const PAGE: &str = "docs/man/assistant.toml.5";

/// A doc comment without its leading spaces, line by line.
fn lines(doc: &[&'static str]) -> impl Iterator<Item = &'static str> {
    doc.iter().map(|line| line.trim())
}

/// The default as it is written; an optional key that is unset is a blank text, which means the same.
fn default(table: &dyn Table, key: &Key) -> String {
    table.get(key.name).map_or_else(|| "\"\"".to_owned(), |value| value.to_string())
}

fn example() -> String {
    let mut text = String::from(
        "# Configuration of assistantd. Every key stands here with its default, commented out.\n\
         #\n\
         # Rather than changing this file, put what you change into conf.d/*.toml beside it: an upgrade never asks about\n\
         # those. Later files win over earlier ones, and the environment variable named with a key wins over all files.\n\
         # `assistantd --check` checks the result, `assistantctl reload` puts it into force.\n\
         #\n\
         # An integer counts in the unit that the key names; a text carries its own: \"90s\", \"5m\", \"1h 30m\", \"7d\",\n\
         # \"500MB\" (10^6), \"500MiB\" (2^20). A blank text unsets a key that may be unset.\n\
         # Secrets never stand in this file: see docs/configuration.md.\n",
    );
    for table in Config::default().tables() {
        text.push('\n');
        for line in lines(table.doc()) {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "[{}]", table.name());
        for key in table.keys() {
            text.push('\n');
            for line in lines(key.doc) {
                let _ = writeln!(text, "# {line}");
            }
            let _ = writeln!(text, "# {} ({})", describe(key), key.env_name(table.name()));
            let _ = writeln!(text, "#{} = {}", key.name, default(table, key));
        }
    }
    text
}

/// Type and range.
fn describe(key: &Key) -> String {
    let kind = (key.kind)();
    let mut text = kind.name.to_owned();
    if kind.optional {
        text.push_str(", may be unset");
    }
    if let Some(range) = key.range {
        let (least, most) = range();
        let _ = write!(text, ", {least} to {most}");
    }
    text
}

fn manual() -> String {
    let mut text = String::from(include_str!("document/manual.md"));
    text.push_str("\n## Keys\n");
    for table in Config::default().tables() {
        let _ = write!(text, "\n### `[{}]`\n\n", table.name());
        for line in lines(table.doc()) {
            let _ = writeln!(text, "{line}");
        }
        text.push_str("\n| Key | Type | Default | Environment | Meaning |\n|---|---|---|---|---|\n");
        for key in table.keys() {
            let default = match table.get(key.name) {
                Some(value) => format!("`{value}`"),
                None => "unset".to_owned(),
            };
            let cells = [
                format!("`{}`", key.name),
                describe(key),
                default,
                format!("`{}`", key.env_name(table.name())),
                lines(key.doc).collect::<Vec<_>>().join(" "),
            ];
            let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
    }
    text.push_str("\n## Secrets\n\n");
    text.push_str(include_str!("document/secrets.md"));
    text.push_str("\n| Credential | Environment | Meaning |\n|---|---|---|\n");
    for name in SecretName::ALL {
        let doc = lines(name.doc()).collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "| `{}` | `{}` | {doc} |", name.credential(), name.env());
    }
    text
}

/// The man page, `man-pages(7)`.
fn page() -> String {
    let mut page = roff::Roff::new();
    page.control("TH", ["assistant.toml", "5", "", "", "Assistant"]);
    page.control("SH", ["NAME"]).text([roff::roman("assistant.toml - configuration of assistantd")]);
    page.control("SH", ["DESCRIPTION"]);
    for line in include_str!("document/page.txt").lines() {
        if line.is_empty() {
            page.control("PP", [])
        } else {
            page.text([roff::roman(line)])
        };
    }
    for table in Config::default().tables() {
        page.control("SH", [format!("[{}]", table.name()).as_str()]);
        page.text(lines(table.doc()).map(|line| roff::roman(format!("{line}\n"))).collect::<Vec<_>>());
        for key in table.keys() {
            page.control("TP", []).text([roff::bold(key.name), roff::roman(format!(" = {}", default(table, key)))]);
            let meaning = lines(key.doc).collect::<Vec<_>>().join("\n");
            page.text([roff::roman(meaning)]);
            page.control("br", []);
            page.text([roff::roman(format!("{}; {}", describe(key), key.env_name(table.name())))]);
        }
    }
    page.control("SH", ["SECRETS"]);
    page.text([roff::roman("Never in this file: by the credentials of the service, or by the environment.")]);
    for name in SecretName::ALL {
        page.control("TP", []).text([roff::bold(name.credential()), roff::roman(format!(" or {}", name.env()))]);
        page.text([roff::roman(lines(name.doc()).collect::<Vec<_>>().join("\n"))]);
    }
    page.control("SH", ["SEE ALSO"]).text([roff::roman("assistantd(8), assistantctl(1)")]);
    page.to_roff()
}

#[track_caller]
fn is_current(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{file} is stale: run BLESS=1 cargo test --lib config::document");
}

#[test]
fn the_example_file_is_current() {
    is_current(EXAMPLE, &example());
}

/// Without the full stop at its end. The doc's lines break anywhere.
fn first_sentence(doc: &[&'static str]) -> String {
    let text = lines(doc).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    text.split_once(". ").map_or(text.as_str(), |(first, _)| first).trim_end_matches('.').to_owned()
}

/// `/etc/default/assistant`: every name that has an effect, all of them comments.
fn variables() -> String {
    let mut text = String::from(
        "# Environment of assistantd.service, read when it starts (EnvironmentFile=, systemd.exec(5)).\n\
         #\n\
         # Better places: /etc/assistant/conf.d/*.toml for settings, where a reload puts them into force, and\n\
         # `assistantctl secret set NAME` for secrets, which do not belong here. A name here wins over every file.\n\
         # Numbers without a unit count in what the name says, lists are separated by commas.\n\
         # `assistantctl doctor` lists the names that have no effect.\n",
    );
    for table in Config::default().tables() {
        let _ = writeln!(text, "\n# [{}]", table.name());
        for key in table.keys() {
            let meaning = first_sentence(key.doc);
            let _ = writeln!(text, "# {}: {meaning} ({}; {})", key.name, describe(key), default(table, key));
            let _ = writeln!(text, "#{}=", key.env_name(table.name()));
        }
    }
    text.push_str("\n# Secrets: used where they stand here, and warned about.\n");
    for name in SecretName::ALL {
        let _ = writeln!(text, "#{}=   assistantctl secret set {}", name.env(), name.credential());
    }
    text
}

#[test]
fn the_file_of_variables_is_current_and_sets_nothing() {
    let text = variables();
    is_current(VARIABLES, &text);
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')));
    // Every name in it is read, and every name that is read is in it.
    let named: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with(' '))
        .collect();
    let known =
        Config::default().tables().iter().map(|table| table.keys().len()).sum::<usize>() + SecretName::ALL.len();
    assert_eq!(named.len(), known);
    assert_eq!(super::strange_names(named.iter().copied()), Vec::<String>::new());
    assert_eq!(
        super::strange_names(["OPENROUTR_API_KEY", "LOG_LEVEL", "TZ", "https_proxy"].into_iter()),
        ["environment OPENROUTR_API_KEY names no key and has no effect; did you mean OPENROUTER_API_KEY?"]
    );
}

#[test]
fn the_manual_is_current() {
    is_current(MANUAL, &manual());
}

#[test]
fn the_manual_page_is_current() {
    is_current(PAGE, &page());
}

/// Reads `text` as the only configuration file.
fn load(text: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("assistant.toml");
    std::fs::write(&config, text).unwrap();
    let paths = super::Paths { config, ..super::Paths::default() };
    super::load(&super::Sources { paths, ..super::Sources::default() }).unwrap().config
}

#[test]
fn the_example_file_means_the_defaults_with_and_without_its_comments() {
    assert_eq!(load(&example()), Config::default());
    let keys: usize = Config::default().tables().iter().map(|table| table.keys().len()).sum();
    let mut set = 0;
    let uncommented: Vec<_> = example()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') && !key.is_empty() => {
                set += 1;
                key.to_owned()
            }
            _ => line.to_owned(),
        })
        .collect();
    assert_eq!(set, keys);
    let loaded = load(&uncommented.join("\n"));
    for (loaded, default) in loaded.tables().iter().zip(Config::default().tables()) {
        for key in default.keys() {
            assert_eq!(loaded.get(key.name), default.get(key.name), "{}.{}", default.name(), key.name);
        }
    }
}

#[test]
fn every_key_is_documented_and_has_an_environment_name_of_its_own() {
    let config = Config::default();
    let mut names = std::collections::BTreeSet::new();
    for table in config.tables() {
        assert!(!table.doc().is_empty(), "[{}]", table.name());
        for key in table.keys() {
            assert!(lines(key.doc).any(|line| !line.is_empty()), "{}.{}", table.name(), key.name);
            let name = key.env_name(table.name());
            assert!(name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'), "{name}");
            assert!(names.insert(name.clone()), "{name} is used twice");
        }
    }
}
