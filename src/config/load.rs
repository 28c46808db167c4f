//! Reads the layers: defaults, `assistant.toml`, `conf.d/*.toml` in the order of their names, the environment.
//!
//! Everything that is wrong is collected, so that one run names all of it.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use assistant_api::near::nearest;
use serde::Deserialize as _;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::{
    Config, check,
    fault::{ConfigError, Fault, Place},
    later,
    paths::{Environment, Paths},
    secrets::SecretName,
    section::{Key, Table},
};

/// Variables with our prefix that are no keys: of the command line, and of the crash tests.
const OTHERS: &[&str] = &["ASSISTANT_SOCKET", "ASSISTANT_CRASH_AT"];

/// Other names of variables. Where both are set these win: they name what can be reached from outside the reference
/// system's containers, and that is what counts here.
const ALIASES: &[(&str, &str)] =
    &[("AGENT_API_PUBLISHED_HOST", "AGENT_API_BIND_HOST"), ("AGENT_API_PUBLISHED_PORT", "AGENT_API_PORT")];

/// What others read: the C library, the HTTP client, the runtime; and what is warned about for itself.
const NOT_OURS: &[&str] = &[
    "ALL_PROXY",
    "DATABASE_URL",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LANGUAGE",
    "NO_COLOR",
    "NO_PROXY",
    "PATH",
    "POSTGRES_PASSWORD",
    "RUST_BACKTRACE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
];

/// A configuration file's longest size.
const MAX_BYTES: u64 = 1 << 20;

/// Where configuration comes from; the same for every reload.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub paths: Paths,
    pub environment: Environment,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf, usize),
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
        }
    }
}

/// The origin of every key that is not at its default, by path such as `llm.model`.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Of one key.
    pub fn of(&self, path: &str) -> Origin {
        self.0.get(path).cloned().unwrap_or(Origin::Default)
    }

    fn place(&self, path: &str) -> Place {
        match self.of(path) {
            Origin::Default => Place::Nowhere,
            Origin::File(file, line) => Place::File(file, Some(line)),
            Origin::Environment(name) => Place::Environment(name),
        }
    }
}

/// A configuration that was read and found good.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub config: Config,
    pub origins: Origins,
    /// What looks like a mistake but harms nothing.
    pub warnings: Vec<String>,
}

/// Reads and checks everything.
///
/// # Errors
/// All that is wrong, each with its place, its key, the reason and the way out.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut loader = Loader::default();
    for file in files(&sources.paths)? {
        match read(&file) {
            Ok(text) => loader.file(&file, &text),
            Err(fault) => loader.faults.push(fault),
        }
    }
    loader.environment(&sources.environment);
    loader.finish()
}

/// The files that there are, in the order in which they apply.
fn files(paths: &Paths) -> Result<Vec<PathBuf>, Fault> {
    let mut files = Vec::new();
    let main = &paths.config;
    match std::fs::metadata(main) {
        Ok(_) => files.push(main.clone()),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound && !paths.config_required => {}
        Err(err) => {
            return Err(Fault::new(Place::File(main.clone(), None), None, format!("cannot read it: {err}"))
                .hint("give the right path with --config, or leave the option out to run on defaults"));
        }
    }
    let drop_ins = main.with_file_name("conf.d");
    let fail = |err: std::io::Error| {
        Fault::new(Place::File(drop_ins.clone(), None), None, format!("cannot list the drop-ins: {err}"))
    };
    let listing = match std::fs::read_dir(&drop_ins) {
        Ok(listing) => listing,
        Err(err) if matches!(err.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(files);
        }
        Err(err) => return Err(fail(err)),
    };
    let mut found = Vec::new();
    for entry in listing {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".toml") && !name.starts_with('.') {
            found.push(path);
        }
    }
    found.sort();
    files.extend(found);
    Ok(files)
}

fn read(file: &Path) -> Result<String, Fault> {
    let fault = |message: String| Fault::new(Place::File(file.to_owned(), None), None, message);
    let meta = std::fs::metadata(file).map_err(|err| fault(format!("cannot read it: {err}")))?;
    if !meta.is_file() {
        return Err(fault("expected a regular file".into()));
    }
    if meta.len() > MAX_BYTES {
        return Err(fault(format!("it has {} bytes, more than the {MAX_BYTES} that are read", meta.len())));
    }
    std::fs::read_to_string(file).map_err(|err| {
        fault(format!("cannot read it: {err}")).hint("it must be UTF-8 text that the daemon's user may read")
    })
}

#[derive(Default)]
struct Loader {
    config: Config,
    origins: Origins,
    warnings: Vec<String>,
    faults: Vec<Fault>,
}

