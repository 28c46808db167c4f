//! Failed logins: who fails again and again has to wait, longer each time.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

/// Failures that cost nothing but time.
const FREE: u32 = 5;
/// The first wait after that; doubled with each further failure.
const FIRST: Duration = Duration::from_secs(30);
/// The longest wait, and the time after which failures are forgotten.
const LONGEST: Duration = Duration::from_mins(15);
/// Sources that are remembered; when there are more, those whose last failure is oldest go.
const SOURCES: usize = 4096;

/// Failures by where they came from.
#[derive(Default)]
pub struct Attempts(Mutex<HashMap<Option<IpAddr>, Failures>>);

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Attempts {
    /// How long somebody from there still has to wait before the next attempt.
    pub(super) fn wait(&self, source: Option<IpAddr>, now: Timestamp) -> Option<Duration> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = all.get(&network(source)).copied()?;
        drop(all);
        let passed = since(failures.last, now);
        let over = failures.count.checked_sub(FREE)?;
        let wait = FIRST.saturating_mul(1 << over.min(20)).min(LONGEST);
        wait.checked_sub(passed).filter(|left| !left.is_zero())
    }

    /// Counts a failure.
    pub(super) fn failed(&self, source: Option<IpAddr>, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SOURCES {
            all.retain(|_, failures| since(failures.last, now) < LONGEST);
        }
        if all.len() >= SOURCES
            && let Some(oldest) = all.iter().min_by_key(|(_, failures)| failures.last).map(|(source, _)| *source)
        {
            all.remove(&oldest);
        }
        let failures = all.entry(network(source)).or_insert(Failures { count: 0, last: now });
        let forgotten = since(failures.last, now) >= LONGEST;
        *failures = Failures { count: if forgotten { 1 } else { failures.count.saturating_add(1) }, last: now };
    }

    /// Forgets the failures of somebody who got in.
    pub(super) fn succeeded(&self, source: Option<IpAddr>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&network(source));
    }
}

/// Zero when the clock was set back.
fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// Whoever has one address of IPv6 has its whole /64.
pub(in crate::http) fn network(source: Option<IpAddr>) -> Option<IpAddr> {
    source.map(|address| match address {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        IpAddr::V4(_) => address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_and_again_waits_longer_each_time() {
        let attempts = Attempts::default();
        let address = |text: &str| Some(text.parse().unwrap());
        let (bad, other) = (address("192.0.2.7"), address("192.0.2.8"));
        let mut now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for _ in 0..FREE {
            assert_eq!(attempts.wait(bad, now), None);
            attempts.failed(bad, now);
        }
        assert_eq!(attempts.wait(bad, now), Some(FIRST));
        assert_eq!(attempts.wait(other, now), None);
        now += FIRST;
        assert_eq!(attempts.wait(bad, now), None);
        attempts.failed(bad, now);
        assert_eq!(attempts.wait(bad, now), Some(2 * FIRST));
        for _ in 0..40 {
            attempts.failed(bad, now);
        }
        assert_eq!(attempts.wait(bad, now), Some(LONGEST));
        now += LONGEST;
        assert_eq!(attempts.wait(bad, now), None);
        attempts.failed(bad, now);
        assert_eq!(attempts.wait(bad, now), None, "the old ones are forgotten");

        for _ in 0..=FREE {
            attempts.failed(other, now);
        }
        attempts.succeeded(other);
        assert_eq!(attempts.wait(other, now), None);
        for host in 0..=FREE {
            attempts.failed(address(&format!("2001:db8:0:1::{host}")), now);
        }
        assert!(attempts.wait(address("2001:db8:0:1:ffff::1"), now).is_some(), "one network");
        assert!(attempts.wait(address("2001:db8:0:2::1"), now).is_none());
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let attempts = Attempts::default();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for number in 0..u32::try_from(SOURCES + 50).unwrap() {
            attempts.failed(Some(std::net::Ipv4Addr::from_bits(number).into()), now);
        }
        assert_eq!(attempts.0.lock().unwrap().len(), SOURCES);
    }
}
