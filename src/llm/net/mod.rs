//! Outgoing HTTP to one host: its key, its guard, its proxy and the bounds of what it may answer.

pub(super) mod address;
mod post;
mod proxy;
mod tls;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::{
    Client, Method, Response, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::OnceCell;

use address::{Guard, Refused, Seen};
pub use post::post_json;
pub(super) use proxy::Proxies;

/// What holds for all hosts.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) connect_timeout: Duration,
    pub(super) stall_timeout: Duration,
    pub(super) max_answer_bytes: u64,
    pub(super) local_only: bool,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) proxies: Proxies,
}

/// How a key is shown.
pub(super) enum Key {
    None,
    Bearer(SecretString),
    /// Anthropic's `x-api-key`.
    Header(SecretString),
}

/// One host that is asked. Its client is made at the first request, so that an idle daemon has none.
pub(super) struct Host {
    base: Url,
    key: Key,
    headers: HeaderMap,
    settings: Arc<Settings>,
    seen: Arc<Seen>,
    client: OnceCell<Client>,
}

/// Why there is no complete answer.
#[derive(Debug)]
pub(super) enum NetError {
    /// Refused by a guard of ours, or our own configuration is at fault.
    Forbidden(String),
    /// Nobody listens there.
    NoConnection(String),
    /// The connection was made and then failed.
    Broken(String),
    /// More bytes than `llm.max_answer_bytes`.
    TooLarge(u64),
}

/// An answer whose body is still to be read.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    response: Response,
    stall: Duration,
    limit: u64,
    left: u64,
}

const ONLY_LOCAL: &str = "llm.local_only is set";
const PLAIN_KEY: &str = "a key is sent over plain http only to loopback and private addresses, use https";

/// How long a name may take to be resolved when it is only to be known where it leads.
const LOOK_UP: Duration = Duration::from_secs(1);

/// How long an idle connection is kept for the next request.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

impl Host {
    /// A host, by the root of its API.
    pub(super) fn new(base: Url, key: Key, headers: HeaderMap, settings: Arc<Settings>) -> Self {
        Self { base, key, headers, settings, seen: Arc::default(), client: OnceCell::new() }
    }

    /// Without user information, query and fragment.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Host and port, as they are named to people.
    pub(super) fn name(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Bytes that an answer may have.
    pub(super) fn max_answer_bytes(&self) -> u64 {
        self.settings.max_answer_bytes
    }

    /// Whether everything that is sent stays on loopback and private addresses, as far as it is known.
    pub(super) fn is_local(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default();
        address::is_loopback_name(host)
            || address::literal(host).map_or_else(|| self.seen.get() == Some(true), address::is_local)
    }

    /// Finds out whether it is local, if its name does not say so: asks for its addresses, and nobody there.
    pub(super) async fn locate(&self) {
        let host = self.base.host_str().unwrap_or_default();
        if address::literal(host).is_some() || address::is_loopback_name(host) || self.seen.get().is_some() {
            return;
        }
        if let Ok(Ok(addresses)) = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host, 0))).await {
            let mut addresses = addresses.map(|address| address.ip()).peekable();
            self.seen.set(addresses.peek().is_some() && addresses.all(address::is_local));
        }
    }

    fn must_be_local(&self) -> Option<&'static str> {
        let plain_key = self.base.scheme() == "http" && !matches!(self.key, Key::None);
        if self.settings.local_only { Some(ONLY_LOCAL) } else { plain_key.then_some(PLAIN_KEY) }
    }

    /// Sends one request; `path` is below the base. Redirects are not followed.
    pub(super) async fn send(&self, method: Method, url: Url, body: Option<Vec<u8>>) -> Result<Reply, NetError> {
        let client = self.client.get_or_try_init(|| self.connect()).await?;
        let mut request = client.request(method, url).headers(self.headers.clone());
        if let Some((name, value)) = self.key_header()? {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .header(ACCEPT, "text/event-stream, application/json")
                .body(body);
        }
        let response = request.send().await.map_err(|err| classify(&err))?;
        let limit = self.settings.max_answer_bytes;
        Ok(Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            response,
            stall: self.settings.stall_timeout,
            limit,
            left: limit,
        })
    }

    /// Connects, by TLS if that is what it speaks, and waits for any answer; shows no key.
    pub(super) async fn reach(&self) -> Result<(), NetError> {
        let client = self.client.get_or_try_init(|| self.connect()).await?;
        let answer = client.head(self.base.clone()).timeout(self.settings.connect_timeout * 2).send().await;
        answer.map(drop).map_err(|err| classify(&err))
    }

    /// The URL of a path below the base.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// Whether a text holds the key.
    pub(super) fn redact(&self, text: &str) -> String {
        match &self.key {
            Key::None => text.to_owned(),
            Key::Bearer(key) | Key::Header(key) => text.replace(key.expose_secret(), "[key]"),
        }
    }

    fn key_header(&self) -> Result<Option<(HeaderName, HeaderValue)>, NetError> {
        let (name, value) = match &self.key {
            Key::None => return Ok(None),
            Key::Bearer(key) => (AUTHORIZATION, format!("Bearer {}", key.expose_secret())),
            Key::Header(key) => (HeaderName::from_static("x-api-key"), key.expose_secret().to_owned()),
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| {
            NetError::Forbidden(format!("the key for {} holds a character that no key has", self.name()))
        })?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }

    async fn connect(&self) -> Result<Client, NetError> {
        let host = self.base.host_str().unwrap_or_default().to_owned();
        let must_be_local = self.must_be_local();
        let guard = Guard { host: host.clone(), must_be_local, seen: Arc::clone(&self.seen) };
        // A name is checked when it is resolved; an address is never resolved.
        if let Some(address) = address::literal(&host) {
            let refused = |refused: Refused| NetError::Forbidden(refused.0);
            guard.check(&host, &[(address, 0).into()]).map_err(refused)?;
        }
        // What must stay local cannot be checked through a proxy, so it goes there directly or not at all.
        let proxy = match must_be_local {
            None => self.settings.proxies.of(&self.base).map_err(NetError::Forbidden)?,
            Some(_) => None,
        };
        let with_tls = self.base.scheme() == "https" || proxy.is_some();
        let ca_file = self.settings.ca_file.clone();
        let tls =
            tokio::task::spawn_blocking(move || if with_tls { tls::config(ca_file.as_deref()) } else { tls::unused() });
        let tls = tls.await.map_err(|err| NetError::Forbidden(err.to_string()))?.map_err(NetError::Forbidden)?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(guard)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.settings.connect_timeout)
            .pool_idle_timeout(IDLE_CONNECTION)
            .user_agent(concat!("assistantd/", env!("CARGO_PKG_VERSION")));
        if let Some(proxy) = proxy {
            builder = builder.proxy(proxy);
        }
        builder.build().map_err(|_| NetError::Forbidden(format!("cannot make an HTTP client for {}", self.name())))
    }
}