impl Loader {
    fn file(&mut self, file: &Path, text: &str) {
        let source = Source { file, text };
        match DeTable::parse(text) {
            Err(err) => {
                let place = source.place(err.span().map(|span| span.start));
                self.faults.push(Fault::new(place, None, one_line(err.message())));
            }
            Ok(root) => self.table(&source, "", root.get_ref()),
        }
    }

    /// Walks a table: `path` is a section, the beginning of one, or empty.
    fn table(&mut self, source: &Source<'_>, path: &str, table: &DeTable<'_>) {
        let mut sections = self.config.tables_mut();
        let section = sections.iter_mut().position(|section| section.name() == path);
        for (name, value) in table {
            let child = if path.is_empty() { name.get_ref().to_string() } else { format!("{path}.{}", name.get_ref()) };
            let at = source.line(name.span().start);
            let place = || Place::File(source.file.to_owned(), Some(at));
            let below = sections.iter().any(|section| begins(section.name(), &child));
            match (value.get_ref(), section.map(|index| &mut sections[index])) {
                (DeValue::Table(inner), _) if below => {
                    drop(sections);
                    self.table(source, &child, inner);
                    sections = self.config.tables_mut();
                }
                (_, _) if below => {
                    self.faults.push(
                        Fault::new(
                            place(),
                            Some(&child),
                            format!("expected a table, found {}", value.get_ref().type_str()),
                        )
                        .hint(format!("write [{child}] on a line of its own and its keys below it")),
                    );
                }
                (_, Some(section)) if section.keys().iter().any(|key| key.name == name.get_ref()) => {
                    let set = toml::Value::deserialize(ValueDeserializer::from(value.clone()))
                        .map_err(|err| one_line(err.message()))
                        .and_then(|value| section.set_toml(name.get_ref(), &value));
                    match set {
                        Ok(()) => {
                            self.origins.0.insert(child, Origin::File(source.file.to_owned(), at));
                        }
                        Err(message) => self.faults.push(Fault::new(place(), Some(&child), message)),
                    }
                }
                (value, section) => {
                    let fault = match section {
                        Some(section) => unknown_key(place(), &child, name.get_ref(), value, &**section),
                        None => unknown_table(place(), &child, value, &sections),
                    };
                    self.faults.push(fault);
                }
            }
        }
    }

    fn environment(&mut self, environment: &Environment) {
        for section in self.config.tables_mut() {
            for key in section.keys() {
                let variable = key.env_name(section.name());
                let other = ALIASES.iter().find(|(alias, of)| *of == variable && environment.get(alias).is_some());
                let (ours, variable) =
                    (environment.get(&variable), other.map_or(variable, |(alias, _)| (*alias).into()));
                let Some(value) = environment.get(&variable) else { continue };
                if let Some(ours) = ours.filter(|ours| *ours != value) {
                    let name = key.env_name(section.name());
                    self.warnings.push(format!("environment {name}={ours} has no effect: {variable}={value} wins"));
                }
                let path = format!("{}.{}", section.name(), key.name);
                match section.set_env(key.name, value) {
                    Ok(()) => {
                        self.origins.0.insert(path, Origin::Environment(variable));
                    }
                    Err(message) => {
                        self.faults.push(Fault::new(Place::Environment(variable), Some(&path), message));
                    }
                }
            }
        }
        self.warn_about_unknown(environment);
    }

