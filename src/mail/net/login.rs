//! How we say who we are: PLAIN (RFC 4616), LOGIN, XOAUTH2 and OAUTHBEARER (RFC 7628).

use secrecy::{ExposeSecret as _, SecretString};

use super::{Server, oauth, passwords};
use crate::{
    cx::Cx,
    error::{Error, Result},
};

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Login,
    Xoauth2,
    OauthBearer,
}

impl Mechanism {
    /// In the order in which they are tried, where the server may choose.
    const PASSWORD: [Self; 2] = [Self::Plain, Self::Login];
    const TOKEN: [Self; 2] = [Self::OauthBearer, Self::Xoauth2];

    pub(super) fn chosen(set: Option<&str>) -> Option<Self> {
        match set {
            Some("plain") => Some(Self::Plain),
            Some("login") => Some(Self::Login),
            Some("xoauth2") => Some(Self::Xoauth2),
            Some("oauthbearer") => Some(Self::OauthBearer),
            _ => None,
        }
    }

    /// As servers name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::Xoauth2 => "XOAUTH2",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// Whether an access token takes the place of the password.
    pub fn takes_token(self) -> bool {
        matches!(self, Self::Xoauth2 | Self::OauthBearer)
    }
}

impl Server {
    /// The way to log in: the configured one, or the best that the server offers.
    ///
    /// # Errors
    /// `unavailable` when it offers none of ours.
    pub fn mechanism(&self, offers: impl Fn(Mechanism) -> bool) -> Result<Mechanism> {
        if let Some(set) = self.mechanism {
            return Ok(set);
        }
        let known = if self.oauth { Mechanism::TOKEN } else { Mechanism::PASSWORD };
        known.into_iter().find(|mechanism| offers(*mechanism)).ok_or_else(|| {
            let names = known.map(Mechanism::name).join(" nor ");
            Error::unavailable(format!("{} lets nobody log in with {names}", self.address()))
                .field(self.key("auth"))
                .hint("see docs/mail.md on what this provider wants: an app password, or OAuth")
        })
    }
}

/// What is said to log in.
pub(in crate::mail) struct Login {
    pub mechanism: Mechanism,
    pub user: String,
    /// The password or the access token.
    pub secret: SecretString,
}

impl Login {
    /// Looks up the password, or gets a token. `refused`: a token that the server did not take.
    ///
    /// # Errors
    /// `unavailable` when there is none, with the way to set it.
    pub(in crate::mail) async fn find(
        cx: &Cx,
        server: &Server,
        mechanism: Mechanism,
        refused: Option<&SecretString>,
    ) -> Result<Self> {
        let Some(user) = server.username.clone() else {
            return Err(Error::unavailable(format!("there is no name to log in to {} with", server.address()))
                .field(server.key("username"))
                .hint(format!("set {}", server.key("username"))));
        };
        let secret = if mechanism.takes_token() {
            oauth::access_token(cx, refused).await?
        } else {
            let passwords = passwords(cx);
            let (secret, name) = match server.kind {
                "smtp" => (&passwords.smtp, "smtp-password"),
                _ => (&passwords.imap, "imap-password"),
            };
            secret.clone().ok_or_else(|| {
                Error::unavailable(format!("there is no password for {}", server.address()))
                    .hint(format!("set it with: assistantctl secret set {name}"))
            })?
        };
        Ok(Self { mechanism, user, secret })
    }

    /// The first answer of a mechanism that says everything at once; LOGIN does not.
    pub(in crate::mail) fn initial(&self, server: &Server) -> String {
        let (user, secret) = (&self.user, self.secret.expose_secret());
        match self.mechanism {
            Mechanism::Plain | Mechanism::Login => format!("\0{user}\0{secret}"),
            Mechanism::Xoauth2 => format!("user={user}\x01auth=Bearer {secret}\x01\x01"),
            Mechanism::OauthBearer => {
                // In the name of the authorization identity, commas and equals signs are written in hexadecimal.
                let name = user.replace('=', "=3D").replace(',', "=2C");
                let Server { host, port, .. } = server;
                format!("n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {secret}\x01\x01")
            }
        }
    }
}

/// What the challenge of a refused token says: `invalid_token`, or the status that older servers give.
pub(in crate::mail) fn token_refusal(challenge: &[u8]) -> String {
    let said: Option<serde_json::Value> = serde_json::from_slice(challenge).ok();
    let status = said.as_ref().and_then(|said| said.get("status")).and_then(serde_json::Value::as_str);
    status.map_or_else(
        || "the token is refused".into(),
        |status| format!("the token is refused: {}", super::said(status)),
    )
}
