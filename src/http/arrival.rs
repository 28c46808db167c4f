//! Where a connection came in, and what its requests have to look like before anybody asks who sent them.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::http::{HeaderMap, HeaderValue, Method, Request, Uri, header, uri::Authority};
use tokio_util::either::Either;

use super::{
    accept::Stream,
    config::Api,
    listen::Door,
    login::{self, Visit},
    peer::{Peer, Who},
    server::Server,
};
use crate::{
    config::Config,
    cx::Cx,
    error::{Error, Result},
};

/// A connection, as far as it is known before its first request.
#[derive(Clone, Copy)]
pub(super) enum Arrival {
    /// On the API's socket.
    Local(Peer),
    /// At the web door.
    Web(Place),
}

/// The two ends of a connection at the web door; of a socket file nothing is known.
#[derive(Clone, Copy)]
pub(super) struct Place {
    local: Option<SocketAddr>,
    remote: Option<IpAddr>,
    /// By HTTPS, to here.
    https: bool,
    /// By `assistantctl dashboard`, for whoever reaches its port on this host.
    forwarded: bool,
}

impl Arrival {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When it does not say who is there: the connection has to be closed.
    pub(super) fn of(stream: &Stream, door: Door, server: &Server) -> io::Result<Self> {
        Ok(match (stream, door) {
            (Either::Left(unix), Door::Local) => Self::Local(Peer::of(unix, &server.role_groups())?),
            (Either::Left(_), Door::Web) => {
                Self::Web(Place { local: None, remote: None, https: false, forwarded: false })
            }
            (Either::Right(tcp), _) => {
                let remote = tcp.peer_addr()?.ip().to_canonical();
                Self::Web(Place {
                    local: Some(tcp.local_addr()?),
                    remote: Some(remote),
                    https: false,
                    forwarded: false,
                })
            }
        })
    }

    /// On the API's socket, forwarded from `local`, where any user of this host may have connected.
    pub(super) fn forwarded(local: SocketAddr) -> Self {
        Self::Web(Place { local: Some(local), remote: Some(local.ip()), https: false, forwarded: true })
    }

    /// The same, now that HTTPS is spoken.
    pub(super) fn by_https(self) -> Self {
        match self {
            Self::Web(place) => Self::Web(Place { https: true, ..place }),
            Self::Local(_) => self,
        }
    }

    /// The client for whom a proxy asks, where one does.
    pub(super) fn behind(self, headers: &HeaderMap, config: &Config) -> Option<IpAddr> {
        let Self::Web(place) = self else { return None };
        let client = place.visit(headers, config).address;
        client.filter(|client| place.remote != Some(*client))
    }

    /// Who sends a request, if its head may be sent here at all; and the routes that they are kept to, if any.
    ///
    /// # Errors
    /// `forbidden` with what is wrong with the head, `unauthorized` for a login that is not good.
    pub(super) async fn admit<B>(self, request: &Request<B>, cx: &Cx) -> Result<(Peer, Arc<[String]>)> {
        let headers = request.headers();
        match self {
            Self::Local(peer) => {
                check_local(headers, request.uri().authority().map(Authority::as_str))?;
                Ok((peer, Arc::default()))
            }
            Self::Web(place) => {
                let config = cx.config.load_full();
                let names = Names { config: &config, local: place.local, https: place.https };
                names.check(request.method(), request.uri(), headers)?;
                let visit = place.visit(headers, &config);
                let identity = login::identify(cx, request.method(), headers, visit).await?;
                let Visit { address, secure, .. } = visit;
                let (role, login) =
                    (identity.as_ref().map(|known| known.role), identity.as_ref().map(|known| known.login));
                let peer = Peer {
                    who: Who::Web { address, secure, login, of_this_host: place.is_of_this_host(headers) },
                    role,
                };
                Ok((peer, identity.map_or_else(Arc::default, |known| known.allow)))
            }
        }
    }
}

impl Place {
    /// Whether a program of this host asks for itself. A proxy that says nothing of its client looks like one.
    fn is_of_this_host(self, headers: &HeaderMap) -> bool {
        const OF_PROXIES: [&str; 6] =
            ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
        !self.forwarded
            && self.remote.is_some_and(|remote| remote.is_loopback())
            && !OF_PROXIES.iter().any(|name| headers.contains_key(*name))
    }

    /// What the connection says of its client; a trusted proxy says for whom it asks.
    fn visit(self, headers: &HeaderMap, config: &Config) -> Visit {
        let trusted = |address: &IpAddr| config.api.trusts(*address);
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let forwarded = self.forwarded;
        // Who comes through a forwarder is no proxy, whatever the address.
        if forwarded || !self.remote.as_ref().is_none_or(trusted) {
            return Visit { address: self.remote, secure: self.https, forwarded };
        }
        // Each proxy appends whom it heard from: the last one that is no proxy of ours is the client.
        let said = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect::<Vec<_>>();
        let chain = said.iter().flat_map(|line| line.split(',')).map(|address| address.trim().parse::<IpAddr>().ok());
        let through = chain.rev().map_while(|address| address).map(|address| address.to_canonical());
        let client = through.into_iter().find(|address| !trusted(address));
        let address = client.or_else(|| text("x-real-ip")?.parse().ok()).or(self.remote);
        let https = text("x-forwarded-proto").map_or(self.https, |scheme| scheme.eq_ignore_ascii_case("https"));
        // Where the proxy says nothing, the address by which people are told to come does.
        let named = || {
            let (scheme, authority) = base(&config.app.base_url)?;
            Some(scheme == "https" && text("host")?.eq_ignore_ascii_case(&authority))
        };
        Visit { address, secure: https || named() == Some(true), forwarded: false }
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(peer) => write!(f, "uid {:?}, pid {:?}", peer.uid(), peer.pid()),
            Self::Web(Place { remote: Some(address), .. }) => write!(f, "{address}"),
            Self::Web(Place { remote: None, .. }) => f.write_str("the web socket"),
        }
    }
}

