//! An IMAP server that does what a script says at any command, and otherwise what a good one does.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard},
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What the server does instead of answering. `TAG` in what it says becomes the tag of the command.
#[derive(Clone)]
pub(super) enum Act {
    Say(Vec<u8>),
    /// Says that much and ends the connection.
    Cut(Vec<u8>),
    /// Says that much, and nothing any more.
    Stall(Vec<u8>),
}

type Script = Box<dyn FnMut(&str) -> Option<Act> + Send>;

pub(super) struct State {
    pub(super) messages: BTreeMap<u32, Vec<u8>>,
    pub(super) archived: BTreeMap<String, Vec<Vec<u8>>>,
    deleted: BTreeSet<u32>,
    pub(super) folders: BTreeSet<String>,
    pub(super) uid_validity: u32,
    pub(super) capabilities: String,
    /// Access tokens that are good; a password is.
    pub(super) tokens: Vec<String>,
    /// Asked with each command, without its tag.
    pub(super) script: Script,
    pub(super) commands: Vec<String>,
    /// What was said before TLS.
    pub(super) in_the_clear: String,
    pub(super) connections: u32,
}

/// What a good server can do.
pub(super) const ALL: &str = "IMAP4rev1 SASL-IR ID IDLE MOVE UIDPLUS AUTH=PLAIN";

#[derive(Clone)]
pub(super) struct Server {
    pub(super) port: u16,
    pub(super) ca: PathBuf,
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

/// A certificate authority and a certificate for these names with its key, in `dir`.
pub(super) fn certificate(dir: &Path, names: &str, days: &str) {
    let script = format!(
        "new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
         openssl req -x509 $new -days 30 -subj /CN=authority -keyout ca.key -out ca.pem
         openssl req $new -subj /CN=test -keyout key.pem -out request
         printf 'subjectAltName={names}\\nbasicConstraints=CA:FALSE' > extensions
         openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial {days} -extfile extensions -out leaf.pem"
    );
    let made = Command::new("sh").args(["-ec", &script]).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

impl Server {
    /// With a good certificate in `dir`.
    pub(super) async fn start(dir: &Path, start_tls: bool) -> Self {
        certificate(dir, "IP:127.0.0.1", "-days 30");
        Self::start_with(dir, start_tls).await
    }

    /// With the certificate that lies in `dir`.
    pub(super) async fn start_with(dir: &Path, start_tls: bool) -> Self {
        let chain = vec![CertificateDer::from_pem_file(dir.join("leaf.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            ca: dir.join("ca.pem"),
            state: Arc::new(Mutex::new(State {
                messages: BTreeMap::new(),
                archived: BTreeMap::new(),
                deleted: BTreeSet::new(),
                folders: ["INBOX", "Archive"].map(String::from).into(),
                uid_validity: 1,
                capabilities: ALL.into(),
                tokens: Vec::new(),
                script: Box::new(|_| None),
                commands: Vec::new(),
                in_the_clear: String::new(),
                connections: 0,
            })),
            news: Arc::new(Notify::new()),
        };
        let accepting = server.clone();
        #[expect(clippy::disallowed_methods, reason = "a server of a test ends with its runtime")]
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, acceptor) = (accepting.clone(), acceptor.clone());
                tokio::spawn(async move { server.serve(stream, acceptor, start_tls).await });
            }
        });
        server
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A message comes in.
    pub(super) fn deliver(&self, uid: u32, message: impl Into<Vec<u8>>) {
        self.state().messages.insert(uid, message.into());
        self.news.notify_waiters();
    }

    pub(super) fn script(&self, script: impl FnMut(&str) -> Option<Act> + Send + 'static) {
        self.state().script = Box::new(script);
    }

    async fn serve(self, mut stream: TcpStream, acceptor: TlsAcceptor, start_tls: bool) -> Option<()> {
        if start_tls {
            let greeting = self.state().capabilities.contains("PREAUTH");
            stream.write_all(if greeting { b"* PREAUTH hello\r\n" } else { b"* OK hello\r\n" }).await.ok()?;
            let mut said = [0; 512];
            let length = stream.read(&mut said).await.ok()?;
            self.state().in_the_clear.push_str(&String::from_utf8_lossy(&said[..length]));
            let refused = self.state().capabilities.contains("NOTLS");
            // What follows in the clear must not count for what is said under TLS.
            let answer: &[u8] = if refused { b"a0 BAD no\r\n" } else { b"a0 OK go on\r\n" };
            stream.write_all(answer).await.ok()?;
            if refused {
                let length = stream.read(&mut said).await.ok()?;
                self.state().in_the_clear.push_str(&String::from_utf8_lossy(&said[..length]));
                return None;
            }
        }
        let mut stream = BufReader::new(acceptor.accept(stream).await.ok()?);
        self.state().connections += 1;
        if !start_tls {
            stream.write_all(b"* OK hello\r\n").await.ok()?;
        }
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let (tag, command) = line.trim_end().split_once(' ')?;
            let act = {
                let mut state = self.state();
                state.commands.push(command.to_owned());
                (state.script)(command)
            };
            let text = |bytes: Vec<u8>| match String::from_utf8(bytes) {
                Ok(text) => text.replace("TAG", tag).into_bytes(),
                Err(err) => err.into_bytes(),
            };
            match act {
                Some(Act::Say(bytes)) => {
                    stream.write_all(&text(bytes)).await.ok()?;
                    continue;
                }
                Some(Act::Cut(bytes)) => {
                    stream.write_all(&text(bytes)).await.ok()?;
                    stream.flush().await.ok()?;
                    return None;
                }
                Some(Act::Stall(bytes)) => {
                    stream.write_all(&text(bytes)).await.ok()?;
                    let mut rest = Vec::new();
                    stream.read_to_end(&mut rest).await.ok()?;
                    return None;
                }
                None => {}
            }
            let (tag, command) = (tag.to_owned(), command.to_owned());
            self.answer(&mut stream, &tag, &command).await?;
        }
    }

