//! The rules of the house that a program can check. A failing message quotes the rule.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first thing that is not as it should be")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use regex_lite::Regex;
use syn::visit::{self, Visit};

/// Packages below `src/` that are not the daemon's.
const BESIDE: &[&str] = &["src/backup/archive/", "src/mail/reader/", "src/sandbox/broker/", "src/sandbox/runner/"];

/// Below everything else; they name no subsystem.
const MECHANISM: &[&str] = &[
    "agent",
    "clock",
    "config",
    "counters",
    "crashpoint",
    "cx",
    "error",
    "events",
    "http",
    "jobs",
    "ledger",
    "llm",
    "logging",
    "loops",
    "policy",
    "root",
    "sandbox",
    "store",
    "systemd",
];
/// They put everything together and may name everything.
const ASSEMBLY: &[&str] = &["daemon", "lib", "main", "subsystems"];

fn repo() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir`, relative to the repository, without dot files and build output.
fn files(dir: &str) -> Vec<String> {
    fn walk(dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with('.') || matches!(name.as_str(), "target" | "node_modules") {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            } else {
                found.push(entry.path().strip_prefix(repo()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    if repo().join(dir).is_dir() {
        walk(&repo().join(dir), &mut found);
    }
    found.sort();
    found
}

fn read(file: &str) -> String {
    fs::read_to_string(repo().join(file)).unwrap_or_else(|err| panic!("{file}: {err}"))
}

fn has_extension(file: &str, extensions: &[&str]) -> bool {
    Path::new(file).extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
}

fn rust_files() -> Vec<String> {
    ["src", "ctl", "tests"].iter().flat_map(|dir| files(dir)).filter(|file| has_extension(file, &["rs"])).collect()
}

/// Files that hold only tests, by their name or place.
fn is_test_file(file: &str) -> bool {
    file.starts_with("tests/") || file.contains("/tests/") || file.ends_with("/tests.rs")
}

#[track_caller]
fn hold(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "rule: {rule}\nbroken by:\n  {}\n", broken.join("\n  "));
}

/// What one source file names, outside of its `#[cfg(test)]` parts.
#[derive(Default)]
struct Names {
    /// Paths that begin with `crate`, without it.
    paths: BTreeSet<Vec<String>>,
    /// First segments of all other paths.
    roots: BTreeSet<String>,
    literals: Vec<String>,
    ignored_without_reason: Vec<String>,
    modules: BTreeSet<String>,
    with_tests: bool,
}

impl Names {
    fn of(file: &str, with_tests: bool) -> Self {
        let parsed = syn::parse_file(&read(file)).unwrap_or_else(|err| panic!("{file}: {err}"));
        let mut names = Self { with_tests, ..Self::default() };
        names.visit_file(&parsed);
        names
    }

    fn add(&mut self, path: &[String]) {
        match path {
            [first, rest @ ..] if first == "crate" => drop(self.paths.insert(rest.to_vec())),
            [first, _, ..] => drop(self.roots.insert(first.clone())),
            _ => {}
        }
    }

