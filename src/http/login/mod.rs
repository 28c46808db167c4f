//! Who comes in at the web door: a password that opens a session in a browser, and tokens for programs.
//!
//! `Authorization: Bearer` is a token; the cookie is a session; `Authorization: Basic` is between the caller and a proxy
//! in front, and says nothing here.

pub(super) mod api;
mod attempts;
mod links;
mod secret;
mod store;

use std::{net::IpAddr, sync::Arc};

use assistant_api::{
    Role,
    login::{LoginLink, NewToken, Pages, SessionInfo, TokenRequest},
};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::task::spawn_blocking;

pub(super) use self::attempts::network;
pub use self::{attempts::Attempts, links::Links};
use super::peer::{Login, Peer, Who};
use crate::{
    counters::{self, LOGIN_FAILURES},
    cx::Cx,
    error::{Error, ErrorKind, Result},
    logging::catalog,
};

/// The header in which a browser's page says whose session it is.
pub(super) const CSRF: &str = "X-CSRF-Token";
/// How long a token's last use may be behind.
const USED: SignedDuration = SignedDuration::from_hours(1);

/// What is kept of a secret of the daemon's own, so that it is known whether it is still the same: `known`, if it fits, else
/// a new seal. Slow on purpose, and one at a time.
///
/// # Errors
/// `internal` without randomness.
pub async fn seal(cx: &Cx, secret: SecretString, known: Option<String>) -> Result<String> {
    let _one_at_a_time = cx.process.hashing.lock().await;
    let seal = spawn_blocking(move || {
        let secret = secret.expose_secret();
        match known {
            Some(known) if secret::is_sealed(secret, &known) => Ok(known),
            _ => secret::seal(secret),
        }
    });
    seal.await.map_err(Error::internal)?
}

/// Somebody who has logged in.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) login: Login,
    pub(super) role: Role,
    /// Routes that a token is good for; empty: all.
    pub(super) allow: Arc<[String]>,
}

/// What is known of a request that comes in at the web door.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    /// Of the client, as far as it is known.
    pub(super) address: Option<IpAddr>,
    /// Whether it came by HTTPS, to here or to a proxy.
    pub(super) secure: bool,
    /// Whether it came through a port of this host that anybody on it reaches, to the socket.
    pub(super) forwarded: bool,
}

/// Who sends a request, if it says so and is believed.
///
/// # Errors
/// `unauthorized` for a token that is not good; `forbidden` for a change by a session without its CSRF token.
pub(super) async fn identify(cx: &Cx, method: &Method, headers: &HeaderMap, visit: Visit) -> Result<Option<Identity>> {
    let identity = |login, role, allow: Vec<String>| Ok(Some(Identity { login, role, allow: allow.into() }));
    // What is forwarded from a port to the socket was never opened to everybody, so it takes a login always.
    if cx.config.load().api.auth == "none" && !visit.forwarded {
        return identity(Login::Anybody, Role::Admin, Vec::new());
    }
    let now = cx.clock.now();
    if let Some(secret) = bearer(headers) {
        let hash = secret::hash(secret);
        let Some(token) = cx.store.read(move |conn| store::token(conn, now, &hash)).await? else {
            refused(cx, visit, "token", "unknown or expired token");
            return Err(Error::new(ErrorKind::Unauthorized, "the token is not known, or no longer good")
                .hint("assistantctl token list; assistantctl token create NAME"));
        };
        if token.last_used_at.is_none_or(|last| now.duration_since(last) >= USED) {
            cx.store.write(move |tx| store::used(tx, now, token.id)).await?;
        }
        return identity(Login::Token(token.id), token.role, token.allow);
    }
    let Some(secret) = cookie(headers, visit.secure) else { return Ok(None) };
    let hash = secret::hash(secret);
    let Some((id, _)) = cx.store.read(move |conn| store::session(conn, now, &hash)).await? else { return Ok(None) };
    if takes_csrf(method) {
        let sent = headers.get(CSRF).map_or(&b""[..], HeaderValue::as_bytes);
        if !bool::from(sent.ct_eq(secret::csrf(secret).as_bytes())) {
            return Err(Error::forbidden(format!("the {CSRF} header is missing or not this session's"))
                .hint("GET /api/session gives it"));
        }
    }
    identity(Login::Session(id), Role::Admin, Vec::new())
}

