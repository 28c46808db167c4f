//! What happened since the start, for `/metrics`: numbers that nobody keeps elsewhere. Counting costs one atomic addition.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of [`Latency`], in milliseconds: around the budgets of the API, and up to its time limit.
pub const BOUNDS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 500, 2000, 10_000];

/// What failed logins are counted by.
pub const LOGIN_FAILURES: [&str; 4] = ["password", "rate_limited", "token", "link"];

/// Layers that refuse something to a command of the sandbox.
pub const SANDBOX_LAYERS: [&str; 6] = ["seccomp", "landlock", "proxy", "mount", "limit", "other"];

/// All counters of the process.
#[derive(Default)]
pub struct Counters {
    /// Requests on the API's socket.
    pub socket: Requests,
    /// Requests at the web door.
    pub web: Requests,
    /// Requests that were refused by their head alone: `Host`, `Origin`, a doubtful length.
    pub refused: Counter,
    /// Connections above `api.max_connections`, or above the share of their address.
    pub turned_away: Counter,
    /// Listeners of the event stream at the moment.
    pub listeners: Gauge,
    /// By [`LOGIN_FAILURES`].
    pub login_failures: [Counter; LOGIN_FAILURES.len()],
    /// Commands that ran in the sandbox.
    pub commands: Counter,
    /// What was refused to them, by [`SANDBOX_LAYERS`].
    pub denials: [Counter; SANDBOX_LAYERS.len()],
}

/// Answers by class of their status, and the time until their head was ready.
#[derive(Default)]
pub struct Requests {
    /// 1xx to 5xx.
    classes: [Counter; 5],
    pub latency: Latency,
}

impl Requests {
    /// Counts an answer.
    pub fn answered(&self, status: u16, time: Duration) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.classes[class].add(1);
        self.latency.observe(time);
    }

    /// `2xx` and such with their counts.
    pub fn by_class(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(self.classes.iter().map(Counter::get))
    }
}

/// A histogram of durations.
#[derive(Default)]
pub struct Latency {
    buckets: [Counter; BOUNDS_MS.len() + 1],
    micros: Counter,
}

impl Latency {
    fn observe(&self, time: Duration) {
        let bucket = BOUNDS_MS.iter().position(|bound| time <= Duration::from_millis(*bound));
        self.buckets[bucket.unwrap_or(BOUNDS_MS.len())].add(1);
        self.micros.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many took at most as long as each of [`BOUNDS_MS`], and in the end how many there were.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().scan(0, |sum, bucket| {
            *sum += bucket.get();
            Some(*sum)
        })
    }

    /// Microseconds altogether.
    pub fn sum_micros(&self) -> u64 {
        self.micros.get()
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many there are of something.
#[derive(Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub fn enter(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub fn leave(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Adds to the counter of `name` among `names`; what is not among them counts as the last.
pub fn count(counters: &[Counter], names: &[&str], name: &str, times: u64) {
    let at = names.iter().position(|known| *known == name).unwrap_or(names.len() - 1);
    if let Some(counter) = counters.get(at) {
        counter.add(times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_fall_into_their_class_and_every_bucket_above_their_time() {
        let requests = Requests::default();
        for (status, millis) in [(200, 1), (204, 3), (404, 20), (503, 60_000)] {
            requests.answered(status, Duration::from_millis(millis));
        }
        let classes: Vec<u64> = requests.by_class().map(|(_, count)| count).collect();
        assert_eq!(classes, [0, 2, 0, 1, 1]);
        let buckets: Vec<u64> = requests.latency.cumulative().collect();
        assert_eq!(buckets, [1, 1, 2, 2, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!(requests.latency.sum_micros(), 60_024_000);
    }

    #[test]
    fn what_has_no_name_counts_as_the_last() {
        let counters = Counters::default();
        for (layer, times) in [("landlock", 2), ("something new", 3)] {
            count(&counters.denials, &SANDBOX_LAYERS, layer, times);
        }
        let seen: Vec<u64> = counters.denials.iter().map(Counter::get).collect();
        assert_eq!(seen, [0, 2, 0, 0, 0, 3]);
    }
}
