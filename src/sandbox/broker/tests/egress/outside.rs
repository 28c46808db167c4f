//! The double for the outside, and servers that play hosts.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use assistant_broker::egress::network::Network;
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::TaskTracker;

/// An address of the public Internet, where nobody is connected to.
pub(super) const PUBLIC: &str = "93.184.216.34";

/// Names, addresses, and where they really lead.
#[derive(Default)]
pub(super) struct Outside {
    /// Answers of the resolver, one after the other; the last one stays.
    names: Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>,
    routes: Mutex<BTreeMap<SocketAddr, Option<SocketAddr>>>,
    resolved: Mutex<Vec<String>>,
    connected: Mutex<Vec<SocketAddr>>,
}

impl Outside {
    /// The next answer for `name`; an empty one never comes.
    pub(super) fn name(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.names.lock().unwrap().entry(name.to_owned()).or_default().push_back(addresses);
    }

    /// Where an address leads; `None`: connecting never ends.
    pub(super) fn route(&self, address: &str, to: Option<SocketAddr>) {
        self.routes.lock().unwrap().insert(address.parse().unwrap(), to);
    }

    /// What was asked to be resolved so far.
    pub(super) fn resolved(&self) -> Vec<String> {
        self.resolved.lock().unwrap().clone()
    }

    /// What was connected to so far.
    pub(super) fn connected(&self) -> Vec<String> {
        self.connected.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

pub(super) struct Double(pub(super) Arc<Outside>);

impl Network for Double {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.0.resolved.lock().unwrap().push(name.to_owned());
        let answer = self
            .0
            .names
            .lock()
            .unwrap()
            .get_mut(name)
            .and_then(|answers| if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() });
        Box::pin(async move {
            match answer {
                None => Err(io::Error::from(io::ErrorKind::NotFound)),
                Some(addresses) if addresses.is_empty() => std::future::pending().await,
                Some(addresses) => Ok(addresses),
            }
        })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        self.0.connected.lock().unwrap().push(address);
        let route = self.0.routes.lock().unwrap().get(&address).copied();
        Box::pin(async move {
            match route {
                None => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                Some(None) => std::future::pending().await,
                Some(Some(to)) => TcpStream::connect(to).await,
            }
        })
    }
}

/// Runs beside the test.
pub(super) fn beside<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) {
    TaskTracker::new().spawn(future);
}

/// A host on loopback that does `play` with each connection.
pub(super) async fn host<F: Future<Output = ()> + Send + 'static>(
    play: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    beside(async move {
        while let Ok((stream, _)) = listener.accept().await {
            beside(play(stream));
        }
    });
    address
}

/// A host that reads a request's head and body as far as `content-length` says, and answers with `answer`, or with what
/// it read when that is empty.
pub(super) async fn http(answer: &'static str) -> SocketAddr {
    host(move |mut stream| async move {
        let request = read_request(&mut stream).await;
        let echo = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{request}", request.len());
        let answer = if answer.is_empty() { &echo } else { answer };
        let _ = stream.write_all(answer.as_bytes()).await; // the other end may be gone
    })
    .await
}

/// A host that sends back whatever comes.
pub(super) async fn echo() -> SocketAddr {
    host(|stream| async move {
        let (mut reading, mut writing) = stream.into_split();
        let _ = tokio::io::copy(&mut reading, &mut writing).await;
        let _ = writing.shutdown().await;
    })
    .await
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let chunked = head.contains("transfer-encoding: chunked") && !body.ends_with("0\r\n\r\n");
            if !chunked && body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}
