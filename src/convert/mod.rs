//! Documents become Markdown, web pages, PDF files and text documents.
//!
//! Nothing is read in the daemon. pandoc, pdftotext and their like run in the sandbox ([`crate::sandbox::apart`]); what
//! needs no such program is read by `assistant-mail`, which gives up everything but its memory before it looks. A
//! document is handed over as standard input, and what comes of it is taken from standard output, so that no program is
//! told a path.

mod reader;
mod steps;

use std::fs::File;

pub use self::{
    reader::extract,
    steps::{Converted, Format, convert, transcript},
};

/// Bytes of a file that is still at its beginning.
fn size(file: &File) -> crate::error::Result<u64> {
    file.metadata().map(|meta| meta.len()).map_err(crate::error::Error::internal)
}