/// Refuses what only a browser sends: no web page may reach the socket, not even through a program that forwards it.
fn check_local(headers: &HeaderMap, authority: Option<&str>) -> Result<()> {
    let mut hosts = 0_u32;
    let forbidden = headers.iter().find_map(|(name, value)| match name.as_str() {
        "host" => {
            hosts += 1;
            (hosts > 1 || !is_own_name(value.as_bytes())).then_some("Host")
        }
        "origin" => Some("Origin"),
        "referer" => Some("Referer"),
        name => name.starts_with("sec-fetch-").then_some("Sec-Fetch"),
    });
    let forbidden = forbidden.or_else(|| authority.is_some_and(|name| !is_own_name(name.as_bytes())).then_some("Host"));
    match forbidden {
        None => Ok(()),
        Some("Host") => Err(Error::forbidden("the Host header does not name this daemon")
            .hint("on the Unix socket Host is \"assistantd\", \"localhost\" or empty, given once")),
        Some(name) => {
            Err(Error::forbidden(format!("requests with browser headers ({name}) are refused on this socket"))
                .hint("use assistantctl, or a client that sends no Origin, Referer or Sec-Fetch headers"))
        }
    }
}

fn is_own_name(host: &[u8]) -> bool {
    host.is_empty() || host.eq_ignore_ascii_case(b"assistantd") || host.eq_ignore_ascii_case(b"localhost")
}

/// The names by which a connection may call this host.
///
/// A page of another host that gets its own name to mean this one (DNS rebinding) names that other host in `Host`. An
/// address cannot be made to mean another one, so the address that was connected to is always right.
struct Names<'a> {
    config: &'a Config,
    local: Option<SocketAddr>,
    https: bool,
}

impl Names<'_> {
    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<()> {
        let named = uri.authority().map_or(Ok(()), |authority| self.host(authority.as_str().as_bytes()));
        named.and_then(|()| self.hosts(headers)).and_then(|()| self.origin(method, headers))
    }

    /// Exactly one, and one of ours.
    fn hosts(&self, headers: &HeaderMap) -> Result<()> {
        let mut hosts = headers.get_all(header::HOST).iter();
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => self.host(host.as_bytes()),
            _ => Err(Error::forbidden("a request has to have one Host header")),
        }
    }

    fn host(&self, host: &[u8]) -> Result<()> {
        let known = std::str::from_utf8(host).is_ok_and(|host| self.is_ours(host));
        if known {
            return Ok(());
        }
        Err(Error::forbidden("the Host header does not name this daemon")
            .hint("call it by its address, or add the name to api.allowed_hosts (or as app.base_url)"))
    }

    /// Whether `authority` (a host, perhaps with a port) is what this daemon is called.
    fn is_ours(&self, authority: &str) -> bool {
        let Config { api: Api { allowed_hosts, .. }, app, .. } = self.config;
        let same = |name: &str| name.eq_ignore_ascii_case(authority);
        let bare = |name: &str| name.parse::<Authority>().is_ok_and(|name| name.port().is_none());
        if allowed_hosts.iter().any(|name| same(name) || (bare(name) && self.port_of(authority, name))) {
            return true;
        }
        if base(&app.base_url).is_some_and(|(_, name)| same(&name)) {
            return true;
        }
        let Some(local) = self.local else { return false };
        let address = SocketAddr::new(local.ip().to_canonical(), local.port());
        same(&address.to_string())
            || (address.port() == self.usual_port() && same(&bracketed(address.ip())))
            || (address.ip().is_loopback() && self.port_of(authority, "localhost"))
    }

    /// The port that nobody writes.
    fn usual_port(&self) -> u16 {
        if self.https { 443 } else { 80 }
    }

    /// Whether `authority` is `name` with the port that was connected to.
    fn port_of(&self, authority: &str, name: &str) -> bool {
        let Some(rest) = authority.get(name.len()..) else { return false };
        let port = self.local.map(|local| local.port());
        authority.is_char_boundary(name.len())
            && authority[..name.len()].eq_ignore_ascii_case(name)
            && port.is_some_and(|port| rest == format!(":{port}") || (port == self.usual_port() && rest.is_empty()))
    }

    /// What a page of another origin sends is refused; so is a change for which nobody can say what sent it.
    fn origin(&self, method: &Method, headers: &HeaderMap) -> Result<()> {
        let foreign = || {
            Error::forbidden("the request was made by a page of another site")
                .hint("if this daemon is called by that name, add it to api.allowed_hosts or set app.base_url")
        };
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next();
        if origins.next().is_some() || origin.is_some_and(|origin| !self.is_own_origin(origin)) {
            return Err(foreign());
        }
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let navigates = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match site {
            Some(b"same-origin" | b"none") => Ok(()),
            Some(_) if reads && navigates => Ok(()),
            Some(_) => Err(foreign()),
            None if reads || origin.is_some() || headers.contains_key(header::AUTHORIZATION) => Ok(()),
            None => Err(Error::forbidden("nothing says where this request was made")
                .hint("programs send Authorization: Bearer TOKEN; browsers send Origin and Sec-Fetch-Site")),
        }
    }

    fn is_own_origin(&self, origin: &HeaderValue) -> bool {
        let Some((scheme, authority)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
            return false;
        };
        // Nobody who is asked by HTTPS serves pages by HTTP, so such a page is somebody else's.
        (scheme == "https" || (scheme == "http" && !self.https)) && self.is_ours(authority)
    }
}

/// Scheme and authority of an address.
fn base(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_owned()))
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

#[cfg(test)]
mod tests;
