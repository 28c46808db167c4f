//! The one clock: of the system, or set by hand in tests.
//!
//! Wall time (UTC) is what is stored and shown. Monotonic time with the boot id is what leases count in, so that
//! neither a suspend nor a step of the wall clock ends a lease.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

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
}

impl Clock {
    /// A clock that stands at `wall`.
    pub fn fixed(wall: Timestamp) -> Self {
        Self::Fixed(Arc::new(Mutex::new(Fixed { wall, monotonic: Duration::from_mins(17), boot: "test-boot".into() })))
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
        }
    }

    /// Steps only the wall time, as an administrator or NTP does; no effect on the system's.
    pub fn step_wall(&self, to: Timestamp) {
        if let Self::Fixed(fixed) = self {
            lock(fixed).wall = to;
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

    #[test]
    fn the_system_clock_has_a_boot_id_and_moves() {
        let clock = Clock::System;
        assert_ne!(clock.boot_id(), "unknown");
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before && !before.is_zero());
    }
}
