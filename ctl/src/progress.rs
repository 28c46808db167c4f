//! The line at the bottom of a terminal that says what is being waited for. Nothing of it reaches a pipe.

use std::time::{Duration, Instant};

use crate::{Cx, text};

/// A line on the standard error that is drawn over; absent when nobody would see it.
pub struct Progress {
    shown: bool,
    /// What stands there now; empty for nothing.
    drawn: String,
    since: Instant,
}

impl Progress {
    /// Begins to count the time.
    pub fn new(cx: &Cx) -> Self {
        let shown = cx.out.error_terminal && cx.out.terminal && !cx.out.json;
        Self { shown, drawn: String::new(), since: Instant::now() }
    }

    /// Counts from now on.
    pub fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// When it wants to be drawn again; never when it is not shown.
    pub async fn tick(&self) {
        if self.shown {
            tokio::time::sleep(Duration::from_secs(1)).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// Draws `doing` with the time that it has taken.
    #[expect(clippy::print_stderr, reason = "this is the command line")]
    pub fn draw(&mut self, doing: &str) {
        if self.shown {
            let line = format!("… {} ({})", text::one_line(doing), text::seconds(self.since.elapsed().as_secs()));
            let line = text::shorten(&line, 78);
            if line != self.drawn {
                eprint!("\r\u{1b}[K{line}");
                self.drawn = line;
            }
        }
    }

    /// Takes the line away, before something else is printed.
    #[expect(clippy::print_stderr, reason = "this is the command line")]
    pub fn clear(&mut self) {
        if !self.drawn.is_empty() {
            eprint!("\r\u{1b}[K");
            self.drawn.clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Prints a line of diagnostics.
#[expect(clippy::print_stderr, reason = "this is the command line")]
pub fn say(line: &str) {
    eprintln!("{}", text::one_line(line));
}

/// Prints a page of help that nobody asked for.
#[expect(clippy::print_stderr, reason = "this is the command line")]
pub fn page(text: &str) {
    eprint!("{text}");
}

/// Prints text of this program as it is, with a line end.
#[expect(clippy::print_stderr, reason = "this is the command line")]
pub fn tell(text: &str) {
    eprintln!("{}", text::clean(text));
}

/// Prints a question and stays on its line.
#[expect(clippy::print_stderr, reason = "this is the command line")]
pub fn ask(question: &str) {
    eprint!("{}", text::one_line(question) + " ");
}
