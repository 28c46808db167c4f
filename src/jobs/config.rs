//! `[jobs]`

use crate::config::{section::section, value::Seconds};

section! {
    /// The queue and its workers.
    pub struct Jobs = "jobs" {
        /// Jobs that run at the same time, 1 to 64.
        workers: u32 = 4, env "TASK_AGENT_WORKERS", in 1..=64;
        /// Runs of a job before an error sends it to review.
        max_attempts: u32 = 3, in 1..=100;
        /// A worker that has not renewed its lease for so long has lost the job.
        lease: Seconds = Seconds::new(60), in Seconds::new(5)..=Seconds::new(3600);
        /// First pause after an error; doubles with each attempt, with jitter.
        backoff: Seconds = Seconds::new(2), in Seconds::new(0)..=Seconds::new(3600);
        /// Longest pause after an error.
        max_backoff: Seconds = Seconds::new(300), in Seconds::new(0)..=Seconds::new(86400);
        /// Time that running jobs get to finish their step when the daemon stops.
        stop_grace: Seconds = Seconds::new(5), in Seconds::new(0)..=Seconds::new(600);
    }
}
