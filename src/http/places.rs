//! How many connections a listener has room for, and how many of them one address may take.
//!
//! Without the second bound one address could take them all. Those of a proxy come from one address for many clients,
//! and so do not count; neither do those of a socket file. There the open requests count, for the clients that the proxy
//! names: each of them keeps one of its connections.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::{config::Api, login};
use crate::error::{Error, ErrorKind};

/// Refusals are told to the journal once in this time.
const QUIET: Duration = Duration::from_mins(1);

/// The places of one listener, where who fills the one does not close the others, or those behind proxies.
#[derive(Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    all: u32,
    by: HashMap<IpAddr, u32>,
    /// Refused since the journal was last told, and when that was, on the monotonic clock.
    refused: u32,
    told: Option<Duration>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All are taken; how many that are.
    Everywhere(u32),
    /// An address has as many as it may have.
    For(IpAddr, u32),
}

/// A place; given back when dropped.
pub(super) struct Place {
    places: Arc<Places>,
    by: Option<IpAddr>,
    listener: bool,
}

impl Places {
    /// Takes one for somebody from that address.
    pub(super) fn take(self: &Arc<Self>, from: Option<IpAddr>, api: &Api) -> Result<Place, Full> {
        let by = login::network(from.filter(|address| !api.trusts(*address)));
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.room(by, api)?;
        if taken.all >= api.max_connections {
            return Err(Full::Everywhere(api.max_connections));
        }
        taken.all += 1;
        taken.count(by);
        Ok(Place { places: Arc::clone(self), by, listener: true })
    }

    /// Takes one for a request that a proxy passes on from that client.
    pub(super) fn take_behind(self: &Arc<Self>, client: IpAddr, api: &Api) -> Result<Place, Full> {
        let by = login::network(Some(client).filter(|address| !api.trusts(*address)));
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.room(by, api)?;
        taken.count(by);
        Ok(Place { places: Arc::clone(self), by, listener: false })
    }

    /// Counts a refusal. Gives how many there were when it is time to tell the journal.
    pub(super) fn refused(&self, now: Duration) -> Option<u32> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.refused = taken.refused.saturating_add(1);
        if taken.told.is_some_and(|told| now.saturating_sub(told) < QUIET) {
            return None;
        }
        taken.told = Some(now);
        Some(std::mem::take(&mut taken.refused))
    }
}

impl Taken {
    fn room(&self, by: Option<IpAddr>, api: &Api) -> Result<(), Full> {
        let most = api.most_of_one_address();
        match by {
            Some(address) if self.by.get(&address).is_some_and(|count| *count >= most) => Err(Full::For(address, most)),
            _ => Ok(()),
        }
    }

    fn count(&mut self, by: Option<IpAddr>) {
        if let Some(address) = by {
            *self.by.entry(address).or_default() += 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if self.listener {
            taken.all = taken.all.saturating_sub(1);
        }
        if let Some(address) = self.by
            && let Some(count) = taken.by.get_mut(&address)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by.remove(&address);
            }
        }
    }
}

/// The body of an answer that keeps its place until the last of it is sent, which for events may be hours.
pub(super) struct Placed {
    body: Body,
    _place: Place,
}

impl Placed {
    pub(super) fn new(body: Body, place: Place) -> Self {
        Self { body, _place: place }
    }
}

impl HttpBody for Placed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Full {
    /// What the refused client is told.
    pub(super) fn error(self) -> Error {
        let error = match self {
            Self::Everywhere(cap) => Error::unavailable(format!("all {cap} connections are in use"))
                .hint("close idle clients, or raise api.max_connections"),
            Self::For(_, most) => {
                Error::new(ErrorKind::RateLimited, format!("your address has {most} connections open, and no more"))
                    .hint("close some, or raise api.max_connections_per_address")
            }
        };
        error.retry_after(Duration::from_secs(1))
    }

    /// What the journal is told.
    pub(super) fn tell(self, refused: u32) {
        match self {
            Self::Everywhere(cap) => {
                tracing::warn!(refused, "all {cap} connections are in use (api.max_connections); others are refused");
            }
            Self::For(address, most) => tracing::warn!(
                refused,
                %address,
                "{address} has {most} connections open (api.max_connections_per_address); more are refused"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let api = Api { max_connections: 6, max_connections_per_address: 2, ..Api::default() };
        let places = Arc::new(Places::default());
        let attacker = address("192.0.2.7");
        let bad = Some(attacker);
        let mut held: Vec<_> = (0..2).map(|_| places.take(bad, &api).ok().unwrap()).collect();
        let full = places.take(bad, &api).err();
        assert_eq!(full, Some(Full::For(attacker, 2)));
        assert_eq!(full.unwrap().error().kind(), ErrorKind::RateLimited);
        // Others come in: neighbours, what has no address, and proxies however often.
        held.push(places.take(Some(address("192.0.2.8")), &api).ok().unwrap());
        held.push(places.take(None, &api).ok().unwrap());
        for _ in 0..2 {
            held.push(places.take(Some(address("127.0.0.1")), &api).ok().unwrap());
        }
        assert_eq!(places.take(Some(address("127.0.0.1")), &api).err(), Some(Full::Everywhere(6)));
        held.remove(0);
        held.push(places.take(bad, &api).ok().unwrap());
        drop(held);
        let taken = places.0.lock().unwrap();
        assert_eq!((taken.all, taken.by.len()), (0, 0), "nothing of anybody is left");
    }

    #[test]
    fn behind_a_proxy_the_open_requests_of_a_client_count_and_take_nothing_from_others() {
        let api = Api { max_connections: 6, max_connections_per_address: 2, ..Api::default() };
        let places = Arc::new(Places::default());
        let client = address("192.0.2.7");
        let mut held: Vec<_> = (0..2).map(|_| places.take_behind(client, &api).ok().unwrap()).collect();
        assert_eq!(places.take_behind(client, &api).err(), Some(Full::For(client, 2)));
        // Others come in however many there are, and a proxy that asks for itself.
        held.extend((10..30).map(|last| places.take_behind(address(&format!("192.0.2.{last}")), &api).ok().unwrap()));
        held.extend((0..9).map(|_| places.take_behind(address("127.0.0.1"), &api).ok().unwrap()));
        held.remove(0);
        assert!(places.take_behind(client, &api).is_ok());
        drop(held);
        let taken = places.0.lock().unwrap();
        assert_eq!((taken.all, taken.by.len()), (0, 0), "nothing of anybody is left");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address_and_never_gets_more_than_half() {
        let mut api = Api { max_connections_per_address: 2, ..Api::default() };
        let places = Arc::new(Places::default());
        let host = |number| Some(address(&format!("2001:db8:0:1::{number}")));
        let _held: Vec<_> = (0..2).map(|number| places.take(host(number), &api).ok().unwrap()).collect();
        assert!(places.take(host(9), &api).is_err());
        assert!(places.take(Some(address("2001:db8:0:2::1")), &api).is_ok());
        (api.max_connections, api.max_connections_per_address) = (10, 100);
        assert_eq!(api.most_of_one_address(), 5);
        api.max_connections = 1;
        assert_eq!(api.most_of_one_address(), 1);
    }

    #[test]
    fn the_journal_is_told_once_a_minute_how_many_were_refused() {
        let places = Places::default();
        let second = Duration::from_secs;
        assert_eq!(places.refused(second(100)), Some(1));
        for _ in 0..40 {
            assert_eq!(places.refused(second(159)), None);
        }
        assert_eq!(places.refused(second(160)), Some(41));
        assert_eq!(places.refused(second(161)), None);
    }
}
