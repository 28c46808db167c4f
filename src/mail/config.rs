//! `[email]`, `[mail]`, `[artifacts]`, `[artifacts.clamav]`, `[conversion]`

use crate::config::{
    section::section,
    value::{Bytes, Minutes, Seconds},
};

section! {
    /// The assistant's mailbox. The passwords are the secrets `imap-password` and `smtp-password`; with
    /// `oauth_token_url`, the secrets `mail-oauth-client-secret` and `mail-oauth-refresh-token` take their place.
    pub struct Email = "email" {
        /// Server from which mail is fetched; unset: none is.
        imap_host: Option<String> = None, env "IMAP_HOST", check super::check::server;
        /// Its port: 993 speaks TLS at once, 143 begins with STARTTLS.
        imap_port: u16 = 993, env "IMAP_PORT", in 1..=65_535;
        /// `tls` from the first byte or `starttls`; unset: by port, `starttls` on 143 and `tls` on any other. There is no
        /// way without TLS.
        imap_security: Option<String> = None, check super::check::security;
        /// Name to log in with.
        imap_username: Option<String> = None, env "IMAP_USERNAME";
        /// How to log in: `plain`, `login`, `xoauth2` or `oauthbearer`; unset: what the server offers, with OAuth when
        /// `oauth_token_url` is set.
        imap_auth: Option<String> = None, check super::check::auth;
        /// Folder that is read.
        imap_folder: String = "INBOX".into(), env "IMAP_FOLDER";
        /// Where mail goes that the assistant has taken up; must not be `imap_folder`.
        imap_archive_folder: String = "Archive".into(), env "IMAP_ARCHIVE_FOLDER";
        /// Where copies of sent mail go.
        imap_sent_folder: String = "Sent".into(), env "IMAP_SENT_FOLDER";
        /// How often the folder is looked at where the server cannot tell of new mail by itself (IDLE, RFC 2177).
        imap_poll_interval_seconds: Seconds = Seconds::new(60), env "AGENT_IMAP_POLL_INTERVAL", in Seconds::new(1)..=Seconds::new(86400);
        /// Server that mail is handed to; unset: none is sent.
        smtp_host: Option<String> = None, env "SMTP_HOST", check super::check::server;
        /// Its port: 587 begins with STARTTLS, 465 speaks TLS at once.
        smtp_port: u16 = 587, env "SMTP_PORT", in 1..=65_535;
        /// `tls` or `starttls`; unset: by port, `tls` on 465 and `starttls` on any other.
        smtp_security: Option<String> = None, check super::check::security;
        /// Name to log in with; unset: `imap_username` when there is a password for sending, else no login.
        smtp_username: Option<String> = None, env "SMTP_USERNAME";
        /// As `imap_auth`, for sending.
        smtp_auth: Option<String> = None, check super::check::auth;
        /// Sender of what it sends, as an address or as `Name <address>`; unset: `identity.email`.
        smtp_from: Option<String> = None, env "SMTP_FROM", check super::check::mailbox;
        /// Certificates that are trusted for both servers beside the system's, as a PEM file.
        ca_file: Option<String> = None;
        /// Address that gives an access token for the refresh token (RFC 6749, section 6).
        oauth_token_url: Option<String> = None, check crate::config::check::url;
        /// Who the assistant is to that address.
        oauth_client_id: Option<String> = None;
        /// Scope to ask for; unset: that of the refresh token.
        oauth_scope: Option<String> = None;
        /// Copies what is sent to `imap_sent_folder`; set it to false where the server does that by itself.
        save_to_sent: bool = true, env "AGENT_EMAIL_SAVE_TO_SENT";
        /// Attachments of one mail that is sent; 0 = none allowed.
        max_attachment_count: u32 = 5, env "AGENT_EMAIL_MAX_ATTACHMENT_COUNT", in 0..=1000;
        /// Largest of them.
        max_attachment_bytes: Bytes = Bytes(10 << 20), env "AGENT_EMAIL_MAX_ATTACHMENT_BYTES";
        /// All of them together.
        max_total_attachment_bytes: Bytes = Bytes(20 << 20), env "AGENT_EMAIL_MAX_TOTAL_ATTACHMENT_BYTES";
        /// Domains that jobs may send mail to: an exact name, or `.name` for all below it. `admin.email` always may be
        /// written to; with an empty list nobody else.
        allowed_recipient_domains: Vec<String> = Vec::new(), env "EMAIL_ALLOWED_RECIPIENT_DOMAINS", check super::check::domains;
        /// Addresses whose mail makes jobs, once the mail is verified to be theirs; `*` for anybody verified. With an
        /// empty list nobody's does.
        actionable_senders: Vec<String> = Vec::new(), env "EMAIL_ACTIONABLE_SENDERS", check super::check::senders;
        /// Names of receiving servers whose `Authentication-Results` (RFC 8601) are believed where they stand above the
        /// first `Received` line of that server: `authserv-id`s such as `mx.example.org`, and the names of the servers
        /// that hand its mail on (`Received … by`).
        trusted_authserv_ids: Vec<String> = Vec::new();
        /// Mail without a known thread joins one of the same subject and sender of the last 30 days.
        subject_threading_fallback: bool = false, env "AGENT_EMAIL_SUBJECT_THREADING_FALLBACK";
        /// Mail of a stranger on an open thread reaches its job as a stranger's text when the owner is among the
        /// recipients; otherwise it is stored only.
        strangers_join_threads: bool = false;
        /// Characters of a body that one call of `email_read` gives.
        read_max_body_chars: u32 = 20_000, in 100..=1_000_000;
        /// Lines of a body that one call of `email_read` gives.
        read_max_body_lines: u32 = 200, in 1..=100_000;
    }
}

