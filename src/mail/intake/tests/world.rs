//! A daemon without its loops, a key, and a name server that knows it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::UdpSocket,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail_auth::{
    ArcOutput, AuthenticatedMessage, AuthenticationResults,
    arc::ArcSealer,
    common::{crypto::Ed25519Key, headers::HeaderWriter as _},
    dkim::DkimSigner,
};
use rusqlite::Row;
use sha2::{Digest as _, Sha256};

use super::super::{Taken, take};
use crate::{
    clock::Clock,
    config::Config,
    cx::Cx,
    daemon,
    error::Result,
    mail::{Arrived, Place, folder},
};

/// Stands among the names of a server that is broken.
const BROKEN: &str = ".";

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A message to be sent.
#[derive(Clone)]
pub(super) struct Mail {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) id: String,
    pub(super) date: String,
    pub(super) more: String,
    pub(super) body: String,
}

impl Mail {
    #[expect(clippy::disallowed_methods, reason = "signatures are checked by the clock of the machine")]
    pub(super) fn from(address: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let now = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
        Self {
            from: format!("Somebody <{address}>"),
            to: "assistant@example.net".into(),
            subject: format!("Task {number}"),
            id: format!("<{number}@mail.example.org>"),
            date: now,
            more: String::new(),
            body: format!("Do task {number}.\r\n"),
        }
    }

    pub(super) fn id(mut self, id: &str) -> Self {
        self.id = id.into();
        self
    }

    pub(super) fn date(mut self, date: &str) -> Self {
        self.date = date.into();
        self
    }

    pub(super) fn body(mut self, body: &str) -> Self {
        self.body = body.into();
        self
    }

    /// Header lines beside the usual ones.
    pub(super) fn with(mut self, lines: &str) -> Self {
        let _ = write!(self.more, "{lines}\r\n");
        self
    }

    pub(super) fn answering(self, other: &Self) -> Self {
        let id = other.id.clone();
        self.with(&format!("In-Reply-To: {id}\r\nReferences: {id}"))
    }

    pub(super) fn part(mut self, kind: &str, name: &str, content: &[u8]) -> Self {
        let text = std::mem::take(&mut self.body);
        let coded = STANDARD.encode(content);
        self.body = format!(
            "--b\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--b\r\nContent-Type: {kind}\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{coded}\r\n--b--\r\n"
        );
        self.with("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b")
    }

    pub(super) fn raw(&self) -> String {
        let Self { from, to, subject, id, date, more, body } = self;
        format!(
            "From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: {id}\r\n{more}\r\n{body}"
        )
    }
}

