//! The route table: a route is its method, path, minimum role, bounds, documentation and handler, declared together.
//!
//! A handler is `async fn(Req<Path, Query, Body>) -> Result<impl Reply>`; its types give the parameters, the checks and
//! the OpenAPI entry.

use std::{future::Future, sync::Arc};

use assistant_api::{ErrorKind, Role};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};

use super::{id::RequestId, pace, peer::Peer, read};
use crate::{config::Config, cx::Cx, error::Result, llm::BoxFuture};

/// A request as its handler sees it; role, size and time have been checked.
pub struct Req<P = (), Q = (), B = ()> {
    pub cx: Cx,
    pub peer: Peer,
    pub request_id: RequestId,
    pub headers: HeaderMap,
    pub path: P,
    pub query: Q,
    pub body: B,
}

/// What a request brings with it.
pub trait ReqBody: Sized + Send {
    /// The body's schema, if it is JSON.
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema>;
    /// Reads it; `limit` bytes at most for anything but a stream.
    fn read(body: Body, limit: usize) -> impl Future<Output = Result<Self>> + Send;
}

/// What a handler returns.
pub trait Reply: Send {
    /// The status of success.
    const STATUS: u16 = 200;
    /// The body's schema, if it is JSON.
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema>;
    /// Its response.
    fn reply(self) -> Result<Response<Body>>;
}

/// JSON in or out.
pub struct Json<T>(pub T);

/// A body that is not read beforehand; ends with an error when it stands still or exceeds the route's limit.
pub struct Stream {
    body: Body,
    limit: usize,
}

/// A response that is made by hand: downloads and event streams.
pub struct Raw(pub Response<Body>);

/// Bounds that a route may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// No body is taken.
    None,
    /// This many bytes.
    Bytes(usize),
    /// Streamed to disk under `api.max_upload_bytes`.
    Upload,
    /// The standard input of a command: as much of it, and as slowly, as the caller likes.
    Input,
}

/// How long a route may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLimit {
    /// `api.request_timeout`.
    Request,
    /// Ends when the peer goes, stalls, or the daemon stops.
    Stream,
}

type Handler = Arc<dyn Fn(Cx, Incoming) -> BoxFuture<'static, Result<Response<Body>>> + Send + Sync>;

/// A request before its parameters are read.
pub struct Incoming {
    pub parts: Parts,
    pub body: Body,
    pub peer: Peer,
    pub request_id: RequestId,
    pub limit: usize,
}

/// The JSON schemas of a route, made on demand.
pub struct Schemas {
    pub path: fn(&mut SchemaGenerator) -> Schema,
    pub query: fn(&mut SchemaGenerator) -> Schema,
    pub body: fn(&mut SchemaGenerator) -> Option<Schema>,
    pub reply: fn(&mut SchemaGenerator) -> Option<Schema>,
    pub status: u16,
}

/// One route.
pub struct Route {
    pub method: Method,
    /// In axum's form, such as `/api/jobs/{id}`.
    pub path: &'static str,
    /// `None`: answers everybody who reaches the listener.
    pub role: Option<Role>,
    /// Who may use it besides, without a login.
    pub also: Option<fn(&Config, &Peer) -> bool>,
    /// One sentence for the documentation.
    pub summary: &'static str,
    /// The kinds of error that it can give besides those that every route can.
    pub errors: &'static [ErrorKind],
    pub body: BodyLimit,
    pub time: TimeLimit,
    /// The type of an answer that is not JSON.
    pub media: &'static str,
    /// What somebody gets who would have to log in first; a problem document if it is nothing else.
    pub login: Option<fn() -> Response<Body>>,
    pub schemas: Schemas,
    pub handler: Handler,
}

/// Body bytes of an ordinary JSON request.
pub(super) const JSON_BYTES: usize = 1 << 20;

