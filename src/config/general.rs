//! Sections that belong to no subsystem: who the assistant is and whom it works for.

use super::{check, section::section};

section! {
    /// The program as its user sees it.
    pub struct App = "app" {
        /// Name in texts and headers.
        name: String = "assistant".into(), env "AGENT_APP_NAME";
        /// Where the dashboard is reached; used in links.
        base_url: String = "http://localhost:8000".into(), env "AGENT_APP_BASE_URL", check check::url;
        /// Sent as `HTTP-Referer` to OpenRouter.
        referer_url: String = "https://assistant.local".into(), env "AGENT_APP_REFERER_URL", check check::url;
        /// IANA zone in which times without a zone are meant.
        timezone: String = "UTC".into(), env "AGENT_TIMEZONE", check check::zone;
    }
}

section! {
    /// What is written to the journal, or to standard error without one.
    pub struct Log = "log" {
        /// `error`, `warn`, `info`, `debug` or `trace`.
        level: String = "info".into(), env "LOG_LEVEL", check check::level;
    }
}

section! {
    /// The assistant's own identity.
    pub struct Identity = "identity" {
        /// What it calls itself; unset: the name of the program.
        name: Option<String> = None, env "AGENT_NAME";
        /// Its mail address.
        email: Option<String> = None, env "AGENT_EMAIL";
        /// Domain of the message ids that it makes; unset: the domain of its mail address, else `local`.
        message_id_domain: Option<String> = None;
    }
}

section! {
    /// The person it works for.
    pub struct Admin = "admin" {
        /// The person's name, told to the model.
        name: Option<String> = None, env "ADMIN_NAME";
        /// The person's mail address.
        email: Option<String> = None, env "ADMIN_EMAIL";
    }
}

section! {
    /// The organization it works in, if any.
    pub struct Org = "org" {
        /// The organization's name, told to the model.
        name: Option<String> = None, env "ORG_NAME";
        /// Where security questions about its mail go.
        security_email: Option<String> = None, env "ORG_SECURITY_EMAIL";
        /// Mail domains that count as internal.
        internal_email_domains: Vec<String> = Vec::new(), env "ORG_INTERNAL_EMAIL_DOMAINS";
    }
}
