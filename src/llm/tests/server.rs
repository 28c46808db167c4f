//! A server on loopback that plays answers byte by byte and keeps what it was asked.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// One request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    status: u16,
    headers: Vec<(&'static str, String)>,
    chunks: Vec<Vec<u8>>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Complete,
    /// The connection is closed in the middle of the body.
    Cut,
    /// Nothing more comes, and the connection stays open.
    Stall,
}

impl Play {
    pub(crate) fn stream(text: &str) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "text/event-stream".into())],
            chunks: vec![text.as_bytes().to_vec()],
            end: End::Complete,
        }
    }

    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self { status, headers: vec![("content-type", "application/json".into())], ..Self::stream(body) }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn chunks(mut self, size: usize) -> Self {
        self.chunks = self.chunks.concat().chunks(size).map(<[u8]>::to_vec).collect();
        self
    }

    pub(crate) fn split(mut self, at: usize) -> Self {
        let all = self.chunks.concat();
        let (one, two) = all.split_at(at);
        self.chunks = vec![one.to_vec(), two.to_vec()];
        self
    }

    pub(crate) fn cut(self) -> Self {
        Self { end: End::Cut, ..self }
    }

    pub(crate) fn stall(self) -> Self {
        Self { end: End::Stall, ..self }
    }
}

/// Ends with the runtime of its test.
pub(crate) struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    plays: Arc<Mutex<VecDeque<Play>>>,
    /// Connections that the other side has closed.
    closed: watch::Receiver<usize>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Plays these, one per request, and the last one again and again.
    #[expect(clippy::disallowed_methods, reason = "ends with the runtime of its test")]
    pub(crate) async fn start(plays: impl IntoIterator<Item = Play>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, plays) = (Arc::default(), Arc::new(Mutex::new(plays.into_iter().collect())));
        let (closed, watch) = watch::channel(0);
        let (seen_by, plays_of) = (Arc::clone(&seen), Arc::clone(&plays));
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (seen, plays, closed) = (Arc::clone(&seen_by), Arc::clone(&plays_of), closed.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, &seen, &plays).await;
                    closed.send_modify(|count| *count += 1);
                });
            }
        });
        Self { port, seen, plays, closed: watch, connections }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.at("127.0.0.1", path)
    }

    pub(crate) fn at(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn play(&self, plays: impl IntoIterator<Item = Play>) {
        *self.plays.lock().unwrap() = plays.into_iter().collect();
    }

    /// Waits until the other side has closed a connection.
    pub(crate) async fn closed(&self) {
        let mut closed = self.closed.clone();
        let wait = closed.wait_for(|count| *count > 0);
        tokio::time::timeout(Duration::from_secs(5), wait).await.expect("the connection stays open").unwrap();
    }
}

async fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Seen>>, plays: &Mutex<VecDeque<Play>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await? {
        seen.lock().unwrap().push(request);
        let play = {
            let mut plays = plays.lock().unwrap();
            if plays.len() > 1 { plays.pop_front() } else { plays.front().cloned() }
        };
        let Some(play) = play else { return Ok(()) };
        let mut head = format!("HTTP/1.1 {} Status\r\ntransfer-encoding: chunked\r\n", play.status);
        for (name, value) in &play.headers {
            head = format!("{head}{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await?;
        for chunk in play.chunks.iter().filter(|chunk| !chunk.is_empty()) {
            stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
            stream.write_all(chunk).await?;
            stream.write_all(b"\r\n").await?;
        }
        stream.flush().await?;
        match play.end {
            End::Complete => stream.write_all(b"0\r\n\r\n").await?,
            End::Cut => return Ok(()),
            End::Stall => while stream.read(&mut [0; 64]).await? > 0 {},
        }
    }
    Ok(())
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Seen>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut seen = Seen { line: head.lines().next().unwrap_or_default().into(), head, body: Value::Null };
    let length: usize = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    seen.body = serde_json::from_slice(&buffer[end..end + length]).unwrap_or_default();
    buffer.drain(..end + length);
    Ok(Some(seen))
}
