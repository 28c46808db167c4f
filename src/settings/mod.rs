//! The configuration while the daemon runs: what it is, where it came from, and its replacement.

mod api;
#[cfg(test)]
mod tests;

use std::{fmt::Write as _, sync::Arc};

use assistant_api::config::{Reloaded, Setting, Settings};

use serde_json::Value;

use crate::{
    agent::prompt,
    config::{Config, Noticed, Origins, Paths, Secrets, load, section::Table},
    cx::Cx,
    error::{Error, Result},
    events, http, llm,
    logging::catalog,
    status,
    subsystems::Subsystem,
    workspace,
};

/// This subsystem.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "settings", routes: api::routes, tools: &[], loops: &[] };

/// Keys that a running daemon cannot follow: sockets stay what they were made as.
const AT_START: &[&str] = &["api.bind_host", "api.operator_group", "api.port"];

/// What can only be said of a configuration where it will be used: whether there is what it names, and whether it may
/// be listened on.
///
/// # Errors
/// `validation`, with the key and the way out.
pub fn check(config: &Config, paths: &Paths) -> Result<()> {
    prompt::check(config, paths.config.parent())?;
    llm::check(config)?;
    http::addresses(config).map(drop)
}

/// Reads the configuration again; all of it is replaced, or nothing is.
///
/// # Errors
/// `validation` with everything that is wrong; the old configuration stays.
pub async fn reload(cx: &Cx) -> Result<Reloaded> {
    let _one_at_a_time = cx.process.reload.lock().await;
    cx.process.systemd.reloading();
    let outcome = replace(cx).await;
    cx.process.systemd.ready();
    match &outcome {
        Ok(done) => {
            tracing::info!(
                changed = done.changed.join(" "),
                restart = done.restart.join(" "),
                "reloaded the configuration"
            );
        }
        Err(err) => tracing::error!(
            target: catalog::RELOAD_REFUSED,
            error = err.chain(),
            "the new configuration is refused, the old one stays"
        ),
    }
    outcome
}

async fn replace(cx: &Cx) -> Result<Reloaded> {
    let sources = cx.process.sources.clone();
    let (loaded, secrets) = tokio::task::spawn_blocking(move || {
        let loaded = load(&sources)?;
        let secrets = Secrets::load(sources.paths.credentials_dir.as_deref(), &sources.environment);
        check(&loaded.config, &sources.paths)?;
        Ok::<_, Error>((loaded, secrets))
    })
    .await
    .map_err(Error::internal)??;

    // A socket that is open stays open: what lets others in by it is refused as at the start.
    http::exposure::guard_anew(cx, &loaded.config)?;
    // Refuses only what has nothing to go on with; else the old certificate stays, which is a warning.
    http::tls::renew(cx, &loaded.config)?;
    let changed = changed(&cx.config.load(), &loaded.config);
    let restart = changed.iter().filter(|key| AT_START.contains(&key.as_str())).cloned().collect();
    let noticed = Noticed { settings: loaded.warnings.clone(), secrets: secrets.weak().to_vec() };
    let done = Reloaded { changed, restart, warnings: loaded.warnings };

    cx.llm.store(Arc::new(llm::build(&loaded.config, &secrets, &cx.process.sources.environment)));
    cx.process.mail.passwords.store(Arc::new((&secrets).into()));
    cx.process.secrets.store(Arc::new(secrets.states()));
    cx.process.logging.set_level(&loaded.config.log.level);
    cx.process.origins.store(Arc::new(loaded.origins));
    cx.process.noticed.store(Arc::new(noticed));
    cx.config.store(Arc::new(loaded.config));
    workspace::attach(cx).await;
    status::report_warnings(cx);
    cx.tasks.spawn(status::date_secrets(cx.clone(), secrets));
    cx.wake.jobs.notify_one();
    cx.wake.retention.notify_one();
    cx.wake.notify.notify_one();
    cx.wake.mailbox.notify_one();
    cx.wake.outbox.notify_one();

    let (now, event) = (cx.clock.now(), done.clone());
    cx.store.write(move |tx| events::emit(tx, now, "config.reloaded", None, &event)).await?;
    cx.wake.announce();
    Ok(done)
}

/// The paths of the keys whose values differ.
fn changed(old: &Config, new: &Config) -> Vec<String> {
    old.tables()
        .iter()
        .zip(new.tables())
        .flat_map(|(old, new)| {
            let keys = old.keys().iter().filter(move |key| old.get(key.name) != new.get(key.name));
            keys.map(|key| format!("{}.{}", old.name(), key.name))
        })
        .collect()
}

/// Every key with its value and where it came from; there are no secrets among them.
pub fn list(config: &Config, origins: &Origins) -> Settings {
    let settings = config.tables().into_iter().flat_map(|table| section(table, origins)).collect();
    Settings { file: String::new(), settings }
}

fn section<'a>(table: &'a dyn Table, origins: &'a Origins) -> impl Iterator<Item = Setting> + use<'a> {
    let defaults = Config::default();
    table.keys().iter().map(move |key| {
        let path = format!("{}.{}", table.name(), key.name);
        let default =
            defaults.tables().iter().find(|other| other.name() == table.name()).and_then(|other| other.get(key.name));
        Setting {
            origin: origins.of(&path).to_string(),
            environment: key.env_name(table.name()),
            kind: (key.kind)().name.to_owned(),
            doc: key.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "),
            value: shown(&path, to_json(table.get(key.name))),
            default: to_json(default),
            restart: AT_START.contains(&path.as_str()),
            key: path,
        }
    })
}

/// An address without what may be a secret in it: user information and query, and the path of a webhook.
fn shown(path: &str, value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    let Some(mut url) = path.ends_with("_url").then(|| reqwest::Url::parse(text).ok()).flatten() else { return value };
    let secret_path = path == "notify.webhook_url" && url.path() != "/";
    if url.username().is_empty() && url.password().is_none() && url.query().is_none() && !secret_path {
        return value;
    }
    let _ = (url.set_username(""), url.set_password(None)); // fails only for addresses without a host
    url.set_query(None);
    if secret_path {
        url.set_path("/...");
    }
    Value::String(url.into())
}

fn to_json(value: Option<toml::Value>) -> Value {
    value.and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
}

/// The list as `assistantctl config show -o json` prints it too.
///
/// # Errors
/// `internal`, never seen.
pub fn json(settings: &Settings) -> Result<String> {
    let mut printed = serde_json::to_value(settings)?;
    printed["schema"] = assistant_api::OUTPUT_SCHEMA.into();
    Ok(format!("{}\n", serde_json::to_string_pretty(&printed)?))
}

/// The list in the form of the file: what is unset is a comment.
pub fn text(settings: &Settings, with_origin: bool) -> String {
    let mut text = String::new();
    for setting in &settings.settings {
        let line = match &setting.value {
            Value::Null => format!("# {} is unset", setting.key),
            value => format!("{} = {value}", setting.key),
        };
        if with_origin {
            let _ = writeln!(text, "{line:<56}  # {}", setting.origin);
        } else {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}
