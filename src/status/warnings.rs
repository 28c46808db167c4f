//! What does not stop the daemon and should be mended: weak or exposed secrets, readable state, names without effect.
//!
//! Looked for anew at every question, so that what was mended is gone; only what the service manager handed over at the
//! start, the environment and the credentials, needs a restart.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::PoisonError,
};

use assistant_api::{
    backup::BackupKind,
    secrets::{SecretState, is_set},
    status::{Listening, Warning},
};
use jiff::Timestamp;

use crate::{
    backup,
    config::{
        Config, Environment, Noticed, Place, SecretName, WeakSecret,
        secrets::{LEAST_CHARS, Weakness},
    },
    cx::Cx,
    http::{exposure::KERNEL, tls},
    logging::catalog,
    mail,
};

/// The reference's variables for its database, which is not ours.
const DATABASE: &[&str] = &["DATABASE_URL", "POSTGRES_PASSWORD"];
/// Passwords of the reference that have no effect here.
const PASSWORDS: &[&str] = &["CALDAV_PASSWORD", "POSTGRES_PASSWORD"];
/// Where the service's variables stand.
const VARIABLES: &str = "/etc/default/assistant";

/// All of them.
pub fn warnings(cx: &Cx) -> Vec<Warning> {
    let (sources, noticed) = (&cx.process.sources, cx.process.noticed.load());
    let service = cx.process.systemd.is_there();
    let mut warnings = before_start(&sources.environment, &noticed, service);
    warnings.extend(missing(cx, service));
    warnings.extend(readable(&cx.state_dir, cx.store.path(), sources.paths.credentials_dir.as_deref()));
    warnings.extend(certificate(&cx.process.tls, cx.clock.now(), service));
    warnings.extend(open_to_others(&cx.process.listening.load(), &cx.config.load()));
    warnings.extend(mail::receive::warning(cx));
    // By hand, backups are whoever's who starts the daemon.
    if service {
        let folder = backup::Folder::of(&cx.config.load(), &cx.state_dir);
        let born = fs::metadata(cx.store.path()).and_then(|meta| meta.created()).ok();
        warnings.extend(backup_is_old(&folder, born.and_then(|at| at.try_into().ok()), cx.clock.now()));
    }
    warnings
}

/// A certificate that ends soon, or a new one that cannot be served.
fn certificate(served: &tls::Served, now: Timestamp, service: bool) -> Vec<Warning> {
    let again = if service { "sudo systemctl restart assistantd" } else { "assistantctl reload" };
    let warning = |name: &str, text: String, mend: String| Warning { name: name.into(), text, mend };
    let mut warnings = Vec::new();
    if let Some(problem) = served.problem() {
        let text = format!("the new certificate of HTTPS is refused, and the old one goes on: {problem}");
        warnings.push(warning("certificate-refused", text, format!("mend that, then: {again}")));
    }
    if let Some(until) = served.until()
        && now + tls::SOON > until
    {
        let day = until.strftime("%Y-%m-%d");
        let text = if until <= now {
            format!("the certificate of HTTPS has been out of date since {day}: browsers refuse it")
        } else {
            format!("the certificate of HTTPS ends on {day}")
        };
        warnings.push(warning("certificate-expires", text, format!("renew it, then: {again}")));
    }
    warnings
}

