//! `[notify]`

use crate::config::{section::section, value::Seconds};

section! {
    /// Who is told when a job needs a person, fails, or money runs out: a JSON object with `event_id`, `kind`
    /// (`needs_review`, `failed` or `budget`), `job_id`, `status`, `subject`, `reason`, `needs` (with the `command` to
    /// type) and `at`. A message that a crash interrupts is sent again with the same `event_id`.
    pub struct Notify = "notify" {
        /// A program and its arguments, run without a shell and with no environment but `PATH` and `LANG`; it gets the
    /// object on standard input. An exit status other than 0 is tried again, five times in all.
        command: Vec<String> = Vec::new(), check crate::config::check::command;
        /// An address that gets the object as a POST; no answer, or one of 5xx, 408, 425 or 429, is tried again.
        webhook_url: Option<String> = None, check crate::config::check::url;
        /// Time for either.
        timeout: Seconds = Seconds::new(15), in Seconds::new(1)..=Seconds::new(600);
    }
}
