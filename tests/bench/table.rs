//! One line per figure: what was measured, the baseline of the same run, their ratio, and the goal.

use std::path::Path;

use super::measure;

/// Prints rows and remembers whether all goals were reached.
pub(crate) struct Table {
    fdatasync_ms: f64,
    load: f64,
    missed: Vec<String>,
}

/// What a figure is compared with.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// At most this much.
    AtMost(f64),
    /// At least this much.
    AtLeast(f64),
    /// The ratio to the baseline is at most this.
    RatioAtMost(f64),
    /// The ratio to the baseline is at least this.
    RatioAtLeast(f64),
    /// Shown for orientation.
    None,
}

impl Table {
    /// Takes the disk's and the machine's condition, and prints the head.
    pub(crate) fn begin(dir: &Path) -> Self {
        let table = Self { fdatasync_ms: measure::fdatasync(dir), load: measure::load(), missed: Vec::new() };
        println!("median fdatasync {:.3} ms, load {:.2} at the start", table.fdatasync_ms, table.load);
        if !table.is_quiet() {
            println!("(the machine is not quiet: absolute figures below are not judged, ratios are)");
        }
        println!("{:<58} {:>11} {:>11} {:>7}  {:<16} fdatasync load", "what", "figure", "baseline", "ratio", "goal");
        table
    }

    /// Absolute figures are judged only on a quiet machine with a quick disk.
    pub(crate) fn is_quiet(&self) -> bool {
        self.fdatasync_ms <= 0.3 && self.load < 2.0
    }

    /// Median `fdatasync` at the start, in milliseconds.
    pub(crate) fn fdatasync_ms(&self) -> f64 {
        self.fdatasync_ms
    }

    /// Prints one figure.
    pub(crate) fn row(&mut self, what: &str, figure: f64, unit: &str, baseline: Option<f64>, goal: Goal) {
        let ratio = baseline.map(|baseline| figure / baseline);
        let (text, reached) = match goal {
            Goal::AtMost(most) => (format!("<= {most:.1} {unit}"), !self.is_quiet() || figure <= most),
            Goal::AtLeast(least) => (format!(">= {least:.1} {unit}"), !self.is_quiet() || figure >= least),
            Goal::RatioAtMost(most) => (format!("ratio <= {most}"), ratio.is_some_and(|ratio| ratio <= most)),
            Goal::RatioAtLeast(least) => (format!("ratio >= {least}"), ratio.is_some_and(|ratio| ratio >= least)),
            Goal::None => (String::new(), true),
        };
        let show = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
        println!(
            "{what:<58} {:>11} {:>11} {:>7}  {text:<16} {:.3} ms {:.2}{}",
            format!("{figure:.2} {unit}"),
            show(baseline),
            show(ratio),
            self.fdatasync_ms,
            measure::load(),
            if reached { "" } else { "  MISSED" },
        );
        if !reached {
            self.missed.push(what.to_owned());
        }
    }

    /// Whether every goal that could be judged was reached.
    pub(crate) fn end(self) -> bool {
        if self.missed.is_empty() {
            println!("every goal that could be judged is reached");
        } else {
            println!("missed: {}", self.missed.join("; "));
        }
        self.missed.is_empty()
    }
}