    async fn answer(&self, stream: &mut BufReader<TlsStream<TcpStream>>, tag: &str, command: &str) -> Option<()> {
        if command == "IDLE" {
            return self.idle(stream, tag).await;
        }
        if let Some(sasl) = command.strip_prefix("AUTHENTICATE ") {
            return self.authenticate(stream, tag, sasl).await;
        }
        let mut out = Vec::new();
        let ok = self.state().act(command, &mut out);
        out.extend_from_slice(format!("{tag} {ok}\r\n").as_bytes());
        stream.write_all(&out).await.ok()
    }

    async fn authenticate(&self, stream: &mut BufReader<TlsStream<TcpStream>>, tag: &str, sasl: &str) -> Option<()> {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let (mechanism, first) = sasl.split_once(' ').map_or((sasl, None), |(name, first)| (name, Some(first)));
        let mut line = String::new();
        let said = if let Some(first) = first {
            first.to_owned()
        } else {
            stream.write_all(b"+ \r\n").await.ok()?;
            stream.read_line(&mut line).await.ok()?;
            line.trim().to_owned()
        };
        let said = String::from_utf8(BASE64_STANDARD.decode(said).ok()?).ok()?;
        let good = match mechanism {
            "PLAIN" => said == "\0me\0correct horse",
            _ => self.state().tokens.iter().any(|token| said.contains(&format!("auth=Bearer {token}\x01"))),
        };
        if good {
            return stream.write_all(format!("{tag} OK welcome\r\n").as_bytes()).await.ok();
        }
        if mechanism != "PLAIN" {
            let challenge = BASE64_STANDARD.encode(r#"{"status":"invalid_token","schemes":"bearer"}"#);
            stream.write_all(format!("+ {challenge}\r\n").as_bytes()).await.ok()?;
            line.clear();
            stream.read_line(&mut line).await.ok()?;
            let expected = if mechanism == "XOAUTH2" { "" } else { "AQ==" };
            assert_eq!(line.trim(), expected, "the answer to the challenge of {mechanism}");
        }
        stream.write_all(format!("{tag} NO [AUTHENTICATIONFAILED] not you\r\n").as_bytes()).await.ok()
    }

    async fn idle(&self, stream: &mut BufReader<TlsStream<TcpStream>>, tag: &str) -> Option<()> {
        let news = self.news.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        stream.write_all(b"+ idling\r\n").await.ok()?;
        let mut line = String::new();
        loop {
            tokio::select! {
                read = stream.read_line(&mut line) => {
                    if read.ok()? == 0 {
                        return None;
                    }
                    return stream.write_all(format!("{tag} OK done\r\n").as_bytes()).await.ok();
                }
                () = &mut news => {
                    news.set(self.news.notified());
                    let act = (self.state().script)("NEWS");
                    if let Some(Act::Cut(bytes)) = act {
                        stream.write_all(&bytes).await.ok()?;
                        stream.flush().await.ok()?;
                        return None;
                    }
                    let exists = format!("* {} EXISTS\r\n", self.state().messages.len());
                    stream.write_all(exists.as_bytes()).await.ok()?;
                }
            }
        }
    }
}

impl State {
    fn act(&mut self, command: &str, out: &mut Vec<u8>) -> &'static str {
        let words: Vec<&str> = command.splitn(4, ' ').collect();
        let mut say = |text: String| out.extend_from_slice(text.as_bytes());
        match words[..] {
            ["CAPABILITY"] => say(format!("* CAPABILITY {}\r\n", self.capabilities)),
            ["NOOP"] => say(format!("* {} EXISTS\r\n", self.messages.len())),
            ["LOGIN", ..] if self.capabilities.contains("LOGINDISABLED") => return "NO never",
            ["LOGIN", "\"me\"", ..] if command.ends_with("\"correct horse\"") => {}
            ["LOGIN", ..] => return "NO wrong",
            ["SELECT" | "EXAMINE", name, ..] => {
                if !self.folders.contains(name.trim_matches('"')) {
                    return "NO no such folder";
                }
                say(format!("* {} EXISTS\r\n* OK [UIDVALIDITY {}] ok\r\n", self.messages.len(), self.uid_validity));
            }
            ["UID", "FETCH", set, what] => {
                for (number, (uid, bytes)) in self.messages.iter().enumerate().map(|(at, message)| (at + 1, message)) {
                    if !contains(set, *uid, self.messages.keys().last().copied().unwrap_or(0)) {
                        continue;
                    }
                    if let Some(range) = what.strip_prefix("(UID BODY.PEEK[]<").and_then(|rest| rest.split_once('>')) {
                        let (from, length) = range.0.split_once('.').unwrap();
                        let (from, length): (usize, usize) = (from.parse().unwrap(), length.parse().unwrap());
                        let part = &bytes[from.min(bytes.len())..(from + length).min(bytes.len())];
                        let head = format!("* {number} FETCH (UID {uid} BODY[]<{from}> {{{}}}\r\n", part.len());
                        out.extend_from_slice(head.as_bytes());
                        out.extend_from_slice(part);
                        out.extend_from_slice(b")\r\n");
                    } else {
                        let line = format!(
                            "* {number} FETCH (UID {uid} RFC822.SIZE {} INTERNALDATE \"01-Feb-2026 12:00:00 +0000\")\r\n",
                            bytes.len()
                        );
                        out.extend_from_slice(line.as_bytes());
                    }
                }
            }
            ["UID", verb @ ("MOVE" | "COPY"), set, name] => {
                let name = name.trim_matches('"').to_owned();
                if !self.folders.contains(&name) {
                    return "NO [TRYCREATE] no such folder";
                }
                let last = self.messages.keys().last().copied().unwrap_or(0);
                let uids: Vec<u32> = self.messages.keys().copied().filter(|uid| contains(set, *uid, last)).collect();
                for uid in uids {
                    let message = self.messages[&uid].clone();
                    if verb == "MOVE" {
                        self.messages.remove(&uid);
                    }
                    self.archived.entry(name.clone()).or_default().push(message);
                }
            }
            ["UID", "STORE", set, flags] => {
                assert!(flags.contains("+FLAGS.SILENT (\\Deleted)"), "{flags}");
                self.deleted.extend(self.messages.keys().copied().filter(|uid| contains(set, *uid, 0)));
            }
            ["UID", "EXPUNGE", set] => {
                let deleted = &self.deleted;
                self.messages.retain(|uid, _| !(deleted.contains(uid) && contains(set, *uid, 0)));
            }
            ["CREATE", name] => {
                self.folders.insert(name.trim_matches('"').to_owned());
            }
            ["ID" | "SUBSCRIBE", ..] | ["LOGOUT"] => {}
            _ => return "BAD unknown command",
        }
        "OK done"
    }
}

/// Whether a UID is in a set; `last` stands for the asterisk.
fn contains(set: &str, uid: u32, last: u32) -> bool {
    let number = |text: &str| if text == "*" { last } else { text.parse().unwrap() };
    set.split(',').any(|range| match range.split_once(':') {
        Some((from, to)) => {
            let (from, to) = (number(from), number(to));
            (from.min(to)..=from.max(to)).contains(&uid)
        }
        None => number(range) == uid,
    })
}