/// Whether a session has to prove by [`CSRF`] that its own page asks.
pub(super) fn takes_csrf(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// Whether there is anything to log in with over the network: a password or a token.
pub(crate) async fn is_possible(cx: &Cx) -> Result<bool> {
    let now = cx.clock.now();
    let status = cx.store.read(move |conn| store::status(conn, now)).await?;
    Ok(status.password_set_at.is_some() || status.tokens > 0)
}

/// Opens a session: what the cookie has to hold, and what its page has to know.
///
/// # Errors
/// `unauthorized` when it is not the password, or there is none; `rate_limited` after too many failures.
pub(super) async fn log_in(cx: &Cx, password: String, visit: Visit) -> Result<(String, SessionInfo)> {
    match is_password(cx, password, visit).await? {
        Some(true) => begin(cx, visit).await,
        Some(false) => Err(Error::new(ErrorKind::Unauthorized, "this is not the password")),
        None => Err(Error::new(ErrorKind::Unauthorized, "there is no password yet")
            .hint("on the host of the daemon: sudo assistantctl web password")),
    }
}

/// Makes sure that who changes the password knows the present one, if there is one.
///
/// # Errors
/// `validation` when it is not given or not right; `rate_limited` after too many failures.
pub(super) async fn prove(cx: &Cx, present: Option<String>, visit: Visit) -> Result<()> {
    const FORGOTTEN: &str = "forgotten? on the host of the daemon: sudo assistantctl web password";
    let wrong = |text: &'static str| Err(Error::validation(text).field("present").hint(FORGOTTEN));
    let Some(present) = present else {
        let needed = cx.store.read(store::password).await?.is_some();
        return if needed { wrong("this takes the present password as well") } else { Ok(()) };
    };
    match is_password(cx, present, visit).await? {
        Some(false) => wrong("this is not the present password"),
        Some(true) | None => Ok(()),
    }
}

/// Whether it is the password; nothing if there is none. Who is wrong too often has to wait.
async fn is_password(cx: &Cx, password: String, visit: Visit) -> Result<Option<bool>> {
    let now = cx.clock.now();
    let attempts = &cx.process.logins;
    if let Some(wait) = attempts.wait(visit.address, now) {
        refused(cx, visit, "rate_limited", "too many failures");
        return Err(Error::new(ErrorKind::RateLimited, "too many failed logins from your address")
            .hint(format!("wait {} s", wait.as_secs() + 1))
            .retry_after(wait));
    }
    let Some(hash) = cx.store.read(store::password).await? else { return Ok(None) };
    // Counted before it is known, so that attempts at the same time count as well.
    attempts.failed(visit.address, now);
    let _one_at_a_time = cx.process.hashing.lock().await;
    if !spawn_blocking(move || secret::is_password(&password, &hash)).await.map_err(Error::internal)? {
        refused(cx, visit, "password", "wrong password");
        return Ok(Some(false));
    }
    attempts.succeeded(visit.address);
    Ok(Some(true))
}

/// Makes a token that opens a session once, soon.
pub(super) fn open_link(cx: &Cx) -> Result<LoginLink> {
    let token = secret::random()?;
    let expires_at = cx.process.links.open(secret::hash(&token), cx.clock.now());
    Ok(LoginLink { token, expires_at })
}

/// Opens a session with the token of a link. Nobody has to wait for earlier failures: none of 256 bits is guessed, and
/// whoever fails on purpose must not keep others on the same host out.
///
/// # Errors
/// `unauthorized` when it is not good, or no longer.
pub(super) async fn follow_link(cx: &Cx, token: &str, visit: Visit) -> Result<(String, SessionInfo)> {
    if !cx.process.links.take(&secret::hash(token), cx.clock.now()) {
        refused(cx, visit, "link", "unknown or used link");
        return Err(Error::new(ErrorKind::Unauthorized, "this link was used, or its time is over")
            .hint("assistantctl dashboard opens another one"));
    }
    begin(cx, visit).await
}

async fn begin(cx: &Cx, visit: Visit) -> Result<(String, SessionInfo)> {
    let now = cx.clock.now();
    let session = secret::random()?;
    let until = now + SignedDuration::try_from(cx.config.load().api.session_lifetime.0).unwrap_or(SignedDuration::MAX);
    let (hash, address) = (secret::hash(&session), visit.address.map(|address| address.to_string()));
    let id = cx.store.write(move |tx| store::begin(tx, now, until, &hash, address.as_deref())).await?;
    let info = SessionInfo {
        role: Role::Admin,
        caller: label(Login::Session(id)),
        csrf_token: Some(secret::csrf(&session)),
        expires_at: Some(until),
        pages: pages(cx),
    };
    tracing::info!(caller = info.caller, address = visit.address.map(tracing::field::display), "logged in");
    Ok((session, info))
}

/// Who the caller is.
pub(super) async fn whoami(cx: &Cx, peer: Peer, headers: &HeaderMap) -> Result<SessionInfo> {
    let secret = match peer.who {
        Who::Web { secure, login: Some(Login::Session(_)), .. } => cookie(headers, secure),
        _ => None,
    };
    let now = cx.clock.now();
    let expires_at = match secret.map(secret::hash) {
        Some(hash) => cx.store.read(move |conn| store::session(conn, now, &hash)).await?.map(|(_, until)| until),
        None => None,
    };
    Ok(SessionInfo {
        role: peer.role.unwrap_or(Role::Viewer),
        caller: peer.label(),
        csrf_token: secret.map(secret::csrf),
        expires_at,
        pages: pages(cx),
    })
}

fn pages(cx: &Cx) -> Pages {
    let api = &cx.config.load().api;
    Pages { dashboard: api.dashboard_enabled, workspace: api.workspace_enabled, docs: api.docs_enabled }
}

/// Sets the password, or takes it away.
///
/// # Errors
/// `validation` when it is too short.
pub(super) async fn set_password(cx: &Cx, password: Option<String>) -> Result<()> {
    let now = cx.clock.now();
    let hash = match password {
        Some(password) => {
            Some(spawn_blocking(move || secret::hash_password(&password)).await.map_err(Error::internal)??)
        }
        None => None,
    };
    cx.store.write(move |tx| store::set_password(tx, now, hash.as_deref())).await
}

/// Makes a token.
///
/// # Errors
/// `validation` for a bad field, `conflict` when the name is taken.
pub(super) async fn create_token(cx: &Cx, request: TokenRequest, routes: &[(Method, &str)]) -> Result<NewToken> {
    let now = cx.clock.now();
    check(&request, now, routes)?;
    let secret = format!("{}{}", secret::PREFIX, secret::random()?);
    let (hash, role) = (secret::hash(&secret), request.role.unwrap_or(Role::Operator));
    let token = cx.store.write(move |tx| store::create(tx, now, &request, role, &hash)).await?;
    Ok(NewToken { secret, token })
}

fn check(request: &TokenRequest, now: Timestamp, routes: &[(Method, &str)]) -> Result<()> {
    let TokenRequest { name, allow, expires_at, .. } = request;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let number = name.bytes().all(|byte| byte.is_ascii_digit());
    if name.is_empty() || name.len() > 64 || number || !name.chars().all(good) {
        return Err(Error::validation(
            "a token's name has letters, digits, '-', '_' and '.', 64 at most, not only digits",
        )
        .field("name"));
    }
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Error::validation("this time has passed").field("expires_at"));
    }
    for rule in allow {
        if !routes.iter().any(|(method, path)| permits(rule, method, path)) {
            return Err(Error::validation(format!("{rule:?} is no route"))
                .field("allow")
                .hint("write it as in docs/api.md: \"GET /api/jobs\", \"GET /api/jobs/{id}\" or \"GET /api/jobs*\""));
        }
    }
    Ok(())
}

