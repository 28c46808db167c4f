//! The files of `conf.d` that commands write: edited so that comments stay, checked by the daemon's own program before
//! anything changes, written as a whole.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, fchown};
use tempfile::NamedTempFile;
use toml_edit::{DocumentMut, Item, Table, Value};

use super::daemon;
use crate::{
    Cx,
    exit::{Code, Failure, Result},
    replace::Prepared,
};

/// The configuration file that a command is about: the one that was named, else that of the running daemon, else that of
/// the daemon which this user would start.
pub async fn main_file(named: Option<PathBuf>, cx: &Cx) -> Result<PathBuf> {
    match named {
        Some(config) => std::path::absolute(&config).map_err(|err| Failure::file("finding", &config, &err)),
        None => match super::file_in_use(cx).await {
            Some(config) => Ok(config),
            // Another daemon's file is not what was meant.
            None if cx.named => {
                let message = format!("no daemon says which file it reads at {}", cx.socket.display());
                Err(Failure::new(Code::Unreachable, message)
                    .hint("start it, or name its file: --config DIR/assistant.toml"))
            }
            None => default_config(),
        },
    }
}

/// Where the daemon of this user reads its configuration.
fn default_config() -> Result<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Ok("/etc/assistant/assistant.toml".into());
    }
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|dir| dir.join("assistant/assistant.toml"))
        .ok_or_else(|| Failure::usage("neither $XDG_CONFIG_HOME nor $HOME is set").hint("name the file with --config"))
}

/// One file of `conf.d`.
pub struct DropIn {
    /// The configuration file beside whose `conf.d` it lies.
    config: PathBuf,
    file: PathBuf,
}

impl DropIn {
    /// The one of this name.
    pub fn new(config: &Path, name: &str) -> Self {
        Self { config: config.to_owned(), file: config.with_file_name("conf.d").join(name) }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Its text; empty when there is no such file.
    pub fn read(&self) -> Result<String> {
        match fs::read_to_string(&self.file) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other.map_err(|err| Failure::file("reading", &self.file, &err)),
        }
    }

    /// Its text with keys set, or taken away where there is no value.
    pub fn edit<'a>(&self, old: &str, keys: impl IntoIterator<Item = (&'a str, Option<Value>)>) -> Result<String> {
        edit(old, keys).map_err(|err| {
            Failure::new(Code::Config, format!("{}: {err}", self.file.display()))
                .hint("assistantctl config check says more")
        })
    }

    /// Has the daemon check a copy of the whole configuration with the new text in it.
    pub fn check(&self, new: &str) -> Result<()> {
        let config = &self.config;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |err: io::Error| Failure::file("copying for the check", &path, &err)
        };
        let copy = tempfile::tempdir().map_err(failed(config))?;
        let copied = copy.path().join(config.file_name().unwrap_or("assistant.toml".as_ref()));
        match fs::copy(config, &copied) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => fs::write(&copied, "").map_err(failed(&copied))?,
            other => drop(other.map_err(failed(config))?),
        }
        let (from, to) = (config.with_file_name("conf.d"), copy.path().join("conf.d"));
        fs::create_dir(&to).map_err(failed(&to))?;
        if from.is_dir() {
            for entry in fs::read_dir(&from).map_err(failed(&from))? {
                let entry = entry.map_err(failed(&from))?;
                if entry.path().extension().is_some_and(|extension| extension == "toml") {
                    fs::copy(entry.path(), to.join(entry.file_name())).map_err(failed(&entry.path()))?;
                }
            }
        }
        fs::write(to.join(self.file.file_name().unwrap_or_default()), new).map_err(failed(&to))?;
        let checked = daemon::check(Some(&copied))?;
        if checked.ok() {
            return Ok(());
        }
        // The copy's place is nobody's business.
        let real = config.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        let message = checked.message().replace(&*copy.path().to_string_lossy(), &real);
        let (what, hint) = message.split_once("\nhint: ").map_or((&*message, None), |(what, hint)| (what, Some(hint)));
        let failure = Failure::new(checked.code, what.trim_start_matches("error: "));
        Err(match hint {
            Some(hint) => failure.hint(hint.to_owned()),
            None => failure,
        })
    }

    /// Writes the new text beside the file. It gets the group of the configuration's directory, and is as open as that:
    /// the daemon's user reads it, and where others may not look nobody else does.
    pub fn prepare(&self, new: &str) -> Result<Prepared> {
        self.prepared(new).map_err(|err| {
            let failure = Failure::file("writing", &self.file, &err);
            if failure.code == Code::Denied { failure.hint("run it as root, with sudo before it") } else { failure }
        })
    }

    fn prepared(&self, new: &str) -> io::Result<Prepared> {
        let above = self.config.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(above)?;
        let (group, open) = fs::metadata(above).map(|meta| (meta.gid(), meta.mode() & 0o005 != 0))?;
        let dir = self.file.parent().unwrap_or(above);
        if !dir.is_dir() {
            fs::create_dir(dir)?;
            // Whatever the caller's mask is, the daemon has to get in.
            belongs(&fs::File::open(dir)?, group, if open { 0o755 } else { 0o750 })?;
        }
        let name = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let mut temporary = NamedTempFile::with_prefix_in(format!(".{name}-"), dir)?;
        temporary.write_all(new.as_bytes())?;
        belongs(temporary.as_file(), group, if open { 0o644 } else { 0o640 })?;
        temporary.as_file().sync_all()?;
        Ok(Prepared { temporary, file: self.file.clone() })
    }
}

