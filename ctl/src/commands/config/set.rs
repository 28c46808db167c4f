use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use assistant_api::{client, config::Reloaded};
use serde_json::json;
use tempfile::NamedTempFile;
use toml_edit::{DocumentMut, Item, Table, Value};

use super::daemon;
use crate::{
    Cx,
    exit::{Code, Failure, Result},
    text,
};

/// The drop-in that this command writes; nothing else does.
const FILE: &str = "50-local.toml";

/// Set a key
///
/// Writes it to conf.d/50-local.toml beside the configuration file, after the
/// result was checked, and has the running daemon read it. Comments in that
/// file stay. Values are TOML; what is not, is taken as text. Secrets do not
/// belong there and are refused.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl config set llm.model gpt-5-mini
  assistantctl config set jobs.workers 2
  assistantctl config set retention.trash_days '\"14d\"'")]
pub struct Set {
    /// The key, such as limits.max_iterations_per_task
    key: String,
    /// Its value
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// The configuration file [default: the daemon's]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub async fn run(args: Set, cx: &Cx) -> Result {
    refuse_secrets(&args.key, &args.value)?;
    let config = match args.config {
        Some(config) => std::path::absolute(&config).map_err(|err| Failure::file("finding", &config, &err))?,
        None => match super::file_in_use(cx).await {
            Some(config) => config,
            // Another daemon's file is not what was meant.
            None if cx.named => {
                let message = format!("no daemon says which file it reads at {}", cx.socket.display());
                return Err(Failure::new(Code::Unreachable, message)
                    .hint("start it, or name its file: --config DIR/assistant.toml"));
            }
            None => default_config()?,
        },
    };
    let dir = config.parent().unwrap_or(Path::new("/")).join("conf.d");
    let file = dir.join(FILE);
    let old = match fs::read_to_string(&file) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => String::new(),
        other => other.map_err(|err| Failure::file("reading", &file, &err))?,
    };
    let new = edit(&old, &args.key, &args.value).map_err(|err| {
        Failure::new(Code::Config, format!("{}: {err}", file.display())).hint("assistantctl config check says more")
    })?;
    check(&config, &new)?;
    write(&dir, &file, &new)?;
    let reloaded = cx.client.request("POST", "/api/reload").fetch::<Reloaded>().await;
    told(cx, &args.key, &file, reloaded)
}

fn told(cx: &Cx, key: &str, file: &Path, reloaded: Result<Reloaded, client::Error>) -> Result {
    let in_force = reloaded.as_ref().is_ok_and(|done| !done.restart.iter().any(|restart| restart == key));
    if cx.out.json {
        cx.out.json(&json!({ "key": key, "file": file, "in_force": in_force, "reloaded": reloaded.as_ref().ok() }))?;
        return Ok(Code::Ok);
    }
    cx.out.line(format!("{} is set in {}", text::one_line(key), file.display()))?;
    match reloaded {
        Ok(done) => {
            if !in_force {
                cx.out.note("it takes effect when the daemon starts again: sudo systemctl restart assistantd");
            }
            done.warnings.iter().for_each(|warning| cx.out.note(&format!("warning: {warning}")));
        }
        Err(err) if err.is_unreachable() => cx.out.note("the daemon is not running; it will read it when it starts"),
        Err(err) => {
            cx.out.note(&format!("warning: the daemon has not read it yet: {err}"));
            cx.out.note("have it done by: sudo assistantctl reload");
        }
    }
    Ok(Code::Ok)
}

