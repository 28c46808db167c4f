use assistant_api::{
    config::{Setting, Settings},
    secrets::SecretName,
};
use clap::Parser as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{
    Args, Plan,
    present::{ADMIN, Present, USERS, WORK},
};
use crate::{
    exit::{Code, Failure},
    prompt::{Person, tests::Script},
};

const OURS: &str = "/etc/assistant/conf.d/10-setup.toml";
/// Answers to the questions about mail and people that keep everything.
const NO_CHANGE: [&str; 4] = ["", "", "", ""];

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(line: &str) -> Args {
    Line::try_parse_from(["setup"].into_iter().chain(line.split_whitespace())).map(|line| line.args).unwrap()
}

/// A host on which these keys have these values, from these places.
fn present(set: &[(&str, Value, &str)]) -> Present {
    let keys = ["llm.provider", "llm.base_url", "llm.model", "admin.name", "admin.email", "identity.email"].into_iter();
    let more = set.iter().map(|(key, ..)| *key).filter(|key| key.starts_with("email."));
    let settings = keys.chain(more).map(|key| {
        let found = set.iter().find(|(name, ..)| *name == key);
        Setting {
            key: key.to_owned(),
            value: found.map_or(Value::Null, |(_, value, _)| value.clone()),
            origin: found.map_or("default", |(.., origin)| *origin).to_owned(),
            default: Value::Null,
            environment: String::new(),
            kind: String::new(),
            doc: String::new(),
            restart: false,
        }
    });
    Present {
        settings: Settings { file: "/etc/assistant/assistant.toml".into(), settings: settings.collect() },
        file: OURS.into(),
        stores: true,
        ..Present::default()
    }
}

fn ours(line: u32) -> String {
    format!("{OURS}:{line}")
}

fn asked(line: &str, present: &Present, script: &mut Script) -> Result<Plan, Failure> {
    Plan::make(args(line), present, Some(script as &mut dyn Person))
}

fn keys(plan: &Plan) -> Vec<String> {
    plan.keys
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_ref().map_or("-".into(), ToString::to_string)))
        .collect()
}

#[test]
fn a_password_is_made_where_the_network_comes_in_and_none_is_there() {
    let open = Present { unlocked: Some("192.168.1.50:8000".into()), ..present(&[]) };
    let plan = Plan::make(args("--yes --provider rehearsal"), &open, None).unwrap();
    assert!(!plan.web_password && plan.notes.iter().any(|note| note.contains("--web-password")), "{plan:?}");
    for host in [&open, &present(&[])] {
        let plan = Plan::make(args("--yes --provider rehearsal --web-password"), host, None).unwrap();
        assert!(plan.web_password && plan.changes().contains(&"the password of the dashboard".to_owned()));
    }
    let mut script = Script::new(["rehearsal", ""].into_iter().chain(NO_CHANGE).chain(["", ""]));
    let plan = asked("", &open, &mut script).unwrap();
    let shown = script.shown.join("\n");
    assert!(
        plan.web_password && shown.contains("a strong password for the dashboard at 192.168.1.50:8000?"),
        "{shown}"
    );
}

