//! A stretch of the folder: messages are fetched and read while those before them are decided about, in their order.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use jiff::Timestamp;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

use super::{
    Deciding, Settings, Stuck,
    files::{self, Writing, Written},
};
use crate::{
    crashpoint::{self, Point},
    cx::Cx,
    error::{Error, ErrorKind, Result},
    mail::{
        self, Arrived, Place,
        imap::{Connection, Fault, Listed, PART},
    },
};

/// Messages that are asked for with one command.
const TOGETHER: usize = 64;
/// Their size together, as the server says.
const TOGETHER_BYTES: u64 = 4 << 20;
/// Messages that wait to be read.
const AHEAD: usize = 16;
/// Their bytes that are not on the disk yet.
const UNWRITTEN: usize = 4 << 20;
/// Messages that are read at once, each by a process of its own, whose start takes longest.
const READERS: usize = 2;
/// After so many attempts a message is set aside.
const ATTEMPTS: u32 = 3;

/// What came of fetching a message.
enum Item {
    Arrived(Listed, JoinHandle<Result<Written>>),
    /// It is not decided about.
    Aside(Listed, String),
}

/// What is to be decided about.
enum Due<R> {
    Read(Listed, Written, Result<R>),
    Aside(Listed, String),
}

/// Messages of one folder, on one connection.
pub(super) struct Batch<'a, D> {
    pub(super) cx: &'a Cx,
    pub(super) settings: &'a Settings,
    pub(super) uid_validity: u32,
    pub(super) deciding: &'a D,
}

