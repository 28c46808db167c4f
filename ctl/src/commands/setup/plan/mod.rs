//! What is to be changed: by options, else by questions. Nothing is written here.

mod mail;

use std::path::PathBuf;

use assistant_api::secrets::SecretName;
use secrecy::{ExposeSecret as _, SecretString};
use toml_edit::Value;

use super::{
    Args, ModelArgs, PeopleArgs,
    present::{ADMIN, Present, USERS, WORK},
};
use crate::{
    commands::secret,
    exit::{Failure, Result},
    prompt::Person,
    text,
};

/// Whose models can be asked.
pub struct Provider {
    pub name: &'static str,
    /// What a person is told about it.
    about: &'static str,
    /// Its key, where it has one.
    key: Option<SecretName>,
    /// Whether an address of one's own is usual.
    elsewhere: bool,
}

const fn provider(name: &'static str, about: &'static str, key: Option<SecretName>, elsewhere: bool) -> Provider {
    Provider { name, about, key, elsewhere }
}

/// All of them, as `llm.provider` names them.
pub const PROVIDERS: [Provider; 5] = [
    provider("openrouter", "models of many makers, with one key", Some(SecretName::OpenRouter), false),
    provider("anthropic", "Claude", Some(SecretName::Anthropic), false),
    provider("openai", "GPT, or any server that speaks its protocol", Some(SecretName::OpenAi), true),
    provider("ollama", "models on your own machines", None, true),
    provider("rehearsal", "no model: recorded answers, to look around", None, false),
];

/// What is to be changed.
#[derive(Debug, Default)]
pub struct Plan {
    /// Keys with their new values; those without one are taken away.
    pub keys: Vec<(&'static str, Option<Value>)>,
    pub secrets: Vec<(SecretName, SecretString)>,
    /// The key that the models need and that cannot be stored here.
    pub by_hand: Option<SecretName>,
    /// Groups that the user joins.
    pub groups: Vec<&'static str>,
    /// Whether a password for the dashboard is made.
    pub web_password: bool,
    /// What is to be told beside.
    pub notes: Vec<String>,
}

/// Checks what was typed; the error says what was expected.
type Check = fn(&str) -> Result<(), &'static str>;

/// Asks, and keeps what was told.
struct Asker<'a> {
    present: &'a Present,
    person: Option<&'a mut dyn Person>,
    plan: Plan,
    /// The standard input has been read.
    read_stdin: bool,
}

/// A secret that may be needed.
struct Wanted {
    required: bool,
    /// Where an option says that it is.
    file: Option<PathBuf>,
    /// How it is given where nobody can be asked.
    option: &'static str,
}

impl Plan {
    /// From options and questions.
    pub fn make<'a>(args: Args, present: &'a Present, person: Option<&'a mut dyn Person>) -> Result<Self> {
        let mut asker = Asker { present, person, plan: Self::default(), read_stdin: false };
        asker.tell("Enter alone keeps what stands in brackets; - takes it away. Nothing is written before the end.");
        asker.models(&args.models)?;
        asker.mail(args.mail)?;
        asker.people(&args.people)?;
        asker.web_password(args.web_password)?;
        asker.agreed()?;
        Ok(asker.plan)
    }

    /// The changes, for people.
    pub fn changes(&self) -> Vec<String> {
        let mut changes: Vec<String> = self
            .keys
            .iter()
            .map(|(key, value)| match value {
                Some(value) => format!("{key} = {}", value.to_string().trim()),
                None => format!("{key} is taken away"),
            })
            .collect();
        changes.extend(self.secrets.iter().map(|(name, _)| format!("the secret {name}")));
        changes.extend(self.groups.iter().map(|group| format!("membership in {group}")));
        changes.extend(self.web_password.then(|| "the password of the dashboard".to_owned()));
        changes
    }
}

