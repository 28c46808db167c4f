//! Addresses, the servers of mail, their passwords, and whose mail makes jobs.

use std::path::PathBuf;

use assistant_api::secrets::SecretName;
use toml_edit::{Array, Value};

use super::{Asker, Wanted, port, something};
use crate::{
    commands::setup::MailArgs,
    exit::{Failure, Result},
};

const SENDERS: &str = "email.actionable_senders";

impl Asker<'_> {
    pub(super) fn mail(&mut self, args: MailArgs) -> Result<()> {
        self.key("admin.name", args.admin_name, "Your name, as the assistant knows you", something)?;
        let admin = self.key("admin.email", args.admin_address, "Your mail address", mail_address)?;
        let own = self.key("identity.email", args.mail_address, "The assistant's own mail address", mail_address)?;

        let question = "Server where its mail is received (IMAP); none for no mail";
        let receives = self.key("email.imap_host", args.imap_host, question, something)?.is_some();
        let mut user = None;
        if receives {
            self.key("email.imap_port", args.imap_port, "Port there", port)?;
            let now = self.remaining("email.imap_username");
            user = self.key(
                "email.imap_username",
                args.imap_user.or_else(|| self.usual(now, own)),
                "User there",
                something,
            )?;
            self.password(SecretName::Imap, args.imap_password_file)?;
            self.senders(args.actionable_sender, admin)?;
        } else if args.imap_port.is_some() || args.imap_user.is_some() || args.imap_password_file.is_some() {
            return Err(Failure::usage("nothing says where mail is received").hint("name the server with --imap-host"));
        }

        let question = "Server where its mail is sent (SMTP); none for no mail";
        let given = args.smtp_host;
        let sends = if given.is_some() || receives || self.remaining("email.smtp_host").is_some() {
            self.key("email.smtp_host", given, question, something)?.is_some()
        } else {
            false
        };
        if sends {
            self.key("email.smtp_port", args.smtp_port, "Port there", port)?;
            let now = self.remaining("email.smtp_username");
            let usual = self.usual(now, user.clone());
            let sender = self.key("email.smtp_username", args.smtp_user.or(usual), "User there", something)?;
            if args.smtp_password_file.is_some() || sender != user {
                self.password(SecretName::Smtp, args.smtp_password_file)?;
            }
        } else if args.smtp_port.is_some() || args.smtp_user.is_some() || args.smtp_password_file.is_some() {
            return Err(Failure::usage("nothing says where mail is sent").hint("name the server with --smtp-host"));
        }
        Ok(())
    }

    /// What is taken where nothing is set and nobody can be asked.
    fn usual(&self, now: Option<String>, usual: Option<String>) -> Option<String> {
        usual.filter(|_| now.is_none() && self.person.is_none())
    }

    fn password(&mut self, name: SecretName, file: Option<PathBuf>) -> Result<()> {
        self.secret(name, Wanted { required: false, file, option: "a file for its password" })
    }

    /// Whose mail makes jobs: with nobody named, nobody's does.
    fn senders(&mut self, given: Vec<String>, admin: Option<String>) -> Result<()> {
        let now = self.present.list(SENDERS);
        let told = if !given.is_empty() {
            given
        } else if let Some(person) = &mut self.person {
            let usual = if now.is_empty() { admin.into_iter().collect() } else { now.clone() };
            let shown = if usual.is_empty() { "nobody's".to_owned() } else { usual.join(", ") };
            loop {
                let typed = person.ask(&format!("Whose mail makes jobs, with commas between [{shown}]:"))?;
                let typed = match typed.as_str() {
                    "" => usual.clone(),
                    "-" => Vec::new(),
                    typed => typed.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect(),
                };
                match typed.iter().find(|one| sender(one).is_err()) {
                    None => break typed,
                    Some(wrong) => person.tell(&format!("  expected mail addresses, found {wrong:?}")),
                }
            }
        } else if now.is_empty() {
            admin.into_iter().collect()
        } else {
            return Ok(());
        };
        if let Some(wrong) = told.iter().find(|one| sender(one).is_err()) {
            return Err(Failure::usage(format!(
                "{wrong:?} does not fit: expected a mail address such as ann@example.org"
            )));
        }
        if told != now {
            self.plan.keys.push((SENDERS, Some(Value::Array(told.iter().map(String::as_str).collect::<Array>()))));
        }
        if told.is_empty() {
            self.plan
                .notes
                .push("mail makes no jobs as long as nobody is named: --actionable-sender ADDRESS".to_owned());
        }
        Ok(())
    }
}

fn sender(text: &str) -> Result<(), &'static str> {
    if text == "*" { Ok(()) } else { mail_address(text) }
}

fn mail_address(text: &str) -> Result<(), &'static str> {
    let fits = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.contains('@') && !text.contains(char::is_whitespace)
    });
    if fits { Ok(()) } else { Err("a mail address such as ann@example.org") }
}
