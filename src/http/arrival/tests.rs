use super::*;

fn config(allowed: &[&str], base_url: &str) -> Config {
    let mut config = Config::default();
    config.api.allowed_hosts = allowed.iter().map(|name| (*name).to_owned()).collect();
    base_url.clone_into(&mut config.app.base_url);
    config
}

/// What becomes of a request to `local` whose head has these lines.
fn checked(config: &Config, local: Option<&str>, method: &Method, head: &[(&'static str, &str)]) -> Result<()> {
    let mut headers = HeaderMap::new();
    for (name, value) in head {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let names = Names { config, local: local.map(|local| local.parse().unwrap()), https: false };
    names.check(method, &Uri::from_static("/api/jobs"), &headers)
}

#[test]
fn a_host_is_an_address_that_was_connected_to_or_a_name_that_is_known() {
    let config = config(&["assistant.lan", "other.lan:9000"], "https://assistant.example.org");
    let table: &[(&str, &str, bool)] = &[
        ("192.168.1.50:8000", "192.168.1.50:8000", true),
        ("192.168.1.50:80", "192.168.1.50", true),
        ("192.168.1.50:80", "192.168.1.50:80", true),
        ("127.0.0.1:8000", "127.0.0.1:8000", true),
        ("127.0.0.1:8000", "localhost:8000", true),
        ("127.0.0.1:8000", "LocalHost:8000", true),
        ("127.0.0.1:80", "localhost", true),
        ("[::1]:8000", "[::1]:8000", true),
        ("[::1]:8000", "localhost:8000", true),
        ("[::1]:80", "[::1]", true),
        ("[::ffff:127.0.0.1]:8000", "127.0.0.1:8000", true),
        ("192.168.1.50:8000", "assistant.lan", true),
        ("192.168.1.50:8000", "assistant.lan:8000", true),
        ("192.168.1.50:8000", "ASSISTANT.lan", true),
        ("192.168.1.50:8000", "other.lan:9000", true),
        ("127.0.0.1:8000", "assistant.example.org", true),
        // Anything else.
        ("192.168.1.50:8000", "192.168.1.50", false),
        ("192.168.1.50:8000", "192.168.1.50:8001", false),
        ("192.168.1.50:8000", "192.168.1.51:8000", false),
        ("192.168.1.50:8000", "localhost:8000", false),
        ("127.0.0.1:8000", "localhost", false),
        ("127.0.0.1:8000", "localhost.:8000", false),
        ("127.0.0.1:8000", "localhost:08000", false),
        ("127.0.0.1:8000", "127.1:8000", false),
        ("127.0.0.1:8000", "0.0.0.0:8000", false),
        ("127.0.0.1:8000", "[::1]:8000", false),
        ("127.0.0.1:8000", "evil.example:8000", false),
        ("127.0.0.1:8000", "127.0.0.1.evil.example:8000", false),
        ("127.0.0.1:8000", "localhost.evil.example:8000", false),
        ("127.0.0.1:8000", "user@localhost:8000", false),
        ("127.0.0.1:8000", "localhost:8000@evil.example", false),
        ("127.0.0.1:8000", "localhost:8000, evil.example", false),
        ("127.0.0.1:8000", "", false),
        ("192.168.1.50:8000", "assistant.lan:9000", false),
        ("192.168.1.50:8000", "assistant.lan.", false),
        ("192.168.1.50:8000", "xassistant.lan", false),
        ("192.168.1.50:8000", "other.lan", false),
        ("192.168.1.50:8000", "assistant.example.org:8000", false),
        ("192.168.1.50:8000", "assistant.example.org.evil.example", false),
    ];
    for (local, host, good) in table {
        let outcome = checked(&config, Some(local), &Method::GET, &[("host", host)]);
        assert_eq!(outcome.is_ok(), *good, "{host} at {local}: {outcome:?}");
    }
    let bytes = HeaderValue::from_bytes(b"localhost:8000\xff").unwrap();
    let names = Names { config: &config, local: Some("127.0.0.1:8000".parse().unwrap()), https: false };
    let headers = HeaderMap::from_iter([(header::HOST, bytes)]);
    names.check(&Method::GET, &Uri::from_static("/"), &headers).unwrap_err();
}

#[test]
fn a_host_is_named_once_and_the_target_names_the_same_one() {
    let config = config(&[], "http://localhost:8000");
    let local = Some("127.0.0.1:8000");
    checked(&config, local, &Method::GET, &[]).unwrap_err();
    checked(&config, local, &Method::GET, &[("host", "localhost:8000"), ("host", "localhost:8000")]).unwrap_err();
    let names = Names { config: &config, local: Some("127.0.0.1:8000".parse().unwrap()), https: false };
    let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost:8000"))]);
    for (target, good) in [
        ("http://localhost:8000/api/jobs", true),
        ("http://evil.example/api/jobs", false),
        ("http://user@localhost:8000/api/jobs", false),
    ] {
        assert_eq!(names.check(&Method::GET, &Uri::from_static(target), &headers).is_ok(), good, "{target}");
    }
    // At a socket file there is no address: only names that are configured.
    checked(&config, None, &Method::GET, &[("host", "localhost:8000")]).unwrap();
    checked(&config, None, &Method::GET, &[("host", "127.0.0.1:8000")]).unwrap_err();
}

#[test]
fn pages_of_other_sites_are_refused() {
    const HOST: (&str, &str) = ("host", "192.168.1.50:8000");
    const OWN: (&str, &str) = ("origin", "http://192.168.1.50:8000");
    let config = config(&[], "https://assistant.example.org");
    let at = |method: Method, head: &[(&'static str, &str)]| {
        let head: Vec<_> = [HOST].into_iter().chain(head.iter().copied()).collect();
        checked(&config, Some("192.168.1.50:8000"), &method, &head).is_ok()
    };
    for (origin, good) in [
        ("http://192.168.1.50:8000", true),
        ("https://assistant.example.org", true),
        ("null", false),
        ("http://evil.example", false),
        ("http://192.168.1.50", false),
        ("http://192.168.1.50:8000.evil.example", false),
        ("file://", false),
        ("chrome-extension://192.168.1.50:8000", false),
        ("", false),
    ] {
        assert_eq!(at(Method::POST, &[("origin", origin)]), good, "POST from {origin:?}");
        assert_eq!(at(Method::GET, &[("origin", origin)]), good, "GET from {origin:?}");
    }
    assert!(!at(Method::POST, &[OWN, OWN]), "named twice");
    for (site, reads, changes) in
        [("same-origin", true, true), ("none", true, true), ("same-site", false, false), ("cross-site", false, false)]
    {
        assert_eq!(at(Method::GET, &[("sec-fetch-site", site)]), reads, "GET from {site}");
        assert_eq!(at(Method::POST, &[("sec-fetch-site", site), OWN]), changes, "POST from {site}");
    }
    // A link on another site may lead here; a form there may not.
    let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    assert!(at(Method::GET, &link));
    assert!(!at(Method::POST, &link));
    // Who changes something says where it comes from, or has a token, which no page can add to what it makes others send.
    assert!(at(Method::GET, &[]));
    assert!(!at(Method::POST, &[]));
    assert!(!at(Method::DELETE, &[("referer", "http://192.168.1.50:8000/")]));
    assert!(at(Method::POST, &[("authorization", "Bearer x")]));
    assert!(!at(Method::POST, &[("authorization", "Bearer x"), ("origin", "http://evil.example")]));
}
