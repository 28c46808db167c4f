//! Writes the text format of Prometheus (exposition formats, version 0.0.4).

use std::fmt::{Display, Write as _};

/// What the format is called.
pub(super) const MEDIA: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics; each family is written at once, so that none comes twice.
#[derive(Default)]
pub(super) struct Page(String);

/// One metric with its label values.
pub(super) struct Family<'a> {
    page: &'a mut String,
    name: &'a str,
}

impl Page {
    /// A number that only grows; its name ends in `_total`.
    pub(super) fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "counter", help)
    }

    /// A number that goes up and down.
    pub(super) fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "gauge", help)
    }

    /// Its series are written by [`Family::histogram`].
    pub(super) fn histograms<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "histogram", help)
    }

    fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { page: &mut self.0, name }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Its only value.
    pub(super) fn is(mut self, value: impl Display) {
        self.put(&[], value);
    }

    /// The value under these labels.
    pub(super) fn put(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    /// A histogram under these labels: `upto` counts for each of the bounds, in seconds, and one for all.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: impl Iterator<Item = f64>,
        upto: impl Iterator<Item = u64>,
        sum: f64,
    ) {
        let bounds = bounds.map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
        let mut count = 0;
        for (bound, within) in bounds.zip(upto) {
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line("_bucket", &labels, within);
            count = within;
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, count);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.page, "{}{suffix}", self.name);
        for (at, (name, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.page, "{}{name}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.page, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_the_format_says() {
        let mut page = Page::default();
        page.gauge("a", "One\nline \\ only").is(1.5);
        page.counter("b_total", "B").put(&[("x", "say \"\\\n\""), ("y", "2")], 7);
        page.histograms("c", "C").histogram(&[("x", "1")], [0.5, 1.0].into_iter(), [1, 2, 4].into_iter(), 6.25);
        assert_eq!(
            page.into_text(),
            "# HELP a One\\nline \\\\ only\n# TYPE a gauge\na 1.5\n\
             # HELP b_total B\n# TYPE b_total counter\nb_total{x=\"say \\\"\\\\\\n\\\"\",y=\"2\"} 7\n\
             # HELP c C\n# TYPE c histogram\nc_bucket{x=\"1\",le=\"0.5\"} 1\nc_bucket{x=\"1\",le=\"1\"} 2\n\
             c_bucket{x=\"1\",le=\"+Inf\"} 4\nc_sum{x=\"1\"} 6.25\nc_count{x=\"1\"} 4\n"
        );
    }
}
