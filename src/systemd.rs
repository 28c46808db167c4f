//! The service manager's side: readiness, status, watchdog, inherited sockets (`sd_notify(3)`, `sd_listen_fds(3)`).
//!
//! Without a service manager every call here does nothing.

use std::{
    os::fd::{FromRawFd as _, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sd_notify::NotifyState;

use crate::{
    cx::Cx,
    error::{Error, Result},
    logging::catalog,
    store,
};

/// Before a database that another program holds is tried again.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

/// A socket that the service manager opened for the daemon.
#[derive(Debug)]
pub struct Inherited {
    pub fd: OwnedFd,
    /// `FileDescriptorName=` of its socket unit.
    pub name: String,
}

/// Takes the inherited sockets; call once, before any thread exists.
///
/// # Errors
/// `invalid` when the variables of the service manager contradict each other.
#[expect(unsafe_code, reason = "the descriptors are ours alone by the protocol, and no thread exists yet")]
pub fn inherited() -> Result<Vec<Inherited>> {
    // SAFETY: the caller runs before any thread, so nobody else reads the environment that this changes.
    let listed = unsafe { sd_notify::listen_fds_with_names_and_unset_env() };
    let listed = listed.map_err(|err| Error::invalid(format!("reading the inherited sockets: {err}")))?;
    // SAFETY: the service manager hands these numbers over to this process, and each is taken exactly once.
    Ok(listed.map(|(fd, name)| Inherited { fd: unsafe { OwnedFd::from_raw_fd(fd) }, name }).collect())
}

/// Speaks to the service manager; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<Arc<Manager>>);

#[derive(Debug)]
struct Manager {
    watchdog: Option<Duration>,
    status: Mutex<String>,
}

impl Notifier {
    /// The service manager of this process, if it was started by one (`$NOTIFY_SOCKET`).
    pub fn from_environment(environment: &crate::config::Environment) -> Self {
        let manager = environment
            .get("NOTIFY_SOCKET")
            .map(|_| Arc::new(Manager { watchdog: sd_notify::watchdog_enabled(), status: Mutex::default() }));
        Self(manager)
    }

    /// Whether there is a service manager to speak to.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// How often the watchdog wants a sign of life: half of what it tolerates. `None` when there is no watchdog.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.0.as_ref()?.watchdog.map(|limit| limit / 2)
    }

    /// The database is migrated and the sockets listen.
    pub fn ready(&self) {
        self.send(&[NotifyState::Ready]);
    }

    /// A sign of life.
    pub fn alive(&self) {
        self.send(&[NotifyState::Watchdog]);
    }

    /// Begins a reload; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(err) => tracing::warn!(%err, "reading the monotonic clock for the service manager"),
        }
    }

    /// The daemon has begun to stop.
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// Asks for more time to start or stop.
    pub fn extend_timeout(&self, by: Duration) {
        self.send(&[NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))]);
    }

    /// One line for `systemctl status`: counts only, never a user's text. Sent only when it changed.
    pub fn status(&self, line: &str) {
        let Some(manager) = &self.0 else { return };
        let mut last = manager.status.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != line {
            line.clone_into(&mut last);
            drop(last);
            self.send(&[NotifyState::Status(line)]);
        }
    }

    fn send(&self, state: &[NotifyState<'_>]) {
        if self.0.is_some()
            && let Err(err) = sd_notify::notify(state)
        {
            tracing::warn!(%err, "the service manager does not listen");
        }
    }
}

/// Feeds the watchdog for as long as the store's writer and the scheduler of jobs answer; never ends. Without a watchdog
/// there is no timer.
pub async fn watchdog(cx: &Cx) {
    let Some(interval) = cx.process.systemd.watchdog_interval() else {
        return std::future::pending().await;
    };
    loop {
        let answer = round_trip(cx);
        tokio::pin!(answer);
        if tokio::time::timeout(interval, &mut answer).await.is_err() {
            let milliseconds = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
            tracing::error!(
                target: catalog::WATCHDOG,
                milliseconds,
                "the database writer or the scheduler does not answer"
            );
            answer.await;
            tracing::info!("the database writer and the scheduler answer again");
        }
        cx.process.systemd.alive();
        tokio::time::sleep(interval).await;
    }
}

/// Returns when both have answered; one that hangs holds the sign of life back.
async fn round_trip(cx: &Cx) {
    // A writer that waits for another program's lock hangs; one that answers with another error, such as a full disk, lives.
    while let Err(err) = cx.store.ping().await {
        tracing::debug!(error = err.chain(), "the watchdog's write failed");
        if !store::is_locked(&err) || cx.stop.is_cancelled() {
            break;
        }
        tokio::time::sleep(LOCKED_PAUSE).await;
    }
    // A daemon that stops has no scheduler any more.
    tokio::select! {
        () = cx.wake.pulse.beat() => {}
        () = cx.stop.cancelled() => {}
    }
}
