//! A scripted SMTP server with TLS: it does what a good one does not.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// What the server does with one mail; without a script it takes all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    Take,
    /// Answers `MAIL`.
    Mail(&'static str),
    /// Answers `RCPT` of addresses that begin with this.
    Rcpt(&'static str, &'static str),
    /// Answers the end of the message, and does not take it.
    End(&'static str),
    /// Is gone in the middle of the message.
    CutInMessage,
    /// Is gone after the end of the message, which it has taken.
    TakeAndCut,
    /// Is gone after the end of the message, which it has not taken.
    CutAfterEnd,
}

/// A mail that the server has taken.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) recipients: Vec<String>,
    #[expect(dead_code, reason = "what a failing test prints")]
    pub(crate) message: String,
}

#[derive(Default)]
struct State {
    script: VecDeque<Do>,
    taken: Vec<Taken>,
    connections: usize,
    /// The one that it lets in by XOAUTH2; unset: everybody may send.
    token: Option<String>,
}

/// Listens until it is dropped.
pub(crate) struct SmtpServer {
    dir: tempfile::TempDir,
    port: u16,
    state: Arc<Mutex<State>>,
    _task: JoinSet<()>,
}

impl SmtpServer {
    pub(crate) async fn start(script: &[Do]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = certificates(dir.path());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { script: script.iter().copied().collect(), ..State::default() }));
        let mut task = JoinSet::new();
        let shared = Arc::clone(&state);
        task.spawn(async move {
            let mut talks = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
                state.lock().unwrap().connections += 1;
                talks.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let _ = talk(BufReader::new(stream), &state).await;
                });
            }
        });
        Self { dir, port, state, _task: task }
    }

    /// The keys of `[email]` for sending.
    pub(crate) fn keys(&self) -> String {
        format!(
            "smtp_host = \"127.0.0.1\"\nsmtp_port = {}\nsmtp_security = \"tls\"\nca_file = \"{}\"\n",
            self.port,
            self.dir.path().join("ca.pem").display()
        )
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.state.lock().unwrap().taken.clone()
    }

    /// Lets in only who shows this token from now on.
    pub(crate) fn wants_token(&self, token: &str) {
        self.state.lock().unwrap().token = Some(token.to_owned());
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

/// An authority and a certificate of it for 127.0.0.1.
fn certificates(
    dir: &Path,
) -> (Vec<rustls::pki_types::CertificateDer<'static>>, rustls::pki_types::PrivateKeyDer<'static>) {
    use rustls::pki_types::pem::PemObject as _;
    let script = "
        new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        openssl req -x509 $new -keyout ca.key -out ca.pem -subj /CN=authority -days 2 \
            -addext basicConstraints=critical,CA:TRUE
        openssl req -new $new -keyout key.pem -out request -subj /CN=127.0.0.1
        printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > names
        openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem";
    let made = Command::new("sh").args(["-ec", script]).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let file = |name: &str| -> PathBuf { dir.join(name) };
    let chain =
        rustls::pki_types::CertificateDer::pem_file_iter(file("cert.pem")).unwrap().map(Result::unwrap).collect();
    (chain, rustls::pki_types::PrivateKeyDer::from_pem_file(file("key.pem")).unwrap())
}

type Talk = BufReader<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>;

async fn line(stream: &mut Talk) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if stream.read_until(b'\n', &mut bytes).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned())
}

async fn say(stream: &mut Talk, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{text}\r\n").as_bytes()).await?;
    stream.flush().await
}

async fn talk(mut stream: Talk, state: &Mutex<State>) -> std::io::Result<()> {
    say(&mut stream, "220 scripted").await?;
    let (mut now, mut recipients, mut allowed) = (Do::Take, Vec::new(), false);
    loop {
        let command = line(&mut stream).await?;
        let upper = command.to_ascii_uppercase();
        let bearer = state.lock().unwrap().token.clone();
        if upper.starts_with("EHLO") {
            let auth = if bearer.is_some() { "\r\n250-AUTH XOAUTH2" } else { "" };
            say(&mut stream, &format!("250-scripted{auth}\r\n250 8BITMIME")).await?;
        } else if upper.starts_with("AUTH XOAUTH2 ") {
            let shown = BASE64_STANDARD.decode(&command["AUTH XOAUTH2 ".len()..]).unwrap_or_default();
            let wanted = format!("auth=Bearer {}\x01\x01", bearer.unwrap_or_default());
            allowed = String::from_utf8_lossy(&shown).ends_with(&wanted);
            if allowed {
                say(&mut stream, "235 2.7.0 welcome").await?;
            } else {
                let why = BASE64_STANDARD.encode(r#"{"status":"invalid_token","schemes":"bearer"}"#);
                say(&mut stream, &format!("334 {why}")).await?;
                line(&mut stream).await?;
                say(&mut stream, "535 5.7.8 no").await?;
            }
        } else if bearer.is_some() && !allowed && upper.starts_with("MAIL") {
            say(&mut stream, "530 5.7.0 log in first").await?;
        } else if upper.starts_with("MAIL") {
            now = state.lock().unwrap().script.pop_front().unwrap_or(Do::Take);
            recipients.clear();
            say(&mut stream, if let Do::Mail(answer) = now { answer } else { "250 ok" }).await?;
        } else if upper.starts_with("RCPT") {
            let address = command.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            match now {
                Do::Rcpt(begin, answer) if address.starts_with(begin) => say(&mut stream, answer).await?,
                _ => {
                    recipients.push(address);
                    say(&mut stream, "250 ok").await?;
                }
            }
        } else if upper == "DATA" {
            say(&mut stream, "354 go ahead").await?;
            let mut message = String::new();
            loop {
                let line = line(&mut stream).await?;
                if line == "." {
                    break;
                }
                message.push_str(line.strip_prefix('.').unwrap_or(&line));
                message.push('\n');
                if now == Do::CutInMessage && message.len() > 100 {
                    return Ok(());
                }
            }
            let take = || {
                let taken = Taken { recipients: recipients.clone(), message: message.clone() };
                state.lock().unwrap().taken.push(taken);
            };
            match now {
                Do::End(answer) => say(&mut stream, answer).await?,
                Do::CutAfterEnd => return Ok(()),
                Do::TakeAndCut => {
                    take();
                    return Ok(());
                }
                _ => {
                    take();
                    say(&mut stream, "250 2.0.0 taken as 42").await?;
                }
            }
        } else if upper == "QUIT" {
            return say(&mut stream, "221 bye").await;
        } else {
            say(&mut stream, "250 ok").await?;
        }
    }
}
