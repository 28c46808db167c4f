//! What the tests share: daemons in the process and as processes, and a scripted model server.

pub(crate) mod daemon;
pub(crate) mod model;
pub(crate) mod process;

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

/// Says that a test cannot show here what it is for; `tests/run.sh` counts it as skipped instead of passed.
pub(crate) fn skip(reason: &str) {
    println!("skipped: {reason}");
    if let Some(file) = std::env::var_os("ASSISTANT_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
        file.write_all(format!("{reason}\n").as_bytes()).unwrap();
    }
}

/// Asks again and again until `ask` gives something, at most `seconds`.
pub(crate) async fn until<T>(what: &str, seconds: u64, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
