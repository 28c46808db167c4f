//! The serving end of the control socket: takes grants from the daemon, tells it what became of requests.

use std::{
    collections::BTreeMap,
    io,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::timeout,
};

use super::{Egress, grants::Owner};
use crate::{
    control::{Event, MAX_LINE, Request, VERSION},
    peers,
};

/// Events that wait for a daemon that does not read; what comes on top is counted and dropped.
const WAITING: usize = 1024;

/// How long requests have to end when the proxy stops, and the daemon to read how they did.
const ENDINGS: Duration = Duration::from_millis(50);
/// How long requests have to end when the daemon asks what became of them: whoever asked for them has gone by then.
const SETTLING: Duration = Duration::from_secs(1);
const FAREWELL: Duration = Duration::from_secs(1);

/// Control connections that are open.
#[derive(Debug, Default)]
pub(super) struct Desk {
    next: AtomicU64,
    open: Mutex<BTreeMap<Owner, Arc<Line>>>,
}

/// One control connection.
#[derive(Debug)]
struct Line {
    events: mpsc::Sender<Event>,
    lost: Arc<AtomicU64>,
}

impl Desk {
    /// Tells one connection, or all of them; never waits.
    pub(super) fn tell(&self, owner: Option<Owner>, event: &Event) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let tell = |line: &Line| {
            if line.events.try_send(event.clone()).is_err() {
                line.lost.fetch_add(1, Relaxed);
            }
        };
        match owner {
            Some(owner) => open.get(&owner).into_iter().for_each(|line| tell(line)),
            None => open.values().for_each(|line| tell(line)),
        }
    }

    fn enter(&self) -> (Owner, Arc<Line>, mpsc::Receiver<Event>) {
        let owner = Owner(self.next.fetch_add(1, Relaxed));
        let (events, queue) = mpsc::channel(WAITING);
        let line = Arc::new(Line { events, lost: Arc::default() });
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(owner, line.clone());
        (owner, line, queue)
    }

    fn leave(&self, owner: Owner) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&owner);
    }
}

/// Accepts the daemon's connections until the proxy stops. Only `users` are listened to.
pub(super) async fn serve(egress: &Arc<Egress>, listener: UnixListener, users: Vec<u32>) {
    loop {
        let stream = tokio::select! {
            () = egress.stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(err) => {
                    tracing::warn!(%err, "accepting a control connection");
                    tokio::time::sleep(super::ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        if peers::admits(&users, &stream) {
            let egress = egress.clone();
            egress.tasks.clone().spawn(async move { attend(&egress, stream).await });
        }
    }
}

/// One control connection; its end ends what it granted.
async fn attend(egress: &Arc<Egress>, stream: UnixStream) {
    let (owner, line, queue) = egress.desk.enter();
    let (reading, writing) = stream.into_split();
    let mut telling = pin!(write(line.lost.clone(), queue, writing));
    let stopped = tokio::select! {
        () = egress.stop.cancelled() => true,
        ended = read(egress, owner, &line, reading) => {
            if let Err(err) = ended {
                tracing::warn!(%err, "a control connection ended");
            }
            false
        },
        _ = &mut telling => false, // it is gone
    };
    let tokens = egress.grants.revoke(owner, None);
    if stopped {
        // What ran until now is told as well.
        tokio::time::sleep(ENDINGS).await;
        egress.desk.leave(owner);
        drop(line);
        let _ = timeout(FAREWELL, telling).await; // nobody has to read it
    } else {
        egress.desk.leave(owner);
    }
    tracing::debug!(tokens, "a control connection is over, and its tokens with it");
}

async fn read(egress: &Egress, owner: Owner, line: &Line, reading: OwnedReadHalf) -> io::Result<()> {
    let mut reading = BufReader::new(reading);
    let mut bytes = Vec::new();
    // The other half ends with this one, so nobody is left to read when a send fails.
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    line.events.send(Event::Hello { version: VERSION }).await.map_err(gone)?;
    loop {
        bytes.clear();
        (&mut reading).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes).await?;
        if bytes.pop_if(|last| *last == b'\n').is_none() {
            return match bytes.len() {
                0 => Ok(()),
                length if length > MAX_LINE => Err(io::Error::other(format!("a line is longer than {MAX_LINE} bytes"))),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let answer = obey(egress, owner, &bytes).await.unwrap_or_else(|message| Event::Error { message });
        line.events.send(answer).await.map_err(gone)?;
    }
}

async fn obey(egress: &Egress, owner: Owner, line: &[u8]) -> Result<Event, String> {
    match serde_json::from_slice(line).map_err(|err| format!("the line is no request: {err}"))? {
        Request::Grant(grant) => {
            let job = grant.job.clone();
            let limits = egress.config.borrow().limits;
            egress.grants.add(grant, owner, &limits)?;
            Ok(Event::Granted { job })
        }
        Request::Revoke(revoke) => {
            let tokens = egress.grants.revoke(owner, Some(&revoke.job));
            Ok(Event::Revoked { job: revoke.job, tokens })
        }
        Request::Settle(settle) => {
            let all = match egress.grants.slots(owner, &settle.job) {
                Some(slots) => timeout(SETTLING, slots.all_free()).await.is_ok(),
                None => true,
            };
            Ok(Event::Settled { job: settle.job, all })
        }
    }
}

async fn write(lost: Arc<AtomicU64>, mut queue: mpsc::Receiver<Event>, mut writing: OwnedWriteHalf) -> io::Result<()> {
    while let Some(event) = queue.recv().await {
        send(&mut writing, &event).await?;
        let count = lost.swap(0, Relaxed);
        if count > 0 {
            send(&mut writing, &Event::Lost { count }).await?;
        }
    }
    Ok(())
}

async fn send(writing: &mut OwnedWriteHalf, event: &Event) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(event)?;
    bytes.push(b'\n');
    writing.write_all(&bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_reads_is_counted() {
        let desk = Desk::default();
        let (owner, line, queue) = desk.enter();
        let event = Event::Revoked { job: "7".to_owned(), tokens: 1 };
        for _ in 0..WAITING + 5 {
            desk.tell(Some(owner), &event);
        }
        desk.tell(Some(Owner(99)), &event);
        let (near, far) = UnixStream::pair().unwrap();
        let mut lines = BufReader::new(far).lines();
        let reading = async {
            for _ in 0..2 {
                let line = lines.next_line().await.unwrap().unwrap();
                let event: Event = serde_json::from_str(&line).unwrap();
                if let Event::Lost { count } = event {
                    return count;
                }
            }
            0
        };
        let count = tokio::select! {
            count = reading => count,
            _ = write(line.lost.clone(), queue, near.into_split().1) => unreachable!(),
        };
        assert_eq!(count, 5);
    }
}
