//! Who the server is, and who we are.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    bed::Bed,
    server::{ALL, Act, Server, certificate},
};
use crate::mail::net::Passwords;

/// What people are told when nothing works.
async fn told(bed: &Bed) -> String {
    bed.until("it fails", || !bed.error().is_empty()).await;
    let inbox = bed.cx.process.mail.inbox();
    format!("{} | {}", inbox.error.unwrap(), inbox.hint.unwrap_or_default())
}

#[tokio::test]
async fn a_wrong_certificate_is_told_from_another() {
    let cases = [
        ("DNS:mail.example.org", "-days 30", "is not for \"127.0.0.1\" | it is for DnsName", "email.imap_host"),
        ("IP:127.0.0.1", "-not_before 20200101000000Z -not_after 20210101000000Z", "ended on 2021-01-01", "renew"),
        ("IP:127.0.0.1", "-not_before 20900101000000Z -not_after 20910101000000Z", "only from 2090-01-01", "clock"),
    ];
    for (names, days, says, hint) in cases {
        let dir = tempfile::tempdir().unwrap();
        if std::panic::catch_unwind(|| certificate(dir.path(), names, days)).is_err() {
            continue; // an openssl that cannot make one of another time
        }
        let server = Server::start_with(dir.path(), false).await;
        let bed = Bed::of(dir, server, |_| {});
        let told = told(&bed).await;
        assert!(told.contains(says.split(" | ").next().unwrap()) && told.contains(hint), "{told}");
        assert!(bed.server.state().commands.is_empty());
    }
    let bed = Bed::with(|config| config.email.ca_file = None).await;
    assert!(told(&bed).await.contains("nobody that this machine trusts"), "{}", bed.error());
    let bed = Bed::with(|config| config.email.ca_file = Some("/nonexistent/ca.pem".into())).await;
    assert!(told(&bed).await.contains("/nonexistent/ca.pem cannot be read"), "{}", bed.error());
}

#[tokio::test]
async fn nobody_logs_in_without_tls() {
    for (capabilities, says) in [("PREAUTH", "does not greet"), ("NOTLS", "refuses to begin TLS")] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path(), true).await;
        server.state().capabilities = format!("{ALL} {capabilities}");
        let bed = Bed::of(dir, server, |config| config.email.imap_security = Some("starttls".into()));
        assert!(told(&bed).await.contains(says), "{}", bed.error());
        let state = bed.server.state();
        assert!(state.in_the_clear.lines().all(|line| line == "a0 STARTTLS"), "{}", state.in_the_clear);
        assert!(state.commands.is_empty());
    }
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), true).await;
    let bed = Bed::of(dir, server, |config| config.email.imap_security = Some("starttls".into()));
    bed.server.deliver(1, "Subject: one\r\n\r\n");
    bed.until_idle(1).await;
    assert!(bed.server.state().in_the_clear.lines().all(|line| line == "a0 STARTTLS"));
}

#[tokio::test]
async fn a_login_that_is_refused_or_not_to_be_had_is_told() {
    let bed = Bed::new().await;
    bed.server.state().capabilities = "IMAP4rev1 LOGINDISABLED".into();
    assert!(told(&bed).await.contains("lets nobody log in with PLAIN nor LOGIN"), "{}", bed.error());
    assert!(bed.server.state().commands.iter().all(|command| !command.starts_with("LOGIN")));

    let bed = Bed::with(|config| config.email.imap_username = Some("you".into())).await;
    let said = told(&bed).await;
    assert!(said.contains("does not let you log in: [AUTHENTICATIONFAILED] not you | "), "{said}");
    assert!(said.contains("imap-password"), "{said}");

    let bed = Bed::new().await;
    bed.cx.process.mail.passwords.store(Arc::new(Passwords::default()));
    assert!(told(&bed).await.contains("secret set imap-password"), "{}", bed.error());

    let bed = Bed::new().await;
    bed.server.script(|command| command.starts_with("AUTHENTICATE").then(|| Act::Cut(b"* BYE too many\r\n".to_vec())));
    assert!(told(&bed).await.contains("it ends the connection: too many"), "{}", bed.error());
}

/// A token server that gives `token-1`, `token-2`, and so on, each with another refresh token; what it was asked.
async fn token_server() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    #[expect(clippy::disallowed_methods, reason = "a server of a test ends with its runtime")]
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            let mut piece = [0; 4096];
            while !text.contains("client_id=") {
                let length = stream.read(&mut piece).await.unwrap();
                text.push_str(&String::from_utf8_lossy(&piece[..length]));
            }
            let count = {
                let mut seen = seen.lock().unwrap();
                seen.push(text.rsplit("\r\n").next().unwrap().to_owned());
                seen.len()
            };
            let body = format!(
                "{{\"access_token\":\"token-{count}\",\"expires_in\":3600,\"refresh_token\":\"refresh-{count}\"}}"
            );
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

#[tokio::test]
async fn an_expired_token_is_renewed_once() {
    for (mechanism, ir) in [("XOAUTH2", " SASL-IR"), ("OAUTHBEARER", " SASL-IR"), ("XOAUTH2", ""), ("OAUTHBEARER", "")]
    {
        let (url, asked) = token_server().await;
        let bed = Bed::with(|config| {
            config.email.oauth_token_url = Some(url.clone());
            config.email.oauth_client_id = Some("the client".into());
        })
        .await;
        let passwords = Passwords {
            oauth_refresh: Some("refresh-0".into()),
            oauth_client: Some("hush".into()),
            ..Passwords::default()
        };
        bed.cx.process.mail.passwords.store(Arc::new(passwords));
        {
            let mut state = bed.server.state();
            state.capabilities = format!("IMAP4rev1{ir} IDLE MOVE AUTH=PLAIN AUTH={mechanism}");
            state.tokens = vec!["token-2".into()];
        }
        bed.server.deliver(1, "Subject: one\r\n\r\n");
        bed.until_idle(1).await;
        {
            let asked = asked.lock().unwrap();
            assert_eq!(asked.len(), 2, "the first one was refused");
            let first = "grant_type=refresh_token&refresh_token=refresh-0&client_id=the+client&client_secret=hush";
            assert_eq!(asked[0], first);
            assert!(asked[1].contains("refresh_token=refresh-1&"), "the one that took its place: {}", asked[1]);
        }
        // It lasts: another connection asks for none.
        bed.server.script(|command| (command == "IDLE").then(|| Act::Cut(Vec::new())));
        bed.until("it is cut off", || bed.server.state().connections > 3).await;
        assert_eq!(asked.lock().unwrap().len(), 2);
        // No token is good any more: it is told, and not asked for at each attempt for ever.
        bed.server.state().tokens.clear();
        bed.until("it fails", || bed.error().contains("the token is refused: invalid_token")).await;
        let hint = bed.cx.process.mail.inbox().hint.unwrap();
        assert!(hint.contains("mail-oauth-refresh-token"), "{hint}");
    }
}
