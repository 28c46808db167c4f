//! Whether the servers of mail can be reached, without logging in.

use std::time::Instant;

use assistant_api::{secrets::SecretName, status};

use super::{
    imap::Connection,
    net::{Server, login::Mechanism, passwords},
    outbox,
};
use crate::{cx::Cx, error::Result};

/// Connects to each server that is configured, with TLS.
pub async fn reach(cx: &Cx) -> Vec<status::Server> {
    let config = cx.config.load_full();
    let (imap, smtp) = (Server::imap(&config.email), Server::smtp(&config.email, passwords(cx).smtp.is_some()));
    let receiving = async |server: &Server| {
        Connection::encrypted(cx, server).await?.close().await;
        Ok(())
    };
    let sending = async |server: &Server| outbox::reach(server).await;
    let (one, other) =
        futures_util::future::join(async { Some(found("mail that comes", imap.as_ref()?, receiving).await) }, async {
            Some(found("mail that goes out", smtp.as_ref()?, sending).await)
        })
        .await;
    one.into_iter().chain(other).collect()
}

/// Secrets that are not there, and what needs them.
pub fn lacking(cx: &Cx) -> Vec<(SecretName, String)> {
    let (config, passwords) = (cx.config.load_full(), passwords(cx));
    let imap = Server::imap(&config.email).map(|server| ("receiving mail from", SecretName::Imap, server));
    let sending = outbox::configured(&config).then(|| Server::smtp(&config.email, passwords.smtp.is_some())).flatten();
    let smtp = sending.map(|server| ("sending mail through", SecretName::Smtp, server));
    let lacking = |(purpose, password, server): (&str, SecretName, Server)| {
        // Without a name nobody logs in; that of receiving is told elsewhere.
        server.username.as_ref()?;
        let (secret, is_there) = if server.mechanism.map_or(server.oauth, Mechanism::takes_token) {
            (SecretName::MailOauthRefresh, passwords.oauth_refresh.is_some())
        } else if password == SecretName::Smtp {
            (password, passwords.smtp.is_some())
        } else {
            (password, passwords.imap.is_some())
        };
        (!is_there).then(|| (secret, format!("{purpose} {}", server.host)))
    };
    imap.into_iter().chain(smtp).filter_map(lacking).collect()
}

async fn found(purpose: &str, server: &Server, look: impl AsyncFnOnce(&Server) -> Result<()>) -> status::Server {
    let begun = Instant::now();
    let problem = look(server).await.err().map(|err| {
        let hint = err.hint_text().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}{hint}", err.message())
    });
    let took = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
    status::Server {
        purpose: purpose.to_owned(),
        host: server.address(),
        latency_ms: problem.is_none().then_some(took),
        problem,
    }
}
