//! The asynchronous client of the daemon's Unix socket.
//!
//! ```no_run
//! # async fn example() -> assistant_api::client::Result<()> {
//! use assistant_api::{client::Client, jobs::JobList};
//! let client = Client::new("/run/assistant/api.sock");
//! let list: JobList = client.request("GET", "/api/jobs").query("limit", 10).fetch().await?;
//! # Ok(()) }
//! ```

mod error;
mod events;
mod socket;
#[cfg(test)]
mod tests;

use std::{fmt::Display, future::Future, io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
pub use error::{Error, Result};
pub use events::Events;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Empty, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Response, Uri,
    body::{Frame, Incoming},
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue},
};
use hyper_util::{client::legacy, rt::TokioExecutor};
use serde::{Serialize, de::DeserializeOwned};
use socket::Connector;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What every request names as its host.
const AUTHORITY: &str = "assistantd";
/// How long an ordinary request may take until its answer is complete.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How often, while an answer without a time limit is waited for, the daemon is asked whether it answers at all.
const LOOK: Duration = Duration::from_secs(10);
/// How long it may take to say so.
const SIGN: Duration = Duration::from_secs(20);
/// Bytes of a JSON answer that are read at most.
const MAX_ANSWER: usize = 256 << 20;
/// Bytes that are read from an upload's source at a time.
const CHUNK: usize = 64 << 10;

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Observer = Arc<dyn Fn(&Method, &str, &Response<Incoming>) + Send + Sync>;

/// A client of one daemon. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    socket: PathBuf,
    http: legacy::Client<Connector, Body>,
    observer: Option<Observer>,
}

impl Client {
    /// A client of the daemon that listens on `socket`; connects with the first request.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new()).build(Connector);
        Self { socket: socket.into(), http, observer: None }
    }

    /// Calls `observer` with every answer's head, before its body is read.
    #[must_use]
    pub fn observe(mut self, observer: impl Fn(&Method, &str, &Response<Incoming>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// A request to be completed; `path` is already encoded and may hold a query.
    pub fn request(&self, method: &str, path: impl Into<String>) -> Request<'_> {
        Request {
            client: self,
            method: method.to_owned(),
            path: path.into(),
            headers: HeaderMap::new(),
            body: Empty::new().map_err(|never| match never {}).boxed_unsync(),
            timeout: Some(TIMEOUT),
            invalid: None,
        }
    }

    /// `GET path`
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.request("GET", path).fetch().await
    }

    /// `POST path` with a JSON body
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.request("POST", path).json(body).fetch().await
    }

    /// `PUT path` with a JSON body
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.request("PUT", path).json(body).fetch().await
    }

    /// `PATCH path` with a JSON body
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.request("PATCH", path).json(body).fetch().await
    }

    /// `DELETE path`
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.request("DELETE", path).fetch().await
    }

    /// Ends when the daemon answers nothing any more: it stands still, or its socket is there and it cannot start. Asks
    /// over connections of its own, so that nothing that is under way stands before the question.
    async fn silence(&self) -> Error {
        loop {
            tokio::time::sleep(LOOK).await;
            let http: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new()).build(Connector);
            let mut request = hyper::Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
            *request.uri_mut() = hyperlocal::Uri::new(&self.socket, "/health").into();
            request.headers_mut().insert(HOST, HeaderValue::from_static(AUTHORITY));
            // Where connecting fails, the request itself finds out.
            if tokio::time::timeout(SIGN, http.request(request)).await.is_err() {
                return Error::Timeout(LOOK + SIGN);
            }
        }
    }

    /// The event stream from `path` (such as `/api/events?job=7`), after the event `since`.
    pub fn events(&self, path: &str, since: Option<crate::EventId>) -> Events {
        Events::new(self.clone(), path.to_owned(), since)
    }
}

/// A request that is being put together. A part that cannot be sent is told when it is sent.
#[must_use = "a request does nothing until it is sent"]
pub struct Request<'a> {
    client: &'a Client,
    method: String,
    path: String,
    headers: HeaderMap,
    body: Body,
    timeout: Option<Duration>,
    invalid: Option<String>,
}