#[test]
fn a_fresh_host_is_asked_for_everything() {
    let host = Present {
        user: Some("ann".into()),
        groups: vec![(USERS, false), (ADMIN, false), (WORK, false)],
        ..present(&[])
    };
    let answers = [
        "gpt",
        "anthropic",
        "claude-x",
        "",
        "change-me",
        "sk-canary-123456",
        "Ann",
        "ann",
        "ann@example.org",
        "",
        "",
        "",
        "y",
        "",
        "",
    ];
    let mut script = Script::new(answers);
    let plan = asked("", &host, &mut script).unwrap();
    assert!(script.answers.is_empty(), "{:?}", script.shown);
    assert_eq!(
        keys(&plan),
        [
            "llm.provider=\"anthropic\"",
            "llm.model=\"claude-x\"",
            "admin.name=\"Ann\"",
            "admin.email=\"ann@example.org\""
        ]
    );
    let (name, value) = plan.secrets.first().unwrap();
    assert_eq!((*name, value.expose_secret()), (SecretName::Anthropic, "sk-canary-123456"));
    assert_eq!(plan.groups, [USERS, ADMIN]);
    let shown = script.shown.join("\n");
    for expected in [
        "Provider [openrouter]:",
        "expected one of openrouter,",
        "without it no model answers",
        "that of an example",
        "expected a mail address",
        "May ann administer it",
        "  the secret anthropic-api-key",
        "Go on? [Y/n]",
    ] {
        assert!(shown.contains(expected), "{expected} is not in:\n{shown}");
    }
    assert!(!shown.contains("canary") && !format!("{plan:?}").contains("canary"));
    assert!(!shown.contains("Address of the API"), "only for servers of one's own");
}

#[test]
fn a_second_run_shows_what_stands_and_changes_nothing_by_itself() {
    let host = Present {
        secrets: vec![SecretName::OpenRouter],
        user: Some("ann".into()),
        groups: vec![(USERS, true), (ADMIN, true), (WORK, true)],
        ..present(&[
            ("llm.provider", json!("openrouter"), &ours(2)),
            ("admin.email", json!("ann@example.org"), &ours(5)),
        ])
    };
    let mut script = Script::new(["", "", "", "", "", "", ""]);
    let plan = asked("", &host, &mut script).unwrap();
    assert!(plan.keys.is_empty() && plan.secrets.is_empty() && plan.groups.is_empty(), "{plan:?}");
    let shown = script.shown.join("\n");
    assert!(
        shown.contains("Your mail address [ann@example.org]:") && shown.contains("keeps the one that there is"),
        "{shown}"
    );
    assert!(shown.ends_with("Nothing is to be changed."));
    // Without anybody to ask it is the same.
    let plan = Plan::make(args("--yes --admin-name Ann"), &host, None).unwrap();
    assert_eq!((keys(&plan), plan.secrets.is_empty()), (vec!["admin.name=\"Ann\"".to_owned()], true));
    // What is told anew as it is changes nothing either.
    let plan = Plan::make(args("--yes --provider openrouter --admin-address ann@example.org"), &host, None).unwrap();
    assert!(plan.keys.is_empty(), "{plan:?}");
}

#[test]
fn what_belonged_to_another_provider_goes_with_it() {
    let host = Present {
        secrets: vec![SecretName::Anthropic],
        ..present(&[
            ("llm.provider", json!("openai"), &ours(2)),
            ("llm.base_url", json!("http://10.0.0.7/v1"), &ours(3)),
            ("llm.model", json!("qwen"), "/etc/assistant/conf.d/50-local.toml:4"),
        ])
    };
    let plan = Plan::make(args("--provider anthropic --yes"), &host, None).unwrap();
    assert_eq!(keys(&plan), ["llm.provider=\"anthropic\"", "llm.base_url=-"]);
    assert!(plan.notes[0].contains("llm.model keeps its value") && plan.notes[0].ends_with("50-local.toml:4"));
    // A key is asked for that of its address, and that only if there is one.
    let mut script = Script::new(["openai", "", "", "", NO_CHANGE[0], NO_CHANGE[1], NO_CHANGE[2], NO_CHANGE[3]]);
    let plan = asked("", &host, &mut script).unwrap();
    assert!(plan.keys.is_empty() && plan.secrets.is_empty(), "{plan:?}");
    assert!(
        script.shown.iter().any(|line| line.contains("llm.base_url") && line.contains("if it needs none")),
        "{:?}",
        script.shown
    );
    let mut script = Script::new([
        "openai",
        "-",
        "",
        "",
        "sk-canary-1234",
        NO_CHANGE[0],
        NO_CHANGE[1],
        NO_CHANGE[2],
        NO_CHANGE[3],
        "y",
    ]);
    let plan = asked("", &host, &mut script).unwrap();
    assert_eq!((keys(&plan), plan.secrets[0].0), (vec!["llm.base_url=-".to_owned()], SecretName::OpenAi));
}

