//! One connection: commands, their answers, and everything that can go wrong with them.

use std::{collections::BTreeSet, time::Duration};

use async_imap::{
    Client,
    extensions::idle::Handle,
    imap_proto::{Capability, MailboxDatum, Response, ResponseCode, Status},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{bounded::Bounded, folder, login};
use crate::{
    cx::Cx,
    error::{Error, Result},
    mail::{
        live::Times,
        net::{self, Server, Stream, said},
    },
};

/// A connection on which somebody is logged in.
pub(in crate::mail) struct Connection {
    client: Client<Bounded<Stream>>,
    pub(super) server: Server,
    pub(super) times: Times,
    commands: u32,
    /// In capitals.
    capabilities: BTreeSet<String>,
    /// Messages in the open folder, as far as we were told.
    pub(super) exists: u32,
    /// The server told of messages that nobody has asked for yet.
    pub(super) news: bool,
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub(in crate::mail) enum Fault {
    /// The server said no to this one; the connection is as good as before.
    Refused(String),
    /// There is no connection any more.
    Gone(String),
    /// It is not the server's fault.
    Ours(Error),
}

/// What the server says, parsed, with the bytes that it was parsed from. Its library gives it no name.
pub(super) type ResponseData = <<Handle<Bounded<Stream>> as futures_util::Stream>::Item as Outcome>::Good;

/// What a result is when it is good.
pub(super) trait Outcome {
    type Good;
}

impl<T, E> Outcome for Result<T, E> {
    type Good = T;
}

/// By which an answer is known to be that of a command.
pub(super) struct Tag(String);

impl From<Error> for Fault {
    fn from(err: Error) -> Self {
        Self::Ours(err)
    }
}

impl Fault {
    /// In words, with the server's name.
    pub(in crate::mail) fn explain(self, server: &Server) -> Error {
        match self {
            Self::Refused(why) => Error::unavailable(format!("{} refuses: {why}", server.address())),
            Self::Gone(why) => Error::unavailable(format!("{}: {why}", server.address())),
            Self::Ours(err) => err,
        }
    }
}

impl Connection {
    /// Connects, encrypts, and logs in.
    ///
    /// # Errors
    /// `unavailable`, with what is wrong and what to do about it.
    pub(in crate::mail) async fn open(cx: &Cx, server: &Server) -> Result<Self> {
        let (connection, refused) = match Self::try_open(cx, server, None).await? {
            Ok(connection) => return Ok(connection),
            Err(refused) => Self::try_open(cx, server, refused.token.as_ref()).await.map(|again| (again, refused))?,
        };
        // A token may have been refused because it had ended before its time: a new one was asked for.
        connection.map_err(|again| if refused.token.is_some() { again.error } else { refused.error })
    }

    async fn try_open(
        cx: &Cx,
        server: &Server,
        refused: Option<&secrecy::SecretString>,
    ) -> Result<Result<Self, login::Refusal>> {
        let mut connection = Self::encrypted(cx, server).await?;
        match login::login(cx, &mut connection, refused).await {
            Ok(()) => Ok(Ok(connection)),
            Err(refusal) if refusal.token.is_some() && refused.is_none() => Ok(Err(refusal)),
            Err(refusal) => Err(refusal.error),
        }
    }

    /// Connects and encrypts; nobody is logged in.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub(in crate::mail) async fn encrypted(cx: &Cx, server: &Server) -> Result<Self> {
        let times = **cx.process.mail.times.load();
        let stream = server.connect(times.connect, async |stream| start_tls(stream).await).await?;
        let mut connection = Self {
            client: Client::new(Bounded::new(stream)),
            server: server.clone(),
            times,
            commands: 0,
            capabilities: BTreeSet::new(),
            exists: 0,
            news: false,
        };
        let ready = if server.security == net::Security::Tls { connection.greeting().await } else { Ok(()) };
        let asked = match ready {
            Ok(()) => connection.ask_capabilities().await,
            Err(fault) => Err(fault),
        };
        asked.map_err(|fault| fault.explain(server))?;
        Ok(connection)
    }

    async fn greeting(&mut self) -> Result<(), Fault> {
        match self.read(self.times.answer).await?.parsed() {
            Response::Data { status: Status::Ok, .. } => Ok(()),
            Response::Data { status: Status::Bye, outcome } => {
                Err(Fault::Gone(format!("it lets nobody in: {}", said(outcome.information.as_deref().unwrap_or("")))))
            }
            _ => Err(Fault::Gone("it does not greet as a mail server does".into())),
        }
    }

    /// Asks what the server can do; that changes with TLS and with the login.
    pub(super) async fn ask_capabilities(&mut self) -> Result<(), Fault> {
        self.capabilities.clear();
        self.run("CAPABILITY").await?;
        if self.capabilities.is_empty() {
            return Err(Fault::Gone("it does not say what it can do".into()));
        }
        Ok(())
    }

    /// Whether the server can do something, by its name in capitals.
    pub(in crate::mail) fn can(&self, what: &str) -> bool {
        self.capabilities.contains(what)
    }

    /// Says one command and waits for its end; what comes before it is only noted.
    pub(super) async fn run(&mut self, command: &str) -> Result<(), Fault> {
        let tag = self.say(command).await?;
        while self.hear(&tag).await?.is_some() {}
        Ok(())
    }

    /// Says one command.
    pub(super) async fn say(&mut self, command: &str) -> Result<Tag, Fault> {
        self.commands += 1;
        let tag = format!("a{}", self.commands);
        self.write(format!("{tag} {command}\r\n").as_bytes()).await?;
        Ok(Tag(tag))
    }

    /// The next answer to a command, `None` when it is done.
    pub(super) async fn hear(&mut self, tag: &Tag) -> Result<Option<ResponseData>, Fault> {
        let response = self.read(self.times.answer).await?;
        let Response::Done { tag: answered, status, outcome } = response.parsed() else {
            return Ok(Some(response));
        };
        if answered.0 != tag.0 {
            return Err(Fault::Gone("it answers what was not asked".into()));
        }
        let words = said(outcome.information.as_deref().unwrap_or("without a reason"));
        match status {
            Status::Ok => Ok(None),
            _ if matches!(outcome.code, Some(ResponseCode::TryCreate)) => {
                Err(Fault::Refused(format!("there is no such folder: {words}")))
            }
            _ => Err(Fault::Refused(words)),
        }
    }

    /// The next thing that the server says. Notes what concerns the connection as a whole.
    pub(super) async fn read(&mut self, within: Duration) -> Result<ResponseData, Fault> {
        let response = tokio::time::timeout(within, self.client.read_response())
            .await
            .map_err(|_| Fault::Gone(format!("no answer in {} s", within.as_secs_f64())))?
            .map_err(|err| Fault::Gone(broken(&err)))?
            .ok_or_else(|| Fault::Gone("it ended the connection".into()))?;
        match response.parsed() {
            Response::Data { status: Status::Bye, outcome } => {
                let words = said(outcome.information.as_deref().unwrap_or_default());
                return Err(Fault::Gone(format!("it ends the connection: {words}")));
            }
            Response::Data { outcome, .. } | Response::Done { outcome, .. } => {
                if let Some(ResponseCode::Capabilities(capabilities)) = &outcome.code {
                    note(&mut self.capabilities, capabilities);
                }
            }
            Response::Capabilities(capabilities) => note(&mut self.capabilities, capabilities),
            Response::MailboxData(MailboxDatum::Exists(count)) => {
                self.news |= *count > self.exists;
                self.exists = *count;
            }
            Response::Expunge(_) => self.exists = self.exists.saturating_sub(1),
            _ => {}
        }
        Ok(response)
    }

    /// Bytes as they are.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let stream = self.client.get_mut();
        let writing = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        tokio::time::timeout(self.times.answer, writing)
            .await
            .map_err(|_| Fault::Gone("it takes nothing any more".into()))?
            .map_err(|err| Fault::Gone(broken(&err)))
    }

    /// Opens a folder; its UIDVALIDITY.
    pub(in crate::mail) async fn select(&mut self, name: &str) -> Result<u32, Fault> {
        self.open_folder("SELECT", name).await
    }

    /// Opens a folder without changing anything in it.
    pub(in crate::mail) async fn examine(&mut self, name: &str) -> Result<u32, Fault> {
        self.open_folder("EXAMINE", name).await
    }

    async fn open_folder(&mut self, command: &str, name: &str) -> Result<u32, Fault> {
        (self.exists, self.news) = (0, false);
        let tag = self.say(&format!("{command} {}", folder::quoted(name))).await?;
        let mut uid_validity = None;
        while let Some(response) = self.hear(&tag).await? {
            if let Response::Data { outcome, .. } = response.parsed()
                && let Some(ResponseCode::UidValidity(validity)) = &outcome.code
            {
                uid_validity = Some(*validity);
            }
        }
        self.news = false;
        uid_validity.ok_or_else(|| Fault::Gone("its messages have no lasting numbers (UIDVALIDITY)".into()))
    }

    /// Whether there is a folder of this name.
    pub(in crate::mail) async fn has_folder(&mut self, name: &str) -> Result<bool, Fault> {
        let tag = self.say(&format!("LIST \"\" {}", folder::quoted(name))).await?;
        let mut found = false;
        while let Some(response) = self.hear(&tag).await? {
            found |= matches!(response.parsed(), Response::MailboxData(MailboxDatum::List(_)));
        }
        Ok(found)
    }

    /// Makes a folder that is seen by other programs too.
    pub(in crate::mail) async fn create(&mut self, name: &str) -> Result<(), Fault> {
        let name = folder::quoted(name);
        self.run(&format!("CREATE {name}")).await?;
        match self.run(&format!("SUBSCRIBE {name}")).await {
            Err(Fault::Refused(_)) | Ok(()) => Ok(()),
            other => other,
        }
    }

    /// Asks whether there is anything new.
    pub(in crate::mail) async fn noop(&mut self) -> Result<(), Fault> {
        self.run("NOOP").await
    }

    /// Says good-bye, and does not wait long for the answer.
    pub(in crate::mail) async fn close(mut self) {
        self.times.answer = self.times.answer.min(Duration::from_secs(2));
        let _ = self.run("LOGOUT").await; // what is answered, if anything, changes nothing
    }
}

