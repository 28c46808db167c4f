//! HTTPS at the web door, with certificates by openssl and curl as the client.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use assistantd::config::value::Seconds;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
};

use super::served::{Served, read_reply};
use crate::support::until;

const PASSWORD: &str = "correct horse battery";

/// A certificate for 127.0.0.1 with its key, for so many days; moved into place at once, as renewals do.
async fn make(dir: &Path, days: &str) {
    let script = format!(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.new -out request -subj /CN=test
         printf 'subjectAltName=IP:127.0.0.1' > names
         openssl x509 -req -in request -signkey key.new -days {days} -extfile names -out certificate.new
         chmod 600 key.new; mv certificate.new certificate.pem; mv key.new key.pem"
    );
    let made = Command::new("sh").args(["-ec", &script]).current_dir(dir).output().await.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A served API with HTTPS, and the directory of its certificate.
async fn served() -> (Served, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), "90").await;
    let path = |name: &str| Some(dir.path().join(name).display().to_string());
    let served = Served::on_the_web(|config| {
        (config.api.tls_certificate, config.api.tls_key) = (path("certificate.pem"), path("key.pem"));
        config.api.header_timeout = Seconds(Duration::from_millis(500));
    });
    (served, dir)
}

/// What curl says, and its exit status; it trusts the certificate that is there now.
async fn curl(served: &Served, dir: &Path, path: &str, options: &[&str]) -> (Option<i32>, String) {
    let url = format!("https://{}{path}", served.web.unwrap());
    let ran = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--cacert", "certificate.pem"])
        .args(options)
        .arg(url)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    (ran.status.code(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
}

#[tokio::test]
async fn curl_comes_by_both_versions_and_by_no_older_one() {
    let (served, dir) = served().await;
    for version in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"], &[]] {
        let (code, said) = curl(&served, dir.path(), "/health", &[version, &["-i"]].concat()).await;
        assert_eq!(code, Some(0), "{version:?}: {said}");
        assert!(said.starts_with("HTTP/1.1 200") && said.contains("\"status\""), "{said}");
        assert!(!said.to_lowercase().contains("strict-transport-security"), "it would hold for every port of the host");
    }
    let old = ["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"];
    assert_ne!(curl(&served, dir.path(), "/health", &old).await.0, Some(0));
    // Another name than the certificate's is the client's to refuse; the daemon refuses it as a Host.
    let (code, said) = curl(&served, dir.path(), "/health", &["-H", "Host: evil.example"]).await;
    assert!(code == Some(0) && said.contains("forbidden"), "{said}");
    let large = "x".repeat(300_000);
    let (code, said) = curl(
        &served,
        dir.path(),
        "/api/login",
        &["--data-binary", &format!("{{\"password\":\"{}\"}}", &large[..100_000])],
    )
    .await;
    assert!(code == Some(0) && said.contains("nothing says where this request was made"), "{said}");
}

#[tokio::test]
async fn a_login_is_a_cookie_for_https_and_for_this_host_alone() {
    let (served, dir) = served().await;
    let password = json!({ "password": PASSWORD }).to_string();
    assert_eq!(served.call("PUT", "/api/web/password", "", &password).await.status, 204);
    let origin = format!("Origin: https://{}", served.web.unwrap());
    let log_in = ["-i", "-c", "jar", "-H", &origin, "-H", "Content-Type: application/json", "--data", &password];
    let (code, said) = curl(&served, dir.path(), "/api/login", &log_in).await;
    assert!(code == Some(0) && said.starts_with("HTTP/1.1 200"), "{said}");
    let cookie = said.lines().find(|line| line.to_lowercase().starts_with("set-cookie:")).unwrap();
    assert!(cookie.contains("__Host-assistant=") && cookie.ends_with("; Secure"), "{cookie}");
    let (_, said) = curl(&served, dir.path(), "/api/session", &["-b", "jar"]).await;
    assert!(said.contains("\"admin\""), "{said}");
    // A page that came by HTTP is somebody else's.
    let foreign = format!("Origin: http://{}", served.web.unwrap());
    let (_, said) = curl(&served, dir.path(), "/api/session", &["-b", "jar", "-H", &foreign]).await;
    assert!(said.contains("forbidden"), "{said}");
}

#[tokio::test]
async fn http_at_the_port_of_https_hears_so_and_silence_is_ended() {
    let (served, _dir) = served().await;
    let reply = served.visit("GET", "/health", "", "").await;
    assert_eq!((reply.status, reply.kind().as_str()), (400, "invalid"), "{reply:?}");
    assert!(reply.json()["hint"].as_str().unwrap().contains("https://"), "{reply:?}");
    // The socket speaks HTTP as ever.
    assert_eq!(served.get("/health").await.status, 200);

    for begin in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut silent = TcpStream::connect(served.web.unwrap()).await.unwrap();
        silent.write_all(begin).await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), silent.read_to_end(&mut rest)).await.expect("an end");
    }
    let mut nonsense = TcpStream::connect(served.web.unwrap()).await.unwrap();
    nonsense.write_all(b"\x16\x03\x01\x00\x05hello").await.unwrap();
    assert_eq!(read_reply(&mut nonsense).await.status, 0, "an alert, and the end");
}

