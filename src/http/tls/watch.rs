//! Notices that a certificate or its key was renewed.
//!
//! The directories are watched, not the files: renewals put others in their place, or turn a symbolic link.

use std::{
    collections::BTreeSet,
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
    time::Duration,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe::Receiver;

use super::{Files, follow};
use crate::cx::Cx;

/// How long is waited after a change: both files are seldom renewed at the same instant.
const SETTLE: Duration = Duration::from_millis(500);

/// Follows the files until the daemon stops.
pub(in crate::http) async fn watch(cx: Cx) {
    let mut seen = files(&cx).map(|files| stamps(&files));
    loop {
        let files = files(&cx);
        // Watched first and compared then, so that nothing happens between the two.
        let watching = files.as_ref().map(Watching::on);
        let now = files.as_ref().map(stamps);
        if now != seen {
            seen = now;
            follow(&cx);
        }
        let change = async {
            match watching {
                Some(Ok(watching)) => watching.change().await,
                Some(Err(err)) => {
                    tracing::warn!(%err, "renewals of the certificate are noticed by `assistantctl reload` only");
                    std::future::pending::<()>().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cx.stop.cancelled() => return,
            () = cx.process.tls.moved.notified() => {}
            () = change => tokio::select! {
                () = cx.stop.cancelled() => return,
                () = tokio::time::sleep(SETTLE) => {}
            },
        }
    }
}

fn files(cx: &Cx) -> Option<Files> {
    Files::of(&cx.config.load(), &cx.process.sources.paths).ok().flatten()
}

/// What differs when a file is another one, or may be read by others.
type Stamp = Option<(u64, i64, i64, u64, u32)>;

fn stamps(files: &Files) -> [Stamp; 2] {
    [&files.certificate, &files.key].map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.ino(), found.mtime(), found.mtime_nsec(), found.size(), found.mode()))
    })
}

/// Directories in which something may happen (inotify(7)), whose descriptor is waited for like a pipe's.
struct Watching(Receiver);

impl Watching {
    fn on(files: &Files) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut dirs = BTreeSet::new();
        for path in [&files.certificate, &files.key] {
            dirs.extend(path.parent().map(Path::to_owned));
            dirs.extend(fs::canonicalize(path).ok().as_deref().and_then(Path::parent).map(Path::to_owned));
        }
        let what = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB;
        for dir in &dirs {
            inotify.add_watch(dir, what)?;
        }
        Receiver::from_owned_fd_unchecked(OwnedFd::from(inotify)).map(Self)
    }

    /// Ends with the next event.
    async fn change(&self) {
        // What it says is not read: the files themselves are looked at.
        if self.0.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
