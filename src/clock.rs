//! The one clock: of the system, or set by hand in tests.
//!
//! Wall time (UTC) is what is stored and shown. Monotonic time with the boot id is what leases count in, so that
//! neither a suspend nor a step of the wall clock ends a lease.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use nix::{
    errno::Errno,
    sys::{
        time::TimeSpec,
        timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};
use tokio::{io::unix::AsyncFd, sync::watch};

/// Tells the time; cheap to clone.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The clocks of the kernel.
    #[default]
    System,
    /// A time that moves only by [`Clock::advance`].
    Fixed(Arc<Mutex<Fixed>>),
}

/// The state of a clock that is set by hand.
#[derive(Debug)]
pub struct Fixed {
    wall: Timestamp,
    monotonic: Duration,
    boot: String,
    /// Changes whenever a hand moves, so that sleepers look again.
    moved: watch::Sender<()>,
}

impl Clock {
    /// A clock that stands at `wall`.
    pub fn fixed(wall: Timestamp) -> Self {
        Self::Fixed(Arc::new(Mutex::new(Fixed {
            wall,
            monotonic: Duration::from_mins(17),
            boot: "test-boot".into(),
            moved: watch::Sender::new(()),
        })))
    }

    /// Wall time, UTC, truncated to microseconds because that is what is stored.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    pub fn now(&self) -> Timestamp {
        let now = match self {
            Self::System => Timestamp::now(),
            Self::Fixed(fixed) => lock(fixed).wall,
        };
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// Time since boot without suspends (`CLOCK_MONOTONIC`, `clock_gettime(2)`).
    pub fn monotonic(&self) -> Duration {
        match self {
            Self::System => {
                nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
            }
            Self::Fixed(fixed) => lock(fixed).monotonic,
        }
    }

    /// The kernel's id of this boot (`/proc/sys/kernel/random/boot_id`, random(4)): monotonic times of another boot
    /// mean nothing.
    pub fn boot_id(&self) -> String {
        match self {
            Self::System => std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .map_or_else(|_| "unknown".into(), |id| id.trim().to_owned()),
            Self::Fixed(fixed) => lock(fixed).boot.clone(),
        }
    }

    /// Moves a clock that is set by hand; no effect on the system's.
    pub fn advance(&self, by: Duration) {
        if let Self::Fixed(fixed) = self {
            let mut fixed = lock(fixed);
            fixed.monotonic += by;
            fixed.wall += by;
            fixed.moved.send_replace(());
        }
    }

    /// Steps only the wall time, as an administrator or NTP does; no effect on the system's.
    pub fn step_wall(&self, to: Timestamp) {
        if let Self::Fixed(fixed) = self {
            let mut fixed = lock(fixed);
            fixed.wall = to;
            fixed.moved.send_replace(());
        }
    }

    /// Starts another boot; no effect on the system's.
    pub fn reboot(&self) {
        if let Self::Fixed(fixed) = self {
            let mut fixed = lock(fixed);
            fixed.boot.push('+');
            fixed.monotonic = Duration::from_secs(1);
        }
    }

    /// Sleeps until the wall clock shows `at`, however it gets there: a suspend does not delay it, a step of the clock
    /// is noticed at once.
    pub async fn sleep_until(&self, at: Timestamp) {
        while self.now() < at {
            match self {
                Self::System => {
                    if let Err(errno) = alarm(at).await {
                        // No timer of the kernel to be had: look at the clock now and then.
                        tracing::warn!(error = %errno, "no timer");
                        let left = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
                        tokio::time::sleep(left.min(Duration::from_mins(1))).await;
                    }
                }
                Self::Fixed(fixed) => moved(fixed, |fixed| fixed.wall >= at).await,
            }
        }
    }

    /// Sleeps until the monotonic clock shows `at`.
    pub async fn sleep_until_monotonic(&self, at: Duration) {
        match self {
            Self::System => tokio::time::sleep(at.saturating_sub(self.monotonic())).await,
            Self::Fixed(fixed) => moved(fixed, |fixed| fixed.monotonic >= at).await,
        }
    }
}

/// Waits for `at` or for a step of the wall clock, whichever comes first (`timerfd_create(2)`, `TFD_TIMER_CANCEL_ON_SET`).
async fn alarm(at: Timestamp) -> Result<(), Errno> {
    let timer = TimerFd::new(TimerClock::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    let at = TimeSpec::new(at.as_second(), at.subsec_nanosecond().into());
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    timer.set(Expiration::OneShot(at), flags)?;
    let errno = |err: std::io::Error| err.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    #[expect(
        deprecated,
        reason = "its successor is unsafe; an `OwnedFd` keeps its descriptor until it is dropped here"
    )]
    let timer = AsyncFd::new(OwnedFd::from(timer)).map_err(errno)?;
    timer.readable().await.map_err(errno)?.clear_ready();
    Ok(())
}

/// Waits until a clock that is set by hand stands where `there` wants it.
async fn moved(fixed: &Mutex<Fixed>, there: impl Fn(&Fixed) -> bool) {
    let mut changes = lock(fixed).moved.subscribe();
    while !there(&lock(fixed)) {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn lock(fixed: &Mutex<Fixed>) -> std::sync::MutexGuard<'_, Fixed> {
    fixed.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_wall_clock_leaves_the_monotonic_one_alone() {
        let clock = Clock::fixed("2026-11-22T00:00:00Z".parse().unwrap());
        let before = clock.monotonic();
        clock.step_wall("2030-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(clock.monotonic(), before);
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.monotonic(), before + Duration::from_secs(5));
        assert_eq!(clock.now().to_string(), "2030-01-01T00:00:05Z");
    }

    #[tokio::test]
    async fn sleepers_wake_when_the_time_is_there_and_not_before() {
        let clock = Clock::fixed("2026-11-22T00:00:00Z".parse().unwrap());
        let sleep = clock.sleep_until("2026-11-22T00:01:00Z".parse().unwrap());
        let monotonic = clock.sleep_until_monotonic(Duration::from_mins(18));
        tokio::pin!(sleep, monotonic);
        let soon = Duration::from_millis(20);
        clock.advance(Duration::from_secs(30));
        assert!(tokio::time::timeout(soon, &mut sleep).await.is_err());
        clock.step_wall("2026-11-22T08:00:00Z".parse().unwrap());
        tokio::time::timeout(soon, sleep).await.unwrap();
        assert!(tokio::time::timeout(soon, &mut monotonic).await.is_err());
        clock.advance(Duration::from_secs(30));
        tokio::time::timeout(soon, monotonic).await.unwrap();
    }

    #[tokio::test]
    async fn the_system_clock_wakes_a_sleeper() {
        let clock = Clock::System;
        let at = clock.now() + jiff::SignedDuration::from_millis(30);
        tokio::time::timeout(Duration::from_secs(5), clock.sleep_until(at)).await.unwrap();
        assert!(clock.now() >= at);
    }

    #[test]
    fn the_system_clock_has_a_boot_id_and_moves() {
        let clock = Clock::System;
        assert_ne!(clock.boot_id(), "unknown");
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before && !before.is_zero());
    }
}
