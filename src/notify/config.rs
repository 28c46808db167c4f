//! `[notify]`

use crate::config::{section::section, value::Seconds};

section! {
    /// Who is told when a job needs a person, fails, or money runs out.
    pub struct Notify = "notify" {
        /// A program and its arguments; it gets the event as JSON on standard input.
        command: Vec<String> = Vec::new(), check crate::config::check::command;
        /// An address that gets the event as a JSON POST.
        webhook_url: Option<String> = None, check crate::config::check::url;
        /// Time for either.
        timeout: Seconds = Seconds::new(15), in Seconds::new(1)..=Seconds::new(600);
    }
}
