//! Requests that a page of another site, a name that was made to point here, or a proxy with another idea of HTTP could
//! send. Each is refused while its body is announced and none of it was sent, and changes nothing.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use super::served::{Served, read_reply};

/// `{H}` is the daemon's address with its port, `{P}` the port, `{T}` a token of an administrator, `{C}` cookie and CSRF
/// token of a session.
struct Table {
    address: String,
    token: String,
    session: String,
}

impl Table {
    async fn of(served: &Served) -> Self {
        let body = json!({ "password": "correct horse battery" }).to_string();
        assert_eq!(served.call("PUT", "/api/web/password", "", &body).await.status, 204);
        let address = served.web.unwrap().to_string();
        let own = format!("origin: http://{address}\r\n");
        let reply = served.visit("POST", "/api/login", &own, &body).await;
        let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let csrf = reply.json()["csrf_token"].as_str().unwrap().to_owned();
        let made = served.call("POST", "/api/tokens", "", r#"{"name":"all","role":"admin"}"#).await.json();
        let token = format!("Authorization: Bearer {}", made["secret"].as_str().unwrap());
        Self { address, token, session: format!("Cookie: {cookie}\r\nX-CSRF-Token: {csrf}") }
    }

    fn fill(&self, text: &str) -> String {
        let port = self.address.rsplit(':').next().unwrap();
        let text = text.replace("{H}", &self.address).replace("{P}", port);
        text.replace("{T}", &self.token).replace("{C}", &self.session)
    }
}

/// Hosts that are not this daemon's, each sent with a token that is good.
const HOSTS: &[&str] = &[
    "evil.example",
    "evil.example:{P}",
    "127.0.0.1",
    "127.0.0.1:1",
    "127.0.0.1:",
    "127.0.0.1.:{P}",
    "localhost",
    "localhost:1",
    "localhost.:{P}",
    "LOCALHOST.:{P}",
    "localhost.evil.example:{P}",
    "{H}.evil.example",
    "x{H}",
    "{H}@evil.example",
    "evil.example@{H}",
    "user:secret@{H}",
    "[::1]:{P}",
    "[::ffff:127.0.0.1]:{P}",
    "[::ffff:7f00:1]:{P}",
    "[::]:{P}",
    "::1",
    "127.1:{P}",
    "2130706433:{P}",
    "0x7f.1:{P}",
    "0177.0.0.1:{P}",
    "0.0.0.0:{P}",
    "127.0.0.2:{P}",
    "127.0.0.1:0{P}",
    "127.0.0.1:+{P}",
    "{H}/",
    "http://{H}",
    "{H}, evil.example",
    "{H} evil.example",
    "{H}#",
    "{H}\\@evil.example",
    "127.0.0.1%00:{P}",
    "127\u{3002}0\u{3002}0\u{3002}1:{P}",
    "",
    "*",
];

/// Whole heads that name another host, or more than one; status and head.
const HEADS: &[(u16, &str)] = &[
    (403, "POST /test/work HTTP/1.1\r\n{T}\r\n"),
    (403, "POST /test/work HTTP/1.1\r\nHost: {H}\r\nHost: {H}\r\n{T}\r\n"),
    (403, "POST /test/work HTTP/1.1\r\nHost: {H}\r\nHost: evil.example\r\n{T}\r\n"),
    (403, "POST /test/work HTTP/1.1\r\nHost: evil.example\r\nHost: {H}\r\n{T}\r\n"),
    (403, "POST http://evil.example/test/work HTTP/1.1\r\nHost: {H}\r\n{T}\r\n"),
    (403, "POST http://{H}/test/work HTTP/1.1\r\nHost: evil.example\r\n{T}\r\n"),
    (403, "POST http://user@{H}/test/work HTTP/1.1\r\nHost: {H}\r\n{T}\r\n"),
    (403, "POST http://{H}.evil.example/test/work HTTP/1.1\r\nHost: {H}\r\n{T}\r\n"),
    (403, "POST https://evil.example:443/test/work HTTP/1.1\r\nHost: {H}\r\n{T}\r\n"),
    (403, "CONNECT evil.example:443 HTTP/1.1\r\nHost: {H}\r\n{T}\r\n"),
    (403, "POST /test/work HTTP/1.0\r\n{T}\r\n"),
    (403, "GET /api/events HTTP/1.1\r\nHost: evil.example\r\n{T}\r\n"),
    (403, "PUT /test/upload HTTP/1.1\r\nHost: evil.example\r\n{T}\r\n"),
];

/// What pages of other sites send; a browser adds the session's cookie, and at worst knows the CSRF token.
const PAGES: &[(u16, &str)] = &[
    (403, "POST /test/work\r\nOrigin: null\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://evil.example\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://evil.example:{P}\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://127.0.0.1\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://127.0.0.1:1\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://localhost.:{P}\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://{H}.evil.example\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://evil@{H}\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://{H}/\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: ftp://{H}\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: file://\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: {H}\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin:\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://{H}\r\nOrigin: http://evil.example\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://{H} http://evil.example\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://{H}\r\nSec-Fetch-Site: cross-site\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://{H}\r\nSec-Fetch-Site: same-site\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\n{C}\r\n"),
    (403, "POST /test/work\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n{C}\r\n"),
    (403, "POST /test/work\r\nSec-Fetch-Site: something-new\r\n{C}\r\n"),
    (403, "POST /test/work\r\n{C}\r\n"),
    // Without the CSRF token, and with another one.
    (403, "POST /test/work\r\nOrigin: http://{H}\r\n{C}0\r\n"),
    (403, "POST /test/work\r\nOrigin: http://{H}\r\nX-CSRF-Token: AAAA\r\n{C}\r\n"),
    // Forms need no leave of CORS; a page of ours sends none.
    (403, "POST /test/work\r\nOrigin: null\r\nContent-Type: application/x-www-form-urlencoded\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://evil.example\r\nContent-Type: text/plain\r\n{C}\r\n"),
    (403, "POST /test/work\r\nOrigin: http://evil.example\r\nContent-Type: multipart/form-data; boundary=x\r\n{C}\r\n"),
    (415, "POST /test/work\r\nOrigin: http://{H}\r\nContent-Type: application/x-www-form-urlencoded\r\n{C}\r\n"),
    (415, "POST /test/work\r\nOrigin: http://{H}\r\nContent-Type: text/plain\r\n{C}\r\n"),
    (415, "POST /test/work\r\nOrigin: http://{H}\r\nContent-Type: multipart/form-data; boundary=x\r\n{C}\r\n"),
    // Login by a page of another site, events, scripts, uploads, and the question before them.
    (403, "POST /api/login\r\nOrigin: http://evil.example\r\n"),
    (403, "POST /api/login\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n"),
    (403, "GET /api/events\r\nOrigin: http://evil.example\r\n{C}\r\n"),
    (403, "GET /api/events\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n{C}\r\n"),
    (403, "GET /api/jobs\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n{C}\r\n"),
    (403, "GET /api/jobs\r\nSec-Fetch-Site: same-site\r\nSec-Fetch-Mode: websocket\r\nUpgrade: websocket\r\n{C}\r\n"),
    (403, "PUT /test/upload\r\nOrigin: http://evil.example\r\n{C}\r\n"),
    (403, "PUT /test/upload\r\nOrigin: null\r\n{C}\r\n"),
    (403, "DELETE /test/ids/1\r\nOrigin: null\r\n{C}\r\n"),
    (403, "OPTIONS /test/work\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n"),
    (403, "OPTIONS /test/upload\r\nOrigin: null\r\nAccess-Control-Request-Private-Network: true\r\n"),
];

/// Heads that leave doubt about where the request ends, or are none at all. `{L}` stands for method, path and host.
const FRAMES: &[(u16, &str)] = &[
    (400, "{L}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
    (400, "{L}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"),
    (400, "{L}Content-Length: 2\r\nTransfer-Encoding: identity\r\n"),
    (400, "{L}Content-Length: 2\r\nContent-Length: 2\r\n"),
    (400, "{L}Content-Length: 2\r\nContent-Length: 3\r\n"),
    (400, "{L}Content-Length: 2, 2\r\n"),
    (400, "{L}Content-Length: 2 2\r\n"),
    (400, "{L}Content-Length: +2\r\n"),
    (400, "{L}Content-Length: -2\r\n"),
    (400, "{L}Content-Length: 0x2\r\n"),
    (400, "{L}Content-Length: 2;\r\n"),
    (400, "{L}Content-Length:\r\n"),
    (400, "{L}Content-Length: 99999999999999999999\r\n"),
    (400, "{L}Content-Length : 2\r\n"),
    (400, "{L}Content-Length:\r\n 2\r\n"),
    (400, "{L}Transfer-Encoding: gzip, chunked\r\n"),
    (400, "{L}Transfer-Encoding: chunked, identity\r\n"),
    (400, "{L}Transfer-Encoding: chunked, chunked\r\n"),
    (400, "{L}Transfer-Encoding: identity\r\n"),
    (400, "{L}Transfer-Encoding: xchunked\r\n"),
    (400, "{L}Transfer-Encoding: \"chunked\"\r\n"),
    (400, "{L}Transfer-Encoding: chunked;q=1\r\n"),
    (400, "{L}Transfer-Encoding: \u{b}chunked\r\n"),
    (400, "{L}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    (400, "{L}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    (400, "{L}Transfer-Encoding : chunked\r\n"),
    (400, "{L}Transfer-Encoding:\r\n chunked\r\n"),
    (400, "{L}Transfer-Encoding\r\n: chunked\r\n"),
    (400, "{L}X: a\r\n b\r\nContent-Length: 2\r\n"),
    (400, "{L}X: a\r\n\tb\r\nContent-Length: 2\r\n"),
    (400, "{L}X: a\nContent-Length: 2\r\n"),
    (400, "{L}X: a\n\r\nContent-Length: 2\r\n"),
    (400, "{L}X: a\rContent-Length: 2\r\n"),
    (400, "{L}X: a\0b\r\nContent-Length: 2\r\n"),
    (400, "{L}X\0: a\r\nContent-Length: 2\r\n"),
    (400, "{L}no colon\r\nContent-Length: 2\r\n"),
    (400, "{L}two words: a\r\nContent-Length: 2\r\n"),
    (400, "{L}: nameless\r\nContent-Length: 2\r\n"),
    (400, " {L}Content-Length: 2\r\n"),
    (400, "POST /test/work HTTP/1.0\r\nHost: {S}\r\nTransfer-Encoding: chunked\r\n"),
    (400, "POST /test/work HTTP/1.1 more\r\nHost: {S}\r\nContent-Length: 2\r\n"),
    (400, "POST /test/work HTTP/2.0\r\nHost: {S}\r\nContent-Length: 2\r\n"),
    (400, "POST /test/work http/1.1\r\nHost: {S}\r\nContent-Length: 2\r\n"),
    (400, "POST /test/work\r\nHost: {S}\r\nContent-Length: 2\r\n"),
    (400, "PO\0ST /test/work HTTP/1.1\r\nHost: {S}\r\nContent-Length: 2\r\n"),
    (431, "{L}X: {64K}\r\nContent-Length: 2\r\n"),
    (431, "{L}{200}Content-Length: 2\r\n"),
    (431, "POST /{64K} HTTP/1.1\r\nHost: {S}\r\nContent-Length: 2\r\n"),
];

/// Chunks that are none; the work needs its whole body, so that it is never done. Status 0: closed without an answer.
const CHUNKS: &[&str] = &[
    "-2\r\n{}\r\n0\r\n\r\n",
    "0x2\r\n{}\r\n0\r\n\r\n",
    "+2\r\n{}\r\n0\r\n\r\n",
    "2;{20K}\r\n{}\r\n0\r\n\r\n",
    "ffffffffffffffff1\r\n{}\r\n0\r\n\r\n",
    "2\n{}\n0\n\n",
    "2\r\n{}0\r\n\r\n",
    "2\r\n{}XX0\r\n\r\n",
    "z\r\n{}\r\n0\r\n\r\n",
    "\r\n{}\r\n0\r\n\r\n",
];

/// Sends a head, keeps the connection open, and waits for an answer.
async fn told(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) -> (u16, String) {
    // What is too long is refused while it is still being written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut piece)).await;
        match read.unwrap_or_else(|_| panic!("no answer before the body to {:?}", String::from_utf8_lossy(bytes))) {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    (text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), text)
}

async fn is_refused(served: &Served, status: u16, head: &str) {
    let mut stream = TcpStream::connect(served.web.unwrap()).await.unwrap();
    let (found, answer) = told(&mut stream, head.as_bytes()).await;
    assert_eq!(found, status, "{head:?}\n{answer}");
    assert!(!answer.to_lowercase().contains("access-control-allow"), "{head:?}\n{answer}");
}

#[tokio::test]
async fn what_names_another_host_is_refused_before_its_body() {
    let served = Served::on_the_web(|_| {});
    let table = Table::of(&served).await;
    assert!(HOSTS.len() + HEADS.len() + PAGES.len() > 60 && HOSTS.iter().collect::<BTreeSet<_>>().len() == HOSTS.len());
    for host in HOSTS {
        let head = format!("POST /test/work HTTP/1.1\r\nHost: {host}\r\n{{T}}\r\nContent-Length: 2\r\n\r\n");
        is_refused(&served, 403, &table.fill(&head)).await;
    }
    for (status, head) in HEADS {
        is_refused(&served, *status, &table.fill(&format!("{head}Content-Length: 2\r\n\r\n"))).await;
    }
    assert_eq!(served.work_done().await, 0);
    // The same with the right name is done.
    let head = "POST /test/work HTTP/1.1\r\nHost: {H}\r\n{T}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    let mut stream = TcpStream::connect(served.web.unwrap()).await.unwrap();
    assert_eq!(told(&mut stream, table.fill(head).as_bytes()).await.0, 200);
    assert_eq!(served.work_done().await, 1);
}

#[tokio::test]
async fn what_a_page_of_another_site_sends_is_refused_before_its_body() {
    let served = Served::on_the_web(|_| {});
    let table = Table::of(&served).await;
    let whole = |head: &str| {
        let head = head.replacen("\r\n", " HTTP/1.1\r\nHost: {H}\r\n", 1);
        let length = if head.starts_with("GET") { "" } else { "Content-Length: 2\r\n" };
        table.fill(&format!("{head}{length}\r\n"))
    };
    for (status, head) in PAGES {
        is_refused(&served, *status, &whole(head)).await;
    }
    assert_eq!(served.work_done().await, 0);
    let own = whole("POST /test/work\r\nOrigin: http://{H}\r\nSec-Fetch-Site: same-origin\r\n{C}\r\n");
    let mut stream = TcpStream::connect(served.web.unwrap()).await.unwrap();
    assert_eq!(told(&mut stream, format!("{own}{{}}").as_bytes()).await.0, 200);
    assert_eq!(served.work_done().await, 1);
}

#[tokio::test]
async fn what_leaves_doubt_about_its_end_is_refused_at_both_doors() {
    let served = Served::on_the_web(|_| {});
    let table = Table::of(&served).await;
    let many = "X: y\r\n".repeat(200);
    for (host, more) in [(table.address.as_str(), format!("{}\r\n", table.token)), ("assistantd", String::new())] {
        for (status, head) in FRAMES {
            let line = format!("POST /test/work HTTP/1.1\r\nHost: {host}\r\n{more}");
            let head = head.replace("{L}", &line).replace("{S}", host).replace("{200}", &many);
            let bytes = format!("{}\r\n", head.replace("{64K}", &"x".repeat(66_000)));
            let shown = head.escape_debug().to_string();
            let (found, answer) = if host == "assistantd" {
                told(&mut served.connect().await, bytes.as_bytes()).await
            } else {
                told(&mut TcpStream::connect(served.web.unwrap()).await.unwrap(), bytes.as_bytes()).await
            };
            assert_eq!(found, *status, "{shown}\n{answer}");
        }
    }
    assert_eq!(served.work_done().await, 0);
}

#[tokio::test]
async fn what_stands_behind_a_body_in_chunks_is_no_request() {
    let served = Served::start();
    let head = "POST /test/work HTTP/1.1\r\nHost: assistantd\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in CHUNKS {
        let chunks = chunks.replace("{20K}", &"x".repeat(20_000));
        let (status, answer) = told(&mut served.connect().await, format!("{head}{chunks}").as_bytes()).await;
        assert!(status == 0 || (400..500).contains(&status), "{chunks:?}: {answer}");
        assert_eq!(served.work_done().await, 0, "{chunks:?}");
    }
    // One that is right is done, and ends its connection: what follows is not read.
    let hidden = "DELETE /api/sessions HTTP/1.1\r\nHost: assistantd\r\n\r\n";
    let mut stream = served.connect().await;
    stream.write_all(format!("{head}2;a=b\r\n{{}}\r\n0\r\n\r\n{hidden}").as_bytes()).await.unwrap();
    let reply = read_reply(&mut stream).await;
    assert!(reply.status == 200 && reply.header("connection") == Some("close"), "{reply:?}");
    assert!(!reply.body.contains("HTTP/1.1"), "{reply:?}");
    assert_eq!(served.work_done().await, 1);
}