    /// A variable that begins like ours but names no key would be silently without effect.
    fn warn_about_unknown(&mut self, environment: &Environment) {
        let known = known_names(&self.config);
        let unknown = environment.names().filter(|name| ours(name));
        for name in unknown.filter(|name| !known.iter().any(|known| known == name)) {
            if later::variable(name) {
                self.warnings.push(format!("environment {name} has no effect in this version"));
                continue;
            }
            let near = nearest(name, known.iter().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            self.warnings.push(format!("environment {name} names no key and has no effect{near}"));
        }
    }

    fn finish(mut self) -> Result<Loaded, ConfigError> {
        for (path, message) in check::together(&self.config) {
            // A key that was itself refused has kept its default: complaining about that would only confuse.
            if !self.faults.iter().any(|fault| fault.key.as_deref() == Some(path)) {
                self.faults.push(Fault::new(self.origins.place(path), Some(path), message));
            }
        }
        if self.faults.is_empty() {
            Ok(Loaded { config: self.config, origins: self.origins, warnings: self.warnings })
        } else {
            Err(ConfigError { faults: self.faults })
        }
    }
}

/// Every variable that has an effect.
fn known_names(config: &Config) -> Vec<String> {
    config
        .tables()
        .iter()
        .flat_map(|table| table.keys().iter().map(|key| key.env_name(table.name())))
        .chain(SecretName::ALL.iter().map(|name| name.env().to_owned()))
        .chain(ALIASES.iter().map(|(alias, _)| (*alias).to_owned()))
        .chain(OTHERS.iter().map(|name| (*name).to_owned()))
        .collect()
}

/// Whether a name is meant for the assistant by the look of it.
fn ours(name: &str) -> bool {
    ["ASSISTANT_", "AGENT_", "SANDBOX_RUN_"].iter().any(|prefix| name.starts_with(prefix)) || later::variable(name)
}

/// Names of a file of the service's variables that [`load`] does not warn about and nothing here reads: in such a file
/// every name is meant for the assistant.
pub fn strange_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let known = known_names(&Config::default());
    let strange = names.filter(|name| {
        let read_elsewhere =
            name.starts_with("LC_") || NOT_OURS.iter().any(|known| known.eq_ignore_ascii_case(name) || *known == *name);
        !read_elsewhere && !ours(name) && !known.iter().any(|known| known == name)
    });
    strange
        .map(|name| {
            let near = nearest(name, known.iter().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            format!("environment {name} names no key and has no effect{near}")
        })
        .collect()
}

/// Whether `section` is `path` or lies below it.
fn begins(section: &str, path: &str) -> bool {
    section.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    /// The line, from 1, of a byte offset.
    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        before.split(|byte| *byte == b'\n').count()
    }

    fn place(&self, offset: Option<usize>) -> Place {
        Place::File(self.file.to_owned(), offset.map(|offset| self.line(offset)))
    }
}

fn one_line(message: &str) -> String {
    message.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}

fn unknown_key(place: Place, path: &str, name: &str, value: &DeValue<'_>, section: &dyn Table) -> Fault {
    let keys = section.keys();
    if later::key(path) {
        return not_yet(place, path);
    }
    if let Some(near) = nearest(name, keys.iter().map(|key| key.name)) {
        return Fault::new(place, Some(path), "unknown key").hint(format!("did you mean `{near}`?"));
    }
    if let Some(fault) = secret(&place, path, value) {
        return fault;
    }
    let names: Vec<_> = keys.iter().map(|key: &Key| key.name).collect();
    Fault::new(place, Some(path), "unknown key").hint(format!("[{}] has {}", section.name(), names.join(", ")))
}

fn not_yet(place: Place, path: &str) -> Fault {
    Fault::new(place, Some(path), "this version does not have it yet").hint("remove it; nothing here would use it")
}

fn unknown_table(place: Place, path: &str, value: &DeValue<'_>, sections: &[&mut dyn Table]) -> Fault {
    if path == "agent" && value.is_table() {
        return Fault::new(place, Some(path), "the table `agent` does not exist here")
            .hint("drop the leading `agent.`: [agent.llm] is [llm]");
    }
    if later::key(path) && value.is_table() {
        return not_yet(place, path);
    }
    if let Some(fault) = secret(&place, path, value) {
        return fault;
    }
    let names: Vec<_> = sections.iter().map(|section| section.name()).collect();
    let (message, what) =
        if value.is_table() { ("unknown table", "tables") } else { ("unknown key", "keys stand in tables;") };
    let owner = sections.iter().find(|section| section.keys().iter().any(|key| key.name == path));
    let hint = match (owner, nearest(path, names.iter().copied())) {
        (Some(owner), _) if !value.is_table() => format!("`{path}` stands in [{}]", owner.name()),
        (_, Some(near)) => format!("did you mean `{near}`?"),
        _ => format!("there are the {what} {}", names.join(", ")),
    };
    Fault::new(place, Some(path), message).hint(hint)
}

/// The refusal of a secret in a file; never shows the value.
fn secret(place: &Place, path: &str, value: &DeValue<'_>) -> Option<Fault> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let name = plain(path.rsplit('.').next().unwrap_or(path));
    let ours = SecretName::ALL
        .iter()
        .find(|secret| [secret.credential(), secret.env()].into_iter().any(|known| plain(known) == name));
    let words = ["key", "apikey", "password", "passwd", "passphrase", "secret", "token"];
    let alike = value.is_str() && name.split('_').next_back().is_some_and(|last| words.contains(&last));
    if ours.is_none() && !alike {
        return None;
    }
    let ours = ours.copied().unwrap_or(SecretName::Llm);
    Some(Fault::new(place.clone(), Some(path), "a secret must not stand in a configuration file").hint(format!(
        "give it to the service: sudo assistantctl secret set {}; or in the environment as {} when the daemon is started \
             by hand",
        ours.credential(),
        ours.env()
    )))
}

#[cfg(test)]
mod tests;
