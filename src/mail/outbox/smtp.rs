//! One conversation with the server that mail is handed to. Commands are lettre's; what is done between them is ours,
//! so that it is known at every moment whether the server may have taken the message.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use lettre::{
    Address,
    transport::smtp::{
        authentication,
        client::{AsyncSmtpConnection, AsyncTokioStream},
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
        response::Response,
    },
};
use secrecy::ExposeSecret as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{
    cx::Cx,
    error::{Error, Result},
    mail::net::{
        self, Server, Stream,
        login::{Login, Mechanism, token_refusal},
    },
};

/// For connecting, and for each command but the message itself.
const COMMAND: Duration = Duration::from_secs(60);
/// For the message and the server's answer to it (RFC 5321, section 4.5.3.2.6).
const MESSAGE: Duration = Duration::from_mins(10);
/// Bytes of the message that are written at once.
const CHUNK: usize = 64 << 10;

/// Why a mail was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It was certainly not taken; another time it may be.
    Later(String),
    /// It was certainly not taken, and never will be.
    Never(String),
    /// It may have been taken.
    Doubt(String),
}

/// A recipient that the server does not take.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Refused {
    pub recipient: String,
    pub answer: String,
    #[serde(skip)]
    pub temporary: bool,
}

/// A conversation that has come so far that mail can be offered.
pub(super) struct Session {
    conn: AsyncSmtpConnection,
}

impl Session {
    /// Connects, encrypts and logs in.
    ///
    /// # Errors
    /// `unavailable`, with the setting that is to be looked at.
    pub(super) async fn open(cx: &Cx, server: &Server, hello: &str) -> Result<Self> {
        let hello = ClientId::Domain(hello.to_owned());
        let start_tls = server.security == net::Security::StartTls;
        let stream = server.connect(COMMAND, async |stream| start(server, stream, &hello).await).await?;
        // Nothing that was said before the encryption counts: the conversation begins anew, without a greeting.
        let greeting: &[u8] = if start_tls { b"220 ready\r\n" } else { b"" };
        let stream = Box::new(Greeted { greeting, stream });
        let opening = AsyncSmtpConnection::connect_with_transport(stream, &hello);
        let conn = timely(opening).await.map_err(|why| {
            Error::unavailable(format!("{} does not begin a conversation: {why}", server.address()))
                .field(server.key("host"))
        })?;
        let mut session = Self { conn };
        if server.username.is_some() {
            session.log_in(cx, server).await?;
        }
        Ok(session)
    }

    async fn log_in(&mut self, cx: &Cx, server: &Server) -> Result<()> {
        let info = self.conn.server_info();
        let mechanism = server.mechanism(|mechanism| match mechanism {
            Mechanism::Plain => info.supports_auth_mechanism(authentication::Mechanism::Plain),
            Mechanism::Login => info.supports_auth_mechanism(authentication::Mechanism::Login),
            Mechanism::Xoauth2 => info.supports_auth_mechanism(authentication::Mechanism::Xoauth2),
            // lettre does not tell; who wants it names it.
            Mechanism::OauthBearer => false,
        })?;
        let mut login = Login::find(cx, server, mechanism, None).await?;
        let mut answer = self.say_who(server, &login).await;
        if answer.is_err() && mechanism.takes_token() {
            let refused = login.secret.clone();
            login = Login::find(cx, server, mechanism, Some(&refused)).await?;
            answer = self.say_who(server, &login).await;
        }
        answer.map_err(|why| {
            Error::unavailable(format!("{} refuses the login of {}: {why}", server.address(), login.user))
                .field(server.key("username"))
                .hint("check the name, and set the password with: assistantctl secret set smtp-password")
        })
    }