    fn tree(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.tree(&path.tree, prefix);
                prefix.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(item, prefix)),
            syn::UseTree::Name(syn::UseName { ident }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                prefix.push(ident.to_string());
                self.add(prefix);
                prefix.pop();
            }
            syn::UseTree::Glob(_) => self.add(prefix),
        }
    }

    /// Strings and paths inside of macro calls, which are not parsed.
    fn tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut path = Vec::new();
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(ident) => path.push(ident.to_string()),
                proc_macro2::TokenTree::Punct(punct) if punct.as_char() == ':' => {}
                other => {
                    self.add(&std::mem::take(&mut path));
                    match other {
                        proc_macro2::TokenTree::Group(group) => self.tokens(group.stream()),
                        proc_macro2::TokenTree::Literal(literal) => {
                            if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                                self.literals.push(text.value());
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        self.add(&path);
    }
}

fn is_cfg_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[syn::Attribute] = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        if let syn::Item::Mod(module) = item
            && module.content.is_none()
        {
            self.modules.insert(module.ident.to_string());
        }
        if self.with_tests || !is_cfg_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let ignored = |attribute: &syn::Attribute| {
            attribute.path().is_ident("ignore") && !matches!(attribute.meta, syn::Meta::NameValue(_))
        };
        if item.attrs.iter().any(ignored) {
            self.ignored_without_reason.push(item.sig.ident.to_string());
        }
        visit::visit_item_fn(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&segments);
        visit::visit_path(self, path);
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.literals.push(literal.value());
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// The module of the crate that a file belongs to: `src/jobs/store.rs` is of `jobs`.
fn module(file: &str) -> &str {
    let inside = file.strip_prefix("src/").unwrap();
    inside.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Sources of the daemon, without files that hold only tests.
fn daemon_sources() -> Vec<String> {
    let own = |file: &String| !BESIDE.iter().any(|package| file.starts_with(package));
    files("src").into_iter().filter(|file| has_extension(file, &["rs"]) && !is_test_file(file) && own(file)).collect()
}

/// Modules that are neither mechanism nor assembly.
fn subsystems() -> BTreeSet<String> {
    let all: BTreeSet<String> = daemon_sources().iter().map(|file| module(file).to_owned()).collect();
    all.into_iter().filter(|name| !MECHANISM.contains(&name.as_str()) && !ASSEMBLY.contains(&name.as_str())).collect()
}

#[test]
fn top_level_is_fixed() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "ctl",
        "packaging",
        "systemd",
        "config",
        "migrations",
        "debian",
        "docs",
        "tests",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "SECURITY.md",
        "rust-toolchain.toml",
    ];
    let there: BTreeSet<String> = fs::read_dir(repo())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    let mut broken: Vec<String> = there.iter().filter(|name| !allowed.contains(&name.as_str())).cloned().collect();
    broken.extend(allowed.iter().filter(|name| !there.contains(**name)).map(|name| format!("{name} is missing")));
    hold("the top level holds exactly the given names (and dot files)", &broken);
}

#[test]
fn files_are_short() {
    let extensions = ["rs", "sh", "sql", "ts", "js", "css", "html", "py", "toml"];
    let all = ["src", "ctl", "tests", "migrations", "packaging", "config"];
    let mut lines: Vec<(usize, String)> = all
        .iter()
        .flat_map(|dir| files(dir))
        // Written from the declarations of the keys, and as long as they are many.
        .filter(|file| has_extension(file, &extensions) && file != "config/assistant.toml")
        .map(|file| (read(&file).lines().count(), file))
        .collect();
    lines.sort();
    let broken: Vec<String> =
        lines.iter().filter(|(count, _)| *count > 600).map(|(count, file)| format!("{file}: {count} lines")).collect();
    hold("no file is longer than 600 lines", &broken);
    let median = lines[lines.len() / 2].0;
    assert!(median <= 150, "rule: the median file is at most 150 lines long, it is {median}");
}

#[test]
fn given_packages_are_used() {
    let given: BTreeMap<&str, &[&str]> = BTreeMap::from([
        (
            "Cargo.toml",
            ["clap", "hyper", "nix", "rusqlite", "sd-notify", "serde", "tokio", "toml", "tracing-journald"].as_slice(),
        ),
        ("ctl/Cargo.toml", ["clap", "tokio", "serde"].as_slice()),
        ("ctl/api/Cargo.toml", ["hyper", "hyperlocal", "serde"].as_slice()),
    ]);
    let mut broken = Vec::new();
    for (file, names) in given {
        let manifest: toml::Table = read(file).parse().unwrap();
        for name in names.iter().filter(|name| manifest["dependencies"].get(**name).is_none()) {
            broken.push(format!("{file} does not depend on {name}"));
        }
    }
    hold("the given packages are direct dependencies of the package that uses them", &broken);
}

