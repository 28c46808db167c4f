use std::time::Duration;

use assistant_broker::{
    address::Class,
    control::{Reason, RequestKind, Verdict},
};

use tokio::io::AsyncWriteExt as _;

use super::{
    outside::{PUBLIC, http},
    stage::{Stage, authorization},
};

const ALLOW: &str = "allow = [\"example.org\", \"*.example.net\", \"other.example:8080\"]\n";

/// A stage on which `example.org` is a host that answers with `answer`.
async fn with_host(config: &str, answer: &'static str) -> Stage {
    let stage = Stage::new(&format!("{ALLOW}{config}")).await;
    stage.outside.name("example.org", &[PUBLIC]);
    stage.outside.route(&format!("{PUBLIC}:80"), Some(http(answer).await));
    stage
}

#[tokio::test]
async fn a_request_reaches_its_host_and_nothing_meant_for_the_proxy_does() {
    let mut stage = with_host("", "").await;
    let request = "POST http://Example.ORG./a?b=c\r\nhost: evil.example\r\nx-mine: 1\r\nproxy-connection: keep-alive\r\n\
                   te: trailers\r\nupgrade: websocket\r\ncontent-length: 5\r\n\r\nhello";
    let answer = stage.ask(request).await;
    let (head, echo) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(echo.starts_with("POST /a?b=c HTTP/1.1\r\n") && echo.ends_with("\r\n\r\nhello"), "{echo}");
    for there in ["host: example.org\r\n", "x-mine: 1\r\n", "via: 1.1 assistant-egress\r\n", "connection: close\r\n"] {
        assert!(echo.contains(there), "{there}: {echo}");
    }
    for gone in ["proxy-", "evil.example", "upgrade", "te:", "am9i"] {
        assert!(!echo.contains(gone), "{gone}: {echo}");
    }
    let record = stage.record().await;
    assert_eq!((record.verdict, record.reason, record.kind), (Verdict::Allowed, Reason::Done, RequestKind::Plain));
    assert_eq!(
        (record.job.as_deref(), record.host.as_deref(), record.port),
        (Some("7"), Some("example.org"), Some(80))
    );
    assert_eq!((record.address, record.rule.as_deref()), (Some(PUBLIC.parse().unwrap()), Some("example.org")));
    assert!(record.bytes_up > 50 && record.bytes_down > 50, "{record:?}");
}

#[tokio::test]
async fn bodies_are_passed_on_in_chunks_and_connections_kept() {
    let stage = with_host("", "").await;
    let head =
        format!("POST http://example.org/ HTTP/1.1\r\n{}transfer-encoding: chunked\r\n", authorization("secret"));
    let body = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let answer = stage.send(format!("{head}\r\n{body}{head}connection: close\r\n\r\n{body}")).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    assert_eq!(answer.matches("hello").count(), 2, "{answer}");
    let both =
        stage.send(format!("{}connection: close\r\n\r\n{body}", head.replacen("\r\n", "\r\ncontent-length: 3\r\n", 1)));
    let both = both.await;
    assert!(
        both.starts_with("HTTP/1.1 400 ") || (both.contains(" world") && !both.contains("content-length: 3")),
        "{both}"
    );
}

#[tokio::test]
async fn a_refused_host_is_told_with_the_line_to_add() {
    let mut stage = with_host("", "").await;
    for (url, reason, line) in [
        ("http://evil.example/", Reason::HostNotListed, "allow = [\"evil.example\"]"),
        ("http://www.example.org/", Reason::HostNotListed, "allow = [\"www.example.org\"]"),
        ("http://example.net/", Reason::HostNotListed, "allow = [\"example.net\"]"),
        ("http://example.org:22/", Reason::PortNotListed, "allow = [\"example.org:22\"]"),
        ("http://other.example/", Reason::PortNotListed, "allow = [\"other.example\"]"),
        ("http://93.184.216.34/", Reason::HostNotListed, "allow = [\"93.184.216.34\"]"),
        ("http://169.254.169.254/latest/meta-data/", Reason::HostNotListed, "allow = [\"169.254.169.254\"]"),
    ] {
        let answer = stage.ask(&format!("GET {url}")).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{url}: {answer}");
        assert!(answer.contains("content-type: text/plain"), "{answer}");
        assert!(answer.contains(line) && answer.contains("/etc/assistant/egress.toml"), "{url}: {answer}");
        assert!(answer.contains(&format!("rule: {}", reason.word())), "{url}: {answer}");
        let record = stage.record().await;
        assert_eq!((record.reason, record.verdict), (reason, Verdict::Refused));
        assert!(record.suggestion.unwrap().contains(line));
    }
    assert!(stage.outside.resolved().is_empty(), "nothing is asked of a resolver for a host that is not listed");
}