impl Reply {
    /// The next piece of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, NetError> {
        let chunk = tokio::time::timeout(self.stall, self.response.chunk())
            .await
            .map_err(|_| NetError::Broken(format!("stalled for {} s", seconds(self.stall))))?
            .map_err(|err| classify(&err))?;
        if let Some(chunk) = &chunk {
            let size = chunk.len() as u64;
            self.left = self.left.checked_sub(size).ok_or(NetError::TooLarge(self.limit))?;
        }
        Ok(chunk)
    }

    /// The whole body.
    pub(super) async fn bytes(mut self) -> Result<Vec<u8>, NetError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The beginning of the body of a refusal; whatever goes wrong with it is of no interest.
    pub(super) async fn beginning(mut self, limit: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < limit
            && let Ok(Some(chunk)) = self.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
        body.truncate(limit);
        body
    }

    /// Lets the connection be used again if the body is over, but does not wait for it.
    pub(super) async fn finish(mut self) {
        let rest = async { while let Ok(Some(_)) = self.chunk().await {} };
        let _ = tokio::time::timeout(Duration::from_millis(20), rest).await;
    }
}

/// For messages: `60`, or `0.3`.
pub(super) fn seconds(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 { duration.as_secs().to_string() } else { format!("{:.1}", duration.as_secs_f64()) }
}

/// In our words: those of the HTTP client name URLs.
fn classify(err: &reqwest::Error) -> NetError {
    let mut source = std::error::Error::source(err);
    let mut deepest = None;
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return NetError::Forbidden(refused.0.clone());
        }
        deepest = Some(cause);
        source = cause.source();
    }
    let io = deepest.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let tls = io.and_then(std::io::Error::get_ref).and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let cause = match (tls, io) {
        (Some(tls), _) => tls.to_string(),
        (_, Some(io)) => io.kind().to_string(),
        _ => "the other side broke it off".to_owned(),
    };
    if err.is_connect() && err.is_timeout() {
        NetError::NoConnection("no connection in time".into())
    } else if err.is_connect() {
        NetError::NoConnection(format!("no connection: {cause}"))
    } else {
        NetError::Broken(format!("the connection was cut: {cause}"))
    }
}
