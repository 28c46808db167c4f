//! The pages of the dashboard: files that were built beforehand and know nothing of anybody. What they show they get
//! from the API, as everyone does.
//!
//! They are kept and sent compressed; every browser takes gzip.

use std::{borrow::Cow, path::Path};

use assistant_api::{ErrorKind, Role};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header},
};

use crate::{
    error::{Error, Result},
    http::{
        etag::ETag,
        route::{Raw, Req, Route},
    },
};

/// File names and contents, as the build script found them; empty unless it was told where they are.
const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/ui.rs"));

/// Nothing but files of our own, no code or style in the page itself, and no text that becomes either. A frame holds a
/// PDF file of the workspace; no page of ours lets itself be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      font-src 'self'; frame-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; \
                      base-uri 'none'; require-trusted-types-for 'script'; trusted-types foreign-html";

/// Every answer with a file has these (W3C CSP 3; fetch.spec.whatwg.org, html.spec.whatwg.org).
const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

/// What stands where the files would be.
const NOT_BUILT: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Assistant</title>\
<h1>The dashboard is not part of this program</h1>\
<p>It was built without it. In its sources:</p>\
<pre>DASHBOARD_FILES=$(packaging/build-ui.sh) cargo build --release</pre>\
<p>The API and <code>assistantctl</code> work all the same.</p></html>";

pub(super) fn routes() -> Vec<Route> {
    let page = |path, summary| {
        Route::new(Method::GET, path, Role::Viewer, summary, admin)
            .errors(&[ErrorKind::NotFound])
            .produces("text/html")
            .or_else(login_wall)
    };
    vec![
        page("/", "The dashboard."),
        page("/admin", "The dashboard; whoever is not logged in gets the login page, with 401."),
        Route::new(Method::GET, "/admin/{*page}", Role::Viewer, "A page of the dashboard.", admin_page)
            .errors(&[ErrorKind::NotFound])
            .produces("text/html")
            .or_else(login_wall),
        Route::new(Method::GET, "/workspace", Role::Viewer, "The files of the workspace.", workspace)
            .errors(&[ErrorKind::NotFound])
            .produces("text/html")
            .or_else(login_wall),
        Route::new(Method::GET, "/login", Role::Viewer, "The login page.", login)
            .open()
            .errors(&[ErrorKind::NotFound])
            .produces("text/html"),
        Route::new(Method::GET, "/assets/{file}", Role::Viewer, "Scripts, styles and images of the pages.", asset)
            .open()
            .errors(&[ErrorKind::NotFound])
            .produces("*/*"),
    ]
}

async fn admin(req: Req) -> Result<Raw> {
    served(req.cx.config.load().api.dashboard_enabled)?;
    Ok(page("admin.html", &req.headers))
}

/// Which page it is, the browser sees by the address.
async fn admin_page(req: Req<String>) -> Result<Raw> {
    served(req.cx.config.load().api.dashboard_enabled)?;
    Ok(page("admin.html", &req.headers))
}

/// The same files: a browser goes from one page to the other without loading either again.
async fn workspace(req: Req) -> Result<Raw> {
    served(req.cx.config.load().api.workspace_enabled)?;
    Ok(page("admin.html", &req.headers))
}

async fn login(req: Req) -> Result<Raw> {
    let config = req.cx.config.load();
    served(config.api.dashboard_enabled || config.api.workspace_enabled)?;
    Ok(page("login.html", &req.headers))
}

/// Whether a page is switched on.
fn served(enabled: bool) -> Result<()> {
    if enabled {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NotFound, "this page is switched off")
        .hint("api.dashboard_enabled and api.workspace_enabled switch pages on"))
}

/// The login page in the place of another one.
fn login_wall() -> Response<Body> {
    let mut response = page("login.html", &HeaderMap::new()).0;
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

/// Has a hash of its content in its name, and never changes.
async fn asset(req: Req<String>) -> Result<Raw> {
    let content = find(&req.path).filter(|_| Path::new(&req.path).extension() != Some("html".as_ref()));
    let content = content.ok_or_else(|| Error::not_found("file", &req.path).hint("load the page again"))?;
    Ok(Raw(file(&req.path, content, &req.headers, "public, max-age=31536000, immutable")))
}

/// A page is asked for anew each time, and sent again only when it is another one.
fn page(name: &str, headers: &HeaderMap) -> Raw {
    Raw(match find(name) {
        Some(content) => file(name, content, headers, "no-cache"),
        None => with_headers(Response::new(Body::from(NOT_BUILT)), "a.html", "no-store"),
    })
}

fn file(name: &str, content: Cow<'static, [u8]>, headers: &HeaderMap, cache: &'static str) -> Response<Body> {
    let tag = ETag::of(&content);
    let mut response = if tag.is_known(headers) {
        let mut same = Response::new(Body::empty());
        *same.status_mut() = StatusCode::NOT_MODIFIED;
        same
    } else {
        let mut whole = Response::new(Body::from(content.into_owned()));
        whole.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        whole
    };
    response.headers_mut().insert(header::ETAG, tag.header());
    with_headers(response, name, cache)
}

fn with_headers(mut response: Response<Body>, name: &str, cache: &'static str) -> Response<Body> {
    let headers = response.headers_mut();
    headers
        .extend(HEADERS.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    response
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

/// A file, compressed.
fn find(name: &str) -> Option<Cow<'static, [u8]>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.starts_with('.') || !name.chars().all(plain) {
        return None;
    }
    let compressed = format!("{name}.gz");
    if EMBEDDED.is_empty() && cfg!(debug_assertions) {
        return std::fs::read(format!("{}/{compressed}", option_env!("DASHBOARD_BUILT")?)).ok().map(Cow::Owned);
    }
    EMBEDDED.iter().find(|(known, _)| *known == compressed).map(|(_, content)| Cow::Borrowed(*content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_files_are_looked_for() {
        for name in ["", "..", "../Cargo.toml", "a/b", ".hidden", "a%2fb", "a\0b"] {
            assert_eq!(find(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_page_that_is_known_is_not_sent_again() {
        let first = file("a.html", Cow::Borrowed(b"content"), &HeaderMap::new(), "no-cache");
        assert_eq!(
            (first.status(), &first.headers()[header::CONTENT_ENCODING]),
            (StatusCode::OK, &HeaderValue::from_static("gzip"))
        );
        let known = HeaderMap::from_iter([(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone())]);
        let again = file("a.html", Cow::Borrowed(b"content"), &known, "no-cache");
        assert_eq!((again.status(), again.headers().get(header::CONTENT_ENCODING)), (StatusCode::NOT_MODIFIED, None));
        let changed = file("a.html", Cow::Borrowed(b"changed"), &known, "no-cache");
        assert_eq!(changed.status(), StatusCode::OK);
        for response in [first, again, changed] {
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"));
        }
    }
}