fn refuse_secrets(key: &str, value: &str) -> Result<()> {
    let last = key.rsplit('.').next().unwrap_or_default().to_lowercase();
    let secret = |word: &str| {
        matches!(word, "key" | "secret" | "password" | "passphrase" | "token" | "credential" | "credentials" | "apikey")
    };
    let is_key = last.split(['_', '-']).any(secret);
    let is_value = ["sk-", "Bearer ", "xox", "ghp_"].iter().any(|start| value.trim_matches('"').starts_with(start));
    if !is_key && !is_value {
        return Ok(());
    }
    Err(Failure::usage(format!("{key} looks like a secret, and secrets do not belong in the configuration")).hint(
        "give it to the service as a credential, such as\n  \
         sudo systemd-creds encrypt --name=openrouter-api-key - \\\n    \
         /etc/credstore.encrypted/openrouter-api-key\n\
         or set OPENROUTER_API_KEY where the daemon is started by hand",
    ))
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

/// The file's new text: the key is set, everything else stays as it is.
fn edit(old: &str, key: &str, value: &str) -> Result<String, String> {
    let mut document: DocumentMut = old.parse().map_err(|err: toml_edit::TomlError| err.message().to_owned())?;
    let parts: Vec<&str> = key.split('.').collect();
    let Some((name, sections)) = parts.split_last().filter(|_| parts.iter().all(|part| !part.trim().is_empty())) else {
        return Err(format!("{key:?} is not a key"));
    };
    let mut table: &mut Table = document.as_table_mut();
    for section in sections {
        let item = table.entry(section).or_insert_with(|| {
            let mut table = Table::new();
            // `[a.b]` needs no empty `[a]` before it.
            table.set_implicit(true);
            Item::Table(table)
        });
        table = item.as_table_mut().ok_or_else(|| format!("{section} is not a section"))?;
    }
    let mut value: Value = match value.parse() {
        Ok(Value::Datetime(_)) | Err(_) => value.into(),
        Ok(value) => value,
    };
    // A comment behind the old value stays where it is.
    if let Some(old) = table.get(name).and_then(Item::as_value) {
        *value.decor_mut() = old.decor().clone();
    } else {
        value.decor_mut().clear();
    }
    table.insert(name, Item::Value(value));
    Ok(document.to_string())
}

/// Has the daemon check a copy of the whole configuration with the new text in it.
fn check(config: &Path, new: &str) -> Result<()> {
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
    fs::write(to.join(FILE), new).map_err(failed(&to))?;
    let checked = daemon::check(Some(&copied))?;
    if checked.ok() {
        return Ok(());
    }
    // The copy's place is nobody's business.
    let real = config.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
    let message = checked.message().replace(&*copy.path().to_string_lossy(), &real);
    let (what, hint) = message.split_once("\nhint: ").unwrap_or((&message, "nothing was changed"));
    Err(Failure::new(checked.code, what.trim_start_matches("error: ")).hint(hint.to_owned()))
}

fn write(dir: &Path, file: &Path, new: &str) -> Result<()> {
    let failed = |err: io::Error| {
        let failure = Failure::file("writing", file, &err);
        if failure.code == Code::Denied {
            failure.hint("run it as root: sudo assistantctl config set ...")
        } else {
            failure
        }
    };
    fs::create_dir_all(dir).map_err(failed)?;
    let mut temporary = NamedTempFile::with_prefix_in(".50-local-", dir).map_err(failed)?;
    temporary.write_all(new.as_bytes()).map_err(failed)?;
    temporary.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(file).map_err(|err| failed(err.error))?;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_set_and_comments_stay() {
        let old = "# mine\n[limits]\nmax_iterations_per_task = 50 # was enough\n\n[llm] # models\nmodel = \"a\"\n";
        assert_eq!(edit(old, "limits.max_iterations_per_task", "80").unwrap(), old.replace("50 #", "80 #"),);
        assert_eq!(edit(old, "llm.model", "gpt-5").unwrap(), old.replace("\"a\"", "\"gpt-5\""));
        assert_eq!(edit("", "a.b.c", "[1, 2]").unwrap(), "[a.b]\nc = [1, 2]\n");
        assert_eq!(edit("", "jobs.every", "5m").unwrap(), "[jobs]\nevery = \"5m\"\n");
        assert_eq!(edit("", "jobs.day", "2026-01-01").unwrap(), "[jobs]\nday = \"2026-01-01\"\n");
        for (old, key) in [("", "a..b"), ("", ""), ("a = 1\n", "a.b"), ("[", "a.b")] {
            assert!(edit(old, key, "1").is_err(), "{old:?} {key:?}");
        }
    }

    #[test]
    fn secrets_are_refused() {
        for (key, value) in
            [("llm.api_key", "x"), ("notify.webhook-secret", "x"), ("llm.model", "\"sk-abc\""), ("OPENAI_API_KEY", "x")]
        {
            assert_eq!(refuse_secrets(key, value).unwrap_err().code, Code::Usage, "{key}");
        }
        for key in ["limits.max_tokens_per_task", "llm.model", "api.max_upload_bytes"] {
            assert!(refuse_secrets(key, "5").is_ok(), "{key}");
        }
    }
}
