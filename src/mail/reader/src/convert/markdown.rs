//! How things are written in Markdown.

use super::{Page, Result};

/// Columns of a table that are written.
const MAX_COLUMNS: usize = 256;

/// A block of code; its fence is longer than any row of backticks in it.
pub(super) fn fenced(page: &mut Page<'_>, language: &str, text: &str) -> Result<()> {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    page.text(&format!("{fence}{language}\n"))?;
    page.text(text.trim_end())?;
    page.text(&format!("\n{fence}\n"))
}

/// A table, row by row; the first one is its head.
#[derive(Default)]
pub(super) struct Table {
    begun: bool,
}

impl Table {
    pub(super) fn row<'a>(&mut self, page: &mut Page<'_>, cells: impl Iterator<Item = &'a str>) -> Result<()> {
        let mut columns = 0;
        for cell in cells.take(MAX_COLUMNS) {
            page.text("| ")?;
            page.text(&in_cell(cell))?;
            page.text(" ")?;
            columns += 1;
        }
        if columns == 0 {
            return Ok(());
        }
        page.text("|\n")?;
        if !self.begun {
            self.begun = true;
            page.text(&"| --- ".repeat(columns))?;
            page.text("|\n")?;
        }
        Ok(())
    }
}

/// One line, in which no bar ends the cell.
fn in_cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}

/// White space of any kind becomes one blank.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An address that a link may name: of the web, of mail, or a place in the same document.
pub(super) fn is_link(address: &str) -> bool {
    let low = address.trim().to_ascii_lowercase();
    ["http://", "https://", "mailto:", "#"].iter().any(|begin| low.starts_with(begin))
        && !address.contains(|character: char| character.is_whitespace() || matches!(character, '(' | ')' | '<' | '>'))
}
