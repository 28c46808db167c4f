//! The accept loop: a task per connection, a cap on their number, and an end with a bound.
//!
//! When the daemon stops, listening ends at once, idle connections close, requests that run are answered, event
//! streams say goodbye; whoever is still there after `api.stop_grace` is cut off. Who had connected and not yet asked is
//! still heard: it cannot know that it came too late, and with a socket of the service manager nobody ever does.

use std::{io, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use axum::http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
};
use tokio_rustls::server::TlsStream;
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};

use super::{
    arrival::Arrival,
    forwarded,
    framing::{Framing, Verdicts},
    listen::{Bound, Door, Listener, Socket},
    places::{Full, Places},
    problem,
    server::Server,
    stall::Stall,
    tls::Begun,
};
use crate::error::{Error, Result};

/// Pause after accept(2) failed for want of descriptors or memory.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);
/// Connections above a cap that are being told so at the same time.
const REFUSALS: usize = 32;
/// How long one of them may take to hear it.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Bytes of a request's head, and of what is kept for a connection that does not read.
const BUFFER: usize = 64 << 10;
/// What a connection that has brought no request yet gets for its first when the daemon stops.
const FIRST_REQUEST_TIME: Duration = Duration::from_secs(1);

/// A connection.
pub(super) type Stream = Either<UnixStream, TcpStream>;

/// A connection of which HTTP is spoken, by HTTPS or as it is.
type Speech = Either<Stream, Box<TlsStream<TcpStream>>>;

/// A listener that is registered with the runtime.
pub(super) struct Ready {
    listener: Either<UnixListener, TcpListener>,
    door: Door,
    bound: Option<Bound>,
}

impl Ready {
    pub(super) fn new(listener: Listener) -> Result<Self> {
        let Listener { socket, door, bound } = listener;
        let registered = match socket {
            Socket::Unix(unix) => {
                unix.set_nonblocking(true).and_then(|()| UnixListener::from_std(unix)).map(Either::Left)
            }
            Socket::Tcp(tcp) => tcp.set_nonblocking(true).and_then(|()| TcpListener::from_std(tcp)).map(Either::Right),
        };
        Ok(Self { listener: registered.map_err(Error::internal)?, door, bound })
    }

    async fn accept(&self) -> io::Result<Stream> {
        match &self.listener {
            Either::Left(unix) => unix.accept().await.map(|(stream, _)| Either::Left(stream)),
            Either::Right(tcp) => {
                let (stream, _) = tcp.accept().await?;
                // Answers are written whole: there is nothing to gain by waiting for more.
                stream.set_nodelay(true)?;
                Ok(Either::Right(stream))
            }
        }
    }
}

/// Serves until the daemon stops, and returns when the last connection has ended.
pub(super) async fn run(server: Arc<Server>, listeners: Vec<Ready>) {
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let accepting = TaskTracker::new();
    for ready in listeners {
        let work = accept(Arc::clone(&server), ready, connections.clone(), cut.clone());
        server.cx.tasks.spawn(accepting.track_future(work));
    }
    accepting.close();
    accepting.wait().await;
    connections.close();
    let grace = server.cx.config.load().api.stop_grace.0;
    if tokio::time::timeout(grace, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "cutting off connections that did not end in time");
        cut.cancel();
        connections.wait().await;
    }
}

async fn accept(server: Arc<Server>, ready: Ready, connections: TaskTracker, cut: CancellationToken) {
    let (refusing, refusing_one) = (Arc::new(Semaphore::new(REFUSALS)), Arc::new(Semaphore::new(REFUSALS)));
    let places = Arc::new(Places::default());
    loop {
        let accepted = tokio::select! {
            biased;
            () = server.cx.stop.cancelled() => break,
            accepted = ready.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(err) if err.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(err) => {
                tracing::warn!(%err, "accepting a connection failed");
                tokio::select! {
                    () = server.cx.stop.cancelled() => break,
                    () = tokio::time::sleep(SHORTAGE_PAUSE) => continue,
                }
            }
        };
        let full = match places.take(address(&stream), &server.cx.config.load().api) {
            Ok(place) => {
                let (server, cut, door) = (Arc::clone(&server), cut.clone(), ready.door);
                let tasks = server.cx.tasks.clone();
                tasks.spawn(connections.track_future(async move {
                    let _place = place;
                    serve(server, stream, door, cut).await;
                }));
                continue;
            }
            Err(full) => full,
        };
        server.cx.process.counters.turned_away.add(1);
        if let Some(refused) = places.refused(server.cx.clock.monotonic()) {
            full.tell(refused);
        }
        let heard = match full {
            // With all of these in use, the next callers wait in the kernel's backlog for a moment.
            Full::Everywhere(_) => tokio::select! {
                () = server.cx.stop.cancelled() => break,
                heard = Arc::clone(&refusing).acquire_owned() => heard.ok(),
            },
            // Nobody else waits for one address: what is beyond these is closed at once.
            // What it is told would have to be told by HTTPS, which is work.
            _ if matches!(stream, Either::Right(_)) && server.cx.process.tls.pair().is_some() => None,
            Full::For(..) => Arc::clone(&refusing_one).try_acquire_owned().ok(),
        };
        let Some(heard) = heard else { continue };
        let id = server.ids.next();
        server.cx.tasks.spawn(connections.track_future(async move {
            let _heard = heard;
            let _ = tokio::time::timeout(REFUSAL_TIME, refuse(stream, &full.error(), &id)).await;
        }));
    }
    if let Some(bound) = ready.bound {
        bound.remove();
    }
}