#[test]
fn command_line_cannot_reach_the_database() {
    let mut broken = Vec::new();
    for file in ["ctl/Cargo.toml", "ctl/api/Cargo.toml"] {
        let manifest: toml::Table = read(file).parse().unwrap();
        for name in ["assistantd", "rusqlite", "axum"] {
            if manifest["dependencies"].get(name).is_some() {
                broken.push(format!("{file} depends on {name}"));
            }
        }
    }
    hold("of the project's packages, ctl depends on assistant-api only, and that on none", &broken);
}

#[test]
fn mechanism_names_no_subsystem() {
    let subsystems = subsystems();
    let mut broken = Vec::new();
    for file in daemon_sources() {
        // Two are put together of what is everybody's: the configuration, and what the process knows beside the database.
        if !MECHANISM.contains(&module(&file)) || ["src/config/mod.rs", "src/cx.rs"].contains(&&*file) {
            continue;
        }
        for path in Names::of(&file, false).paths {
            if path.first().is_some_and(|first| subsystems.contains(first)) {
                broken.push(format!("{file}: crate::{}", path.join("::")));
            }
        }
    }
    hold("mechanism names no subsystem; only subsystems.rs, config/mod.rs, cx.rs and daemon.rs list them", &broken);
}

#[test]
fn nothing_below_names_the_assembly() {
    let mut broken = Vec::new();
    for file in daemon_sources().into_iter().filter(|file| !ASSEMBLY.contains(&module(file))) {
        for path in Names::of(&file, false).paths {
            let upward = match path.first().map(String::as_str) {
                Some("daemon") => true,
                // The type of one entry is what the list is made of; the list itself is handed down in `cx`.
                Some("subsystems") => path.get(1).is_some_and(|name| name != "Subsystem"),
                _ => false,
            };
            if upward {
                broken.push(format!("{file}: crate::{}", path.join("::")));
            }
        }
    }
    hold("direction: mechanism <- subsystems <- subsystems.rs <- daemon.rs <- main.rs", &broken);
}

#[test]
fn subsystems_meet_through_verbs() {
    let subsystems = subsystems();
    let mut broken = Vec::new();
    for file in daemon_sources().into_iter().filter(|file| subsystems.contains(module(file))) {
        for path in Names::of(&file, false).paths {
            let (Some(first), Some(second)) = (path.first(), path.get(1)) else { continue };
            if first != module(&file)
                && subsystems.contains(first)
                && matches!(second.as_str(), "store" | "api" | "tools" | "loops" | "jobs")
            {
                broken.push(format!("{file}: crate::{}", path.join("::")));
            }
        }
    }
    hold("a subsystem calls another through the verbs of its mod.rs, never its store or its routes", &broken);
}

#[test]
fn sql_lives_in_stores() {
    let sql = Regex::new(
        r"^\s*(SELECT\s.+\sFROM\s|SELECT\s+\w+\(|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|(CREATE|DROP|ALTER)\s+(TABLE|INDEX|TRIGGER)|PRAGMA\s|WITH\s.+\sSELECT\s|BEGIN\b|COMMIT\b|SAVEPOINT\b)",
    )
    .unwrap();
    let allowed = |file: &str| file.contains("/store/") || file.ends_with("/store.rs");
    let mut broken = Vec::new();
    for file in daemon_sources().into_iter().filter(|file| !allowed(file)) {
        for literal in Names::of(&file, false).literals {
            if sql.is_match(&literal.replace('\n', " ")) {
                broken.push(format!("{file}: {}", literal.lines().next().unwrap_or_default().trim()));
            }
        }
    }
    hold("SQL appears only in store.rs files and below store/", &broken);
}

