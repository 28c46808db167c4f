//! Logging in over the network: passwords, sessions, tokens, and what none of them opens.

use assistant_api::ErrorKind;
use assistantd::http;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::{
    roles::concrete,
    served::{Reply, Served, read_reply, request},
};

const PASSWORD: &str = "correct horse battery";

/// A served API with that password.
async fn with_password() -> Served {
    let served = Served::on_the_web(|_| {});
    let body = json!({ "password": PASSWORD }).to_string();
    assert_eq!(served.call("PUT", "/api/web/password", "", &body).await.status, 204);
    served
}

/// The headers of a page: where it is from, and what it was made to send.
fn page(served: &Served, more: &str) -> String {
    format!("origin: http://{}\r\nsec-fetch-site: same-origin\r\n{more}", served.web.unwrap())
}

async fn log_in(served: &Served, password: &str, more: &str) -> Reply {
    let body = json!({ "password": password }).to_string();
    served.visit("POST", "/api/login", &page(served, more), &body).await
}

/// The cookie line and the CSRF line of a session.
async fn session(served: &Served) -> (String, String) {
    let reply = log_in(served, PASSWORD, "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict; ") && !cookie.contains("Secure"), "{cookie}");
    let csrf = reply.json()["csrf_token"].as_str().unwrap().to_owned();
    (format!("cookie: {}\r\n", cookie.split(';').next().unwrap()), format!("x-csrf-token: {csrf}\r\n"))
}