/// What others can reach over the network, and whether that is more than most people mean.
fn open_to_others(listening: &[Listening], config: &Config) -> Vec<Warning> {
    let warning = |name: &str, text: String, mend: &str| Warning { name: name.into(), text, mend: mend.into() };
    let mut warnings = Vec::new();
    for Listening { address, reach, .. } in listening {
        let who = match reach.as_str() {
            "every" => "whoever can reach any address of this host",
            "public" => "everybody on the Internet",
            _ => continue,
        };
        warnings.push(warning(
            "public-bind",
            format!(
                "the API can be reached from outside: {who} can connect to {address}, as api.allow_public_bind allows"
            ),
            "sudo assistantctl web enable --bind 127.0.0.1:8000, behind a proxy, or: sudo assistantctl web disable",
        ));
    }
    if config.api.auth == "none"
        && let Some(Listening { address, .. }) = listening.iter().find(|one| one.guard != KERNEL)
    {
        warnings.push(warning(
            "no-login",
            format!("whoever connects to {address} is an administrator: api.auth is \"none\""),
            "sudo assistantctl config set api.auth login",
        ));
    }
    let beyond = listening.iter().find(|one| !matches!(one.reach.as_str(), "socket" | "loopback"));
    let Some(Listening { address, .. }) = beyond else { return warnings };
    for (on, name, key, what) in [
        (config.api.docs_enabled, "docs-exposed", "docs_enabled", "the documentation of the API is"),
        (config.api.openapi_enabled, "openapi-exposed", "openapi_enabled", "the description of the API is"),
    ] {
        if on {
            let mend = format!("sudo assistantctl config set api.{key} false");
            warnings.push(warning(name, format!("{what} served on {address}, beyond this host"), &mend));
        }
    }
    warnings
}

/// Whether backups have ceased to be made, or never were since the database was, which was `born`.
fn backup_is_old(folder: &backup::Folder, born: Option<Timestamp>, now: Timestamp) -> Option<Warning> {
    // A folder that this process cannot read says nothing.
    let last = folder.list().ok()?.into_iter().find(|backup| backup.kind == BackupKind::Full);
    let since = last.as_ref().map(|backup| backup.created_at).or(born)?;
    if backup::is_recent(since, now) {
        return None;
    }
    let days = now.duration_since(since).as_hours() / 24;
    let text = if last.is_some() {
        format!("the last backup was made {days} days ago")
    } else {
        format!("no backup was made in the {days} days of this database")
    };
    let mend = "sudo systemctl start assistant-backup.service, and see: systemctl status assistant-backup.timer".into();
    Some(Warning { name: "backup-old".into(), text, mend })
}

/// Those that need no running daemon; `service`: for one that the service manager starts.
pub fn before_start(environment: &Environment, noticed: &Noticed, service: bool) -> Vec<Warning> {
    let mut warnings: Vec<_> = noticed.secrets.iter().map(|weak| weak_secret(weak, service)).collect();
    warnings.extend(exposed(environment, service));
    let without_effect = |text: &String| Warning {
        name: "unknown-variable".into(),
        text: text.clone(),
        mend: text.split_whitespace().nth(1).map_or_else(String::new, |name| removed(name, service)),
    };
    warnings.extend(noticed.settings.iter().map(without_effect));
    warnings
}

/// Writes those into the journal that it does not have yet.
pub fn report_warnings(cx: &Cx) {
    let now = warnings(cx);
    let mut known = cx.process.reported.lock().unwrap_or_else(PoisonError::into_inner);
    for warning in now.iter().filter(|warning| !known.contains(warning)) {
        let Warning { name, text, mend } = warning;
        match name.as_str() {
            "credential-missing" => tracing::warn!(target: catalog::CREDENTIAL_MISSING, warning = name, mend, "{text}"),
            "public-bind" | "no-login" => {
                tracing::warn!(target: catalog::EXPOSED, warning = name, mend, "{text}");
            }
            "certificate-expires" | "certificate-refused" => {
                tracing::warn!(target: catalog::CERTIFICATE, warning = name, mend, "{text}");
            }
            "backup-old" | "unknown-variable" | "docs-exposed" | "openapi-exposed" => {
                tracing::warn!(warning = name, mend, "{text}");
            }
            _ => tracing::warn!(target: catalog::WEAK_SECRET, warning = name, mend, "{text}"),
        }
    }
    *known = now;
}

fn weak_secret(weak: &WeakSecret, service: bool) -> Warning {
    let name = weak.name;
    let what = match &weak.place {
        Place::Environment(variable) => format!("the secret in {variable}"),
        _ => format!("the credential {}", name.credential()),
    };
    let why = match weak.why {
        Weakness::Example => "is an example value and counts as unset".to_owned(),
        Weakness::Guessable => "is a word that everybody tries first".to_owned(),
        Weakness::Short => format!("has under {LEAST_CHARS} characters"),
    };
    let mend = if service { replaced(name, &weak.place) } else { format!("export {}=...", name.env()) };
    Warning { name: "weak-secret".into(), text: format!("{what} {why}"), mend }
}

