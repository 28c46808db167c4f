//! A body that has to move: one that sends nothing for too long, or more than its limit, ends with the reason.

use std::{
    error::Error as StdError,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::LengthLimitError;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::error::Error;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Wraps a body with a limit for the time between two of its frames.
pub(super) struct Paced<B> {
    inner: B,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

/// No byte came for the given time.
#[derive(Debug, thiserror::Error)]
#[error("nothing was received for {} s", .0.as_secs())]
struct Stalled(Duration);

impl<B> Paced<B> {
    pub(super) fn new(inner: B, limit: Duration) -> Self {
        Self { inner, limit, waiting: None }
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = self.limit;
        let timer = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        std::task::ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(Stalled(limit).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Why a body could not be read to its end.
pub(super) fn explain(err: axum::Error, limit: usize) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&err);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Error::too_large(format!("the body is larger than {limit} bytes"));
        }
        if let Some(stalled) = error.downcast_ref::<Stalled>() {
            return Error::timeout(stalled.to_string()).hint("the limit is api.stream_idle_timeout");
        }
        cause = error.source();
    }
    Error::invalid("the body was cut off").source(err)
}

#[cfg(test)]
mod tests {
    use assistant_api::ErrorKind;
    use futures_util::StreamExt as _;
    use http_body_util::{BodyExt as _, Limited, StreamBody};

    use super::*;

    fn body(chunks: usize, pause: Duration) -> axum::body::Body {
        let frames = futures_util::stream::iter(0..chunks).then(move |_| async move {
            sleep(pause).await;
            Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"12345678")))
        });
        let body = Limited::new(StreamBody::new(Box::pin(frames)), 20);
        axum::body::Body::new(Paced::new(body, Duration::from_mins(1)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_ends_when_it_stands_still_or_is_too_long() {
        let steady = body(2, Duration::from_secs(50)).collect().await.unwrap();
        assert_eq!(steady.to_bytes().len(), 16);
        let stalled = explain(body(2, Duration::from_secs(70)).collect().await.unwrap_err(), 20);
        assert_eq!((stalled.kind(), stalled.message()), (ErrorKind::Timeout, "nothing was received for 60 s"));
        let long = explain(body(3, Duration::from_secs(1)).collect().await.unwrap_err(), 20);
        assert_eq!((long.kind(), long.message()), (ErrorKind::TooLarge, "the body is larger than 20 bytes"));
    }
}