fn belongs(file: &fs::File, group: u32, mode: u32) -> io::Result<()> {
    if file.metadata()?.gid() != group {
        fchown(file, None, Some(Gid::from_raw(group)))?;
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

fn edit<'a>(old: &str, keys: impl IntoIterator<Item = (&'a str, Option<Value>)>) -> Result<String, String> {
    let mut document: DocumentMut = old.parse().map_err(|err: toml_edit::TomlError| err.message().to_owned())?;
    for (key, value) in keys {
        set(document.as_table_mut(), key, value)?;
    }
    Ok(document.to_string())
}

/// Sets or removes one key; everything else stays as it is.
fn set(document: &mut Table, key: &str, value: Option<Value>) -> Result<(), String> {
    let parts: Vec<&str> = key.split('.').collect();
    let Some((name, sections)) = parts.split_last().filter(|_| parts.iter().all(|part| !part.trim().is_empty())) else {
        return Err(format!("{key:?} is not a key"));
    };
    let mut table = document;
    for section in sections {
        if value.is_none() && !table.contains_key(section) {
            return Ok(());
        }
        let item = table.entry(section).or_insert_with(|| {
            let mut table = Table::new();
            // `[a.b]` needs no empty `[a]` before it.
            table.set_implicit(true);
            Item::Table(table)
        });
        table = item.as_table_mut().ok_or_else(|| format!("{section} is not a section"))?;
    }
    let Some(mut value) = value else {
        table.remove(name);
        return Ok(());
    };
    // A comment behind the old value stays where it is.
    if let Some(old) = table.get(name).and_then(Item::as_value) {
        *value.decor_mut() = old.decor().clone();
    } else {
        value.decor_mut().clear();
    }
    table.insert(name, Item::Value(value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(old: &str, key: &str, value: &str) -> Result<String, String> {
        edit(old, [(key, Some(value.parse().unwrap()))])
    }

    #[test]
    fn a_key_is_set_and_comments_stay() {
        let old = "# mine\n[limits]\nmax_iterations_per_task = 50 # was enough\n\n[llm] # models\nmodel = \"a\"\n";
        assert_eq!(one(old, "limits.max_iterations_per_task", "80").unwrap(), old.replace("50 #", "80 #"));
        assert_eq!(one(old, "llm.model", "\"gpt-5\"").unwrap(), old.replace("\"a\"", "\"gpt-5\""));
        assert_eq!(one("", "a.b.c", "[1, 2]").unwrap(), "[a.b]\nc = [1, 2]\n");
        assert_eq!(edit(old, [("llm.model", None), ("no.key", None)]).unwrap(), old.replace("model = \"a\"\n", ""));
        for (old, key) in [("", "a..b"), ("", ""), ("a = 1\n", "a.b"), ("[", "a.b")] {
            assert!(one(old, key, "1").is_err(), "{old:?} {key:?}");
        }
    }

    #[test]
    fn a_file_is_as_open_as_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, above, file) in [(0o750, 0o750, 0o640), (0o755, 0o755, 0o644)] {
            let etc = dir.path().join(format!("{mode:o}"));
            fs::create_dir(&etc).unwrap();
            fs::set_permissions(&etc, fs::Permissions::from_mode(mode)).unwrap();
            let drop_in = DropIn::new(&etc.join("assistant.toml"), "10-setup.toml");
            drop_in.prepare("[llm]\n").unwrap();
            assert!(!drop_in.path().exists(), "it was only prepared");
            assert_eq!(fs::read_dir(etc.join("conf.d")).unwrap().count(), 0, "what was not meant is gone");
            drop_in.prepare("[llm]\n").unwrap().commit().unwrap();
            let mode_of = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
            assert_eq!((mode_of(&etc.join("conf.d")), mode_of(drop_in.path())), (above, file));
        }
    }
}
