//! The daemon's end of the control socket.

use std::{
    collections::VecDeque,
    fmt, fs,
    io::{self, Read as _},
    path::Path,
};

use assistant_sandbox::protocol::Login;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::{mpsc, oneshot},
};

use super::{Event, Grant, Record, Request, Revoke, Settle, TokenHash, USER, VERSION};

/// Records that wait to be taken; what comes on top is dropped here, and stands in the journal.
const WAITING: usize = 1024;

/// A connection to the proxy; cheap to clone. What was granted over it lasts as long as its [`Driver`].
#[derive(Clone, Debug)]
pub struct Link(mpsc::Sender<(Request, Answer)>);

type Answer = oneshot::Sender<io::Result<Event>>;

/// Carries requests and answers; nothing happens unless [`Driver::run`] is polled.
#[derive(Debug)]
pub struct Driver {
    stream: UnixStream,
    requests: mpsc::Receiver<(Request, Answer)>,
    records: mpsc::Sender<Record>,
}

/// Connects to the control socket at `path`. What became of each request of a granted job comes out of the receiver.
pub async fn connect(path: &Path) -> io::Result<(Link, mpsc::Receiver<Record>, Driver)> {
    let stream = UnixStream::connect(path).await?;
    let (ask, requests) = mpsc::channel(16);
    let (records, heard) = mpsc::channel(WAITING);
    Ok((Link(ask), heard, Driver { stream, requests, records }))
}

impl Link {
    /// Lets `grant.token_sha256` in.
    pub async fn grant(&self, grant: Grant) -> io::Result<()> {
        self.ask(Request::Grant(grant)).await.map(drop)
    }

    /// Ends the tokens of `job` and what runs with them; how many there were.
    pub async fn revoke(&self, job: &str) -> io::Result<usize> {
        match self.ask(Request::Revoke(Revoke { job: job.to_owned() })).await? {
            Event::Revoked { tokens, .. } => Ok(tokens),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until every request of `job` is over and told, for a second at most; whether that is so.
    pub async fn settle(&self, job: &str) -> io::Result<bool> {
        match self.ask(Request::Settle(Settle { job: job.to_owned() })).await? {
            Event::Settled { all, .. } => Ok(all),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether the connection is over, and every token with it.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Ends when the connection does.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    async fn ask(&self, request: Request) -> io::Result<Event> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the connection to the egress proxy is over");
        let (answer, answered) = oneshot::channel();
        self.0.send((request, answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Driver {
    /// Runs until either end closes; every [`Link`] fails from then on.
    pub async fn run(mut self) -> io::Result<()> {
        let (reading, mut writing) = self.stream.into_split();
        let mut lines = BufReader::new(reading).lines();
        let mut pending = VecDeque::new();
        loop {
            tokio::select! {
                line = lines.next_line() => match line? {
                    None => return Ok(()),
                    Some(line) => hear(serde_json::from_str(&line)?, &mut pending, &self.records)?,
                },
                asked = self.requests.recv() => match asked {
                    None => return Ok(()),
                    Some((request, answer)) => {
                        send(&mut writing, &request).await?;
                        pending.push_back(answer);
                    }
                },
            }
        }
    }
}

fn hear(event: Event, pending: &mut VecDeque<Answer>, records: &mpsc::Sender<Record>) -> io::Result<()> {
    match event {
        Event::Hello { version: VERSION } | Event::Lost { .. } => {}
        Event::Hello { version } => {
            return Err(io::Error::other(format!("the egress proxy speaks version {version} of its control protocol")));
        }
        Event::Request(record) => {
            let _ = records.try_send(*record); // it stands in the journal
        }
        answer => {
            let waiting = pending.pop_front().ok_or_else(|| unexpected(&answer))?;
            let answer = match answer {
                Event::Error { message } => Err(io::Error::new(io::ErrorKind::InvalidInput, message)),
                answer => Ok(answer),
            };
            let _ = waiting.send(answer); // whoever asked has gone
        }
    }
    Ok(())
}

async fn send(writing: &mut OwnedWriteHalf, request: &Request) -> io::Result<()> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    writing.write_all(&line).await
}

fn unexpected(event: &Event) -> io::Error {
    io::Error::other(format!("the egress proxy said what nobody asked for: {event:?}"))
}

/// The secret of one session.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new one, of 256 random bits.
    pub fn new() -> io::Result<Self> {
        let mut bytes = [0; 32];
        fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        // As a hash is written: all that is needed is 64 digits of which nobody can guess one.
        Ok(Self(TokenHash(bytes).into()))
    }

    /// What the proxy is told.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }

    /// What a command shows: name and token, as they stand in the URL of a proxy.
    pub fn login(&self) -> Login {
        Login(format!("{USER}:{}", self.0))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
