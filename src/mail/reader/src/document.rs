//! Kinds of documents that the reader makes Markdown of.

use std::str::FromStr;

/// What a document is, by what it says of itself; one that lies is refused by its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plain text and Markdown: taken as it is.
    Text,
    Csv,
    Json,
    Xml,
    Html,
    /// Spreadsheets: `.xlsx`, `.xlsm`.
    Xlsx,
    /// Spreadsheets of older programs: `.xls`.
    Xls,
    /// Spreadsheets: `.ods`.
    Ods,
    Docx,
    Pptx,
    Epub,
    /// Subtitles (`WebVTT`).
    Vtt,
    /// A document as pandoc holds it; comes out as the same without anything that would be fetched.
    PandocTree,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Text,
        Self::Csv,
        Self::Json,
        Self::Xml,
        Self::Html,
        Self::Xlsx,
        Self::Xls,
        Self::Ods,
        Self::Docx,
        Self::Pptx,
        Self::Epub,
        Self::Vtt,
        Self::PandocTree,
    ];

    /// As it is named on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Xml => "xml",
            Self::Html => "html",
            Self::Xlsx => "xlsx",
            Self::Xls => "xls",
            Self::Ods => "ods",
            Self::Docx => "docx",
            Self::Pptx => "pptx",
            Self::Epub => "epub",
            Self::Vtt => "vtt",
            Self::PandocTree => "pandoc-tree",
        }
    }

    /// By the end of a name, without the dot, in any case.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Some(match extension.to_ascii_lowercase().as_str() {
            "txt" | "md" | "markdown" | "text" | "log" => Self::Text,
            "csv" | "tsv" => Self::Csv,
            "json" => Self::Json,
            "xml" => Self::Xml,
            "htm" | "html" | "xhtml" => Self::Html,
            "xlsx" | "xlsm" => Self::Xlsx,
            "xls" => Self::Xls,
            "ods" => Self::Ods,
            "docx" => Self::Docx,
            "pptx" => Self::Pptx,
            "epub" => Self::Epub,
            "vtt" => Self::Vtt,
            _ => return None,
        })
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no kind of document"))
    }
}
