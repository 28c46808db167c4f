//! Documents become Markdown.
//!
//! Everything here is bounded by what it is given: output by [`Bounds::output`], what a compressed document unpacks to by
//! [`Bounds::unpacked`], depth by the reading of each format. Nothing opens a file or a connection, and what a document
//! refers to is never looked for.

mod html;
mod markdown;
mod office;
mod plain;
mod sheet;
mod slides;
#[cfg(test)]
mod tests;
mod tree;
mod xml;
mod zipped;

use std::{fmt, io::Write};

use crate::document::Kind;

/// How much may come of a document.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of what it becomes.
    pub output: u64,
    /// Bytes that a compressed one unpacks to.
    pub unpacked: u64,
}

impl Bounds {
    /// For a document of this size: text that packs extremely well unpacks to about two hundred times its size, and a
    /// small document may hold a long one.
    pub fn of(input: u64, output: u64) -> Self {
        Self { output, unpacked: input.saturating_mul(200).clamp(16 << 20, 256 << 20) }
    }
}

/// Why a document cannot be converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed(pub String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Failed {
    fn from(err: std::io::Error) -> Self {
        match err.into_inner() {
            None => Self("it cannot be written down".to_owned()),
            Some(inner) => Self(inner.to_string()),
        }
    }
}

type Result<T, E = Failed> = std::result::Result<T, E>;

/// Writes what the document says, as Markdown.
///
/// # Errors
/// It is not of its kind, or something of it is larger than the bounds.
pub fn convert(kind: Kind, input: &[u8], bounds: Bounds, out: impl Write) -> Result<()> {
    let mut page = Page { out: Box::new(out), left: bounds.output, most: bounds.output };
    match kind {
        Kind::Text => plain::text(input, &mut page),
        Kind::Csv => plain::csv(input, &mut page),
        Kind::Json => plain::json(input, &mut page),
        Kind::Xml => plain::xml(input, &mut page),
        Kind::Vtt => plain::vtt(input, &mut page),
        Kind::Html => html::page(&plain::decoded(input)?, &mut page),
        Kind::Xlsx => sheet::xlsx(input, bounds, &mut page),
        Kind::Xls => sheet::xls(input, &mut page),
        Kind::Ods => sheet::ods(input, bounds, &mut page),
        Kind::Docx => office::docx(input, bounds, &mut page),
        Kind::Pptx => slides::pptx(input, bounds, &mut page),
        Kind::Epub => slides::epub(input, bounds, &mut page),
        Kind::PandocTree => tree::stripped(input, &mut page),
    }?;
    Ok(page.out.flush()?)
}

/// What is written, up to a bound.
struct Page<'a> {
    out: Box<dyn Write + 'a>,
    left: u64,
    most: u64,
}

impl Page<'_> {
    fn text(&mut self, text: &str) -> Result<()> {
        Ok(self.write_all(text.as_bytes())?)
    }
}

impl Write for Page<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = bytes.len() as u64;
        if length > self.left {
            return Err(std::io::Error::other(format!("it becomes more than {} bytes of text", self.most)));
        }
        self.left -= length;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
