//! The body of an answer on its way to the client, which tells how it ended.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;

use crate::control::Reason;

pub(super) struct Passing {
    body: Incoming,
    ended: Option<Reason>,
    tell: Option<oneshot::Sender<Reason>>,
}

impl Passing {
    /// `tell` hears `Done`, `UpstreamFailed`, or `ClientGone` when nobody wanted the rest.
    pub(super) fn new(body: Incoming, tell: oneshot::Sender<Reason>) -> Self {
        Self { body, ended: None, tell: Some(tell) }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => {}
            Some(Err(_)) => self.ended = Some(Reason::UpstreamFailed),
            None => self.ended = Some(Reason::Done),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // A body that says that it is at its end is not asked for more.
        let at_end = if self.body.is_end_stream() { Reason::Done } else { Reason::ClientGone };
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(self.ended.unwrap_or(at_end)); // the exchange was ended by a bound
        }
    }
}