#[tokio::test]
async fn handshakes_count_as_connections_of_their_address() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), "90").await;
    let path = |name: &str| Some(dir.path().join(name).display().to_string());
    let served = Served::on_the_web(|config| {
        (config.api.tls_certificate, config.api.tls_key) = (path("certificate.pem"), path("key.pem"));
        config.api.max_connections_per_address = 4;
    });
    let from_attacker = || async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(served.web.unwrap()).await.unwrap()
    };
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(from_attacker().await);
    }
    let mut closed = from_attacker().await;
    assert_eq!(closed.read(&mut [0; 16]).await.unwrap_or(0), 0, "one more is closed without work");
    assert_eq!(curl(&served, dir.path(), "/health", &[]).await.0, Some(0), "and others are served");
    let attacker = ["--interface", "127.0.0.2"];
    assert_ne!(curl(&served, dir.path(), "/health", &attacker).await.0, Some(0));
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while curl(&served, dir.path(), "/health", &attacker).await.0 != Some(0) {
        assert!(Instant::now() < deadline, "the places are not given back");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_followed_and_a_bad_one_is_not() {
    let (served, dir) = served().await;
    let trusts = async || curl(&served, dir.path(), "/health", &[]).await.0 == Some(0);
    let warned = async |name: &str| served.get("/api/status").await.body.contains(name);
    assert!(trusts().await);

    // curl trusts only what lies there, so it gets in again when the daemon serves that.
    make(dir.path(), "3").await;
    until("the renewed certificate is served", 20, async || trusts().await.then_some(())).await;
    assert!(warned("certificate-expires").await, "it ends in three days");

    // The key of another one: what was served goes on.
    std::fs::copy(dir.path().join("certificate.pem"), dir.path().join("good.pem")).unwrap();
    let former = std::fs::read(dir.path().join("key.pem")).unwrap();
    make(dir.path(), "90").await;
    std::fs::write(dir.path().join("key.pem"), &former).unwrap();
    until("the bad pair is refused", 20, async || warned("certificate-refused").await.then_some(())).await;
    let (code, said) = curl(&served, dir.path(), "/health", &["--cacert", "good.pem"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(!trusts().await);

    // A key that everybody can read is refused as well, until its mode is mended.
    make(dir.path(), "90").await;
    let mode =
        |mode| std::fs::set_permissions(dir.path().join("key.pem"), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    until("the mode is told", 20, async || warned("mode 0644").await.then_some(())).await;
    mode(0o600);
    until("the mended pair is served", 20, async || trusts().await.then_some(())).await;
    assert!(!warned("certificate-").await);

    // An expired one is served, because the old one is no better, and told.
    make(dir.path(), "-1").await;
    until("the expired one is told", 20, async || warned("out of date since").await.then_some(())).await;
    let (code, said) = curl(&served, dir.path(), "/health", &[]).await;
    assert_eq!(code, Some(60), "curl refuses it: {said}");
    assert_eq!(curl(&served, dir.path(), "/health", &["--insecure"]).await.0, Some(0));
}
