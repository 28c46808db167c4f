//! Logging in, over TLS only: a [`Connection`] is encrypted before it exists.

use async_imap::imap_proto::Response;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Connection, Fault, folder};
use crate::{
    cx::Cx,
    error::Error,
    mail::net::login::{Login, Mechanism, token_refusal},
};

/// Why nobody is logged in.
pub(super) struct Refusal {
    pub(super) error: Error,
    /// The access token that was refused; another one may do.
    pub(super) token: Option<SecretString>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, token: None }
    }
}

/// Logs in. `refused`: a token that did not do.
pub(super) async fn login(cx: &Cx, connection: &mut Connection, refused: Option<&SecretString>) -> Result<(), Refusal> {
    let server = connection.server.clone();
    let no_command = connection.can("LOGINDISABLED");
    let mechanism = server.mechanism(|mechanism| {
        let offered = connection.can(&format!("AUTH={}", mechanism.name()));
        offered || (mechanism == Mechanism::Login && !no_command)
    })?;
    let login = Login::find(cx, &server, mechanism, refused).await?;
    match authenticate(connection, &login).await {
        Ok(()) => {}
        Err(fault) => {
            let token = (mechanism.takes_token() && matches!(fault, Fault::Refused(_))).then(|| login.secret.clone());
            return Err(Refusal { error: explain(fault, &login, connection), token });
        }
    }
    let after = async {
        connection.ask_capabilities().await?;
        // Some providers serve nobody who does not say what he is (RFC 2971); others know no such command.
        if connection.can("ID") {
            let id = format!("ID (\"name\" \"assistantd\" \"version\" \"{}\")", env!("CARGO_PKG_VERSION"));
            match connection.run(&id).await {
                Ok(()) | Err(Fault::Refused(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    };
    after.await.map_err(|fault| Refusal::from(fault.explain(&server)))
}

fn explain(fault: Fault, login: &Login, connection: &Connection) -> Error {
    let server = &connection.server;
    match fault {
        Fault::Refused(why) => {
            let hint = if login.mechanism.takes_token() {
                "renew the consent and set the new token with: assistantctl secret set mail-oauth-refresh-token"
            } else {
                "check email.imap_username and the secret imap-password; many providers want an app password"
            };
            Error::unavailable(format!("{} does not let {} log in: {why}", server.address(), login.user))
                .field(server.key("username"))
                .hint(hint)
        }
        other => other.explain(server),
    }
}

async fn authenticate(connection: &mut Connection, login: &Login) -> Result<(), Fault> {
    let offered = connection.can(&format!("AUTH={}", login.mechanism.name()));
    match login.mechanism {
        Mechanism::Login if !offered => command(connection, login).await,
        Mechanism::Login => {
            let answers = [login.user.clone(), login.secret.expose_secret().to_owned()];
            exchange(connection, "AUTHENTICATE LOGIN", answers.into(), None).await
        }
        mechanism => {
            let first = login.initial(&connection.server);
            // A token that is refused is explained in a challenge, which wants an answer too.
            let last = match mechanism {
                Mechanism::Xoauth2 => Some(""),
                Mechanism::OauthBearer => Some("\x01"),
                _ => None,
            };
            if connection.can("SASL-IR") {
                let command = format!("AUTHENTICATE {} {}", mechanism.name(), BASE64_STANDARD.encode(&first));
                exchange(connection, &command, Vec::new(), last).await
            } else {
                exchange(connection, &format!("AUTHENTICATE {}", mechanism.name()), vec![first], last).await
            }
        }
    }
}

/// The command LOGIN, for servers that know nothing else.
async fn command(connection: &mut Connection, login: &Login) -> Result<(), Fault> {
    let (user, secret) = (&login.user, login.secret.expose_secret());
    let plain = |text: &str| text.chars().all(|c| (' '..='~').contains(&c));
    if !plain(user) || !plain(secret) {
        return Err(Fault::Refused("it takes names and passwords in ASCII only".into()));
    }
    connection.run(&format!("LOGIN {} {}", folder::escaped(user), folder::escaped(secret))).await
}

/// Answers each challenge of the server with the next of `answers`, and one that explains a refusal with `last`.
async fn exchange(
    connection: &mut Connection,
    command: &str,
    answers: Vec<String>,
    last: Option<&str>,
) -> Result<(), Fault> {
    let tag = connection.say(command).await?;
    let (mut answers, mut last, mut why) = (answers.into_iter(), last, None);
    loop {
        match connection.hear(&tag).await {
            Ok(None) => return Ok(()),
            Ok(Some(response)) => {
                let Response::Continue(challenge) = response.parsed() else { continue };
                let answer = match (answers.next(), last) {
                    (Some(answer), _) => answer,
                    (None, Some(text)) => {
                        let said = challenge.information.as_deref().unwrap_or_default().trim();
                        why = Some(token_refusal(&BASE64_STANDARD.decode(said).unwrap_or_default()));
                        last = None;
                        text.to_owned()
                    }
                    (None, None) => return Err(Fault::Gone("it asks for more than there is to say".into())),
                };
                connection.write(format!("{}\r\n", BASE64_STANDARD.encode(answer)).as_bytes()).await?;
            }
            Err(Fault::Refused(said)) => {
                return Err(Fault::Refused(why.map_or_else(|| said.clone(), |why| format!("{why} ({said})"))));
            }
            Err(fault) => return Err(fault),
        }
    }
}
