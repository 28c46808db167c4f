//! Connections to mail servers: TLS, whom to trust, and what proves who we are.

pub(in crate::mail) mod login;
pub(in crate::mail) mod oauth;
pub(in crate::mail) mod tls;

use std::{path::PathBuf, sync::Arc, time::Duration};

use assistant_api::secrets::SecretName;
use secrecy::SecretString;
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::client::TlsStream;

use self::login::Mechanism;
use super::config::Email;
use crate::{
    config::Secrets,
    cx::Cx,
    error::{Error, Result},
};

/// What proves to mail servers who we are.
#[derive(Clone, Default)]
pub struct Passwords {
    pub imap: Option<SecretString>,
    pub smtp: Option<SecretString>,
    pub oauth_client: Option<SecretString>,
    pub oauth_refresh: Option<SecretString>,
}

impl From<&Secrets> for Passwords {
    fn from(secrets: &Secrets) -> Self {
        Self {
            imap: secrets.get(SecretName::Imap),
            smtp: secrets.get(SecretName::Smtp),
            oauth_client: secrets.get(SecretName::MailOauthClient),
            oauth_refresh: secrets.get(SecretName::MailOauthRefresh),
        }
    }
}

/// How TLS begins; there is no connection without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// With the first byte.
    Tls,
    /// After a command in the clear.
    StartTls,
}

/// A server of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub security: Security,
    /// Name to log in with; `None`: without a login, which only a server for sending may allow.
    pub username: Option<String>,
    /// `None`: what the server offers.
    pub mechanism: Option<Mechanism>,
    /// Tokens take the place of the password.
    pub oauth: bool,
    pub ca_file: Option<PathBuf>,
    /// The keys of the configuration, for messages: `imap` or `smtp`.
    pub kind: &'static str,
}

/// A connection that is encrypted to a server that is who it should be.
pub type Stream = TlsStream<TcpStream>;

impl Server {
    /// From which mail is fetched; `None` when none is.
    pub fn imap(email: &Email) -> Option<Self> {
        let host = email.imap_host.clone()?;
        Some(Self {
            host,
            port: email.imap_port,
            security: security(email.imap_security.as_deref(), email.imap_port == 143),
            username: email.imap_username.clone(),
            mechanism: Mechanism::chosen(email.imap_auth.as_deref()),
            oauth: email.oauth_token_url.is_some(),
            ca_file: email.ca_file.as_ref().map(PathBuf::from),
            kind: "imap",
        })
    }

    /// That mail is handed to; `None` when none is sent. `with_password`: whether there is a secret for sending.
    pub fn smtp(email: &Email, with_password: bool) -> Option<Self> {
        let host = email.smtp_host.clone()?;
        let inherited = || (with_password || email.oauth_token_url.is_some()).then(|| email.imap_username.clone());
        Some(Self {
            host,
            port: email.smtp_port,
            security: security(email.smtp_security.as_deref(), email.smtp_port != 465),
            username: email.smtp_username.clone().or_else(|| inherited().flatten()),
            mechanism: Mechanism::chosen(email.smtp_auth.as_deref()),
            oauth: email.oauth_token_url.is_some(),
            ca_file: email.ca_file.as_ref().map(PathBuf::from),
            kind: "smtp",
        })
    }

    /// For messages.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A key of the configuration of this server.
    pub fn key(&self, name: &str) -> String {
        format!("email.{}_{name}", self.kind)
    }

    /// Connects to the port; nothing is encrypted yet.
    async fn tcp(&self, within: Duration) -> Result<TcpStream> {
        let refused = |why: String| {
            Error::unavailable(format!("no connection to {}: {why}", self.address()))
                .field(self.key("host"))
                .hint(format!("check {} and {}", self.key("host"), self.key("port")))
        };
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = tokio::time::timeout(within, connecting)
            .await
            .map_err(|_| refused(format!("no answer in {} s", within.as_secs())))?
            .map_err(|err| refused(err.to_string()))?;
        let _ = stream.set_nodelay(true); // slower without, and nothing else
        keep_alive(&stream);
        Ok(stream)
    }

    async fn encrypt(&self, stream: TcpStream, within: Duration) -> Result<Stream> {
        let ca_file = self.ca_file.clone();
        let config = tokio::task::spawn_blocking(move || tls::config(ca_file.as_deref()));
        let config = config.await.map_err(Error::internal)??;
        tls::handshake(self, Arc::new(config), stream, within).await
    }

    /// Connects with TLS from the first byte, or after STARTTLS, which `start` says in the language of the server.
    ///
    /// # Errors
    /// `unavailable`, with what is wrong: the way there, the certificate, or the server.
    pub async fn connect<F>(&self, within: Duration, start: F) -> Result<Stream>
    where
        F: AsyncFnOnce(&mut TcpStream) -> Result<()>,
    {
        let mut stream = self.tcp(within).await?;
        if self.security == Security::StartTls {
            tokio::time::timeout(within, start(&mut stream)).await.map_err(|_| {
                Error::unavailable(format!("{} does not begin TLS in {} s", self.address(), within.as_secs())).hint(
                    format!("if this port speaks TLS from the first byte, set {} = \"tls\"", self.key("security")),
                )
            })??;
        }
        self.encrypt(stream, within).await
    }
}

fn security(set: Option<&str>, start_tls: bool) -> Security {
    match set {
        Some("starttls") => Security::StartTls,
        None if start_tls => Security::StartTls,
        _ => Security::Tls,
    }
}

/// Finds out about a peer that is gone while nothing is said for minutes.
fn keep_alive(stream: &TcpStream) {
    use nix::sys::socket::{setsockopt, sockopt};
    let _ = setsockopt(stream, sockopt::KeepAlive, &true); // the renewal of IDLE notices it too, later
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &60);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &20);
}

/// One line of a conversation that is not encrypted yet; byte by byte, so that nothing behind it is taken for it.
///
/// # Errors
/// `unavailable` when the connection ends or the line does not.
pub(in crate::mail) async fn read_line(stream: &mut TcpStream) -> Result<String> {
    const LONGEST: usize = 4096;
    let mut line = Vec::new();
    while line.len() < LONGEST {
        let byte =
            stream.read_u8().await.map_err(|err| Error::unavailable(format!("the connection was cut: {err}")))?;
        if byte == b'\n' {
            return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        line.push(byte);
    }
    Err(Error::unavailable("the server speaks no language of mail"))
}

/// One line to a server, not encrypted.
///
/// # Errors
/// `unavailable` when the connection ends.
pub(in crate::mail) async fn write_line(stream: &mut TcpStream, line: &str) -> Result<()> {
    let text = format!("{line}\r\n");
    stream.write_all(text.as_bytes()).await.map_err(|err| Error::unavailable(format!("the connection was cut: {err}")))
}

/// What a server says, as it may be shown: one line, bounded, without control characters.
pub(in crate::mail) fn said(text: &str) -> String {
    const LONGEST: usize = 300;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect::<String>().trim().to_owned()
}

/// The passwords of now.
pub(in crate::mail) fn passwords(cx: &Cx) -> Arc<Passwords> {
    cx.process.mail.passwords.load_full()
}