impl Request<'_> {
    /// Follows what it asks for as a stream of events, from behind `since`; see [`Events`].
    pub fn events(self, since: Option<crate::EventId>) -> Events {
        Events::new(self.client.clone(), self.path, since)
    }

    /// Adds a query parameter.
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair(name, &value.to_string());
        self.path.push_str(&query.finish());
        self
    }

    /// Adds a query parameter if there is a value.
    pub fn maybe(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Sets a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => _ = self.headers.insert(HeaderName::from_static(name), value),
            Err(_) => self.invalid = Some(format!("{value:?} cannot stand in the header {name}")),
        }
        self
    }

    /// Sends a JSON body.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self = self.bytes(bytes).header("content-type", "application/json"),
            Err(err) => self.invalid = Some(format!("the body cannot be written as JSON: {err}")),
        }
        self
    }

    /// Sends these bytes.
    pub fn bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body = Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync();
        self
    }

    /// Streams the body from a reader of `length` bytes, or of unknown length; lifts the time limit.
    pub fn upload(mut self, reader: impl AsyncRead + Send + Unpin + 'static, length: Option<u64>) -> Self {
        let chunks = stream::try_unfold(reader, |mut reader| async move {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = reader.read_buf(&mut chunk).await?;
            Ok((read > 0).then(|| (Frame::data(Bytes::from(chunk)), reader)))
        });
        self.body = StreamBody::new(chunks.boxed()).boxed_unsync();
        if let Some(length) = length {
            self.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        self.timeout = None;
        self
    }

    /// Changes the time limit (60 s); `None` waits as long as the daemon answers others.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends it and returns the answer whatever its status; the time limit counts until its head is there.
    pub async fn send(self) -> Result<Response<Incoming>> {
        let Self { client, method, path, headers, body, timeout, invalid } = self;
        if let Some(reason) = invalid {
            return Err(Error::Invalid(reason));
        }
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Error::Invalid(format!("{method:?} is not an HTTP method")))?;
        // The parser panics on nothing, but `hyperlocal::Uri` would on a path that does not parse: look first.
        if !path.starts_with('/') || path.parse::<Uri>().is_err() {
            return Err(Error::Invalid(format!("{path:?} is not a path of the API; it starts with / and is encoded")));
        }
        let mut request = hyper::Request::new(body);
        *request.uri_mut() = hyperlocal::Uri::new(&client.socket, &path).into();
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, HeaderValue::from_static(AUTHORITY));
        *request.method_mut() = method.clone();
        let asked = async { client.http.request(request).await.map_err(|err| Error::transport(&client.socket, &err)) };
        let answer = if timeout.is_some() {
            within(timeout, asked).await?
        } else {
            tokio::select! {
                answer = asked => answer?,
                err = client.silence() => return Err(err),
            }
        };
        if let Some(observer) = &client.observer {
            observer(&method, &path, &answer);
        }
        Ok(answer)
    }

    /// Sends it and returns a successful answer, body unread; any other is an [`Error::Problem`].
    pub async fn open(self) -> Result<Response<Incoming>> {
        let answer = self.send().await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (parts, body) = answer.into_parts();
        let bytes = read(body).await.unwrap_or_default();
        Err(Error::problem(&parts, &bytes))
    }

    /// Sends it and returns a successful answer's body in pieces; the time limit counts until its head is there.
    pub async fn stream(self) -> Result<Chunks> {
        self.open().await.map(|answer| Chunks(answer.into_body()))
    }

    /// Sends it and reads a successful answer as JSON; an empty one as `null`.
    pub async fn fetch<T: DeserializeOwned>(self) -> Result<T> {
        let timeout = self.timeout;
        within(timeout, async {
            let bytes = read(self.open().await?.into_body()).await?;
            let bytes = if bytes.is_empty() { Bytes::from_static(b"null") } else { bytes };
            serde_json::from_slice(&bytes)
                .map_err(|err| Error::Protocol(format!("the daemon's answer does not fit: {err}")))
        })
        .await
    }
}

/// A body as it arrives.
pub struct Chunks(Incoming);

impl From<Incoming> for Chunks {
    fn from(body: Incoming) -> Self {
        Self(body)
    }
}

impl Chunks {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.0.frame().await {
            if let Ok(chunk) = frame.map_err(|err| Error::Lost(err.into()))?.into_data() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }
}

/// Reads a whole body, 256 MiB at most.
pub async fn read(body: Incoming) -> Result<Bytes> {
    Limited::new(body, MAX_ANSWER).collect().await.map(http_body_util::Collected::to_bytes).map_err(Error::Lost)
}

async fn within<T>(timeout: Option<Duration>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout {
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::Timeout(limit))),
        None => work.await,
    }
}
