//! What an archive says about itself: a head before everything, and a line for each entry behind them.

use assistant_api::backup::{BackupContents, BackupSkipped};
use assistantd::error::{Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::FORMAT;

/// The first entry, `backup.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the format.
    pub format: u32,
    /// Version of the program that made it.
    pub program: String,
    /// Schema version of the database.
    pub schema: u64,
    pub created_at: Timestamp,
    /// Bytes that everything took when the backup began.
    pub estimated_bytes: u64,
}

impl Head {
    /// Reads the first entry of an archive.
    ///
    /// # Errors
    /// `invalid` when it is none, `conflict` when it is of a format that is not known here.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let wrong = |_| Error::invalid("it is not a backup of the assistant");
        let Format { format } = serde_json::from_slice(bytes).map_err(wrong)?;
        if format != FORMAT {
            return Err(Error::conflict(format!("it has format {format}, this program knows {FORMAT}"))
                .hint("install the version of the package that made it, or a newer one"));
        }
        serde_json::from_slice(bytes).map_err(wrong)
    }
}

/// What kind of entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    File,
    Dir,
    Symlink,
    /// Another name of a file that came before.
    Link,
}

/// What stands for one entry; the same bytes when it is written and when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub path: String,
    pub kind: Kind,
    /// Permission bits, octal.
    pub mode: String,
    /// Seconds since 1970.
    pub mtime: u64,
    pub size: u64,
    /// Of the content of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where a link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// The last line: what there was altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub files: u64,
    pub directories: u64,
    pub links: u64,
    pub bytes: u64,
}

impl Totals {
    /// Counts an entry.
    pub fn add(&mut self, kind: Kind, size: u64) {
        match kind {
            Kind::File => {
                self.files += 1;
                self.bytes += size;
            }
            Kind::Dir => self.directories += 1,
            Kind::Symlink | Kind::Link => self.links += 1,
        }
    }
}

/// What was not taken in, or not as it was, with the reason: all are counted, the first are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    pub count: u64,
    pub first: Vec<BackupSkipped>,
}

impl Skipped {
    /// How many are named to people.
    const NAMED: usize = 20;

    /// Adds one.
    pub fn add(&mut self, skipped: BackupSkipped) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(skipped);
        }
    }
}

/// All of it, as it is told.
pub fn contents(head: &Head, totals: Totals, skipped: Skipped, jobs: u64) -> BackupContents {
    BackupContents {
        created_at: head.created_at,
        program: head.program.clone(),
        schema_version: head.schema,
        files: totals.files,
        directories: totals.directories,
        links: totals.links,
        bytes: totals.bytes,
        jobs,
        skipped: skipped.count,
        skipped_first: skipped.first,
    }
}

/// The bytes of a name as text that can be read back: what is not printable UTF-8, and `%`, as `%` and two digits.
pub fn escape(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char == '%' || char.is_control() {
                let mut bytes = [0; 4];
                char.encode_utf8(&mut bytes).bytes().for_each(|byte| push(&mut text, byte));
            } else {
                text.push(char);
            }
        }
        chunk.invalid().iter().for_each(|byte| push(&mut text, *byte));
    }
    text
}

fn push(text: &mut String, byte: u8) {
    use std::fmt::Write as _;
    // Writing into a text cannot fail.
    let _ = write!(text, "%{byte:02X}");
}

/// A SHA-256 as it is written.
pub fn hex(hash: sha2::Sha256) -> String {
    use std::fmt::Write as _;
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_without_loss() {
        for (name, text) in
            [(&b"a b.txt"[..], "a b.txt"), ("ü%".as_bytes(), "ü%25"), (b"\xff\n\x7f", "%FF%0A%7F"), (b"%41", "%2541")]
        {
            assert_eq!(escape(name), text);
        }
    }

    #[test]
    fn heads_of_other_formats_are_refused() {
        let head = Head {
            format: FORMAT,
            program: "0.1.0".into(),
            schema: 1,
            created_at: Timestamp::UNIX_EPOCH,
            estimated_bytes: 5,
        };
        let text = serde_json::to_string(&head).unwrap();
        assert_eq!(Head::parse(text.as_bytes()).unwrap(), head);
        assert!(Head::parse(br#"{"format":2}"#).unwrap_err().message().contains("format 2"));
        assert!(Head::parse(b"{}").unwrap_err().message().contains("not a backup"));
    }
}
