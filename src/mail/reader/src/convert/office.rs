//! Text documents of office programs (ECMA-376, part 1, section 17).

use super::{
    Bounds, Failed, Page, Result, markdown, plain,
    xml::{self, Piece},
    zipped::Zipped,
};

/// What is written of a document: its paragraphs with headings and lists, and its tables.
pub(super) fn docx(input: &[u8], bounds: Bounds, page: &mut Page<'_>) -> Result<()> {
    let mut zip = Zipped::open(input, bounds)?;
    let document = zip.text("word/document.xml")?;
    let document = document.ok_or_else(|| Failed("it is not a text document: there is no word/document.xml".into()))?;
    let mut body = Body::default();
    xml::walk(&document, |piece| body.take(page, &piece))?;
    for (part, title) in [("word/footnotes.xml", "Footnotes"), ("word/comments.xml", "Comments")] {
        if let Some(text) = zip.text(part)? {
            let mut notes = Vec::new();
            paragraphs(&text, |paragraph| notes.push(paragraph))?;
            if !notes.is_empty() {
                page.text(&format!("## {title}\n\n"))?;
                notes.iter().try_for_each(|note| page.text(&format!("- {note}\n")))?;
                page.text("\n")?;
            }
        }
    }
    Ok(())
}

/// The text of each paragraph, one line each.
pub(super) fn paragraphs(text: &str, mut take: impl FnMut(String)) -> Result<()> {
    let (mut line, mut reads) = (String::new(), false);
    xml::walk(text, |piece| {
        match piece {
            Piece::Open(element) => match xml::name(element) {
                "t" => reads = true,
                "tab" | "br" => line.push(' '),
                _ => {}
            },
            Piece::Close("t") => reads = false,
            Piece::Close("p") => {
                let said = markdown::one_line(&plain::clean(&std::mem::take(&mut line)));
                if !said.is_empty() {
                    take(said);
                }
            }
            Piece::Text(said) if reads => line.push_str(said),
            _ => {}
        }
        Ok(())
    })
}

#[derive(Default)]
struct Body {
    /// Of the paragraph.
    text: String,
    heading: Option<usize>,
    /// How deep it stands in a list.
    list: Option<usize>,
    reads: bool,
    /// How many tables it stands in.
    tables: usize,
    table: markdown::Table,
    row: Vec<String>,
    cell: String,
}

impl Body {
    fn take(&mut self, page: &mut Page<'_>, piece: &Piece<'_>) -> Result<()> {
        match piece {
            Piece::Open(element) => self.open(page, element),
            Piece::Text(text) if self.reads => {
                self.text.push_str(text);
                Ok(())
            }
            Piece::Text(_) => Ok(()),
            Piece::Close(name) => self.close(page, name),
        }
    }

    fn open(&mut self, page: &mut Page<'_>, element: &quick_xml::events::BytesStart<'_>) -> Result<()> {
        match xml::name(element) {
            "t" => self.reads = true,
            "tab" => self.text.push('\t'),
            "br" => self.text.push('\n'),
            "pStyle" => {
                let style = xml::attribute(element, "val").unwrap_or_default().to_ascii_lowercase();
                let level = style.strip_prefix("heading").and_then(|level| level.trim().parse().ok());
                self.heading = level.or((style == "title").then_some(1));
            }
            "numPr" => self.list = Some(self.list.unwrap_or(0)),
            "ilvl" => {
                let level = xml::attribute(element, "val").and_then(|level| level.parse().ok());
                self.list = Some(level.unwrap_or(0_usize).min(8));
            }
            "tbl" => {
                if self.tables == 0 {
                    page.text("\n")?;
                    self.table = markdown::Table::default();
                }
                self.tables += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, page: &mut Page<'_>, name: &str) -> Result<()> {
        match name {
            "t" => self.reads = false,
            "p" => {
                let text = std::mem::take(&mut self.text);
                let (heading, list) = (self.heading.take(), self.list.take());
                if self.tables > 0 {
                    self.cell.push_str(&text);
                    self.cell.push(' ');
                    return Ok(());
                }
                return paragraph(page, &plain::clean(&text), heading, list);
            }
            "tc" if self.tables == 1 => self.row.push(plain::clean(&std::mem::take(&mut self.cell)).into_owned()),
            "tr" if self.tables == 1 => {
                let row = std::mem::take(&mut self.row);
                self.table.row(page, row.iter().map(String::as_str))?;
            }
            "tbl" => {
                self.tables = self.tables.saturating_sub(1);
                if self.tables == 0 {
                    page.text("\n")?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn paragraph(page: &mut Page<'_>, text: &str, heading: Option<usize>, list: Option<usize>) -> Result<()> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(());
    }
    match (heading, list) {
        (Some(level), _) => page.text(&format!("{} {}\n\n", "#".repeat(level.clamp(1, 6)), markdown::one_line(text))),
        (None, Some(level)) => page.text(&format!("{}- {}\n", "  ".repeat(level), markdown::one_line(text))),
        (None, None) => page.text(&format!("{text}\n\n")),
    }
}
