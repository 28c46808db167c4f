//! Access tokens by refresh token (RFC 6749, section 6).

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{passwords, said, tls};
use crate::{
    cx::Cx,
    error::{Error, Result},
    mail::store,
};

/// A token is fetched anew this long before it ends.
const EARLY: Duration = Duration::from_mins(2);
/// How long one lasts whose end the server does not tell.
const USUAL: Duration = Duration::from_mins(30);
const WITHIN: Duration = Duration::from_secs(30);
/// Tokens are short.
const MAX_ANSWER: usize = 64 << 10;

/// The access token of now.
#[derive(Default)]
pub struct Tokens(tokio::sync::Mutex<Option<Token>>);

struct Token {
    secret: SecretString,
    /// The refresh token and the address that it came by.
    source: [u8; 32],
    /// On the monotonic clock.
    until: Duration,
}

/// What a token server says.
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// A refresh token that took the place of the configured one.
#[derive(Serialize, Deserialize)]
struct Rotated {
    /// Which one it was: another one that is configured since counts.
    instead_of: String,
    token: String,
}

/// An access token: the one from before while it lasts, unless it is the one that was refused.
///
/// # Errors
/// `unavailable`, with what the token server says.
pub(super) async fn access_token(cx: &Cx, refused: Option<&SecretString>) -> Result<SecretString> {
    let config = cx.config.load_full();
    let url = config.email.oauth_token_url.as_deref().ok_or_else(|| {
        Error::unavailable("there is no server that gives tokens")
            .field("email.oauth_token_url")
            .hint("set email.oauth_token_url and email.oauth_client_id, or log in with a password")
    })?;
    let configured = passwords(cx).oauth_refresh.clone().ok_or_else(|| {
        Error::unavailable("there is no refresh token for the mailbox")
            .hint("set it with: assistantctl secret set mail-oauth-refresh-token")
    })?;
    let source = digest(&[url, configured.expose_secret()]);
    let mut cached = cx.process.mail.tokens.0.lock().await;
    if let Some(token) = cached.as_ref()
        && token.source == source
        && cx.clock.monotonic() < token.until
        && refused.is_none_or(|refused| refused.expose_secret() != token.secret.expose_secret())
    {
        return Ok(token.secret.clone());
    }
    *cached = None;
    let instead_of = hex(&digest(&[configured.expose_secret()]));
    let refresh = rotated(cx, &instead_of).await?.unwrap_or(configured);
    let answer = ask(cx, url, &refresh).await?;
    if let Some(new) = answer.refresh_token.filter(|new| new != refresh.expose_secret()) {
        keep(cx, Rotated { instead_of, token: new }).await?;
    }
    let secret = SecretString::from(answer.access_token.unwrap_or_default());
    let lasts = answer.expires_in.map_or(USUAL, Duration::from_secs);
    // One that ends sooner than that is used once.
    let until = cx.clock.monotonic() + lasts.saturating_sub(EARLY);
    *cached = Some(Token { secret: secret.clone(), source, until });
    Ok(secret)
}

async fn ask(cx: &Cx, url: &str, refresh: &SecretString) -> Result<Answer> {
    let config = cx.config.load_full();
    let refused = |why: String| {
        Error::unavailable(format!("no access token for the mailbox: {why}"))
            .field("email.oauth_token_url")
            .hint("renew the consent and set the new token with: assistantctl secret set mail-oauth-refresh-token")
    };
    let address = reqwest::Url::parse(url).map_err(|err| refused(err.to_string()))?;
    let host = address.host_str().unwrap_or_default().to_owned();
    let loopback = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
    if address.scheme() != "https" && !loopback {
        return Err(Error::validation("a refresh token is sent over https only").field("email.oauth_token_url"));
    }
    let ca_file = config.email.ca_file.clone();
    let tls = tokio::task::spawn_blocking(move || tls::config(ca_file.as_deref().map(std::path::Path::new)));
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.await.map_err(Error::internal)??)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(WITHIN)
        .user_agent(concat!("assistantd/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| refused("no HTTP client can be made".into()))?;

    // The serializer may not be held while something is waited for.
    let form = {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", refresh.expose_secret());
        for (name, value) in [("client_id", &config.email.oauth_client_id), ("scope", &config.email.oauth_scope)] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        if let Some(secret) = &passwords(cx).oauth_client {
            form.append_pair("client_secret", secret.expose_secret());
        }
        form.finish()
    };
    let request = client
        .post(address)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .body(form);
    // Errors of the client name the URL, which is no secret, but its query may be one.
    let mut response =
        request.send().await.map_err(|err| refused(format!("{host} does not answer: {}", err.without_url())))?;
    let status = response.status();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(refused(format!("{host} gives a page instead of a token")));
        }
        body.extend_from_slice(&chunk);
    }
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|_| refused(format!("{host} answers {} and no token", status.as_u16())))?;
    if let Some(error) = &answer.error {
        let more = answer.error_description.as_deref().map(|text| format!(" ({})", said(text))).unwrap_or_default();
        return Err(refused(format!("{host} says {}{more}", said(error))));
    }
    if answer.access_token.as_deref().is_none_or(str::is_empty) {
        return Err(refused(format!("{host} answers {} and no token", status.as_u16())));
    }
    Ok(answer)
}

async fn rotated(cx: &Cx, instead_of: &str) -> Result<Option<SecretString>> {
    let text: Option<String> = cx.store.read(store::kept_token).await?;
    let rotated = text.and_then(|text| serde_json::from_str::<Rotated>(&text).ok());
    Ok(rotated.filter(|rotated| rotated.instead_of == instead_of).map(|rotated| rotated.token.into()))
}

async fn keep(cx: &Cx, rotated: Rotated) -> Result<()> {
    let (now, value) = (cx.clock.now(), serde_json::to_string(&rotated)?);
    cx.store.write(move |tx| store::keep_token(tx, now, &value)).await
}

fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