pub(super) struct World {
    _dir: tempfile::TempDir,
    pub(super) cx: Cx,
    key: Vec<u8>,
    uid: AtomicU32,
    names: Arc<Mutex<BTreeMap<String, String>>>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::at(Clock::System, change)
    }

    pub(super) fn at(clock: Clock, change: impl FnOnce(&mut Config)) -> Self {
        let key = Ed25519Key::generate_pkcs8().unwrap();
        let public = STANDARD.encode(Ed25519Key::from_pkcs8_der(&key).unwrap().public_key());
        let mut names = BTreeMap::from([("_dmarc.example.org".to_owned(), "v=DMARC1; p=reject".to_owned())]);
        for domain in ["example.org", "sub.example.org", "evil.example", "example.net"] {
            names.insert(format!("s._domainkey.{domain}"), format!("v=DKIM1; k=ed25519; p={public}"));
        }
        let names = Arc::new(Mutex::new(names));
        let mut config = Config::default();
        let programs = std::env::current_exe().unwrap();
        let programs = programs.parent().and_then(std::path::Path::parent).unwrap();
        config.sandbox.runner = Some(programs.join("assistant-sandbox").to_str().unwrap().into());
        config.mail.dns_server = Some(serve(Arc::clone(&names)));
        config.identity.email = Some("assistant@example.net".into());
        config.admin.email = Some("owner@example.org".into());
        config.email.actionable_senders = vec!["ann@example.org".into(), "owner@example.org".into()];
        config.email.trusted_authserv_ids = vec!["mx.example.net".into()];
        change(&mut config);
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder(dir.path())).unwrap();
        let cx = daemon::idle(dir.path(), config, clock);
        Self { _dir: dir, cx, key, uid: AtomicU32::new(1), names }
    }

    /// The name server answers nothing but that it is broken.
    pub(super) fn break_names(&self) {
        self.names.lock().unwrap().insert(BROKEN.into(), String::new());
    }

    pub(super) fn forget_name(&self, name: &str) {
        self.names.lock().unwrap().remove(name);
    }

    pub(super) fn signed(&self, mail: &Mail) -> String {
        let address = mail.from.rsplit(['<', ' ']).next().unwrap_or_default().trim_end_matches('>');
        self.signed_by(mail, address.rsplit_once('@').map_or("example.org", |(_, domain)| domain))
    }

    pub(super) fn signed_by(&self, mail: &Mail, domain: &str) -> String {
        self.sign(mail.raw().as_bytes(), domain, &["From", "To", "Subject", "Date", "Message-ID"])
    }

    /// The message with the signature of a domain.
    pub(super) fn sign(&self, raw: &[u8], domain: &str, headers: &[&str]) -> String {
        let key = Ed25519Key::from_pkcs8_der(&self.key).unwrap();
        let signer = DkimSigner::from_key(key).domain(domain).selector("s").headers(headers.iter().copied());
        let signature = signer.sign(raw).unwrap().to_header();
        format!("{signature}{}", String::from_utf8_lossy(raw))
    }

    /// The message as a forwarder seals it, with what that found out about its sender.
    pub(super) fn sealed(&self, raw: &str, domain: &str, results: &str) -> String {
        let parsed = AuthenticatedMessage::parse(raw.as_bytes()).unwrap();
        let (results, none) = (AuthenticationResults::new(results), ArcOutput::default());
        let set = ArcSealer::from_key(Ed25519Key::from_pkcs8_der(&self.key).unwrap())
            .domain(domain)
            .selector("s")
            .headers(["From", "To", "Subject", "Date", "Message-ID"])
            .seal(&parsed, &results, &none)
            .unwrap();
        format!("{}{raw}", set.to_header())
    }

    pub(super) async fn deliver(&self, raw: &str) -> Taken {
        self.deliver_bytes(raw.as_bytes()).await
    }

    pub(super) async fn deliver_bytes(&self, raw: &[u8]) -> Taken {
        self.put(self.uid.fetch_add(1, Ordering::Relaxed), raw).await
    }

    pub(super) async fn deliver_at(&self, uid: u32, raw: &str) -> Taken {
        self.put(uid, raw.as_bytes()).await
    }

    async fn put(&self, uid: u32, raw: &[u8]) -> Taken {
        self.try_put(uid, raw).await.unwrap()
    }

    pub(super) async fn try_at(&self, uid: u32, raw: &str) -> Result<Taken> {
        self.try_put(uid, raw.as_bytes()).await
    }

    async fn try_put(&self, uid: u32, raw: &[u8]) -> Result<Taken> {
        let raw_name = format!("{uid}.eml");
        std::fs::write(folder(&self.cx.state_dir).join(&raw_name), raw).unwrap();
        let arrived = Arrived {
            place: Place { mailbox: "assistant@mail/INBOX".into(), uid_validity: 1, uid },
            received_at: self.cx.clock.now(),
            size_bytes: raw.len() as u64,
            raw_name,
            content_hash: Sha256::digest(raw).into(),
        };
        let read = super::super::read(&self.cx, &arrived.raw_name).await?;
        take(&self.cx, arrived, &read).await
    }

    pub(super) fn holds(&self, raw_name: &str) -> bool {
        folder(&self.cx.state_dir).join(raw_name).is_file()
    }

    pub(super) async fn query<T: Send + 'static>(
        &self,
        sql: &'static str,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> T {
        self.cx.store.read(move |conn| Ok(conn.query_row(sql, [], read)?)).await.unwrap()
    }

    pub(super) async fn run(&self, sql: &'static str) {
        self.cx.store.write(move |tx| Ok(tx.execute_batch(sql)?)).await.unwrap();
    }

    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        self.query(sql, |row| row.get(0)).await
    }

    /// Why it was decided as it was about the last message.
    pub(super) async fn reason(&self) -> String {
        self.query("SELECT reason FROM mail_received ORDER BY id DESC LIMIT 1", |row| row.get(0)).await
    }

    pub(super) async fn explain(&self, sql: &'static str) -> String {
        let read = move |conn: &rusqlite::Connection| {
            let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let none = vec![rusqlite::types::Null; statement.parameter_count()];
            let rows = statement.query_map(rusqlite::params_from_iter(none), |row| row.get::<_, String>("detail"))?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.join("; "))
        };
        self.cx.store.read(read).await.unwrap()
    }

    pub(super) async fn close(self) {
        self.cx.store.close().await;
    }
}

/// Answers questions for TXT records over UDP for as long as the test runs; its address.
fn serve(names: Arc<Mutex<BTreeMap<String, String>>>) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut packet) {
            if let Some(answer) = answer(&packet[..length], &names.lock().unwrap()) {
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
    address
}

/// The answer to one question (RFC 1035, section 4).
fn answer(packet: &[u8], names: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let question = packet.get(12..at + 4)?;
    let broken = names.contains_key(BROKEN);
    let found = names.get(&labels.join(".")).filter(|_| !broken);
    let code = if broken { 0x82 } else { 0x83 };
    let mut answer = packet.get(..2)?.to_vec();
    answer.extend([0x81, if found.is_some() { 0x80 } else { code }, 0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(text) = found {
        let strings: Vec<u8> = text
            .as_bytes()
            .chunks(255)
            .flat_map(|chunk| std::iter::once(u8::try_from(chunk.len()).unwrap()).chain(chunk.iter().copied()))
            .collect();
        answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
        answer.extend(u16::try_from(strings.len()).unwrap().to_be_bytes());
        answer.extend(strings);
    }
    Some(answer)
}
