//! `[jobs]`

use crate::config::{section::section, value::Seconds};

section! {
    /// The queue and its workers.
    pub struct Jobs = "jobs" {
        /// Jobs that run at the same time, 1 to 64.
        workers: u32 = 4, env "TASK_AGENT_WORKERS";
        /// Runs of a job before an error sends it to review.
        max_attempts: u32 = 3;
        /// A worker that has not renewed its lease for so long has lost the job.
        lease: Seconds = Seconds::new(60);
        /// First pause after an error; doubles with each attempt, with jitter.
        backoff: Seconds = Seconds::new(2);
        /// Longest pause after an error.
        max_backoff: Seconds = Seconds::new(300);
        /// Time that running jobs get to finish their step when the daemon stops.
        stop_grace: Seconds = Seconds::new(5);
    }
}
