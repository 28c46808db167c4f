//! The workspace on the wire. Paths are relative to the workspace root, which itself is `.`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::JobId;

/// One file or directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    pub name: String,
    pub relative_path: String,
    pub is_dir: bool,
    /// Bytes; 0 for directories.
    pub size_bytes: u64,
    /// Time of the last change in nanoseconds since 1970, as text because JSON numbers lose digits.
    pub mtime_ns: String,
}

/// `GET /api/workspace/tree`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tree {
    /// The directory that was listed.
    pub root: String,
    pub entries: Vec<Entry>,
    /// Whether there are more entries than were asked for.
    pub truncated: bool,
}

/// `GET /api/workspace/version`: changes when anything in the tree does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// SHA-256 over path, type, size and time of every entry, hexadecimal.
    pub version: String,
    pub entry_count: u64,
    pub total_size_bytes: u64,
    pub latest_mtime_ns: String,
    /// Whether the tree has more entries than were looked at.
    pub truncated: bool,
}

/// `GET /api/workspace/file`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Content {
    pub path: String,
    pub relative_path: String,
    pub content: String,
    /// Where `content` begins, in bytes.
    pub offset: u64,
    pub bytes_read: u64,
    /// Where to read on.
    pub next_offset: u64,
    /// Size of the whole file.
    pub size_bytes: u64,
    /// Whether there is more after `next_offset`: do not save `content` as the whole file.
    pub truncated: bool,
    /// Give it back as `expected_mtime_ns` when saving.
    pub mtime_ns: String,
}

/// `GET /api/workspace/metadata`, `PATCH /api/workspace/path`, `POST /api/workspace/copy` and `/restore`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ItemReply {
    pub item: Entry,
}

/// `PUT /api/workspace/file` and `/upload`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FileReply {
    pub file: Entry,
}

/// `POST /api/workspace/folders`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FolderReply {
    pub folder: Entry,
}

/// A time of change in nanoseconds: a number or its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum MtimeNs {
    Number(i64),
    Text(String),
}

impl MtimeNs {
    /// The nanoseconds, unless the text is not a number.
    pub fn nanos(&self) -> Option<i64> {
        match self {
            Self::Number(nanos) => Some(*nanos),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }
}

/// `PUT /api/workspace/file`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutFile {
    /// Up to 2000 characters.
    pub path: String,
    pub content: String,
    /// Fails with `conflict` unless the file still has this `mtime_ns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_mtime_ns: Option<MtimeNs>,
    /// Fails with `conflict` if the path exists.
    #[serde(default)]
    pub create_only: bool,
}

/// `DELETE /api/workspace/file`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {
    pub deleted_path: String,
    /// Where it lies now; absent when it is gone for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trash_path: Option<String>,
    /// Whether it is gone for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub permanent: bool,
}

/// `POST /api/workspace/folders`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeFolder {
    pub path: String,
}

/// `PATCH /api/workspace/path`, `POST /api/workspace/copy`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    pub source_path: String,
    pub destination_path: String,
}

/// `POST /api/workspace/convert`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConvertRequest {
    pub path: String,
    /// `markdown`, `html`, `pdf` or `docx`.
    pub output_format: String,
    /// Where to put it; unset: beside the source, under a free name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_path: Option<String>,
    /// Whether the source goes to the trash afterwards.
    #[serde(default)]
    pub delete_original: bool,
}

/// What was made of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conversion {
    pub source_path: String,
    pub output_path: String,
    pub output_format: String,
    /// `copy`, `builtin`, or the program that read or wrote it: `pandoc`, `pdftotext`, `libreoffice`.
    pub engine: String,
}

/// The answer to `POST /api/workspace/convert`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConvertReply {
    pub file: Entry,
    pub conversion: Conversion,
    pub deleted_original: bool,
}

/// `GET /api/workspace/search`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    pub matches: Vec<String>,
    pub entries: Vec<Entry>,
    pub truncated: bool,
}

/// `POST /api/workspace/restore`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    pub trash_path: String,
    /// Where to put it; unset: where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_path: Option<String>,
}

/// One deleted file or directory.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Trashed {
    pub trash_path: String,
    pub original_path: String,
    pub is_dir: bool,
    pub size_bytes: u64,
    /// The job that deleted it; null: a person.
    pub job_id: Option<JobId>,
    pub deleted_at: Timestamp,
}

/// `GET /api/workspace/trash`, newest first
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Trash {
    pub entries: Vec<Trashed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A content that a file had before it was written again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OldVersion {
    pub id: i64,
    pub size_bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
    pub replaced_at: Timestamp,
    /// The job that replaced it; null: a person, or a job that is erased.
    pub job_id: Option<JobId>,
}

/// `GET /api/workspace/history`, newest first
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct History {
    pub path: String,
    pub versions: Vec<OldVersion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `POST /api/workspace/zip`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Zip {
    /// A file or a directory.
    pub path: String,
    /// Where the archive goes; unset: the same path with `.zip` behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_path: Option<String>,
}

/// `POST /api/workspace/unzip`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unzip {
    pub path: String,
    /// A directory that is not there yet, or is empty; unset: the path without its extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_folder: Option<String>,
}

/// The answer to `POST /api/workspace/unzip`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Unzipped {
    pub folder: Entry,
    pub files: Vec<Entry>,
}

/// `POST /api/workspace/drafts`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDraft {
    /// The file that is being edited; it need not exist.
    pub path: String,
    pub content: String,
}

/// What an editor kept of a file before it was saved.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DraftReply {
    pub draft: Entry,
}

/// `GET /api/workspace/drafts/latest`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LatestDraft {
    /// Null: there is none.
    pub draft: Option<Draft>,
}

/// A draft with its text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Draft {
    #[serde(flatten)]
    pub entry: Entry,
    pub content: String,
}

/// `DELETE /api/workspace/drafts`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DraftsDeleted {
    pub deleted: u64,
}

/// `POST /api/workspace/jobs` and `/api/workspace/jobs/{id}/messages`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    pub message: String,
    /// The file that is open while it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_path: Option<String>,
    /// Whether the job is told of that file.
    #[serde(default)]
    pub include_active_file: bool,
    /// Whether it is given the text as well.
    #[serde(default)]
    pub include_file_content: bool,
    /// The text as it stands in the editor; up to 25000 characters are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_content: Option<String>,
}