impl<D: Deciding> Batch<'_, D> {
    /// Takes up these messages, in their order.
    pub(super) async fn take_up(&self, connection: &mut Connection, listed: &[Listed]) -> Result<(), Fault> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let fetching = Fetching {
            connection,
            items: sender,
            dir: mail::folder(&self.cx.state_dir),
            max: self.cx.config.load().mail.max_message.0,
            unwritten: Arc::new(Semaphore::new(UNWRITTEN)),
            stuck: self.stuck(listed),
        };
        let fetching = async {
            match fetching.all(listed).await {
                // What is fetched is decided about all the same.
                Err(Failed { uid: Some(uid), fault }) => {
                    self.note(uid, &fault);
                    Ok(Err(fault))
                }
                Err(Failed { uid: None, fault }) => Ok(Err(fault)),
                Ok(()) => Ok(Ok(())),
            }
        };
        let (due, dues) = mpsc::channel(1);
        let reading = async { self.read_all(receiver, due).await.map_err(Fault::Ours) };
        let deciding = async { self.decide_all(dues).await.map_err(Fault::Ours) };
        let (fetched, (), ()) = tokio::try_join!(fetching, reading, deciding)?;
        fetched
    }

    fn place(&self, uid: u32) -> Place {
        Place { mailbox: self.settings.mailbox.clone(), uid_validity: self.uid_validity, uid }
    }

    /// How often it went wrong with one of these messages.
    fn stuck(&self, listed: &[Listed]) -> Option<Stuck> {
        let stuck = self.cx.process.mail.stuck()?;
        listed.iter().any(|message| self.place(message.uid) == stuck.place).then_some(stuck)
    }

    fn note(&self, uid: u32, fault: &Fault) {
        let why = match fault {
            Fault::Refused(why) | Fault::Gone(why) => why.clone(),
            Fault::Ours(_) => return,
        };
        self.cx.process.mail.note_stuck(self.place(uid), why);
    }

    /// Reads what is fetched, some at once, and hands it on in its order.
    async fn read_all(&self, mut items: mpsc::Receiver<Item>, due: mpsc::Sender<Due<D::Read>>) -> Result<()> {
        let (mut reading, mut more) = (FuturesOrdered::new(), true);
        while more || !reading.is_empty() {
            tokio::select! {
                item = items.recv(), if more && reading.len() < READERS => match item {
                    Some(item) => reading.push_back(self.read(item)),
                    None => more = false,
                },
                Some(read) = reading.next(), if !reading.is_empty() => {
                    // Who decides has given up, and says why.
                    if due.send(read?).await.is_err() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    async fn read(&self, item: Item) -> Result<Due<D::Read>> {
        let (listed, written) = match item {
            Item::Arrived(listed, written) => (listed, written.await.map_err(Error::internal)??),
            Item::Aside(listed, why) => return Ok(Due::Aside(listed, why)),
        };
        let read = self.deciding.read(self.cx, written.name()).await;
        Ok(Due::Read(listed, written, read))
    }

    async fn decide_all(&self, mut dues: mpsc::Receiver<Due<D::Read>>) -> Result<()> {
        while let Some(due) = dues.recv().await {
            let uid = match due {
                Due::Read(listed, written, read) => {
                    self.decide(listed, written, read).await?;
                    listed.uid
                }
                Due::Aside(listed, why) => {
                    self.set_aside(listed, u64::from(listed.size), &why).await?;
                    listed.uid
                }
            };
            self.cx.process.mail.not_stuck(&self.place(uid));
        }
        Ok(())
    }

    fn received_at(&self, listed: Listed) -> Timestamp {
        listed.received_at.unwrap_or_else(|| self.cx.clock.now())
    }

    async fn set_aside(&self, listed: Listed, size_bytes: u64, why: &str) -> Result<()> {
        let place = self.place(listed.uid);
        self.deciding.set_aside(self.cx, &place, self.received_at(listed), size_bytes, why).await
    }

    /// Has one message decided about. What cannot be is set aside, unless the fault is ours: then all wait.
    async fn decide(&self, listed: Listed, written: Written, mut read: Result<D::Read>) -> Result<()> {
        crashpoint::hit(Point::MailFetched);
        let (size, content_hash) = (written.size, written.hash);
        let raw_name = written.hand_over();
        let arrived = Arrived {
            place: self.place(listed.uid),
            received_at: self.received_at(listed),
            size_bytes: size,
            raw_name: raw_name.clone(),
            content_hash,
        };
        let mut pause = self.cx.process.mail.times.load().back_off / 5;
        let mut attempt = 1;
        let taken = loop {
            let outcome = match &read {
                Ok(read) => self.deciding.take(self.cx, arrived.clone(), read).await,
                Err(_) => read.map(drop),
            };
            match outcome {
                Err(err) if attempt < ATTEMPTS && !is_ours(&err) => {
                    tracing::warn!(uid = listed.uid, attempt, error = err.chain(), "a message cannot be decided about");
                    tokio::time::sleep(pause).await;
                    (pause, attempt) = (pause * 2, attempt + 1);
                    read = self.deciding.read(self.cx, &raw_name).await;
                }
                outcome => break outcome,
            }
        };
        crashpoint::hit(Point::MailDecided);
        let outcome = match taken {
            Err(err) if !is_ours(&err) => {
                let why = format!("it could not be decided about in {ATTEMPTS} attempts: {}", err.chain());
                self.set_aside(listed, size, &why).await
            }
            outcome => outcome,
        };
        // Not while the database cannot be asked: the next start looks again.
        let _ = files::tidy(self.cx, &raw_name).await;
        outcome
    }
}

/// Whether no message is at fault: it will be tried again when that is mended.
fn is_ours(err: &Error) -> bool {
    matches!(err.kind(), ErrorKind::StorageFull | ErrorKind::Unavailable)
}

/// Why no more is fetched, and at which message.
struct Failed {
    uid: Option<u32>,
    fault: Fault,
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self { uid: None, fault }
    }
}

struct Fetching<'a> {
    connection: &'a mut Connection,
    items: mpsc::Sender<Item>,
    dir: PathBuf,
    /// Bytes of the largest message that is fetched.
    max: u64,
    unwritten: Arc<Semaphore>,
    stuck: Option<Stuck>,
}

impl Fetching<'_> {
    async fn all(mut self, listed: &[Listed]) -> Result<(), Failed> {
        let mut rest = listed;
        while let [first, after @ ..] = rest {
            let stuck = self.stuck.as_ref().filter(|stuck| stuck.place.uid == first.uid);
            if u64::from(first.size) > self.max {
                let why = format!(
                    "it has {} bytes, more than mail.max_message allows ({}), and was not fetched",
                    first.size, self.max
                );
                self.send(Item::Aside(*first, why)).await?;
                rest = after;
            } else if let Some(stuck) = stuck.filter(|stuck| stuck.attempts >= ATTEMPTS) {
                let why = format!("it could not be fetched in {} attempts: {}", stuck.attempts, stuck.why);
                self.send(Item::Aside(*first, why)).await?;
                rest = after;
            } else if first.size >= PART || stuck.is_some() {
                self.one(*first).await.map_err(|fault| Failed { uid: Some(first.uid), fault })?;
                rest = after;
            } else {
                let mut bytes = 0;
                let stuck = self.stuck.as_ref().map(|stuck| stuck.place.uid);
                let small = |message: &&Listed| {
                    bytes += u64::from(message.size);
                    message.size < PART && bytes <= TOGETHER_BYTES && stuck != Some(message.uid)
                };
                let count = rest.iter().take(TOGETHER).take_while(small).count().max(1);
                self.several(&rest[..count]).await?;
                rest = &rest[count..];
            }
        }
        Ok(())
    }

    /// Hands it on; it waits while others are decided about.
    async fn send(&self, item: Item) -> Result<(), Fault> {
        let closed = |_| Fault::Ours(Error::unavailable("nothing is decided about any more"));
        self.items.send(item).await.map_err(closed)
    }

    /// Messages that come in one part each.
    async fn several(&mut self, listed: &[Listed]) -> Result<(), Failed> {
        let uids: Vec<u32> = listed.iter().map(|message| message.uid).collect();
        let at_first = |fault| Failed { uid: uids.first().copied(), fault };
        let mut parts = self.connection.ask_first_parts(&uids).await.map_err(at_first)?;
        let (mut ready, mut next) = (BTreeMap::new(), 0);
        loop {
            let part = match self.connection.next_part(&mut parts).await {
                Ok(part) => part,
                Err(fault) => return Err(Failed { uid: uids.get(next).copied(), fault }),
            };
            let Some((uid, part)) = part else { break };
            // One that fills the part has more: it comes by itself.
            if part.bytes().len() < PART as usize && !part.bytes().is_empty() {
                ready.insert(uid, self.write(part.bytes().to_vec()).await?);
            }
            drop(part);
            while let Some(written) = uids.get(next).and_then(|uid| ready.remove(uid)) {
                self.send(Item::Arrived(listed[next], written)).await?;
                next += 1;
            }
        }
        let missing: Vec<u32> = uids[next..].iter().copied().filter(|uid| !ready.contains_key(uid)).collect();
        for (message, uid) in listed.iter().zip(&uids).skip(next) {
            match ready.remove(uid) {
                Some(written) => self.send(Item::Arrived(*message, written)).await?,
                None if missing.contains(uid) => {
                    self.one(*message).await.map_err(|fault| Failed { uid: Some(*uid), fault })?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Writes a whole message beside all else; waits while much is unwritten.
    async fn write(&self, bytes: Vec<u8>) -> Result<JoinHandle<Result<Written>>, Fault> {
        let weight = u32::try_from(bytes.len().clamp(1, UNWRITTEN)).unwrap_or(1);
        let permit = Arc::clone(&self.unwritten).acquire_many_owned(weight).await;
        let permit = permit.map_err(|err| Fault::Ours(Error::internal(err)))?;
        let dir = self.dir.clone();
        Ok(tokio::task::spawn_blocking(move || {
            let mut writing = Writing::begin(&dir)?;
            writing.add(&bytes)?;
            drop((bytes, permit));
            writing.finish()
        }))
    }

    /// One message, part by part. One that is gone meanwhile is left out.
    async fn one(&mut self, listed: Listed) -> Result<(), Fault> {
        let dir = self.dir.clone();
        let mut writing = blocking(move || Writing::begin(&dir)).await?;
        loop {
            let offset = u32::try_from(writing.size()).unwrap_or(u32::MAX);
            let mut parts = self.connection.ask_part(listed.uid, offset).await?;
            let mut came = None;
            while let Some((_, part)) = self.connection.next_part(&mut parts).await? {
                came = Some(part.bytes().to_vec());
            }
            let Some(bytes) = came else {
                if self.connection.list_again(&[listed.uid]).await?.is_empty() {
                    return Ok(());
                }
                return Err(Fault::Gone(format!("it lists message {} and does not hand it over", listed.uid)));
            };
            if bytes.len() > PART as usize {
                return Err(Fault::Gone(format!("it sends more of message {} than was asked for", listed.uid)));
            }
            let last = bytes.len() < PART as usize;
            if writing.size() + bytes.len() as u64 > self.max {
                let why = format!(
                    "it has more than mail.max_message allows ({}), though the server said {} bytes",
                    self.max, listed.size
                );
                return self.send(Item::Aside(listed, why)).await;
            }
            writing = blocking(move || {
                writing.add(&bytes)?;
                Ok(writing)
            })
            .await?;
            if last {
                break;
            }
        }
        if !plausible(u64::from(listed.size), writing.size()) {
            let (size, said) = (writing.size(), listed.size);
            return Err(Fault::Gone(format!("message {} has {size} bytes, and it said {said}", listed.uid)));
        }
        let written = tokio::task::spawn_blocking(move || writing.finish());
        self.send(Item::Arrived(listed, written)).await
    }
}

/// Servers count line ends and lines of their own differently, but not by much.
fn plausible(said: u64, is: u64) -> bool {
    said.abs_diff(is) <= (64 << 10) + said / 8 && (is > 0 || said == 0)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|err| Fault::Ours(Error::internal(err)))?;
    done.map_err(Fault::Ours)
}