/// The command that puts a better secret in its place.
fn replaced(name: SecretName, place: &Place) -> String {
    let set = format!("sudo assistantctl secret set {}", name.credential());
    match place {
        Place::Environment(variable) => format!("{set} && {}", removed(variable, true)),
        _ => set,
    }
}

/// The command that takes a variable away.
fn removed(variable: &str, service: bool) -> String {
    if service {
        format!("sudo sed -i '/^{variable}=/d' {VARIABLES} && sudo systemctl restart assistantd")
    } else {
        format!("unset {variable}")
    }
}

/// Secrets in the environment of a service, which others can look into, and variables of another database.
fn exposed(environment: &Environment, service: bool) -> Vec<Warning> {
    let set = |name: &&str| environment.get(name).is_some_and(is_set);
    let mut warnings = Vec::new();
    if service {
        let ours = SecretName::ALL.iter().filter(|name| set(&name.env())).map(|name| {
            let place = Place::Environment(name.env().to_owned());
            (name.env(), replaced(*name, &place))
        });
        let others = PASSWORDS.iter().filter(|name| set(name)).map(|name| (*name, removed(name, true)));
        warnings.extend(ours.chain(others).map(|(variable, mend)| Warning {
            name: "secret-in-environment".into(),
            text: format!("{variable} stands in the environment of the service, where a credential belongs"),
            mend,
        }));
    }
    warnings.extend(DATABASE.iter().filter(|name| environment.get(name).is_some()).map(|name| Warning {
        name: "unused-variable".into(),
        text: format!("{name} is set and not used: the state is kept in SQLite"),
        mend: removed(name, service),
    }));
    warnings
}

/// Secrets that something lacks, or that cannot be read.
fn missing(cx: &Cx, service: bool) -> Vec<Warning> {
    let states = super::secrets::states(cx, &cx.llm.load().models());
    let warning = |state: SecretState| {
        let problem = state.problem?;
        let variable = SecretName::ALL.iter().find(|name| name.credential() == state.name)?.env();
        Some(Warning {
            name: "credential-missing".into(),
            text: format!("the secret {} is missing: {problem}", state.name),
            mend: if service {
                format!("sudo assistantctl secret set {}", state.name)
            } else {
                format!("export {variable}=...")
            },
        })
    };
    states.into_iter().filter_map(warning).collect()
}