/// Whether a rule such as `GET /api/jobs*` names a route.
pub(super) fn permits(rule: &str, method: &Method, path: &str) -> bool {
    let Some((verb, wanted)) = rule.split_once(' ') else { return false };
    let wanted = wanted.trim();
    verb.eq_ignore_ascii_case(method.as_str())
        && wanted.strip_suffix('*').map_or(wanted == path, |begin| path.starts_with(begin))
}

/// How a login is named in the database and the journal.
pub(super) fn label(login: Login) -> String {
    match login {
        Login::Session(id) => format!("session:{id}"),
        Login::Token(id) => format!("token:{id}"),
        Login::Anybody => "anybody".to_owned(),
    }
}

/// In the journal, for people and for fail2ban; and counted by its `kind`, one of [`LOGIN_FAILURES`].
fn refused(cx: &Cx, visit: Visit, kind: &str, why: &str) {
    counters::count(&cx.process.counters.login_failures, &LOGIN_FAILURES, kind, 1);
    let from = visit.address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string());
    tracing::warn!(target: catalog::AUTH_DENIED, address = from, "login refused from {from}: {why}");
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

/// The name of the cookie; browsers take one that begins with `__Host-` only by HTTPS, and only for this host
/// (RFC 6265bis, section 4.1.3.2).
pub(super) fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-assistant" } else { "assistant" }
}