/// Whom a connection is counted for.
fn address(stream: &Stream) -> Option<IpAddr> {
    let Either::Right(tcp) = stream else { return None };
    tcp.peer_addr().ok().map(|address| address.ip().to_canonical())
}

async fn serve(server: Arc<Server>, mut stream: Stream, door: Door, cut: CancellationToken) {
    let arrival = match arrived(&server, &mut stream, door, &cut).await {
        Ok(Some(arrival)) => arrival,
        Ok(None) => return,
        Err(err) => {
            tracing::warn!(%err, "it cannot be said who connected; closing");
            return;
        }
    };
    let (stream, arrival) = match encrypted(&server, stream, arrival, &cut).await {
        Ok(Some(begun)) => begun,
        Ok(None) => return,
        Err(err) => {
            tracing::debug!(?arrival, %err, "no agreement on HTTPS");
            return;
        }
    };
    let (header_timeout, idle) = {
        let config = server.cx.config.load();
        (config.api.header_timeout.0, config.api.stream_idle_timeout.0)
    };
    let asked = CancellationToken::new();
    let stop = {
        let (stop, asked) = (server.cx.stop.clone(), asked.clone());
        async move {
            stop.cancelled().await;
            let _ = tokio::time::timeout(FIRST_REQUEST_TIME, asked.cancelled()).await;
        }
    };
    let mut stop = pin!(stop);
    let verdicts = Verdicts::default();
    let stream = Framing::new(Stall::new(stream, idle), verdicts.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        asked.cancel();
        let (server, doubt) = (Arc::clone(&server), verdicts.next());
        async move { Ok::<_, std::convert::Infallible>(server.answer(arrival, request, doubt).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(BUFFER)
        .max_header_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(err) = ended {
                    tracing::debug!(?arrival, %err, "a connection ended with an error");
                }
                return;
            }
            () = stop.as_mut(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = cut.cancelled() => return,
        }
    }
}

/// Who connected; `None` for whoever says nothing until it is too late.
async fn arrived(
    server: &Server,
    stream: &mut Stream,
    door: Door,
    cut: &CancellationToken,
) -> io::Result<Option<Arrival>> {
    let arrival = Arrival::of(stream, door, server)?;
    let (Door::Local, Either::Left(unix)) = (door, &mut *stream) else { return Ok(Some(arrival)) };
    let time = server.cx.config.load().api.header_timeout.0;
    let stopped = async {
        server.cx.stop.cancelled().await;
        tokio::time::sleep(FIRST_REQUEST_TIME).await;
    };
    tokio::select! {
        begun = tokio::time::timeout(time, forwarded::begin(unix)) => match begun {
            Ok(begun) => Ok(Some(begun?.map_or(arrival, Arrival::forwarded))),
            Err(_) => Ok(None),
        },
        () = stopped => Ok(None),
        () = cut.cancelled() => Ok(None),
    }
}

/// Begins HTTPS where it is spoken; `None` for who does not, or not in time.
async fn encrypted(
    server: &Server,
    stream: Stream,
    arrival: Arrival,
    cut: &CancellationToken,
) -> io::Result<Option<(Speech, Arrival)>> {
    let pair = server.cx.process.tls.pair();
    let (Some(pair), Either::Right(_)) = (pair, &stream) else { return Ok(Some((Either::Left(stream), arrival))) };
    let Either::Right(tcp) = stream else { return Ok(None) };
    let begin = async {
        match pair.begin(tcp).await? {
            Begun::Https(stream) => Ok(Some((Either::Right(stream), arrival.by_https()))),
            Begun::Other(tcp) => {
                let error = Error::invalid("this port speaks HTTPS, and nothing else").hint("call it by https://");
                refuse(Either::Right(tcp), &error, &server.ids.next()).await.map(|()| None)
            }
        }
    };
    let time = server.cx.config.load().api.header_timeout.0;
    let stopped = async {
        server.cx.stop.cancelled().await;
        tokio::time::sleep(FIRST_REQUEST_TIME).await;
    };
    tokio::select! {
        done = tokio::time::timeout(time, begin) => done.unwrap_or(Ok(None)),
        () = stopped => Ok(None),
        () = cut.cancelled() => Ok(None),
    }
}

/// Tells a connection above the cap, or one that speaks the wrong language, why it is not served. Its request is read first: closing a socket that holds unread
/// bytes would take the answer away from a client that is still writing.
async fn refuse(mut stream: Stream, error: &Error, id: &str) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while head.len() < 16 << 10 && !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let body = problem::body(error, id, "body");
    let status = problem::status(error.kind());
    let later = error.retry_delay().map_or("", |_| "retry-after: 1\r\n");
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n{later}\
         x-request-id: {id}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}