/// What other users of the machine can read.
fn readable(state_dir: &Path, database: &Path, credentials: Option<&Path>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut look = |path: &Path, what: &str, bits: u32, mend: &str| {
        let Ok(metadata) = fs::metadata(path) else { return };
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & bits != 0 {
            warnings.push(Warning {
                name: "readable-by-others".into(),
                text: format!("{what} has mode {mode:04o}: others can read or change it"),
                mend: format!("sudo chmod {mend} {}", path.display()),
            });
        }
    };
    // A directory that can only be passed through shows nothing; its group may be let in to reach the workspace.
    look(state_dir, "the state directory", 0o026, "0700");
    for suffix in ["", "-wal", "-shm"] {
        let mut file = database.as_os_str().to_owned();
        file.push(suffix);
        look(&PathBuf::from(file), "a file of the database", 0o077, "0600");
    }
    for name in
        credentials.into_iter().flat_map(|dir| SecretName::ALL.iter().map(move |name| dir.join(name.credential())))
    {
        look(&name, "a credential", 0o007, "0400");
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(warnings: &[Warning]) -> Vec<&str> {
        warnings.iter().map(|warning| warning.name.as_str()).collect()
    }

    #[test]
    fn what_others_can_read_is_told_with_the_command_that_closes_it() {
        let dir = tempfile::tempdir().unwrap();
        let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (state, database) = (dir.path().join("state"), dir.path().join("state/assistant.db"));
        let credentials = dir.path().join("credentials");
        fs::create_dir_all(&state).unwrap();
        fs::create_dir_all(&credentials).unwrap();
        let key = credentials.join("llm-api-key");
        for file in [&database, &key] {
            fs::write(file, "x").unwrap();
            chmod(file, 0o600);
        }
        let look = || readable(&state, &database, Some(&credentials));
        for (mode, told) in
            [(0o700, false), (0o711, false), (0o750, false), (0o755, true), (0o770, true), (0o702, true)]
        {
            chmod(&state, mode);
            assert_eq!(!look().is_empty(), told, "{mode:o}");
        }
        chmod(&state, 0o755);
        chmod(&database, 0o640);
        chmod(&key, 0o444);
        let found = look();
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0].text, "the state directory has mode 0755: others can read or change it");
        for warning in &found {
            let command = warning.mend.strip_prefix("sudo ").unwrap();
            assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success());
        }
        assert_eq!(look(), Vec::new());
    }

    #[test]
    fn a_secret_in_the_environment_of_a_service_is_told_and_never_shown() {
        let environment: Environment = [
            ("OPENAI_API_KEY", "sk-canary-canary"),
            ("SMTP_PASSWORD", "canary-canary"),
            ("DATABASE_URL", "postgresql://canary@x/y"),
        ]
        .into_iter()
        .collect();
        let found = exposed(&environment, true);
        assert_eq!(names(&found), ["secret-in-environment", "secret-in-environment", "unused-variable"]);
        assert_eq!(
            found[0].mend,
            "sudo assistantctl secret set openai-api-key && sudo sed -i '/^OPENAI_API_KEY=/d' /etc/default/assistant \
             && sudo systemctl restart assistantd"
        );
        assert!(!format!("{found:?}").contains("canary"));
        assert_eq!(names(&exposed(&environment, false)), ["unused-variable"], "by hand it is where secrets are");
    }

    #[test]
    fn what_others_can_reach_is_told() {
        let at = |address: &str, reach: &str| Listening {
            address: address.into(),
            reach: reach.into(),
            guard: "a login".into(),
        };
        let mut config = Config::default();
        let safe = [at("/run/assistant/api.sock", "socket"), at("127.0.0.1:8000", "loopback")];
        let private = [at("192.168.1.50:8000", "private")];
        (config.api.docs_enabled, config.api.openapi_enabled) = (true, true);
        assert_eq!(names(&open_to_others(&safe, &config)), [""; 0]);
        assert_eq!(names(&open_to_others(&private, &config)), ["docs-exposed", "openapi-exposed"]);
        (config.api.docs_enabled, config.api.openapi_enabled) = (false, false);
        assert_eq!(names(&open_to_others(&private, &config)), [""; 0]);
        for (address, reach) in [("0.0.0.0:8000", "every"), ("203.0.113.5:8000", "public")] {
            let found = open_to_others(&[at(address, reach)], &config);
            assert_eq!(names(&found), ["public-bind"]);
            assert!(found[0].text.contains(address) && found[0].mend.contains("web disable"), "{found:?}");
        }
        config.api.auth = "none".into();
        assert_eq!(names(&open_to_others(&private, &config)), ["no-login"]);
    }

    #[test]
    fn a_backup_that_is_old_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let folder = backup::Folder::at(dir.path());
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let (born, now) = (at("2026-11-01T00:00:00Z"), at("2026-11-22T12:00:00Z"));
        let look = || backup_is_old(&folder, Some(born), now).map(|warning| warning.text);
        assert_eq!(look().as_deref(), Some("no backup was made in the 21 days of this database"));
        assert_eq!(backup_is_old(&folder, Some(at("2026-11-21T00:00:00Z")), now), None, "it is new");
        assert_eq!(backup_is_old(&folder, None, now), None);
        fs::write(dir.path().join("assistant-20261119T030000Z.tar.zst"), "").unwrap();
        assert_eq!(look().as_deref(), Some("the last backup was made 3 days ago"));
        fs::write(dir.path().join("assistant-20261122T030000Z.tar.zst.age"), "").unwrap();
        assert_eq!(look(), None);
    }
}
