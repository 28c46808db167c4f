//! Real clients through the proxy: curl, over a bridge from TCP as it stands in a sandbox, against real TLS.

use std::{
    net::{SocketAddr, TcpListener as Unbound},
    process::{Output, Stdio},
    time::Duration,
};

use assistant_broker::control::Reason;
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    process::{Child, Command},
    time::timeout,
};

use super::{
    outside::{PUBLIC, beside, http},
    stage::{PATIENCE, Stage},
};

/// The proxy at a port of loopback.
async fn bridge(stage: &Stage) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, path) = (listener.local_addr().unwrap(), stage.path("proxy"));
    beside(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let path = path.clone();
            beside(async move {
                let mut far = UnixStream::connect(path).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await; // either may break off
            });
        }
    });
    address
}

async fn curl(stage: &Stage, arguments: &[&str]) -> Output {
    let proxy = format!("http://job:secret@{}", bridge(stage).await);
    let mut curl = Command::new("curl");
    curl.env_clear().env("PATH", "/usr/bin:/bin").kill_on_drop(true).stdin(Stdio::null());
    curl.args(["--silent", "--show-error", "--max-time", "15", "--proxy", &proxy]).args(arguments);
    timeout(PATIENCE, curl.output()).await.unwrap().expect("curl is installed")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server of real TLS with a certificate of its own, and its port.
async fn tls(stage: &Stage) -> (Child, SocketAddr) {
    let (key, certificate) = (stage.path("key.pem"), stage.path("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=example.org", "-days", "2"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .await
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let address = Unbound::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = Command::new("openssl");
    server.args(["s_server", "-www", "-quiet", "-accept", &address.to_string()]);
    server.arg("-key").arg(&key).arg("-cert").arg(&certificate);
    let server = server.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    for _ in 0..200 {
        if TcpStream::connect(address).await.is_ok() {
            return (server, address);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("openssl s_server does not listen");
}

#[tokio::test(flavor = "multi_thread")]
async fn https_goes_through_and_fronting_does_not() {
    let mut stage = Stage::new("allow = [\"example.org\"]").await;
    let (_server, address) = tls(&stage).await;
    stage.outside.name("example.org", &[PUBLIC]);
    stage.outside.route(&format!("{PUBLIC}:443"), Some(address));
    let done = curl(&stage, &["--insecure", "https://example.org/"]).await;
    assert!(done.status.success() && text(&done.stdout).contains("s_server"), "{}", text(&done.stderr));
    let record = stage.record().await;
    assert_eq!(record.reason, Reason::Done);
    assert!(record.bytes_down > 1000, "{record:?}");

    // curl names in TLS what stands in the URL, and in CONNECT what it is told to connect to.
    let front = ["--insecure", "--connect-to", "evil.example:443:example.org:443", "https://evil.example/"];
    let fronted = curl(&stage, &front).await;
    assert!(!fronted.status.success());
    assert!(text(&fronted.stderr).contains("access denied"), "{}", text(&fronted.stderr));
    assert_eq!(stage.record().await.reason, Reason::SniMismatch);

    let refused = curl(&stage, &["--insecure", "https://other.example/"]).await;
    assert!(text(&refused.stderr).contains("403"), "{}", text(&refused.stderr));
    assert_eq!(stage.record().await.reason, Reason::HostNotListed);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_goes_through_with_its_body() {
    let mut stage = Stage::new("allow = [\"example.org\"]").await;
    stage.outside.name("example.org", &[PUBLIC]);
    stage.outside.route(&format!("{PUBLIC}:80"), Some(http("").await));
    let body = "x".repeat(100_000);
    let file = stage.path("body");
    std::fs::write(&file, &body).unwrap();
    let argument = format!("@{}", file.display());
    let done = curl(&stage, &["--data-binary", &argument, "http://example.org/upload"]).await;
    assert!(text(&done.stdout).ends_with(&body), "{}", text(&done.stderr));
    assert_eq!(stage.record().await.reason, Reason::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_inwards_is_refused_at_the_second_request() {
    for (location, reason) in [
        ("http://169.254.169.254/latest/", Reason::HostNotListed),
        ("http://127.0.0.1:22/", Reason::HostNotListed),
        ("http://in.example.org/", Reason::AddressNotPublic(assistant_broker::address::Class::Private)),
    ] {
        let mut stage = Stage::new("allow = [\"example.org\", \"in.example.org\"]").await;
        stage.outside.name("example.org", &[PUBLIC]);
        stage.outside.name("in.example.org", &["192.168.1.1"]);
        let answer = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        stage.outside.route(&format!("{PUBLIC}:80"), Some(http(Box::leak(answer.into_boxed_str())).await));
        let done = curl(&stage, &["--location", "http://example.org/"]).await;
        assert!(text(&done.stdout).starts_with("assistant-egress: "), "{}", text(&done.stdout));
        // The first one's end may be told after the second one's.
        let told = [stage.record().await.reason, stage.record().await.reason];
        assert!(told.contains(&Reason::Done) && told.contains(&reason), "{location}: {told:?}");
        assert_eq!(stage.outside.connected(), [format!("{PUBLIC}:80")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_behind_the_proxy_is_out_of_reach() {
    let mut stage = Stage::new("allow = [\"example.org\"]").await;
    stage.outside.name("example.org", &[PUBLIC]);
    stage.outside.route(&format!("{PUBLIC}:80"), Some(super::outside::echo().await));
    // A tunnel to port 80 of a listed host, and in it a request as to a proxy there.
    let done = curl(&stage, &["--proxytunnel", "http://example.org/"]).await;
    assert!(!done.status.success());
    assert_eq!(stage.record().await.reason, Reason::NotTls);
}