section! {
    /// How mail is received and sent.
    pub struct Mail = "mail" {
        /// Largest message that is fetched; a larger one is set aside.
        max_message: Bytes = Bytes(50 << 20), in Bytes(64 << 10)..=Bytes(1 << 30);
        /// Memory of the confined program that reads one message.
        parse_memory: Bytes = Bytes(128 << 20), in Bytes(32 << 20)..=Bytes(4 << 30);
        /// Time of that program for one message.
        parse_time: Seconds = Seconds::new(20), in Seconds::new(1)..=Seconds::new(600);
        /// Server that is asked for the keys and policies of senders' domains, as address or `address:port`; unset: those
        /// of `/etc/resolv.conf`.
        dns_server: Option<String> = None, check super::check::dns_server;
        /// Mails to jobs per thread and day; what comes above is stored only, so that two robots do not write to each
        /// other for ever.
        max_per_thread_per_day: u32 = 30, in 1..=100_000;
        /// Mails to jobs per day.
        max_per_day: u32 = 1000, in 1..=1_000_000;
        /// Longest pause between attempts to hand over a mail that a server refused for the time being.
        max_backoff: Minutes = Minutes::new(30), in Minutes::new(1)..=Minutes::new(1440);
        /// How long such a mail is tried.
        give_up_after: Minutes = Minutes::new(2880), in Minutes::new(1)..=Minutes::new(14_400);
        /// What an approval of more iterations or tokens by mail multiplies them with.
        approval_increase_factor: f64 = 1.2, in 1.0..=100.0;
    }
}

section! {
    /// What is made of attachments and links that come by mail.
    pub struct Artifacts = "artifacts" {
        /// Attachments are kept and made readable for jobs.
        enabled: bool = true, env "AGENT_ARTIFACTS_ENABLED";
        /// Folder of the workspace for what was made of them.
        processed_root: String = "processed".into(), env "AGENT_ARTIFACTS_PROCESSED_ROOT", check crate::config::check::relative;
        /// Largest attachment that is looked into.
        max_attachment_bytes: Bytes = Bytes(25 << 20), env "AGENT_ARTIFACTS_MAX_ATTACHMENT_BYTES";
        /// Attachments of one message that are kept.
        max_attachment_count: u32 = 50, in 1..=1000;
        /// All attachments of one message together.
        max_total_bytes: Bytes = Bytes(100 << 20);
        /// Kinds that are converted, by the end of the name.
        allowed_attachment_extensions: Vec<String> = [
            ".csv", ".docx", ".epub", ".htm", ".html", ".json", ".md", ".pdf", ".pptx", ".txt", ".xls", ".xlsx", ".xml",
        ].map(String::from).into();
        /// Addresses of videos (youtube.com, youtu.be) in mail are written down for the job, each once; what is said in
        /// them is fetched only where commands reach their host (`conversion.transcript_program`).
        youtube_links: bool = true;
    }
}

section! {
    /// The virus scanner.
    pub struct Clamav = "artifacts.clamav" {
        /// Attachments are scanned.
        enabled: bool = true, env "AGENT_ARTIFACTS_CLAMAV_ENABLED";
        /// What could not be scanned is not converted.
        required: bool = true, env "AGENT_ARTIFACTS_CLAMAV_REQUIRED";
        /// Where clamd listens: a host, or the path of its socket.
        host: String = "/run/clamav/clamd.ctl".into(), env "AGENT_ARTIFACTS_CLAMAV_HOST";
        /// Its port, if `host` is no path.
        port: u16 = 3310, env "AGENT_ARTIFACTS_CLAMAV_PORT", in 1..=65_535;
        /// Time for one attachment.
        timeout_seconds: Seconds = Seconds::new(30), env "AGENT_ARTIFACTS_CLAMAV_TIMEOUT_SECONDS", in Seconds::new(1)..=Seconds::new(600);
    }
}

section! {
    /// How documents become text. Converters run in the sandbox, without a network and with nothing to read but the
    /// document, also where commands of jobs are switched off.
    pub struct Conversion = "conversion" {
        /// Largest document.
        max_input_bytes: Bytes = Bytes(25 << 20), env "AGENT_CONVERSION_MAX_INPUT_BYTES";
        /// Largest text that one becomes.
        max_output_bytes: Bytes = Bytes(20 << 20), in Bytes(1 << 10)..=Bytes(1 << 30);
        /// Time for one document.
        timeout_seconds: Seconds = Seconds::new(120), env "AGENT_CONVERSION_TIMEOUT_SECONDS", in Seconds::new(1)..=Seconds::new(3600);
        /// The program pandoc.
        pandoc_path: String = "pandoc".into(), env "AGENT_CONVERSION_PANDOC_PATH";
        /// The program that pandoc makes PDF files with.
        pdf_engine: String = "weasyprint".into(), env "AGENT_CONVERSION_PDF_ENGINE";
        /// The program that fetches what is said in a video, where commands reach its host.
        transcript_program: String = "yt-dlp".into();
    }
}