fn note(known: &mut BTreeSet<String>, capabilities: &[Capability<'_>]) {
    known.extend(capabilities.iter().map(|capability| match capability {
        Capability::Imap4rev1 => "IMAP4REV1".to_owned(),
        Capability::Auth(name) => format!("AUTH={}", name.to_ascii_uppercase()),
        Capability::Atom(name) => name.to_ascii_uppercase(),
    }));
}

/// The parser's errors hold what it could not parse, which may be a message.
fn broken(err: &std::io::Error) -> String {
    match err.kind() {
        std::io::ErrorKind::Other => "it says what is no IMAP".into(),
        std::io::ErrorKind::InvalidData => said(&err.to_string()),
        std::io::ErrorKind::UnexpectedEof => "it ended the connection".into(),
        _ => format!("the connection was cut: {}", said(&err.to_string())),
    }
}

/// STARTTLS (RFC 9051, section 6.2.1), the only thing that is said in the clear.
async fn start_tls(stream: &mut TcpStream) -> Result<()> {
    let greeting = net::read_line(stream).await?;
    if !greeting.to_ascii_uppercase().starts_with("* OK") {
        return Err(Error::unavailable(format!("the server does not greet: {}", said(&greeting))));
    }
    net::write_line(stream, "a0 STARTTLS").await?;
    // Unasked capabilities may come before the answer.
    for _ in 0..16 {
        let line = net::read_line(stream).await?;
        if let Some(answer) = line.strip_prefix("a0 ") {
            if answer.to_ascii_uppercase().starts_with("OK") {
                return Ok(());
            }
            return Err(Error::unavailable(format!("the server refuses to begin TLS: {}", said(answer)))
                .hint("nobody logs in without TLS; use the port for TLS from the first byte, usually 993"));
        }
    }
    Err(Error::unavailable("the server does not answer STARTTLS"))
}
