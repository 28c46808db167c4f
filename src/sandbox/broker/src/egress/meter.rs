//! Counts the bytes of a connection to a host, and holds their bounds.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{config::Limits, control::Reason};

/// What went through a [`Metered`] stream.
#[derive(Debug)]
pub(super) struct Meter {
    started: Instant,
    up: AtomicU64,
    down: AtomicU64,
    /// Milliseconds from `started` to the last byte.
    last: AtomicU64,
    up_over: AtomicBool,
    down_over: AtomicBool,
    limits: Limits,
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            last: AtomicU64::new(0),
            up_over: AtomicBool::new(false),
            down_over: AtomicBool::new(false),
            limits,
        })
    }

    /// Bytes sent to the host.
    pub(super) fn up(&self) -> u64 {
        self.up.load(Relaxed)
    }

    /// Bytes received from the host.
    pub(super) fn down(&self) -> u64 {
        self.down.load(Relaxed)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The bound that the stream came to.
    pub(super) fn over(&self) -> Option<Reason> {
        let up = self.up_over.load(Relaxed).then_some(Reason::UploadBytes);
        up.or_else(|| self.down_over.load(Relaxed).then_some(Reason::DownloadBytes))
    }

    /// Ends once there was no byte for as long as the bounds allow.
    pub(super) async fn idle(&self) {
        let limit = self.limits.idle();
        loop {
            let last = self.started + Duration::from_millis(self.last.load(Relaxed));
            if last.elapsed() >= limit {
                return;
            }
            tokio::time::sleep_until(last + limit).await;
        }
    }

    /// Counts the time until now as busy, as when the host has just been connected to.
    pub(super) fn touch(&self) {
        self.last.store(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A stream to a host; its reads come down, its writes go up.
pub(super) struct Metered<S> {
    stream: S,
    meter: Arc<Meter>,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, meter: Arc<Meter>) -> Self {
        meter.touch();
        Self { stream, meter }
    }
}

fn over() -> io::Error {
    io::Error::other("the bound of bytes is reached")
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let count = (buf.filled().len() - before) as u64;
        if count > 0 {
            let meter = &self.meter;
            if meter.down() + count > meter.limits.download_bytes {
                buf.set_filled(before);
                meter.down_over.store(true, Relaxed);
                return Poll::Ready(Err(over()));
            }
            meter.down.fetch_add(count, Relaxed);
            meter.touch();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let room = self.meter.limits.upload_bytes.saturating_sub(self.meter.up());
        let most = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if most == 0 && !bytes.is_empty() {
            self.meter.up_over.store(true, Relaxed);
            return Poll::Ready(Err(over()));
        }
        let count = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..most]))?;
        self.meter.up.fetch_add(count as u64, Relaxed);
        self.meter.touch();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn not_one_byte_more_than_the_bounds() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let meter = Meter::new(Limits { upload_bytes: 10, download_bytes: 20, ..Limits::default() });
        let mut near = Metered::new(near, meter.clone());
        near.write_all(&[1; 10]).await.unwrap();
        assert_eq!((meter.up(), meter.over()), (10, None));
        near.write_all(&[1; 1]).await.unwrap_err();
        assert_eq!((meter.up(), meter.over()), (10, Some(Reason::UploadBytes)));

        let meter = Meter::new(Limits { upload_bytes: 10, download_bytes: 20, ..Limits::default() });
        near.meter = meter.clone();
        far.write_all(&[2; 20]).await.unwrap();
        near.read_exact(&mut [0; 20]).await.unwrap();
        far.write_all(&[2; 1]).await.unwrap();
        near.read_exact(&mut [0; 1]).await.unwrap_err();
        assert_eq!((meter.down(), meter.over()), (20, Some(Reason::DownloadBytes)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_in_either_direction_is_a_sign_of_life() {
        let (near, mut far) = tokio::io::duplex(64);
        let meter = Meter::new(Limits { idle_seconds: 10, ..Limits::default() });
        let mut near = Metered::new(near, meter.clone());
        let quiet = async {
            meter.idle().await;
            meter.elapsed()
        };
        let traffic = async {
            tokio::time::sleep(Duration::from_secs(6)).await;
            far.write_all(&[0]).await.unwrap();
            near.read_exact(&mut [0]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(6)).await;
            near.write_all(&[0]).await.unwrap();
            std::future::pending::<()>().await;
        };
        let end = tokio::select! { end = quiet => end, () = traffic => unreachable!() };
        assert_eq!(end.as_secs(), 22);
    }
}