#[test]
fn http_types_stay_at_the_edge() {
    let allowed = |file: &str| {
        matches!(module(file), "http" | "llm" | "daemon" | "events")
            || file.ends_with("/api.rs")
            || file.contains("/api/")
    };
    let mut broken = Vec::new();
    for file in daemon_sources().into_iter().filter(|file| !allowed(file)) {
        let names = Names::of(&file, false);
        for name in ["axum", "hyper"].into_iter().filter(|name| names.roots.contains(*name)) {
            broken.push(format!("{file}: {name}"));
        }
    }
    hold("HTTP types appear only in http/, events/, llm/, and api.rs or api/", &broken);
}

#[test]
fn every_migration_is_listed() {
    let list = read("src/store/migrations.rs");
    let broken: Vec<String> = files("migrations")
        .into_iter()
        .filter(|file| has_extension(file, &["sql"]) && !list.contains(file.as_str()))
        .collect();
    hold("every file of migrations/ is listed in src/store/migrations.rs", &broken);
}

#[test]
fn every_source_file_is_mounted() {
    let roots = [
        "src/lib.rs",
        "src/main.rs",
        "ctl/src/main.rs",
        "ctl/tests/main.rs",
        "ctl/api/src/lib.rs",
        "tests/main.rs",
        "tests/tidy.rs",
    ];
    let crate_root = |file: &str| {
        BESIDE.iter().filter_map(|package| file.strip_prefix(package)).any(|inner| {
            matches!(inner, "src/lib.rs" | "src/main.rs" | "tests/main.rs")
                || inner.starts_with("src/bin/")
                || inner.starts_with("benches/")
        })
    };
    let mut broken = Vec::new();
    for file in rust_files() {
        if roots.contains(&file.as_str()) || crate_root(&file) || file.starts_with("tests/bench/") {
            continue;
        }
        let path = PathBuf::from(&file);
        let is_mod = path.file_name().unwrap() == "mod.rs";
        let name =
            if is_mod { path.parent().unwrap().file_name() } else { path.file_stem() }.unwrap().to_str().unwrap();
        let dir = if is_mod { path.parent().unwrap().parent().unwrap() } else { path.parent().unwrap() };
        let parents = [dir.join("mod.rs"), dir.join("lib.rs"), dir.join("main.rs"), dir.with_extension("rs")];
        let mounted = parents
            .iter()
            .filter(|parent| repo().join(parent).is_file())
            .any(|parent| Names::of(parent.to_str().unwrap(), true).modules.contains(name));
        if !mounted {
            broken.push(file);
        }
    }
    hold("every Rust file is mounted by the module above it", &broken);
}

#[test]
fn modules_have_telling_names() {
    let banned = ["utils", "util", "common", "helpers", "helper", "manager", "service", "handler", "core", "misc"];
    let broken: Vec<String> = rust_files()
        .into_iter()
        .filter(|file| file.split('/').any(|part| banned.contains(&part.trim_end_matches(".rs"))))
        .collect();
    hold("no module is called utils, common, helpers, manager, service, handler, core or misc", &broken);
}

#[test]
fn ignored_tests_say_why() {
    let mut broken = Vec::new();
    for file in rust_files() {
        let names = Names::of(&file, true);
        broken.extend(names.ignored_without_reason.iter().map(|name| format!("{file}: {name}")));
    }
    hold("every #[ignore] has a reason", &broken);
}