#[test]
fn what_is_lacking_is_named_when_nobody_can_be_asked() {
    let refused = |line: &str, host: &Present| Plan::make(args(line), host, None).unwrap_err();
    let fresh = present(&[]);
    for (line, hint) in [
        ("", "--provider"),
        ("--provider openrouter", "--key-file"),
        ("--provider rehearsal --key-file /dev/null", "leave out --key-file"),
        ("--provider rehearsal --imap-port 143", "--imap-host"),
        ("--provider rehearsal --smtp-user ann", "--smtp-host"),
        ("--provider rehearsal --imap-host h --actionable-sender ann", ""),
        ("--provider rehearsal --work", "--user"),
        ("--provider openai --base-url 10.0.0.7", ""),
        ("--provider rehearsal --admin-address ann", ""),
    ] {
        let failure = refused(line, &fresh);
        assert_eq!(failure.code, Code::Usage, "{line}: {failure:?}");
        assert!(failure.hint.as_deref().unwrap_or_default().contains(hint), "{line}: {failure:?}");
    }
    // Models of one's own need no key, and a daemon that has one from elsewhere needs none from here.
    for line in ["--provider ollama", "--provider openai --base-url http://10.0.0.7/v1"] {
        assert!(Plan::make(args(line), &fresh, None).unwrap().secrets.is_empty(), "{line}");
    }
    let with = Present { secrets: vec![SecretName::OpenAi], ..present(&[]) };
    assert!(Plan::make(args("--yes"), &with, None).unwrap().keys.is_empty());
}

#[test]
fn keys_come_from_files_and_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    let line = format!("--provider openrouter --key-file {}", file.display());
    std::fs::write(&file, "short\n").unwrap();
    let plan = Plan::make(args(&line), &present(&[]), None).unwrap();
    assert_eq!(plan.secrets.first().unwrap().1.expose_secret(), "short");
    assert!(plan.notes.iter().any(|note| note.contains("under 12 characters")), "{:?}", plan.notes);
    std::fs::write(&file, "change-me\n").unwrap();
    assert_eq!(Plan::make(args(&line), &present(&[]), None).unwrap_err().code, Code::Usage);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(Plan::make(args(&line), &present(&[]), None).unwrap_err().code, Code::NotFound);
    // Without a service it is told how to have it by hand.
    std::fs::write(&file, "sk-canary-1234\n").unwrap();
    let host = Present { stores: false, ..present(&[]) };
    let plan = Plan::make(args(&line), &host, None).unwrap();
    assert!(plan.secrets.is_empty() && plan.notes.iter().any(|note| note.contains("was not stored")));
    assert_eq!(plan.by_hand, Some(SecretName::OpenRouter));
}

#[test]
fn the_servers_of_mail_are_asked_for() {
    let host = present(&[
        ("llm.provider", json!("rehearsal"), &ours(2)),
        ("admin.email", json!("ann@example.org"), &ours(3)),
        ("email.imap_port", json!(993), "default"),
    ]);
    let mut script = Script::new([
        "",
        "",
        "",
        "me@example.org",
        "imap.example.org",
        "0",
        "143",
        "me",
        "sk-canary-1234",
        "ann, bob@example.org",
        "ann@example.org, bob@example.org",
        "smtp.example.org",
        "",
        "me",
        "y",
    ]);
    let plan = asked("", &host, &mut script).unwrap();
    assert!(script.answers.is_empty(), "{:?}", script.shown);
    assert_eq!(
        keys(&plan),
        [
            "identity.email=\"me@example.org\"",
            "email.imap_host=\"imap.example.org\"",
            "email.imap_port=143",
            "email.imap_username=\"me\"",
            "email.actionable_senders=[\"ann@example.org\", \"bob@example.org\"]",
            "email.smtp_host=\"smtp.example.org\"",
            "email.smtp_username=\"me\"",
        ]
    );
    assert_eq!(plan.secrets.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [SecretName::Imap]);
    let shown = script.shown.join("\n");
    for expected in ["expected a port from 1 to 65535", "expected mail addresses, found \"ann\"", "[ann@example.org]:"]
    {
        assert!(shown.contains(expected), "{expected} is not in:\n{shown}");
    }
    assert!(!shown.contains("canary"));
}

