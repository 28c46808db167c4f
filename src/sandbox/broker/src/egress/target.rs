//! What a request to a proxy asks for, and who asks.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{
    HeaderMap, Method, Uri,
    header::{PROXY_AUTHORIZATION, VIA},
    http::uri::Authority,
};

use crate::{
    control::USER,
    host::{Host, Target},
};

/// How this proxy calls itself in `Via`.
pub(super) const PSEUDONYM: &str = "assistant-egress";

/// The host and port of a request; `None` when it is none for a proxy.
pub(super) fn of(method: &Method, uri: &Uri) -> Option<Target> {
    let authority = uri.authority()?;
    if method == Method::CONNECT {
        let alone = uri.scheme().is_none() && uri.path_and_query().is_none();
        return if alone { target(authority, None) } else { None };
    }
    let plain = uri.scheme_str() == Some("http");
    if plain { target(authority, Some(80)) } else { None }
}

fn target(authority: &Authority, default: Option<u16>) -> Option<Target> {
    if authority.as_str().contains('@') {
        return None;
    }
    let port = match authority.port() {
        Some(port) => port.as_u16(),
        None if authority.as_str().ends_with(':') => return None,
        None => default?,
    };
    let host = Host::parse(authority.host()).ok()?;
    (port != 0).then_some(Target { host, port })
}

/// The token that came with a request.
pub(super) fn token(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(PROXY_AUTHORIZATION).iter();
    let (value, None) = (all.next()?, all.next()) else { return None };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, token) = decoded.split_once(':')?;
    (user == USER).then(|| token.to_owned())
}

/// Whether a request came through this proxy before.
pub(super) fn is_loop(headers: &HeaderMap) -> bool {
    headers
        .get_all(VIA)
        .iter()
        .any(|value| value.as_bytes().windows(PSEUDONYM.len()).any(|part| part == PSEUDONYM.as_bytes()))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_target_comes_from_the_request_line_alone() {
        for (method, uri, found) in [
            ("CONNECT", "Example.org:443", Some("example.org:443")),
            ("CONNECT", "[2606:4700::1]:443", Some("[2606:4700::1]:443")),
            ("CONNECT", "example.org", None),
            ("CONNECT", "example.org:", None),
            ("CONNECT", "example.org:0", None),
            ("CONNECT", "me@example.org:443", None),
            ("CONNECT", "http://example.org:443/", None),
            ("CONNECT", "/", None),
            ("GET", "http://example.org", Some("example.org:80")),
            ("GET", "http://example.org./a?b", Some("example.org:80")),
            ("GET", "HTTP://EXAMPLE.ORG:8080/", Some("example.org:8080")),
            ("GET", "http://example.org:/", None),
            ("GET", "http://me:secret@example.org/", None),
            ("GET", "https://example.org/", None),
            ("GET", "ftp://example.org/", None),
            ("GET", "example.org:80", None),
            ("GET", "/index.html", None),
            ("OPTIONS", "*", None),
            ("GET", "http://127.1/", None),
            ("GET", "http://ex%61mple.org/", None),
        ] {
            let Ok(parsed) = uri.parse::<Uri>() else {
                assert_eq!(found, None, "{uri}");
                continue;
            };
            let target = of(&method.parse().unwrap(), &parsed).map(|target| target.to_string());
            assert_eq!(target.as_deref(), found, "{method} {uri}");
        }
    }

    #[test]
    fn a_token_comes_in_one_way_only() {
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for (values, found) in [
            (vec![basic("job:secret")], Some("secret")),
            (vec![basic("job:a:b")], Some("a:b")),
            (vec![basic("job:secret").replace("Basic", "bAsIc")], Some("secret")),
            (vec![], None),
            (vec![basic("root:secret")], None),
            (vec![basic("job")], None),
            (vec!["Bearer secret".to_owned()], None),
            (vec!["Basic".to_owned()], None),
            (vec!["Basic !!!".to_owned()], None),
            (vec![basic("job:secret"), basic("job:other")], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(PROXY_AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(token(&headers).as_deref(), found, "{values:?}");
        }
    }

    #[test]
    fn a_loop_is_seen() {
        let mut headers = HeaderMap::new();
        assert!(!is_loop(&headers));
        headers.append(VIA, HeaderValue::from_static("1.1 other"));
        assert!(!is_loop(&headers));
        headers.append(VIA, HeaderValue::from_static("1.0 first, 1.1 assistant-egress"));
        assert!(is_loop(&headers));
    }
}