#[tokio::test]
async fn addresses_that_are_not_public_are_never_connected_to() {
    let mut stage = with_host("", "").await;
    for (index, (address, class)) in [
        ("127.0.0.1", Class::Loopback),
        ("10.1.2.3", Class::Private),
        ("169.254.169.254", Class::Metadata),
        ("fd00:ec2::254", Class::Metadata),
        ("::1", Class::Loopback),
        ("::ffff:93.184.216.34", Class::Embedded),
        ("64:ff9b::5db8:d822", Class::Embedded),
        ("100.64.0.1", Class::Shared),
        ("0.0.0.0", Class::Unspecified),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("n{index}.example.net");
        stage.outside.name(&name, &[address]);
        let answer = stage.ask(&format!("GET http://{name}/")).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(&format!("is {class}")), "{address}: {answer}");
        let record = stage.record().await;
        assert_eq!((record.reason, record.address), (Reason::AddressNotPublic(class), Some(address.parse().unwrap())));
    }
    assert!(stage.outside.connected().is_empty());
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_connected_to_where_it_was_checked() {
    let mut stage = with_host("", "").await;
    stage.outside.name("re.example.net", &[PUBLIC]);
    stage.outside.name("re.example.net", &["127.0.0.1"]);
    stage.outside.name("mix.example.net", &["10.0.0.1", PUBLIC, "::1"]);
    let first = stage.ask("GET http://re.example.net/").await;
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert_eq!(stage.outside.resolved(), ["re.example.net"], "one look-up a request");
    let second = stage.ask("GET http://re.example.net/").await;
    assert!(second.starts_with("HTTP/1.1 403 "), "{second}");
    let mixed = stage.ask("GET http://mix.example.net/").await;
    assert!(mixed.starts_with("HTTP/1.1 200 "), "{mixed}");
    assert_eq!(stage.outside.connected(), [format!("{PUBLIC}:80"), format!("{PUBLIC}:80")]);
    let told = [stage.record().await.reason, stage.record().await.reason, stage.record().await.reason];
    assert_eq!(told.iter().filter(|reason| **reason == Reason::Done).count(), 2, "{told:?}");
    assert!(told.contains(&Reason::AddressNotPublic(Class::Loopback)), "{told:?}");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let stage = with_host("[limits]\nconnect_seconds = 2", "").await;
    stage.outside.name("two.example.net", &["8.8.8.8", "8.8.4.4", PUBLIC]);
    stage.outside.route("8.8.4.4:80", None);
    let answer = stage.ask("GET http://two.example.net/").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(stage.outside.connected().len(), 3);
}

#[tokio::test]
async fn what_does_not_work_outside_is_told_apart() {
    let mut stage = with_host("[limits]\nresolve_seconds = 1\nconnect_seconds = 1", "").await;
    stage.outside.name("slow.example.net", &[]);
    stage.outside.name("closed.example.net", &["8.8.8.8"]);
    stage.outside.name("silent.example.net", &["8.8.4.4"]);
    stage.outside.route("8.8.4.4:80", None);
    for (host, status, reason) in [
        ("unknown.example.net", 502, Reason::ResolveFailed),
        ("slow.example.net", 504, Reason::ResolveTimeout),
        ("closed.example.net", 502, Reason::ConnectFailed),
        ("silent.example.net", 504, Reason::ConnectTimeout),
    ] {
        for method in [format!("GET http://{host}/"), format!("CONNECT {host}:443")] {
            stage.outside.route("8.8.4.4:443", None);
            let answer = stage.ask(&method).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method}: {answer}");
            let record = stage.record().await;
            assert_eq!((record.reason, record.verdict), (reason, Verdict::Failed), "{method}");
        }
    }
}

#[tokio::test]
async fn a_host_that_does_not_speak_http_is_a_bad_gateway() {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        " ",
    ] {
        let mut stage = with_host("", answer).await;
        let told = stage.ask("GET http://example.org/").await;
        assert!(told.starts_with("HTTP/1.1 502 "), "{answer:?}: {told}");
        let record = stage.record().await;
        assert_eq!((record.reason, record.verdict), (Reason::UpstreamFailed, Verdict::Failed), "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_success() {
    for (answer, whole) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\nhello", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", true),
    ] {
        let mut stage = with_host("", answer).await;
        let told = stage.ask("GET http://example.org/").await;
        assert!(told.starts_with(&answer[..12]), "{answer:?}: {told}");
        let reason = if whole { Reason::Done } else { Reason::UpstreamFailed };
        assert_eq!(stage.record().await.reason, reason, "{answer:?}");
    }
    let mut stage = with_host("", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
    assert!(stage.ask("HEAD http://example.org/").await.contains("content-length: 5"));
    assert_eq!(stage.record().await.reason, Reason::Done);
}

