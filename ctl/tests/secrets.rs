//! Secrets on their way from a person to systemd, and the set-up where there is no service.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    answers,
    fake::{Daemon, Ran},
    terminal::{plain, spawn_on_terminal},
};

const CANARY: &str = "sk-canary-0123456789";

/// The program in a directory of its own, beside a stand-in for the daemon's program and before one for systemd-creds,
/// which writes down how it was called and turns letters around instead of encrypting.
struct Desk {
    daemon: Daemon,
    bin: PathBuf,
}

impl Desk {
    fn new(daemon: Daemon) -> Self {
        let bin = daemon.dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_assistantctl"), bin.join("assistantctl")).unwrap();
        let desk = Self { daemon, bin };
        desk.script(
            "systemd-creds",
            "echo \"$@\" >>\"$HOME/calls\"\nif [ \"$1\" = decrypt ]; then\n\
            grep -q broken \"$3\" && { echo 'Failed to decrypt: Bad message' >&2; exit 1; }\nexit 0\nfi\nrev",
        );
        desk.script("assistantd", "conf=$(dirname \"$3\")/conf.d/10-setup.toml\n\
            if grep -q refused \"$conf\"; then echo \"error: $conf:2: llm.model is refused\" >&2; exit 78; fi\necho good");
        desk
    }