    async fn say_who(&mut self, server: &Server, login: &Login) -> Result<(), String> {
        let encode = |text: &str| BASE64_STANDARD.encode(text);
        if login.mechanism == Mechanism::Login {
            self.command("AUTH LOGIN\r\n".into()).await?;
            self.command(format!("{}\r\n", encode(&login.user))).await?;
            self.command(format!("{}\r\n", encode(login.secret.expose_secret()))).await?;
            return Ok(());
        }
        let first = encode(&login.initial(server));
        let answer = self.command(format!("AUTH {} {first}\r\n", login.mechanism.name())).await?;
        if answer.has_code(334) {
            // Why a token is refused comes as a challenge; the refusal itself after an empty answer to it.
            let challenge = answer.first_line().and_then(|line| BASE64_STANDARD.decode(line).ok()).unwrap_or_default();
            let _ = self.command("AQ==\r\n".into()).await; // the refusal, which says less than the challenge
            return Err(token_refusal(&challenge));
        }
        Ok(())
    }

    async fn command(&mut self, command: String) -> Result<Response, String> {
        timely(self.conn.command(command)).await.map_err(|failure| failure.to_string())
    }

    /// Names sender and recipients, up to where the server wants the message. What it says of recipients that it does
    /// not take, when it takes others. With `patient`, one that is refused for the time being puts all of them off.
    pub(super) async fn offer(
        &mut self,
        from: &Address,
        to: &[Address],
        ascii: bool,
        patient: bool,
    ) -> Result<Vec<Refused>, Failure> {
        let mut options = Vec::new();
        if !ascii && self.conn.server_info().supports_feature(Extension::EightBitMime) {
            options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        match timely(self.conn.command(Mail::new(Some(from.clone()), options))).await {
            // Not the mail is refused but who hands it over (RFC 4954, section 6): the settings are to be mended.
            Err(Said::Code { text, .. }) if ["530", "534", "535", "538"].iter().any(|code| text.starts_with(code)) => {
                return Err(Failure::Later(text));
            }
            answer => before(answer)?,
        };
        let mut refused = Vec::new();
        for recipient in to {
            match timely(self.conn.command(Rcpt::new(recipient.clone(), Vec::new()))).await {
                Ok(_) => {}
                Err(Said::Code { permanent, text }) => {
                    refused.push(Refused { recipient: recipient.to_string(), answer: text, temporary: !permanent });
                }
                Err(Said::Broken(why)) => return Err(Failure::Later(why)),
            }
        }
        let all = |refused: &[Refused]| {
            let texts: Vec<_> = refused.iter().map(|one| format!("{}: {}", one.recipient, one.answer)).collect();
            texts.join("; ")
        };
        if refused.len() == to.len() {
            let later = refused.iter().any(|one| one.temporary);
            return Err(if later { Failure::Later(all(&refused)) } else { Failure::Never(all(&refused)) });
        }
        if patient && refused.iter().any(|one| one.temporary) {
            return Err(Failure::Later(all(&refused)));
        }
        before(timely(self.conn.command(Data)).await)?;
        Ok(refused)
    }

    /// Hands the message over; the server's answer. To be called after [`Session::offer`] alone.
    pub(super) async fn hand_over(&mut self, message: &[u8]) -> Result<String, Failure> {
        let ended = AtomicBool::new(false);
        // lettre writes the end of the message when there is no further part: until then nothing can have been taken.
        let parts = message.chunks(CHUNK).map(Some).chain([None]).map_while(|part| {
            ended.store(part.is_none(), Ordering::Relaxed);
            part
        });
        let answer = match tokio::time::timeout(MESSAGE, self.conn.message_iter(parts)).await {
            Ok(answer) => answer.map_err(said),
            Err(_) => Err(Said::Broken(format!("no answer in {} s", MESSAGE.as_secs()))),
        };
        match answer {
            Ok(response) => Ok(text_of(&response)),
            Err(Said::Code { permanent: true, text }) => Err(Failure::Never(text)),
            Err(Said::Code { permanent: false, text }) => Err(Failure::Later(text)),
            Err(Said::Broken(why)) if ended.load(Ordering::Relaxed) => Err(Failure::Doubt(why)),
            Err(Said::Broken(why)) => Err(Failure::Later(why)),
        }
    }

    /// Forgets a mail that was offered and not taken.
    pub(super) async fn reset(&mut self) -> bool {
        self.command("RSET\r\n".into()).await.is_ok()
    }

    /// Ends it as the protocol wants; nothing depends on it.
    pub(super) async fn close(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(5), self.conn.quit()).await;
    }

