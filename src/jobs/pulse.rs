//! Whether the scheduler of jobs is alive: it is asked, and answers wherever it waits.

use tokio::sync::Notify;

/// One who asks, the watchdog, and one who answers, the scheduler.
#[derive(Default)]
pub struct Pulse {
    asked: Notify,
    answered: Notify,
}

impl Pulse {
    /// Returns when the scheduler has answered.
    pub async fn beat(&self) {
        self.asked.notify_one();
        self.answered.notified().await;
    }

    /// Waits for `work`, answering meanwhile.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.asked.notified() => self.answered.notify_one(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn only_who_waits_answers() {
        let pulse = Pulse::default();
        let soon = Duration::from_millis(20);
        tokio::time::timeout(soon, pulse.beat()).await.unwrap_err();
        let wait = pulse.during(tokio::time::sleep(Duration::from_secs(60)));
        tokio::select! {
            () = wait => panic!("it does not end by being asked"),
            () = async { pulse.beat().await; pulse.beat().await } => {}
        }
        assert_eq!(pulse.during(std::future::ready(7)).await, 7);
    }
}