impl Route {
    /// Declares a route. Roles: [`Role::Viewer`] for reading, [`Role::Operator`] for work, [`Role::Admin`] for the rest.
    pub fn new<P, Q, B, R, F, Fut>(
        method: Method,
        path: &'static str,
        role: Role,
        summary: &'static str,
        handler: F,
    ) -> Self
    where
        P: DeserializeOwned + JsonSchema + Send + 'static,
        Q: DeserializeOwned + JsonSchema + Send + 'static,
        B: ReqBody + 'static,
        R: Reply + 'static,
        F: Fn(Req<P, Q, B>) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<R>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |cx, incoming| {
            Box::pin(async move {
                let Incoming { mut parts, body, peer, request_id, limit } = incoming;
                let path = read::path(&mut parts, path).await?;
                let query = read::query(parts.uri.query())?;
                let body = B::read(body, limit).await?;
                let req = Req { cx, peer, request_id, headers: parts.headers, path, query, body };
                handler(req).await?.reply()
            })
        });
        let takes_body = method == Method::POST || method == Method::PUT || method == Method::PATCH;
        Self {
            method,
            path,
            role: Some(role),
            also: None,
            summary,
            errors: &[],
            body: if takes_body { BodyLimit::Bytes(JSON_BYTES) } else { BodyLimit::None },
            time: TimeLimit::Request,
            media: "application/octet-stream",
            login: None,
            schemas: Schemas {
                path: |generator| generator.subschema_for::<P>(),
                query: |generator| generator.subschema_for::<Q>(),
                body: B::schema,
                reply: R::schema,
                status: R::STATUS,
            },
            handler,
        }
    }

    /// Names the error kinds of its own.
    #[must_use]
    pub fn errors(mut self, errors: &'static [ErrorKind]) -> Self {
        self.errors = errors;
        self
    }

    /// Changes the body limit.
    #[must_use]
    pub fn body(mut self, body: BodyLimit) -> Self {
        self.body = body;
        self
    }

    /// Lets it run as long as its peer listens.
    #[must_use]
    pub fn stream(mut self) -> Self {
        self.time = TimeLimit::Stream;
        self
    }

    /// Names the status of success of an answer that is made by hand and has no body.
    #[must_use]
    pub fn gives_nothing(mut self) -> Self {
        self.schemas.status = 204;
        self
    }

    /// Names the type of an answer that is made by hand.
    #[must_use]
    pub fn produces(mut self, media: &'static str) -> Self {
        self.media = media;
        self
    }

    /// Shows this page to somebody who would have to log in first.
    #[must_use]
    pub fn or_else(mut self, login: fn() -> Response<Body>) -> Self {
        self.login = Some(login);
        self
    }

    /// Lets those in as well of whom this is true, whatever their role.
    #[must_use]
    pub fn also(mut self, rule: fn(&Config, &Peer) -> bool) -> Self {
        self.also = Some(rule);
        self
    }

    /// Lets everybody in who reaches the listener.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.role = None;
        self
    }
}

impl ReqBody for () {
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
    async fn read(_: Body, _: usize) -> Result<Self> {
        Ok(())
    }
}

impl<T: DeserializeOwned + JsonSchema + Send> ReqBody for Json<T> {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
    async fn read(body: Body, limit: usize) -> Result<Self> {
        let bytes = axum::body::to_bytes(body, limit).await.map_err(|err| pace::explain(err, limit))?;
        read::json(&bytes).map(Self)
    }
}

impl ReqBody for Stream {
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
    async fn read(body: Body, limit: usize) -> Result<Self> {
        Ok(Self { body, limit })
    }
}

impl Stream {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// `too_large` beyond the route's limit, `timeout` when nothing comes, `invalid` when the peer is gone.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame.map_err(|err| pace::explain(err, self.limit))?.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

impl<T: Serialize + JsonSchema + Send> Reply for Json<T> {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
    fn reply(self) -> Result<Response<Body>> {
        let mut response = Response::new(Body::from(serde_json::to_vec(&self.0)?));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

impl Reply for Raw {
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
    fn reply(self) -> Result<Response<Body>> {
        Ok(self.0)
    }
}

impl Reply for () {
    const STATUS: u16 = 204;
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
    fn reply(self) -> Result<Response<Body>> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }
}