/// The secret of the session in the cookie of that name.
fn cookie(headers: &HeaderMap, secure: bool) -> Option<&str> {
    let name = cookie_name(secure);
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The header that sets the cookie, or with no secret takes it away.
fn set_cookie(secret: Option<(&str, u64)>, secure: bool) -> Result<HeaderValue> {
    let (secret, seconds) = secret.unwrap_or(("", 0));
    let end = if secure { "; Secure" } else { "" };
    let name = cookie_name(secure);
    HeaderValue::try_from(format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{end}"))
        .map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_routes() {
        let get = Method::GET;
        for (rule, path, good) in [
            ("GET /api/jobs", "/api/jobs", true),
            ("get /api/jobs", "/api/jobs", true),
            ("GET /api/jobs/{id}", "/api/jobs/{id}", true),
            ("GET /api/jobs*", "/api/jobs/{id}", true),
            ("GET *", "/api/jobs", true),
            ("POST /api/jobs", "/api/jobs", false),
            ("GET /api/jobs", "/api/jobs/{id}", false),
            ("GET /api/job", "/api/jobs", false),
            ("/api/jobs", "/api/jobs", false),
            ("", "/api/jobs", false),
        ] {
            assert_eq!(permits(rule, &get, path), good, "{rule:?} for {path}");
        }
    }

    #[test]
    fn secrets_are_found_where_they_are_sent_and_nowhere_else() {
        let headers = |name: header::HeaderName, value: &'static str| {
            HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
        };
        let authorization = |value| headers(header::AUTHORIZATION, value);
        assert_eq!(bearer(&authorization("Bearer ast_x")), Some("ast_x"));
        assert_eq!(bearer(&authorization("bearer  ast_x ")), Some("ast_x"));
        assert_eq!(bearer(&authorization("Basic dTpw")), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
        let cookies = |value| headers(header::COOKIE, value);
        assert_eq!(cookie(&cookies("a=b; assistant=s; c=d"), false), Some("s"));
        assert_eq!(cookie(&cookies("__Host-assistant=s"), true), Some("s"));
        // A cookie that was set without HTTPS is worth nothing where there is HTTPS.
        assert_eq!(cookie(&cookies("assistant=s"), true), None);
        assert_eq!(cookie(&cookies("assistant2=s; xassistant=t"), false), None);
        let set = set_cookie(Some(("s", 60)), true).unwrap();
        assert_eq!(set, "__Host-assistant=s; Path=/; HttpOnly; SameSite=Strict; Max-Age=60; Secure");
    }
}
