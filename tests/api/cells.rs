//! Every route for every kind of caller over the network: made from the route table, none left out. What the kernel says
//! of callers on the socket is in `roles.rs`.

use std::time::Duration;

use assistant_api::Role;
use assistantd::http;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    roles::concrete,
    served::{Served, request},
};

/// How `assistantctl dashboard` begins a connection that it forwards from 127.0.0.1:4711.
const FORWARDED: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\xc3\x50\x12\x67";

/// Somebody who asks.
struct Caller {
    name: &'static str,
    /// What they send with every request.
    head: String,
    /// What they are; `None`: not let in.
    role: Option<Role>,
    /// The only route that they may use.
    only: Option<(&'static str, &'static str)>,
    /// With something that is no longer good, not even what is open answers.
    bad: bool,
}

async fn token(served: &Served, request: Value) -> String {
    let made = served.call("POST", "/api/tokens", "", &request.to_string()).await.json();
    format!("authorization: Bearer {}\r\n", made["secret"].as_str().unwrap())
}

async fn callers(served: &Served) -> Vec<Caller> {
    let body = json!({ "password": "correct horse battery" }).to_string();
    assert_eq!(served.call("PUT", "/api/web/password", "", &body).await.status, 204);
    let page = format!("origin: http://{}\r\n", served.web.unwrap());
    let reply = served.visit("POST", "/api/login", &page, &body).await;
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let session = format!("cookie: {cookie}\r\nx-csrf-token: {}\r\n", reply.json()["csrf_token"].as_str().unwrap());
    let basic = "authorization: Basic YW5uOnByb3h5\r\n";
    let kept = token(served, json!({ "name": "kept", "role": "admin", "allow": ["GET /api/jobs/{id}"] })).await;
    let expired = token(served, json!({ "name": "expired", "role": "admin" })).await;
    let over = "UPDATE web_tokens SET expires_at = 1 WHERE name = 'expired'";
    served.cx.store.write(move |tx| Ok(tx.execute(over, [])?)).await.unwrap();
    let revoked = token(served, json!({ "name": "revoked", "role": "admin" })).await;
    assert_eq!(served.call("DELETE", "/api/tokens/revoked", "", "").await.status, 204);
    let caller = |name, head: String, role| Caller { name, head, role, only: None, bad: false };
    vec![
        caller("nobody", page.clone(), None),
        caller("the password of a proxy", format!("{page}{basic}"), None),
        caller("a viewer's token", token(served, json!({ "name": "v", "role": "viewer" })).await, Some(Role::Viewer)),
        caller("an operator's token", token(served, json!({ "name": "o" })).await, Some(Role::Operator)),
        caller(
            "an administrator's token",
            token(served, json!({ "name": "a", "role": "admin" })).await,
            Some(Role::Admin),
        ),
        Caller { only: Some(("GET", "/api/jobs/{id}")), ..caller("a token for one route", kept, Some(Role::Admin)) },
        Caller { bad: true, ..caller("a token whose time is over", expired, None) },
        Caller { bad: true, ..caller("a revoked token", revoked, None) },
        caller("a session", format!("{page}{session}"), Some(Role::Admin)),
        caller("a session behind a proxy's password", format!("{page}{session}{basic}"), Some(Role::Admin)),
    ]
}

/// The status of the answer; streams have no end, so that no more is waited for.
async fn status(served: &Served, forwarded: bool, method: &str, path: &str, head: &str) -> u16 {
    let address = served.web.unwrap().to_string();
    let body = if matches!(method, "GET" | "DELETE") { "" } else { "{}" };
    let name = if forwarded { "127.0.0.1:4711" } else { address.as_str() };
    let text = request(method, path, &head.replace(&address, name), body).replacen("assistantd", name, 1);
    let mut first = [0; 12];
    let read = async {
        if forwarded {
            let mut stream = served.connect().await;
            stream.write_all(&[FORWARDED, text.as_bytes()].concat()).await.unwrap();
            stream.read_exact(&mut first).await.unwrap();
        } else {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.read_exact(&mut first).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.unwrap();
    std::str::from_utf8(&first[9..]).unwrap().parse().unwrap()
}

/// Whether `found` is what `caller` has to get from a route that takes the role `least`.
fn fits(caller: &Caller, method: &str, path: &str, least: Option<Role>, found: u16) -> bool {
    match (least, caller.role) {
        _ if caller.bad => found == 401,
        (None, _) => found != 403 && found != 0,
        (Some(_), None) => found == 401,
        (Some(_), Some(_)) if caller.only.is_some_and(|only| only != (method, path)) => found == 403,
        (Some(least), Some(role)) if role < least => found == 403,
        // Kept to the socket.
        (Some(_), Some(_)) if path == "/api/login/links" => found == 403,
        // Nothing has the number that is asked for, and an empty body says nothing.
        (Some(_), Some(_)) => !matches!(found, 0 | 401 | 403) && found < 500,
    }
}

#[tokio::test]
async fn every_cell_of_routes_and_callers_is_as_declared() {
    for forwarded in [false, true] {
        let served = Served::on_the_web(|_| {});
        let callers = callers(&served).await;
        let mut table = http::routes(served.cx.subsystems);
        // Made for tests of panics.
        table.retain(|route| route.path != "/test/panic");
        // These end the sessions of others, or all tokens' meaning: last, and each then for the last time.
        let ends = ["/api/sessions", "/api/logout", "/api/web/password", "/api/reload"];
        let is_end = |method: &str, path: &str| method != "GET" && ends.contains(&path);
        table.sort_by_key(|route| is_end(route.method.as_str(), route.path));
        let mut cells = 0;
        for route in &table {
            let (method, path) = (route.method.as_str(), route.path);
            for caller in &callers {
                let may_end = is_end(method, path) && route.role.is_none_or(|least| caller.role >= Some(least));
                if may_end && caller.only.is_none() {
                    continue;
                }
                let found = status(&served, forwarded, method, &concrete(path), &caller.head).await;
                let expected = fits(caller, method, path, route.role, found);
                // Without a workspace some cannot be served.
                let absent = found == 503 && caller.role.is_some();
                assert!(expected || absent, "{method} {path} for {}: {found}", caller.name);
                cells += 1;
            }
        }
        assert!(cells > 600, "{cells}");
        // What ends sessions does so for whoever may.
        let admin = &callers[4];
        for (method, path) in [("DELETE", "/api/sessions"), ("DELETE", "/api/web/password"), ("POST", "/api/reload")] {
            let found = status(&served, forwarded, method, path, &admin.head).await;
            assert!((200..300).contains(&found), "{method} {path}: {found}");
        }
        assert_eq!(status(&served, forwarded, "GET", "/api/jobs", &callers[8].head).await, 401, "no session is left");
    }
}