    fn script(&self, name: &str, text: &str) {
        let file = self.bin.join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.daemon.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.bin.join("assistantctl"));
        let path = format!("{}:/usr/bin:/bin", self.bin.display());
        command.env_clear().env("PATH", path).env("HOME", self.daemon.dir.path()).env("TERM", "dumb");
        command.env("ASSISTANT_SOCKET", &self.daemon.socket).args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_secret_is_read_encrypted_and_stored_for_root_alone() {
    let desk = Desk::new(Daemon::new());
    let store = desk.path("store");
    let dir = store.to_str().unwrap();
    fs::write(desk.path("key"), format!("{CANARY}\n")).unwrap();
    let set = |arguments: &[&str], input: &str| {
        let mut command = desk.command(&[&["secret", "set", "--dir", dir], arguments].concat());
        Ran::of(command.stdin(fs::File::open(desk.path(input)).unwrap()).output().unwrap())
    };
    let ran = set(&["openrouter-api-key"], "key");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let stored = store.join("openrouter-api-key");
    assert_eq!(fs::read_to_string(&stored).unwrap(), CANARY.chars().rev().collect::<String>());
    assert_eq!((mode(&store), mode(&stored), fs::read_dir(&store).unwrap().count()), (0o700, 0o600, 1));
    let calls = fs::read_to_string(desk.path("calls")).unwrap();
    assert_eq!(calls, "encrypt --name=openrouter-api-key - -\n");
    assert!(!format!("{ran:?}").contains("canary"));

    let ran = set(&["openruter-api-key"], "key");
    assert!(ran.code == Some(2) && ran.err.contains("did you mean openrouter-api-key?"), "{ran:?}");
    fs::write(desk.path("key"), "change-me").unwrap();
    let ran = set(&["openrouter-api-key"], "key");
    assert!(ran.code == Some(2) && ran.err.contains("nothing was done"), "{ran:?}");
    assert!(fs::read_to_string(&stored).unwrap().contains("yranac"), "the old one stands");
    desk.script("systemd-creds", "echo 'Failed to encrypt: no key' >&2; exit 1");
    fs::write(desk.path("key"), CANARY).unwrap();
    let ran = set(&["openrouter-api-key"], "key");
    assert!(ran.code == Some(1) && ran.err.contains("systemd-creds failed: Failed to encrypt: no key"), "{ran:?}");
    assert_eq!(fs::read_dir(&store).unwrap().count(), 1);
}

#[test]
fn a_generated_secret_is_strong_and_shown_once() {
    let desk = Desk::new(Daemon::new());
    let store = desk.path("store");
    let ran = desk.run(&["secret", "set", "llm-api-key", "--generate", "--dir", store.to_str().unwrap()]);
    let value = ran.out.lines().last().unwrap();
    assert!(value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{ran:?}");
    let stored = fs::read_to_string(store.join("llm-api-key")).unwrap();
    assert_eq!(stored.trim(), value.chars().rev().collect::<String>());
}

#[test]
fn what_is_stored_is_listed_and_removed() {
    let status = || {
        let mut status = answers::answer("GET", "/api/status", b"").unwrap().1;
        status["secrets"] = json!([
            {"name": "openrouter-api-key", "source": "credential", "problem": null},
            {"name": "openai-api-key", "source": "environment", "problem": null},
            {"name": "anthropic-api-key", "source": null, "problem": "the main model at api.anthropic.com needs it"},
            {"name": "llm-api-key", "source": null, "problem": null},
        ]);
        status["started_at"] = "2020-01-01T00:00:00Z".into();
        status
    };
    let desk = Desk::new(Daemon::with(move |_, path, _| (path == "/api/status").then(|| (200, status()))));
    let store = desk.path("store");
    let dir = store.to_str().unwrap();
    fs::create_dir(&store).unwrap();
    fs::write(store.join("openrouter-api-key"), CANARY).unwrap();
    fs::write(store.join("llm-api-key"), "broken").unwrap();
    let ran = desk.run(&["secret", "list", "--dir", dir, "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let json = ran.json();
    let secret = |name: &str| -> Value {
        json["secrets"].as_array().unwrap().iter().find(|secret| secret["name"] == name).unwrap().clone()
    };
    assert_eq!(
        (&secret("openrouter-api-key")["stored"], &secret("openrouter-api-key")["seen"]),
        (&json!("encrypted"), &json!(false))
    );
    assert_eq!(
        (&secret("openai-api-key")["stored"], &secret("openai-api-key")["daemon"]),
        (&json!("no"), &json!("environment"))
    );
    assert!(secret("anthropic-api-key")["problem"].as_str().unwrap().contains("needs it"));
    let broken = secret("llm-api-key");
    assert_eq!(broken["stored"], "undecryptable");
    assert!(broken["problem"].as_str().unwrap().contains("Bad message"), "{broken}");
    assert!(!ran.out.contains("canary"));
    let table = desk.run(&["secret", "list", "--dir", dir]).out;
    assert!(
        table.contains("not yet") && table.contains("from environment") && table.contains("undecryptable"),
        "{table}"
    );

    let ran = desk.run(&["secret", "rm", "llm-api-key", "--dir", dir]);
    assert!(ran.code == Some(0) && !store.join("llm-api-key").exists(), "{ran:?}");
    let ran = desk.run(&["secret", "rm", "llm-api-key", "--dir", dir]);
    assert!(ran.code == Some(3) && ran.err.contains("secret list"), "{ran:?}");
}

#[test]
fn a_secret_is_not_shown_while_it_is_typed() {
    let desk = Desk::new(Daemon::new());
    let store = desk.path("store");
    let arguments = ["secret", "set", "openrouter-api-key", "--dir", store.to_str().unwrap()];
    // With a key that was taken back, as a person does.
    let (code, screen) = spawn_on_terminal(desk.command(&arguments), "(not shown):", &format!("{CANARY}x\x7f\r"));
    assert_eq!(code, 0, "{screen}");
    assert!(!screen.contains("canary") && screen.contains("openrouter-api-key (not shown):"), "{screen}");
    let stored = fs::read_to_string(store.join("openrouter-api-key")).unwrap();
    assert_eq!(stored, CANARY.chars().rev().collect::<String>());
    let (code, screen) = spawn_on_terminal(desk.command(&arguments), "(not shown):", "other\x03");
    assert!(code == 130 && plain(&screen).contains("nothing was done"), "{screen}");
    assert_eq!(fs::read_to_string(store.join("openrouter-api-key")).unwrap(), stored);
}

/// Settings of a daemon that knows what the set-up asks for.
fn settings(file: &Path) -> Value {
    let setting = |key: &str| json!({"key": key, "value": null, "origin": "default", "default": null, "environment": "", "kind": "", "doc": "", "restart": false});
    let keys = ["llm.provider", "llm.base_url", "llm.model", "admin.name", "admin.email", "identity.email"];
    json!({"file": file, "settings": keys.map(setting)})
}

#[test]
fn without_a_service_the_configuration_is_written_and_the_rest_is_told() {
    let file = std::sync::Arc::new(std::sync::OnceLock::<PathBuf>::new());
    let known = std::sync::Arc::clone(&file);
    let desk = Desk::new(Daemon::with(move |_, path, _| match path {
        "/api/config" => Some((200, settings(known.get().unwrap()))),
        _ => None,
    }));
    let config = desk.path("etc/assistant.toml");
    file.set(config.clone()).unwrap();
    fs::write(desk.path("key"), CANARY).unwrap();
    let key = desk.path("key");
    let setup = |arguments: &[&str]| desk.run(&[&["setup", "--yes"], arguments].concat());
    let ran =
        setup(&["--provider", "openrouter", "--key-file", key.to_str().unwrap(), "--admin-address", "ann@example.org"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let written = config.with_file_name("conf.d").join("10-setup.toml");
    let text = fs::read_to_string(&written).unwrap();
    assert_eq!(text, "[llm]\nprovider = \"openrouter\"\n\n[admin]\nemail = \"ann@example.org\"\n");
    for expected in ["There is no service of systemd here", "openrouter-api-key was not stored"] {
        assert!(ran.err.contains(expected), "{expected}: {ran:?}");
    }
    assert!(
        ran.out.contains("OPENROUTER_API_KEY=... assistantd")
            && ran.out.ends_with("assistantctl submit \"Say hello, and what you can do for me\" --follow\n")
    );
    assert!(!format!("{ran:?}").contains("canary"));
    assert_eq!(
        (desk.daemon.asked("POST", "/api/reload").len(), desk.daemon.asked("POST", "/api/models/test").len()),
        (1, 0)
    );

    // What the daemon would refuse is not written.
    let ran = setup(&["--provider", "ollama", "--model", "refused"]);
    assert_eq!(ran.code, Some(78), "{ran:?}");
    for expected in ["llm.model is refused", "what stands: nothing new", "what does not: the configuration"] {
        assert!(ran.err.contains(expected), "{expected}: {ran:?}");
    }
    assert_eq!(fs::read_to_string(&written).unwrap(), text);
    assert_eq!(fs::read_dir(written.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_model_that_does_not_answer_is_told_with_what_stands() {
    let file = std::sync::Arc::new(std::sync::OnceLock::<PathBuf>::new());
    let known = std::sync::Arc::clone(&file);
    let desk = Desk::new(Daemon::with(move |_, path, _| match path {
        "/api/config" => Some((200, settings(known.get().unwrap()))),
        "/api/models/test" => Some((
            200,
            json!({"models": [{
                "role": "main", "provider": "openai", "model": "m", "host": "10.0.0.7", "ok": false, "latency_ms": null,
                "tools": null, "price": null, "cost": null, "problem": "the key was refused (401)",
            }]}),
        )),
        _ => None,
    }));
    file.set(desk.path("etc/assistant.toml")).unwrap();
    let ran = desk.run(&["setup", "--yes", "--provider", "openai", "--base-url", "http://10.0.0.7/v1", "-o", "json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let error = &ran.json()["error"];
    assert!(error["message"].as_str().unwrap().ends_with("the key was refused (401)"), "{error}");
    let hint = error["hint"].as_str().unwrap();
    for expected in
        ["10-setup.toml has llm.provider, llm.base_url", "what does not: a call to the model", "with another key"]
    {
        assert!(hint.contains(expected), "{expected}: {hint}");
    }
}
