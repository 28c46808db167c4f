//! Tables and emphasis, before they are laid out.

use std::borrow::Cow;

use crate::text;

/// How a word stands out on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Busy,
    Attention,
    Bad,
}

impl Style {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Busy => "36",
            Self::Attention => "33",
            Self::Bad => "31",
        }
    }

    /// The style of a job's, an effect's or a finding's state.
    pub fn of(state: &str) -> Self {
        match state {
            "completed" | "confirmed" | "ok" => Self::Good,
            "running" | "dispatched" => Self::Busy,
            "needs_review" | "unknown" | "warn" => Self::Attention,
            "failed" | "fail" => Self::Bad,
            "cancelled" => Self::Dim,
            _ => Self::Plain,
        }
    }
}

/// Columns and rows. The last column takes what is left of the line.
#[derive(Clone, Default)]
pub struct Table {
    pub(super) headers: Vec<&'static str>,
    pub(super) rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    pub fn new(headers: &[&'static str]) -> Self {
        Self { headers: headers.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; its cells are cleaned and put on one line each.
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = (Cow<'a, str>, Style)>) {
        self.rows.push(cells.into_iter().map(|(cell, style)| (text::one_line(&cell), style)).collect());
    }

    /// Some of its columns, by number and in this order.
    pub(super) fn columns(&self, numbers: &[usize]) -> Self {
        Self {
            headers: numbers.iter().map(|number| self.headers[*number]).collect(),
            rows: self.rows.iter().map(|row| numbers.iter().map(|number| row[*number].clone()).collect()).collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A cell without emphasis.
pub fn cell<'a>(text: impl Into<Cow<'a, str>>) -> (Cow<'a, str>, Style) {
    (text.into(), Style::Plain)
}

/// A cell that shows a state.
pub fn state(text: &str) -> (Cow<'_, str>, Style) {
    (text.into(), Style::of(text))
}
