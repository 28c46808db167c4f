//! The routes of logging in.

use assistant_api::{
    ErrorKind, Role,
    login::{LoginLink, LoginRequest, NewToken, PasswordRequest, SessionInfo, TokenList, TokenRequest, WebStatus},
};
use axum::http::{Method, header};

use super::{Visit, set_cookie, store};
use crate::{
    error::{Error, Result},
    http::{
        self,
        peer::{Login, Who},
        route::{Json, Raw, Reply as _, Req, Route},
    },
};

pub(in crate::http) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::POST,
            "/api/login",
            Role::Viewer,
            "Opens a session of a browser, with the password or the token of a link.",
            log_in,
        )
        .open()
        .produces("application/json")
        .errors(&[ErrorKind::Unauthorized, ErrorKind::RateLimited]),
        Route::new(
            Method::POST,
            "/api/login/links",
            Role::Admin,
            "Makes a token that opens a session once, within five minutes; on the socket only.",
            open_link,
        ),
        Route::new(Method::POST, "/api/logout", Role::Viewer, "Ends the session of the caller.", log_out)
            .gives_nothing(),
        Route::new(Method::GET, "/api/session", Role::Viewer, "Who the caller is.", session),
        Route::new(Method::DELETE, "/api/sessions", Role::Admin, "Logs every browser out.", log_out_everywhere),
        Route::new(Method::GET, "/api/web", Role::Admin, "What there is to log in with.", status),
        Route::new(
            Method::PUT,
            "/api/web/password",
            Role::Admin,
            "Sets the password of the dashboard, and logs every browser out.",
            set_password,
        )
        .errors(&[ErrorKind::RateLimited]),
        Route::new(
            Method::DELETE,
            "/api/web/password",
            Role::Admin,
            "Takes the password of the dashboard away, and logs every browser out.",
            no_password,
        ),
        Route::new(Method::GET, "/api/tokens", Role::Admin, "Every token, without what is secret of it.", tokens),
        Route::new(Method::POST, "/api/tokens", Role::Admin, "Makes a token; its secret is shown this once.", create)
            .errors(&[ErrorKind::Conflict]),
        Route::new(Method::DELETE, "/api/tokens/{token}", Role::Admin, "Revokes a token, by number or name.", revoke)
            .errors(&[ErrorKind::NotFound]),
    ]
}

async fn log_in(req: Req<(), (), Json<LoginRequest>>) -> Result<Raw> {
    // On the socket the kernel knows who is there; a session from it is as good as one from this host.
    let (address, secure) = match req.peer.who {
        Who::Web { address, secure, .. } => (address, secure),
        Who::Process { .. } => (None, false),
    };
    let visit = Visit { address, secure, forwarded: false };
    let (secret, info) = match req.body.0 {
        LoginRequest { password: Some(password), once: None } => super::log_in(&req.cx, password, visit).await?,
        LoginRequest { password: None, once: Some(token) } => super::follow_link(&req.cx, &token, visit).await?,
        _ => return Err(Error::validation("a login takes a password, or the token of a link").field("password")),
    };
    let seconds = req.cx.config.load().api.session_lifetime.0.as_secs();
    let mut response = Json(info).reply()?;
    response.headers_mut().insert(header::SET_COOKIE, set_cookie(Some((&secret, seconds)), secure)?);
    Ok(Raw(response))
}

/// On the socket only: a token for programs must not become a session, which nobody can keep to routes.
async fn open_link(req: Req) -> Result<Json<LoginLink>> {
    if !matches!(req.peer.who, Who::Process { .. }) {
        return Err(Error::forbidden("login links are made on the socket of the daemon only")
            .hint("on its host: assistantctl dashboard"));
    }
    super::open_link(&req.cx).map(Json)
}

async fn log_out(req: Req) -> Result<Raw> {
    let mut response = ().reply()?;
    if let Who::Web { secure, login: Some(Login::Session(id)), .. } = req.peer.who {
        req.cx.store.write(move |tx| store::end(tx, Some(id))).await?;
        response.headers_mut().insert(header::SET_COOKIE, set_cookie(None, secure)?);
    }
    Ok(Raw(response))
}

async fn log_out_everywhere(req: Req) -> Result<()> {
    req.cx.store.write(|tx| store::end(tx, None)).await
}

async fn session(req: Req) -> Result<Json<SessionInfo>> {
    super::whoami(&req.cx, req.peer, &req.headers).await.map(Json)
}

async fn status(req: Req) -> Result<Json<WebStatus>> {
    let now = req.cx.clock.now();
    req.cx.store.read(move |conn| store::status(conn, now)).await.map(Json)
}

async fn set_password(req: Req<(), (), Json<PasswordRequest>>) -> Result<()> {
    let PasswordRequest { password, present } = req.body.0;
    // A browser that was left open must not lock its owner out.
    if let Who::Web { address, secure, .. } = req.peer.who {
        super::prove(&req.cx, present, Visit { address, secure, forwarded: false }).await?;
    }
    super::set_password(&req.cx, Some(password)).await
}

async fn no_password(req: Req) -> Result<()> {
    super::set_password(&req.cx, None).await
}

async fn tokens(req: Req) -> Result<Json<TokenList>> {
    let tokens = req.cx.store.read(store::tokens).await?;
    Ok(Json(TokenList { tokens }))
}

async fn create(req: Req<(), (), Json<TokenRequest>>) -> Result<Json<NewToken>> {
    let table = http::routes(req.cx.subsystems);
    let routes: Vec<_> = table.iter().map(|route| (route.method.clone(), route.path)).collect();
    super::create_token(&req.cx, req.body.0, &routes).await.map(Json)
}

async fn revoke(req: Req<String>) -> Result<()> {
    let which = req.path;
    req.cx.store.write(move |tx| store::revoke(tx, &which)).await
}