    /// Ends it at once, in the middle of whatever was said.
    pub(super) fn drop_now(self) {
        drop(self);
    }
}

/// What became of a command.
#[derive(Debug)]
enum Said {
    /// The server refuses.
    Code { permanent: bool, text: String },
    /// It says nothing that can be understood, or nothing.
    Broken(String),
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code { text, .. } | Self::Broken(text) => f.write_str(text),
        }
    }
}

/// Before the message itself nothing can have been taken.
fn before<T>(answer: Result<T, Said>) -> Result<T, Failure> {
    answer.map_err(|said| match said {
        Said::Code { permanent: true, text } => Failure::Never(text),
        Said::Code { permanent: false, text } | Said::Broken(text) => Failure::Later(text),
    })
}

async fn timely<T>(asked: impl Future<Output = Result<T, lettre::transport::smtp::Error>>) -> Result<T, Said> {
    match tokio::time::timeout(COMMAND, asked).await {
        Ok(answer) => answer.map_err(said),
        Err(_) => Err(Said::Broken(format!("no answer in {} s", COMMAND.as_secs()))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so that it can stand in map_err")]
fn said(err: lettre::transport::smtp::Error) -> Said {
    let source = std::error::Error::source(&err).map(ToString::to_string);
    match err.status() {
        Some(code) => Said::Code {
            permanent: err.is_permanent(),
            text: net::said(&format!("{code} {}", source.unwrap_or_default())),
        },
        None => Said::Broken(net::said(
            &source.map_or_else(|| err.to_string(), |source| format!("the connection was cut: {source}")),
        )),
    }
}

fn text_of(response: &Response) -> String {
    let lines: Vec<_> = response.message().collect();
    net::said(&format!("{} {}", response.code(), lines.join(" ")))
}

/// The beginning of a conversation in the clear: greeting, capabilities, STARTTLS (RFC 3207). What the server says there
/// is believed by nobody: without its yes there is no connection, and with it all begins anew.
/// Connects and encrypts; nobody is logged in.
///
/// # Errors
/// `unavailable`, with what is wrong.
pub(in crate::mail) async fn reach(server: &Server) -> Result<()> {
    let hello = ClientId::Domain("localhost".to_owned());
    server.connect(COMMAND, async |stream| start(server, stream, &hello).await).await.map(drop)
}

async fn start(server: &Server, stream: &mut TcpStream, hello: &ClientId) -> Result<()> {
    expect(server, stream, "220").await?;
    net::write_line(stream, &format!("EHLO {hello}")).await?;
    expect(server, stream, "250").await?;
    net::write_line(stream, "STARTTLS").await?;
    expect(server, stream, "220").await
}

async fn expect(server: &Server, stream: &mut TcpStream, code: &str) -> Result<()> {
    for _ in 0..200 {
        let line = net::read_line(stream).await?;
        if !line.starts_with(code) {
            return Err(Error::unavailable(format!("{} does not begin TLS: {}", server.address(), net::said(&line)))
                .field(server.key("security"))
                .hint("mail is handed over encrypted or not at all"));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
    Err(Error::unavailable(format!("{} does not come to an end", server.address())))
}

/// A stream with something to be read before what comes over it.
#[derive(Debug)]
struct Greeted {
    greeting: &'static [u8],
    stream: Stream,
}

impl AsyncTokioStream for Greeted {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.get_ref().0.peer_addr()
    }
}

impl AsyncRead for Greeted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let (now, later) = self.greeting.split_at(self.greeting.len().min(buf.remaining()));
        buf.put_slice(now);
        self.greeting = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