async fn token(served: &Served, request: Value) -> String {
    let reply = served.call("POST", "/api/tokens", "", &request.to_string()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let secret = reply.json()["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("ast_") && secret.len() == 47, "{secret}");
    format!("authorization: Bearer {secret}\r\n")
}

#[tokio::test]
async fn without_a_login_only_health_answers() {
    let served = Served::on_the_web(|_| {});
    assert_eq!(served.visit("GET", "/health", "", "").await.status, 200);
    for path in ["/api", "/api/jobs", "/api/status", "/api/events", "/openapi.json", "/nothing", "/test/ids/1"] {
        let reply = served.visit("GET", path, "", "").await;
        assert_eq!((reply.status, reply.kind().as_str()), (401, ErrorKind::Unauthorized.as_str()), "{path}");
        assert!(reply.json()["hint"].as_str().unwrap().contains("assistantctl web password"), "{reply:?}");
    }
    // Refused before the body: none of it is ever sent.
    let head = page(&served, "content-length: 4000000000\r\n");
    assert_eq!(served.visit("PUT", "/test/upload", &head, "").await.status, 401);
    let reply = log_in(&served, PASSWORD, "").await;
    assert_eq!(reply.status, 401);
    assert!(reply.json()["hint"].as_str().unwrap().contains("sudo assistantctl web password"), "{reply:?}");
    // What a proxy in front has asked for is neither a login nor a failed one.
    assert_eq!(served.visit("GET", "/health", "authorization: Basic dTpw\r\n", "").await.status, 200);
    assert_eq!(served.visit("GET", "/api", "authorization: Basic dTpw\r\n", "").await.status, 401);
}

#[tokio::test]
async fn s1_no_route_answers_over_the_network_to_who_has_not_logged_in() {
    let served = Served::on_the_web(|_| {});
    let table = http::routes(served.cx.subsystems);
    assert!(table.len() > 40, "{}", table.len());
    for route in table {
        let Some(_) = route.role else { continue };
        let reply = served.visit(route.method.as_str(), &concrete(route.path), &page(&served, ""), "").await;
        assert_eq!(reply.status, 401, "{} {}", route.method, route.path);
    }
}

#[tokio::test]
async fn a_password_opens_a_session() {
    let served = with_password().await;
    let (cookie, csrf) = session(&served).await;
    let who = served.visit("GET", "/api/session", &cookie, "").await.json();
    assert_eq!((&who["role"], &who["caller"]), (&json!("admin"), &json!("session:1")));
    assert_eq!(csrf, format!("x-csrf-token: {}\r\n", who["csrf_token"].as_str().unwrap()));
    assert_eq!(served.visit("GET", "/api/jobs", &cookie, "").await.status, 200);

    // A change takes the token that only a page of ours was given.
    for (token, status) in [("", 403), ("x-csrf-token: AAAA\r\n", 403), (csrf.as_str(), 200)] {
        let head = page(&served, &format!("{cookie}{token}"));
        assert_eq!(served.visit("POST", "/test/work", &head, "{}").await.status, status, "{token}");
    }
    assert_eq!(served.work_done().await, 1);
    // A page of another site has the cookie sent along, and is refused before anybody looks at it.
    let foreign = format!("origin: http://evil.example\r\nsec-fetch-site: cross-site\r\n{cookie}{csrf}");
    assert_eq!(served.visit("POST", "/test/work", &foreign, "{}").await.status, 403);

    let (other, _) = session(&served).await;
    let out = served.visit("POST", "/api/logout", &page(&served, &format!("{cookie}{csrf}")), "").await;
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().starts_with("assistant=; ") && out.head.contains("Max-Age=0"), "{out:?}");
    assert_eq!(served.visit("GET", "/api/jobs", &cookie, "").await.status, 401);
    assert_eq!(served.visit("GET", "/api/jobs", &other, "").await.status, 200);
    assert_eq!(served.call("DELETE", "/api/sessions", "", "").await.status, 204);
    assert_eq!(served.visit("GET", "/api/jobs", &other, "").await.status, 401, "logged out everywhere");
}

#[tokio::test]
async fn sessions_end_with_their_time_and_with_the_password() {
    let served = with_password().await;
    let (cookie, _) = session(&served).await;
    let status = served.call("GET", "/api/web", "", "").await.json();
    assert_eq!((&status["sessions"], status["password_set_at"].is_string()), (&json!(1), true));
    let over = |conn: &rusqlite::Connection| {
        conn.execute("UPDATE web_sessions SET expires_at = 1", ())?;
        Ok(())
    };
    served.cx.store.write(over).await.unwrap();
    assert_eq!(served.visit("GET", "/api/jobs", &cookie, "").await.status, 401);

    let (cookie, _) = session(&served).await;
    for (password, status) in [(json!("short"), 422), (json!("another long password"), 204)] {
        let body = json!({ "password": password }).to_string();
        assert_eq!(served.call("PUT", "/api/web/password", "", &body).await.status, status);
        assert_eq!(served.visit("GET", "/api/jobs", &cookie, "").await.status, if status == 204 { 401 } else { 200 });
    }
    assert_eq!(log_in(&served, PASSWORD, "").await.status, 401);
    assert_eq!(log_in(&served, "another long password", "").await.status, 200);
    assert_eq!(served.call("PUT", "/api/web/password", "", "{}").await.status, 422);
    assert_eq!(served.call("DELETE", "/api/web/password", "", "").await.status, 204);
    assert_eq!(log_in(&served, "another long password", "").await.status, 401, "taken away");
}

#[tokio::test]
async fn over_the_network_the_password_is_changed_by_who_knows_it() {
    let served = with_password().await;
    let (cookie, csrf) = session(&served).await;
    let head = page(&served, &format!("{cookie}{csrf}"));
    let change = async |body: Value| served.visit("PUT", "/api/web/password", &head, &body.to_string()).await;
    let new = "yet another long password";
    for body in [json!({ "password": new }), json!({ "password": new, "present": "no such password" })] {
        let reply = change(body).await;
        assert_eq!(reply.status, 422);
        assert!(reply.body.contains("present"), "{reply:?}");
    }
    assert_eq!(change(json!({ "password": "short", "present": PASSWORD })).await.status, 422);
    assert_eq!(served.visit("GET", "/api/jobs", &cookie, "").await.status, 200, "nothing has changed");
    assert_eq!(change(json!({ "password": new, "present": PASSWORD })).await.status, 204);
    assert_eq!(served.visit("GET", "/api/jobs", &cookie, "").await.status, 401);
    assert_eq!(log_in(&served, new, "").await.status, 200);
    // Guesses at the present password count as failed logins.
    let token = token(&served, json!({ "name": "a", "role": "admin" })).await;
    let guess = json!({ "password": new, "present": "no such password" }).to_string();
    let mut found = Vec::new();
    for _ in 0..7 {
        found.push(served.visit("PUT", "/api/web/password", &token, &guess).await.status);
    }
    assert_eq!((found[0], found[6]), (422, 429), "{found:?}");
    assert_eq!(log_in(&served, new, "").await.status, 429);
    // With no password there is none to know.
    assert_eq!(served.call("DELETE", "/api/web/password", "", "").await.status, 204);
    assert_eq!(
        served.visit("PUT", "/api/web/password", &token, &json!({ "password": new }).to_string()).await.status,
        204
    );
}

#[tokio::test]
async fn who_fails_too_often_has_to_wait_and_others_do_not() {
    let served = with_password().await;
    let from = |address: &str| format!("x-forwarded-for: {address}\r\n");
    for _ in 0..5 {
        assert_eq!(log_in(&served, "wrong password", &from("198.51.100.7")).await.status, 401);
    }
    let reply = log_in(&served, PASSWORD, &from("198.51.100.7")).await;
    assert_eq!((reply.status, reply.kind().as_str()), (429, "rate_limited"), "even with the right one");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(log_in(&served, PASSWORD, &from("198.51.100.8")).await.status, 200);
    // What a client claims before the proxy saw it does not count: the proxy's own entry is the last one.
    let claimed = log_in(&served, PASSWORD, &from("203.0.113.1, 198.51.100.7")).await;
    assert_eq!(claimed.status, 429);
}

#[tokio::test]
async fn nobody_else_is_believed_about_where_they_come_from() {
    let served = Served::on_the_web(|config| config.api.trusted_proxies = vec!["192.0.2.1".into()]);
    let body = json!({ "password": PASSWORD }).to_string();
    served.call("PUT", "/api/web/password", "", &body).await;
    for host in 0..5 {
        let from = format!("x-forwarded-for: 198.51.100.{host}\r\nx-real-ip: 198.51.100.{host}\r\n");
        assert_eq!(log_in(&served, "wrong password", &from).await.status, 401);
    }
    assert_eq!(log_in(&served, PASSWORD, "x-forwarded-for: 198.51.100.99\r\n").await.status, 429, "all from one");
    let secure = served.visit("GET", "/api/session", "x-forwarded-proto: https\r\ncookie: __Host-assistant=x\r\n", "");
    assert_eq!(secure.await.status, 401);
}

#[tokio::test]
async fn behind_https_the_cookie_is_for_https_alone() {
    let served = with_password().await;
    let reply = log_in(&served, PASSWORD, "x-forwarded-proto: https\r\n").await;
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-assistant=") && cookie.ends_with("; Secure"), "{cookie}");
    let cookie = format!("cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(served.visit("GET", "/api", &cookie, "").await.status, 401, "not without it");
    let both = format!("{cookie}x-forwarded-proto: https\r\n");
    assert_eq!(served.visit("GET", "/api", &both, "").await.status, 200);
}

#[tokio::test]
async fn a_token_is_good_for_what_it_was_made_for() {
    let served = Served::on_the_web(|_| {});
    let viewer = token(&served, json!({ "name": "look", "role": "viewer" })).await;
    let worker = token(&served, json!({ "name": "work" })).await;
    let kept = token(&served, json!({ "name": "kept", "allow": ["GET /api/jobs", "POST /test/*"] })).await;
    let admin = token(&served, json!({ "name": "all", "role": "admin" })).await;
    for (holder, head, get, post, delete) in [
        ("viewer", &viewer, 200, 403, 403),
        ("operator", &worker, 200, 200, 403),
        ("kept to routes", &kept, 200, 200, 403),
        ("admin", &admin, 200, 200, 200),
    ] {
        assert_eq!(served.visit("GET", "/api/jobs", head, "").await.status, get, "{holder}");
        assert_eq!(served.visit("POST", "/test/work", head, "{}").await.status, post, "{holder}");
        assert_eq!(served.visit("DELETE", "/test/ids/1", head, "").await.status, delete, "{holder}");
    }
    assert_eq!(served.visit("GET", "/api", &worker, "").await.status, 200);
    let refused = served.visit("GET", "/api", &kept, "").await;
    assert_eq!((refused.status, refused.kind().as_str()), (403, "forbidden"));

    let list = served.call("GET", "/api/tokens", "", "").await;
    let secret = |head: &String| head.trim_end().rsplit(' ').next().unwrap().to_owned();
    assert!(!list.body.contains(&secret(&worker)) && !list.body.contains("hash"), "{}", list.body);
    let tokens = list.json()["tokens"].as_array().unwrap().clone();
    assert_eq!(tokens.len(), 4);
    assert!(tokens.iter().all(|token| token["last_used_at"].is_string()), "{tokens:?}");

    assert_eq!(served.call("DELETE", "/api/tokens/work", "", "").await.status, 204);
    assert_eq!(served.visit("GET", "/api", &worker, "").await.status, 401);
    assert_eq!(served.call("DELETE", "/api/tokens/work", "", "").await.status, 404);
    let over = |conn: &rusqlite::Connection| {
        conn.execute("UPDATE web_tokens SET expires_at = 1 WHERE name = 'all'", ())?;
        Ok(())
    };
    served.cx.store.write(over).await.unwrap();
    assert_eq!(served.visit("GET", "/api", &admin, "").await.status, 401, "its time is over");
}

#[tokio::test]
async fn a_token_that_makes_no_sense_is_refused_with_its_field() {
    let served = Served::start();
    token(&served, json!({ "name": "one" })).await;
    for (request, status, field) in [
        (json!({ "name": "one" }), 409, "name"),
        (json!({ "name": "" }), 422, "name"),
        (json!({ "name": "7" }), 422, "name"),
        (json!({ "name": "a b" }), 422, "name"),
        (json!({ "name": "x", "allow": ["GET /nothing"] }), 422, "allow"),
        (json!({ "name": "x", "allow": ["/api/jobs"] }), 422, "allow"),
        (json!({ "name": "x", "expires_at": "2001-01-01T00:00:00Z" }), 422, "expires_at"),
        (json!({ "name": "x", "role": "king" }), 422, "role"),
    ] {
        let reply = served.call("POST", "/api/tokens", "", &request.to_string()).await;
        assert_eq!((reply.status, reply.json()["field"].as_str()), (status, Some(field)), "{request}: {reply:?}");
    }
}

/// A request through a port that `assistantctl dashboard` opens at 127.0.0.1:4711.
async fn through_forwarder(served: &Served, method: &str, path: &str, headers: &str, body: &str) -> Reply {
    let mut stream = served.connect().await;
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\xc3\x50\x12\x67";
    stream.write_all(header).await.unwrap();
    let request = request(method, path, headers, body).replacen("assistantd", "127.0.0.1:4711", 1);
    stream.write_all(request.as_bytes()).await.unwrap();
    read_reply(&mut stream).await
}

#[tokio::test]
async fn who_comes_through_a_forwarder_has_not_the_role_of_the_forwarder() {
    for auth in ["login", "none"] {
        let served = Served::with(|config| config.api.auth = auth.into());
        for path in ["/api", "/api/jobs", "/api/status", "/nothing"] {
            assert_eq!(through_forwarder(&served, "GET", path, "", "").await.status, 401, "{auth}: {path}");
        }
        assert_eq!(through_forwarder(&served, "GET", "/health", "", "").await.status, 200);
        // Nor does it mint a link, nor is it believed about where it comes from.
        let own = "origin: http://127.0.0.1:4711\r\nsec-fetch-site: same-origin\r\n";
        assert_eq!(through_forwarder(&served, "POST", "/api/login/links", own, "{}").await.status, 401);
        let link = served.call("POST", "/api/login/links", "", "").await;
        assert_eq!(link.status, 200, "{link:?}");
        let body = json!({ "once": link.json()["token"] }).to_string();
        let foreign = "origin: http://evil.example\r\n";
        assert_eq!(through_forwarder(&served, "POST", "/api/login", foreign, &body).await.status, 403);
        let forwarded = format!("{own}x-forwarded-proto: https\r\n");
        let reply = through_forwarder(&served, "POST", "/api/login", &forwarded, &body).await;
        assert_eq!((reply.status, &reply.json()["role"]), (200, &json!("admin")), "{reply:?}");
        let cookie = reply.header("set-cookie").unwrap();
        assert!(cookie.starts_with("assistant="), "not Secure, as nobody comes by HTTPS here: {cookie}");
        let cookie = format!("cookie: {}\r\n", cookie.split(';').next().unwrap());
        assert_eq!(through_forwarder(&served, "GET", "/api/jobs", &cookie, "").await.status, 200);
        let again = through_forwarder(&served, "POST", "/api/login", own, &body).await;
        assert_eq!((again.status, again.kind().as_str()), (401, "unauthorized"), "used up");
        // Names are held against the port of the forwarder, and a page that rebound its name is refused.
        let rebound = request("GET", "/api/jobs", &cookie, "").replacen("assistantd", "evil.example:4711", 1);
        let mut stream = served.connect().await;
        let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\xc3\x50\x12\x67";
        stream.write_all(&[header, rebound.as_bytes()].concat()).await.unwrap();
        assert_eq!(read_reply(&mut stream).await.status, 403);
    }
}

#[tokio::test]
async fn a_link_opens_one_session_and_only_the_socket_makes_one() {
    let served = with_password().await;
    let admin = token(&served, json!({ "name": "all", "role": "admin" })).await;
    assert_eq!(served.visit("POST", "/api/login/links", &admin, "{}").await.status, 403);
    let link = served.call("POST", "/api/login/links", "", "").await.json();
    // Failures of others keep nobody from following a link.
    for _ in 0..6 {
        log_in(&served, "wrong password", "").await;
    }
    for (body, status) in [
        (json!({ "once": "AAAA" }), 401),
        (json!({ "once": link["token"], "password": PASSWORD }), 422),
        (json!({}), 422),
        (json!({ "once": link["token"] }), 200),
        (json!({ "once": link["token"] }), 401),
    ] {
        let reply = served.visit("POST", "/api/login", &page(&served, ""), &body.to_string()).await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
}

#[tokio::test]
async fn where_no_login_is_wanted_everybody_is_an_administrator() {
    let served = Served::on_the_web(|config| config.api.auth = "none".into());
    assert_eq!(served.visit("GET", "/api", "", "").await.json()["role"], "admin");
    // The head is looked at all the same.
    let foreign = "origin: http://evil.example\r\n";
    assert_eq!(served.visit("POST", "/test/work", foreign, "{}").await.status, 403);
    assert_eq!(served.visit("POST", "/test/work", &page(&served, ""), "{}").await.status, 200);
}

#[tokio::test]
async fn s11_documents_are_off_until_they_are_switched_on() {
    for (docs, openapi) in [(false, false), (true, false), (false, true)] {
        let served = Served::on_the_web(|config| {
            (config.api.docs_enabled, config.api.openapi_enabled) = (docs, openapi);
        });
        let login = token(&served, json!({ "name": "reader", "role": "viewer" })).await;
        for (path, on) in [("/docs", docs), ("/redoc", docs), ("/openapi.json", openapi)] {
            assert_eq!(served.visit("GET", path, "", "").await.status, 401, "{path}");
            let reply = served.visit("GET", path, &login, "").await;
            assert_eq!(reply.status, if on { 200 } else { 404 }, "{path} {docs} {openapi}");
            assert!(!on || reply.body.contains("/api/jobs/{id}"), "{path}");
        }
    }
}

#[tokio::test]
async fn s12_what_is_configured_is_told_to_those_who_are_let_in() {
    let served = Served::on_the_web(|_| {});
    let reply = served.visit("GET", "/api/config/status", "", "").await;
    assert!(reply.status == 401 && !reply.body.contains("model"), "{reply:?}");
    let login = token(&served, json!({ "name": "reader", "role": "viewer" })).await;
    let reply = served.visit("GET", "/api/config/status", &login, "").await;
    assert!(reply.status == 200 && reply.json()["terminal_tools"].is_array(), "{reply:?}");
}