#[tokio::test]
async fn a_client_that_goes_is_told_too() {
    let mut stage = with_host("", "").await;
    stage.outside.name("slow.example.net", &[]);
    let mut stream = stage.connect().await;
    let request = format!("GET http://slow.example.net/ HTTP/1.1\r\n{}\r\n", authorization("secret"));
    stream.write_all(request.as_bytes()).await.unwrap();
    while stage.outside.resolved().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    let record = stage.record().await;
    assert_eq!((record.reason, record.host.as_deref()), (Reason::ClientGone, Some("slow.example.net")));
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let stage = with_host("", "").await;
    let body = "x".repeat(1 << 20);
    let answer = stage.ask(&format!("PUT http://evil.example/\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("allow = "), "{answer}");
}

#[tokio::test]
async fn an_answer_loses_what_is_between_neighbours() {
    let answer = "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nx-kept: 1\r\nkeep-alive: timeout=5\r\n\
                  proxy-authenticate: Basic\r\ncontent-length: 2\r\n\r\nok";
    let told = with_host("", answer).await.ask("GET http://example.org/").await;
    assert!(told.contains("x-kept: 1\r\n") && told.ends_with("\r\n\r\nok"), "{told}");
    assert!(!told.contains("x-hop") && !told.contains("keep-alive") && !told.contains("authenticate"), "{told}");
}

#[tokio::test]
async fn without_a_token_nothing_goes() {
    let mut stage = with_host("", "").await;
    for header in [
        String::new(),
        authorization("wrong"),
        authorization(""),
        "authorization: Basic am9iOnNlY3JldA==\r\n".to_owned(),
    ] {
        for line in ["GET http://example.org/", "CONNECT example.org:443"] {
            let answer = stage.send(format!("{line} HTTP/1.1\r\n{header}connection: close\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 407 "), "{header}: {answer}");
            assert!(answer.contains("proxy-authenticate: Basic realm="), "{answer}");
            let record = stage.record().await;
            assert_eq!((record.reason, record.job), (Reason::TokenUnknown, None));
        }
    }
    assert!(stage.outside.resolved().is_empty());
}

#[tokio::test]
async fn what_is_no_request_to_a_proxy_is_bad() {
    let mut stage = with_host("", "").await;
    for line in [
        "GET /index.html",
        "OPTIONS *",
        "GET https://example.org/",
        "GET ftp://example.org/",
        "GET http://me:secret@example.org/",
        "GET http://127.1/",
        "CONNECT example.org",
        "CONNECT example.org:0",
        "CONNECT me@example.org:443",
    ] {
        let answer = stage.ask(line).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{line}: {answer}");
        assert!(!answer.contains("secret"), "nothing is echoed: {answer}");
        assert_eq!(stage.record().await.reason, Reason::Malformed, "{line}");
    }
}

#[tokio::test]
async fn a_request_that_was_here_before_is_refused() {
    let mut stage = with_host("", "").await;
    let answer = stage.ask("GET http://example.org/\r\nvia: 1.1 assistant-egress\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 508 "), "{answer}");
    assert_eq!(stage.record().await.reason, Reason::Loop);
}

#[tokio::test]
async fn bytes_are_bounded_both_ways() {
    let long: &'static str = Box::leak(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(200_000)).into_boxed_str());
    let mut stage = with_host("[limits]\ndownload_bytes = 100000\nupload_bytes = 100000", long).await;
    let answer = stage.ask("GET http://example.org/").await;
    assert!(answer.len() < 110_000, "{}", answer.len());
    let record = stage.record().await;
    assert_eq!((record.reason, record.verdict), (Reason::DownloadBytes, Verdict::Refused));
    assert!(record.bytes_down <= 100_000);

    let body = "x".repeat(200_000);
    let answer = stage.ask(&format!("PUT http://example.org/\r\ncontent-length: 200000\r\n\r\n{body}")).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let record = stage.record().await;
    assert_eq!((record.reason, record.bytes_up), (Reason::UploadBytes, 100_000));
}

#[tokio::test]
async fn a_grant_narrows_the_list_and_never_widens_it() {
    let mut stage = with_host("", "").await;
    stage.daemon.grant_only("8", "narrow", Some(&["only.example.net", "evil.example"])).await;
    stage.outside.name("only.example.net", &[PUBLIC]);
    for (host, status, reason) in [
        ("only.example.net", 200, Reason::Done),
        ("example.org", 403, Reason::NotGranted),
        ("evil.example", 403, Reason::HostNotListed),
    ] {
        let request = format!("GET http://{host}/ HTTP/1.1\r\n{}connection: close\r\n\r\n", authorization("narrow"));
        let answer = stage.send(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
        let record = stage.record().await;
        assert_eq!((record.reason, record.job.as_deref()), (reason, Some("8")), "{host}");
    }
}
