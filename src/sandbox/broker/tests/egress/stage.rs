//! A whole proxy with both of its sockets, and somebody at each.

use std::{path::PathBuf, sync::Arc, time::Duration};

use assistant_broker::{
    config::Config,
    control::{Event, Grant, Record, Request, Revoke, TokenHash, USER},
    egress::Egress,
    listen,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use super::outside::{Double, Outside, beside};

/// How long anything may take before a test gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Stage {
    dir: TempDir,
    pub(super) egress: Arc<Egress>,
    pub(super) outside: Arc<Outside>,
    pub(super) daemon: Daemon,
}

impl Stage {
    /// A proxy with this configuration, and a daemon that has granted job `7` the token `secret`.
    pub(super) async fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let outside = Arc::new(Outside::default());
        let config = Config::parse(config, "egress.toml").unwrap();
        let egress = Egress::new(config, "/etc/assistant/egress.toml".to_owned(), Double(outside.clone()));
        let bind = |name: &str| UnixListener::from_std(listen::bind(&dir.path().join(name)).unwrap()).unwrap();
        let (proxy, control) = (bind("proxy"), bind("control"));
        let serving = egress.clone();
        beside(async move { serving.serve(proxy, control, vec![nix::unistd::geteuid().as_raw()]).await });
        let daemon = Daemon::connect(dir.path().join("control")).await;
        let mut stage = Self { dir, egress, outside, daemon };
        stage.daemon.grant("7", "secret").await;
        stage
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A connection as a command has it.
    pub(super) async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path("proxy")).await.unwrap()
    }

    /// Sends `request` with the token and `connection: close`, and reads to the end.
    pub(super) async fn ask(&self, request: &str) -> String {
        let (line, rest) = request.split_once("\r\n").unwrap_or((request, ""));
        let rest = if rest.is_empty() { "\r\n" } else { rest };
        self.send(&format!("{line} HTTP/1.1\r\n{}connection: close\r\n{rest}", authorization("secret"))).await
    }

    /// Sends exactly these bytes, and reads to the end.
    pub(super) async fn send(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        let _ = stream.write_all(request.as_ref()).await; // it may refuse before the last byte
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A tunnel that is established.
    pub(super) async fn tunnel(&self, target: &str) -> UnixStream {
        let mut stream = self.connect().await;
        let request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{}\r\n", authorization("secret"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(PATIENCE, stream.read_u8()).await.unwrap();
            head.push(byte.unwrap_or_else(|err| panic!("{err}: {}", String::from_utf8_lossy(&head))));
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        stream
    }

    pub(super) async fn record(&mut self) -> Record {
        self.daemon.record().await
    }
}

/// The header line that shows a token.
pub(super) fn authorization(token: &str) -> String {
    format!("proxy-authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{USER}:{token}")))
}

/// The end of the control socket where the daemon is.
pub(super) struct Daemon {
    pub(super) writing: OwnedWriteHalf,
    lines: Lines<BufReader<OwnedReadHalf>>,
}

impl Daemon {
    pub(super) async fn connect(path: PathBuf) -> Self {
        let (reading, writing) = UnixStream::connect(path).await.unwrap().into_split();
        let mut daemon = Self { writing, lines: BufReader::new(reading).lines() };
        assert_eq!(daemon.event().await, Some(Event::Hello { version: 1 }));
        daemon
    }

    /// The next event; `None` at the end.
    pub(super) async fn event(&mut self) -> Option<Event> {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("an event in time").ok()??;
        Some(serde_json::from_str(&line).unwrap())
    }

    pub(super) async fn record(&mut self) -> Record {
        loop {
            match self.event().await.unwrap() {
                Event::Request(record) => return *record,
                Event::Error { message } => panic!("{message}"),
                _ => {}
            }
        }
    }

    pub(super) async fn say(&mut self, request: &Request) {
        let line = serde_json::to_string(request).unwrap() + "\n";
        self.writing.write_all(line.as_bytes()).await.unwrap();
    }

    pub(super) async fn grant(&mut self, job: &str, token: &str) {
        self.grant_only(job, token, None).await;
    }

    pub(super) async fn grant_only(&mut self, job: &str, token: &str, allow: Option<&[&str]>) {
        let allow = allow.map(|list| list.iter().map(|text| text.parse().unwrap()).collect());
        self.say(&Request::Grant(Grant {
            job: job.to_owned(),
            token_sha256: TokenHash::of(token),
            allow,
            process: None,
        }))
        .await;
        assert_eq!(self.event().await, Some(Event::Granted { job: job.to_owned() }));
    }

    pub(super) async fn revoke(&mut self, job: &str) {
        self.say(&Request::Revoke(Revoke { job: job.to_owned() })).await;
    }
}

/// A client hello of TLS 1.3 with this name and these further extensions.
pub(super) fn client_hello(name: Option<&str>, more: &[u8]) -> Vec<u8> {
    fn sized(bytes: usize, body: &[u8]) -> Vec<u8> {
        [&body.len().to_be_bytes()[8 - bytes..], body].concat()
    }
    let name = name.map(|name| {
        let list = sized(2, &[&[0], &sized(2, name.as_bytes())[..]].concat());
        [&[0, 0], &sized(2, &list)[..]].concat()
    });
    let extensions = [name.unwrap_or_default(), more.to_vec()].concat();
    let body = [&[3, 3], &[7; 32][..], &[0], &[0, 2, 0x13, 1], &[1, 0], &sized(2, &extensions)].concat();
    let message = [&[1], &sized(3, &body)[..]].concat();
    [&[22, 3, 1], &sized(2, &message)[..]].concat()
}