impl Asker<'_> {
    fn tell(&mut self, line: &str) {
        if let Some(person) = &mut self.person {
            person.tell(line);
        }
    }

    /// One key: from its option, else from the person, else as it is. Returns its value afterwards.
    fn key(
        &mut self,
        key: &'static str,
        given: Option<String>,
        question: &str,
        check: Check,
    ) -> Result<Option<String>> {
        let now = self.remaining(key);
        let told = match (given, &mut self.person) {
            (Some(given), _) => {
                check(&given)
                    .map_err(|expected| Failure::usage(format!("{given:?} does not fit: expected {expected}")))?;
                Some(given)
            }
            (None, None) => None,
            (None, Some(person)) => loop {
                let shown = now.as_deref().map_or_else(|| "none".to_owned(), text::one_line);
                match person.ask(&format!("{question} [{shown}]:"))? {
                    empty if empty.is_empty() => break None,
                    typed if typed == "-" || check(&typed).is_ok() => break Some(typed),
                    typed => person.tell(&format!("  expected {}", check(&typed).err().unwrap_or_default())),
                }
            },
        };
        match told {
            None => Ok(now),
            Some(told) if told == "-" => {
                self.unset(key);
                Ok(None)
            }
            Some(told) => {
                self.set(key, &told);
                Ok(Some(told))
            }
        }
    }

    fn set(&mut self, key: &'static str, told: &str) {
        self.plan.keys.retain(|(planned, _)| *planned != key);
        if self.present.value(key).as_deref() == Some(told) && self.present.origin(key) != "default" {
            return;
        }
        if let Some(origin) = self.present.overridden(key) {
            self.plan.notes.push(format!("{key} keeps its value until you change it there: {origin}"));
        }
        let number = key.ends_with("_port").then(|| told.parse::<i64>().ok()).flatten();
        self.plan.keys.push((key, Some(number.map_or_else(|| Value::from(told), Value::from))));
    }

    fn unset(&mut self, key: &'static str) {
        self.plan.keys.retain(|(planned, _)| *planned != key);
        if self.present.value(key).is_none() {
            return;
        }
        if self.present.is_ours(key) {
            self.plan.keys.push((key, None));
        } else {
            let origin = self.present.origin(key).to_owned();
            self.plan.notes.push(format!("{key} keeps its value until you take it away there: {origin}"));
        }
    }

    fn models(&mut self, args: &ModelArgs) -> Result<()> {
        let provider = self.provider(args)?;
        if provider.name == "rehearsal" {
            let told = args.key_file.is_some() || args.base_url.is_some() || args.model.is_some();
            return if told {
                Err(Failure::usage("a rehearsal needs neither key nor address nor model")
                    .hint("leave out --key-file, --base-url and --model, or name a --provider"))
            } else {
                Ok(())
            };
        }
        let usual = provider.elsewhere && self.person.is_some();
        let base_url = if args.base_url.is_some() || usual {
            self.key("llm.base_url", args.base_url.clone(), "Address of the API; none for its own", address_of_api)?
        } else {
            self.remaining("llm.base_url")
        };
        self.key("llm.model", args.model.clone(), "Model; none for its default", something)?;
        let name = match (&base_url, provider.key) {
            (_, None) if args.key_file.is_none() => return Ok(()),
            (Some(_), _) | (None, None) => SecretName::Llm,
            (None, Some(name)) => name,
        };
        let option = "--key-file FILE, or on the standard input: --key-file -";
        self.secret(name, Wanted { required: base_url.is_none(), file: args.key_file.clone(), option })
    }

    fn provider(&mut self, args: &ModelArgs) -> Result<&'static Provider> {
        let present = self.present;
        let now = present.value("llm.provider");
        let guess =
            if present.value("llm.base_url").is_some() { "openai" } else { with_key(present).unwrap_or("openrouter") };
        let chosen = match (&args.provider, &mut self.person) {
            (Some(given), _) => given.clone(),
            (None, Some(person)) => {
                person.tell("Whose models shall work?");
                for Provider { name, about, .. } in &PROVIDERS {
                    person.tell(&format!("  {name:<12}{about}"));
                }
                let default = now.as_deref().unwrap_or(guess);
                loop {
                    let typed = person.ask(&format!("Provider [{default}]:"))?;
                    let typed = if typed.is_empty() { default.to_owned() } else { typed };
                    if named(&typed).is_some() {
                        break typed;
                    }
                    let names = PROVIDERS.map(|provider| provider.name).join(", ");
                    person.tell(&format!("  expected one of {names}"));
                }
            }
            (None, None) => match &now {
                Some(now) => now.clone(),
                // It was set up without a name, by a key or an address, and works like that.
                None if present.value("llm.base_url").is_some() || with_key(present).is_some() => guess.to_owned(),
                None => {
                    return Err(Failure::usage("no provider of models is set up, and nobody can be asked here")
                        .hint("name one with --provider; assistantctl setup --help lists them"));
                }
            },
        };
        let Some(provider) = named(&chosen) else {
            return Err(Failure::usage(format!("{chosen} is no provider that can be set up here"))
                .hint("name one with --provider"));
        };
        let told = args.provider.is_some() || self.person.is_some();
        if told && now.as_deref() != Some(provider.name) {
            self.set("llm.provider", provider.name);
            // What belonged to the former one.
            if now.is_some() || guess != provider.name {
                for (key, given) in [("llm.base_url", &args.base_url), ("llm.model", &args.model)] {
                    if given.is_none() {
                        self.unset(key);
                    }
                }
            }
        }
        Ok(provider)
    }

    /// The value of a key after what is already planned.
    fn remaining(&self, key: &str) -> Option<String> {
        let removed = self.plan.keys.iter().any(|(planned, value)| *planned == key && value.is_none());
        self.present.value(key).filter(|_| !removed)
    }

    /// One secret: from a file, else from the person, else as it is.
    fn secret(&mut self, name: SecretName, wanted: Wanted) -> Result<()> {
        let Wanted { required, file, option } = wanted;
        let stands = self.present.secrets.contains(&name);
        if !self.present.stores {
            if file.is_some() {
                self.plan.notes.push(format!("{name} was not stored: only a service of systemd can be given a secret"));
            }
            if !stands && required {
                self.plan.by_hand = Some(name);
            }
            return Ok(());
        }
        let value = match (&file, &mut self.person) {
            (Some(file), _) => {
                if file.as_os_str() == "-" && std::mem::replace(&mut self.read_stdin, true) {
                    return Err(
                        Failure::usage("the standard input holds one secret, not two").hint("give the others as files")
                    );
                }
                secret::read_file(file)?
            }
            (None, Some(person)) => loop {
                let end = match (stands, required) {
                    (true, _) => "not shown; Enter alone keeps the one that there is",
                    (false, true) => "not shown",
                    (false, false) => "not shown; Enter alone if it needs none",
                };
                let typed = person.ask_secret(&format!("{} ({end}):", purpose(name)))?;
                match (typed.expose_secret().is_empty(), secret::weakness(&typed)) {
                    (true, _) if stands || !required => return Ok(()),
                    (true, _) => person.tell("  without it no model answers; Ctrl-C ends this, and nothing is done"),
                    (false, Err(failure)) => person.tell(&format!("  {}", failure.message)),
                    (false, Ok(_)) => break typed,
                }
            },
            (None, None) if stands || !required => return Ok(()),
            (None, None) => {
                return Err(Failure::usage(format!("{name} is not stored, and nobody can be asked for it here"))
                    .hint(format!("give it with {option}")));
            }
        };
        if let Some(weakness) = secret::weakness(&value)? {
            self.plan.notes.push(format!("warning: {name}: {weakness}"));
        }
        self.plan.secrets.push((name, value));
        Ok(())
    }

    fn people(&mut self, args: &PeopleArgs) -> Result<()> {
        let Some(user) = &self.present.user else {
            if args.admin || args.work {
                return Err(Failure::usage("nobody is named who could join a group").hint("name one with --user"));
            }
            if !self.present.groups.is_empty() {
                self.plan
                    .notes
                    .push(format!("nobody is put into {USERS}, as nobody called sudo: --user NAME lets one in"));
            }
            return Ok(());
        };
        let wanted = [
            (USERS, true, true, format!("May {user} use the assistant (group {USERS})?")),
            (ADMIN, args.admin, false, format!("May {user} administer it, without sudo (group {ADMIN})?")),
            (WORK, args.work, false, format!("May {user} change the files of its workspace (group {WORK})?")),
        ];
        for (group, told, default, question) in wanted {
            match self.present.groups.iter().find(|(known, _)| *known == group) {
                None if told => {
                    self.plan
                        .notes
                        .push(format!("there is no group {group} here: the user who starts the daemon is let in"));
                }
                Some((_, false)) => {
                    let joins = match &mut self.person {
                        // What an option says is not asked.
                        Some(person) if group == USERS || !told => person.agrees(&question, default)?,
                        _ => told,
                    };
                    if joins {
                        self.plan.groups.push(group);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Asked only where people come in over the network and none could log in.
    fn web_password(&mut self, told: bool) -> Result<()> {
        self.plan.web_password = match (&self.present.unlocked, &mut self.person) {
            (Some(address), Some(person)) if !told => {
                person.agrees(&format!("Make a strong password for the dashboard at {address}?"), true)?
            }
            (Some(address), None) if !told => {
                self.plan.notes.push(format!("nobody can log in at {address} yet: --web-password makes a password"));
                false
            }
            _ => told,
        };
        Ok(())
    }

    /// The last question, before anything is written.
    fn agreed(&mut self) -> Result<()> {
        let changes = self.plan.changes();
        let Some(person) = &mut self.person else { return Ok(()) };
        if changes.is_empty() {
            person.tell("Nothing is to be changed.");
            return Ok(());
        }
        person.tell("To be changed:");
        for change in &changes {
            person.tell(&format!("  {change}"));
        }
        if person.agrees("Go on?", true)? {
            return Ok(());
        }
        Err(Failure::new(crate::exit::Code::Failed, "nothing was done"))
    }
}

fn named(name: &str) -> Option<&'static Provider> {
    static ALL: [Provider; 5] = PROVIDERS;
    ALL.iter().find(|provider| provider.name == name)
}

/// The provider whose key there is.
fn with_key(present: &Present) -> Option<&'static str> {
    let has = |provider: &Provider| provider.key.is_some_and(|key| present.secrets.contains(&key));
    PROVIDERS.iter().find(|provider| has(provider)).map(|provider| provider.name)
}

fn purpose(name: SecretName) -> String {
    name.doc().iter().map(|line| line.trim().trim_end_matches('.')).collect::<Vec<_>>().join(" ")
}

fn something(text: &str) -> Result<(), &'static str> {
    if text.trim().is_empty() { Err("more than a blank") } else { Ok(()) }
}

fn address_of_api(text: &str) -> Result<(), &'static str> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.filter(|rest| !rest.is_empty()).map(drop).ok_or("an address such as http://10.0.0.7:8080/v1")
}

fn port(text: &str) -> Result<(), &'static str> {
    text.parse::<u16>().ok().filter(|port| *port > 0).map(drop).ok_or("a port from 1 to 65535")
}