#[test]
fn mail_is_set_up_by_options_with_what_is_usual() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "sk-canary-1234\n").unwrap();
    let host = present(&[("llm.provider", json!("rehearsal"), &ours(2))]);
    let line = format!(
        "--yes --admin-address ann@example.org --mail-address me@example.org --imap-host imap.example.org \
         --smtp-host smtp.example.org --smtp-port 465 --imap-password-file {}",
        file.display()
    );
    let plan = Plan::make(args(&line), &host, None).unwrap();
    assert_eq!(
        keys(&plan)[2..],
        [
            "email.imap_host=\"imap.example.org\"",
            "email.imap_username=\"me@example.org\"",
            "email.actionable_senders=[\"ann@example.org\"]",
            "email.smtp_host=\"smtp.example.org\"",
            "email.smtp_port=465",
            "email.smtp_username=\"me@example.org\"",
        ]
    );
    assert_eq!(plan.secrets[0].1.expose_secret(), "sk-canary-1234");
    // Nobody is named: nobody's mail does anything, and that is told.
    let plan = Plan::make(args("--yes --imap-host imap.example.org --imap-user me"), &host, None).unwrap();
    assert!(plan.notes.iter().any(|note| note.contains("--actionable-sender")), "{:?}", plan.notes);
    // One input holds one secret.
    let line = "--yes --provider openrouter --key-file - --imap-host h --imap-password-file -";
    let failure = Plan::make(args(line), &host, None).unwrap_err();
    assert_eq!(failure.code, Code::Usage);
}

#[test]
fn what_wins_over_the_file_is_told() {
    let host = Present {
        secrets: vec![SecretName::OpenRouter],
        ..present(&[
            ("llm.provider", json!("openrouter"), &ours(2)),
            ("llm.model", json!("a"), "/etc/assistant/conf.d/50-local.toml:4"),
            ("admin.name", json!("Bob"), "environment ADMIN_NAME"),
            ("admin.email", json!("b@example.org"), "/etc/assistant/assistant.toml:9"),
        ])
    };
    let line = "--model b --admin-name Ann --admin-address a@example.org";
    let plan = Plan::make(args(line), &host, None).unwrap();
    assert_eq!(plan.keys.len(), 3);
    let told: Vec<_> = plan.notes.iter().filter(|note| note.contains("keeps its value")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].ends_with("50-local.toml:4") && told[1].ends_with("environment ADMIN_NAME"));
}

#[test]
fn groups_are_joined_by_options_or_questions() {
    let host = Present {
        user: Some("ann".into()),
        groups: vec![(USERS, false), (ADMIN, false), (WORK, false)],
        ..present(&[("llm.provider", json!("rehearsal"), &ours(2))])
    };
    assert_eq!(Plan::make(args("--yes"), &host, None).unwrap().groups, [USERS]);
    assert_eq!(Plan::make(args("--yes --work"), &host, None).unwrap().groups, [USERS, WORK]);
    let mut script = Script::new(["", NO_CHANGE[0], NO_CHANGE[1], NO_CHANGE[2], NO_CHANGE[3], "n", "", "y"]);
    assert_eq!(asked("--admin", &host, &mut script).unwrap().groups, [ADMIN]);
    let nowhere = Present { groups: Vec::new(), ..host };
    let plan = Plan::make(args("--yes"), &nowhere, None).unwrap();
    assert!(plan.groups.is_empty() && plan.notes.iter().any(|note| note.starts_with("there is no group")));
}