#[test]
fn texts_are_finished_and_portable() {
    let bans = [
        (r"\b(TODO|FIXME|XXX)\b|\b(todo|unimplemented)!\s*\(", "nothing is left to be done later"),
        (r"(?i)\bissue #?\d", "nothing speaks of issues by number"),
        (r#"(^|[\s"'`(=:])/(work|root|home/[a-z]{2,})/"#, "no path of one machine"),
        (
            r"(index|static)\.crates\.io|registry\.npmjs|pypi\.org|pythonhosted|deb\.debian\.org",
            "no host of a package registry",
        ),
    ];
    let everything = ["src", "ctl", "tests", "migrations", "packaging", "config", "docs", "systemd", "debian"];
    let single = ["Cargo.toml", "README.md", "CHANGELOG.md", "SECURITY.md", ".ci/run"];
    let all = everything.iter().flat_map(|dir| files(dir)).chain(single.map(str::to_owned));
    for (pattern, rule) in bans {
        let pattern = Regex::new(pattern).unwrap();
        let mut broken = Vec::new();
        for file in all.clone().filter(|file| file != "tests/tidy.rs") {
            // Its commented allow list is the one place that names them.
            if file == "config/egress.toml" && rule == "no host of a package registry" {
                continue;
            }
            let Ok(text) = fs::read_to_string(repo().join(&file)) else { continue };
            for (index, line) in text.lines().enumerate().filter(|(_, line)| pattern.is_match(line)) {
                broken.push(format!("{file}:{}: {}", index + 1, line.trim()));
            }
        }
        hold(rule, &broken);
    }
}

#[test]
fn documents_name_what_exists() {
    let quoted =
        Regex::new(r"`((src|ctl|tests|docs|config|packaging|migrations|systemd|debian)/[\w./-]*)`|\]\(([\w./-]+)\)")
            .unwrap();
    let documents = files("docs").into_iter().chain(["README.md", "CHANGELOG.md", "SECURITY.md"].map(str::to_owned));
    let mut broken = Vec::new();
    for file in documents.filter(|file| has_extension(file, &["md"])) {
        let base = Path::new(&file).parent().unwrap().to_owned();
        for found in quoted.captures_iter(&read(&file)) {
            let there = match (found.get(1), found.get(3)) {
                (Some(path), _) => repo().join(path.as_str()).exists(),
                (_, Some(link)) => repo().join(&base).join(link.as_str()).exists(),
                _ => true,
            };
            if !there {
                broken.push(format!("{file}: {}", &found[0]));
            }
        }
    }
    hold("a path or link in a document leads to something that exists", &broken);
}

#[test]
fn commands_that_are_named_exist() {
    let main = read("ctl/src/main.rs");
    let list = main.split_once("enum Command {").unwrap().1.split_once('}').unwrap().0;
    let variant = Regex::new(r"(\w+)\(").unwrap();
    let mut known: BTreeSet<String> = variant.captures_iter(list).map(|found| found[1].to_lowercase()).collect();
    assert!(known.contains("submit") && known.len() > 10, "the commands were not found: {known:?}");
    // clap adds the first; the others go on with a sentence about the program, or with a list in which it is a file.
    known.extend(["help", "is", "may", "nor", "the", "assistant-egress", "usr"].map(str::to_owned));
    let named = Regex::new(r"\bassistantctl ([a-z][a-z-]*)").unwrap();
    let dirs = ["src", "ctl", "tests", "packaging", "config", "docs", "systemd", "debian"];
    let all = dirs.iter().flat_map(|dir| files(dir)).chain(["README.md", "CHANGELOG.md"].map(str::to_owned));
    let mut broken = Vec::new();
    for file in all {
        let Ok(text) = fs::read_to_string(repo().join(&file)) else { continue };
        for found in named.captures_iter(&text).filter(|found| !known.contains(&found[1])) {
            broken.push(format!("{file}: {}", &found[0]));
        }
    }
    hold("what a text calls a command of `assistantctl` is one", &broken);
}

#[test]
fn s35_there_is_a_way_to_report_a_weakness() {
    let text = read("SECURITY.md");
    for part in ["before you publish", "privately", "best-effort", "no formal security team", "Supported versions"] {
        assert!(text.contains(part), "rule: SECURITY.md says how to report a weakness; it does not say {part:?}");
    }
    assert!(read("README.md").contains("SECURITY.md"), "rule: README.md leads to SECURITY.md");
}

#[test]
fn scripts_stop_at_errors() {
    let broken: Vec<String> = files("")
        .into_iter()
        .filter(|file| has_extension(file, &["sh"]))
        .filter(|file| {
            let text = read(file);
            text.starts_with("#!") && !text.contains("set -euo pipefail")
        })
        .collect();
    hold("every script begins with set -euo pipefail", &broken);
}
