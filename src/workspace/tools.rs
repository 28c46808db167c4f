//! The file tools. Paths are relative to the workspace, or absolute and inside it.

use assistant_api::{
    effects::{Effect, EffectState},
    workspace::ConvertRequest,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Actor, origins, reconcile};
use crate::{
    agent::tools::{Call, Tool, ToolDef},
    cx::Cx,
    error::Result,
    policy::{Access, Origin},
    root::Mode,
};

pub(super) const TOOLS: &[ToolDef] = &[
    ToolDef::of::<FileList>(),
    ToolDef::of::<FileRead>(),
    ToolDef::of::<FileWrite>(),
    ToolDef::of::<FileAppend>(),
    ToolDef::of::<FileMove>(),
    ToolDef::of::<FileCopy>(),
    ToolDef::of::<FileConvert>(),
    ToolDef::of::<FileDelete>(),
    ToolDef::of::<FileSearch>(),
];

const GROUP: &str = "Files";

fn here() -> String {
    ".".into()
}

/// A number within its bounds, whatever was asked for.
fn bounded(asked: Option<i64>, default: usize, max: usize) -> usize {
    asked.map_or(default, |asked| usize::try_from(asked).unwrap_or(1).clamp(1, max))
}

/// List what is in a directory of the workspace.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileList {
    /// The directory.
    #[serde(default = "here")]
    path: String,
    /// Also what is in the directories below it.
    #[serde(default)]
    recursive: bool,
    /// Entries to return at most: 200 unless given, up to 1000.
    #[serde(default)]
    max_entries: Option<i64>,
}

#[derive(Serialize)]
struct Listed {
    root: String,
    entries: Vec<ListedEntry>,
    truncated: bool,
}

#[derive(Serialize)]
struct ListedEntry {
    name: String,
    path: String,
    relative_path: String,
    is_dir: bool,
    size_bytes: u64,
}

impl Tool for FileList {
    const NAME: &'static str = "file_list";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = GROUP;
    type Output = Listed;

    async fn run(self, cx: &Cx, call: &Call) -> Result<Listed> {
        let max = bounded(self.max_entries, 200, 1000);
        let tree = super::list(cx, Some(call.job_id), self.path, self.recursive, max).await?;
        let entries = tree.entries.into_iter().map(|entry| ListedEntry {
            name: entry.name,
            path: entry.relative_path.clone(),
            relative_path: entry.relative_path,
            is_dir: entry.is_dir,
            size_bytes: entry.size_bytes,
        });
        Ok(Listed { root: tree.root, entries: entries.collect(), truncated: tree.truncated })
    }
}

/// Read a text file of the workspace, or a part of it. If `truncated` is true, go on at `next_offset`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileRead {
    /// The file.
    path: String,
    /// Bytes to return at most.
    #[serde(default)]
    max_bytes: Option<i64>,
    /// Where to begin, in bytes.
    #[serde(default)]
    offset: i64,
}

#[derive(Serialize)]
struct ReadPart {
    path: String,
    relative_path: String,
    content: String,
    offset: u64,
    bytes_read: u64,
    next_offset: u64,
    size_bytes: u64,
    truncated: bool,
    #[serde(skip)]
    origin: Origin,
}

impl Tool for FileRead {
    const NAME: &'static str = "file_read";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = GROUP;
    type Output = ReadPart;

    fn origin(part: &ReadPart) -> Origin {
        part.origin
    }

    async fn run(self, cx: &Cx, call: &Call) -> Result<ReadPart> {
        let max = self.max_bytes.map(|max| u64::try_from(max).unwrap_or(1));
        let offset = u64::try_from(self.offset).unwrap_or(0);
        let part = super::read(cx, Some(call.job_id), self.path, offset, max).await?;
        Ok(ReadPart {
            origin: origins::of(cx, &part.path).await?,
            content: String::from_utf8_lossy(&part.bytes).into_owned(),
            offset: part.offset,
            bytes_read: part.bytes.len() as u64,
            next_offset: part.next_offset(),
            size_bytes: part.size,
            truncated: part.truncated(),
            relative_path: part.path.clone(),
            path: part.path,
        })
    }
}

#[derive(Serialize)]
struct Written {
    path: String,
    relative_path: String,
    size_bytes: u64,
}

impl From<assistant_api::workspace::Entry> for Written {
    fn from(entry: assistant_api::workspace::Entry) -> Self {
        Self { path: entry.relative_path.clone(), relative_path: entry.relative_path, size_bytes: entry.size_bytes }
    }
}

/// Write a whole text file in the workspace, replacing what is there. Missing directories are made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileWrite {
    /// The file.
    path: String,
    /// Its new content.
    content: String,
}

impl Tool for FileWrite {
    const NAME: &'static str = "file_write";
    const ACCESS: Access = Access::Write;
    const GROUP: &'static str = GROUP;
    type Output = Written;

    async fn run(self, cx: &Cx, call: &Call) -> Result<Written> {
        let actor = Actor::job(call, Self::NAME);
        super::write(cx, &actor, self.path, self.content.into(), Mode::Replace).await.map(Into::into)
    }

    async fn reconcile(cx: &Cx, effect: &Effect) -> Result<EffectState> {
        reconcile(cx, effect).await
    }
}

/// Add text to the end of a file in the workspace. A missing file is made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileAppend {
    /// The file.
    path: String,
    /// What to add.
    content: String,
}

impl Tool for FileAppend {
    const NAME: &'static str = "file_append";
    const ACCESS: Access = Access::Write;
    const GROUP: &'static str = GROUP;
    type Output = Written;

    async fn run(self, cx: &Cx, call: &Call) -> Result<Written> {
        super::append(cx, &Actor::job(call, Self::NAME), self.path, self.content.into()).await.map(Into::into)
    }

    async fn reconcile(cx: &Cx, effect: &Effect) -> Result<EffectState> {
        reconcile(cx, effect).await
    }
}

#[derive(Serialize)]
struct Transferred {
    source_path: String,
    destination_path: String,
    relative_path: String,
    is_dir: bool,
    size_bytes: u64,
}

impl Transferred {
    fn new(source: String, entry: assistant_api::workspace::Entry) -> Self {
        Self {
            source_path: source,
            destination_path: entry.relative_path.clone(),
            relative_path: entry.relative_path,
            is_dir: entry.is_dir,
            size_bytes: entry.size_bytes,
        }
    }
}

/// Move or rename a file or directory of the workspace. Nothing is replaced: the destination must not exist.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileMove {
    /// What to move.
    source_path: String,
    /// Its new path.
    destination_path: String,
}

impl Tool for FileMove {
    const NAME: &'static str = "file_move";
    const ACCESS: Access = Access::Write;
    const GROUP: &'static str = GROUP;
    type Output = Transferred;

    async fn run(self, cx: &Cx, call: &Call) -> Result<Transferred> {
        let source = self.source_path.clone();
        let entry = super::rename(cx, &Actor::job(call, Self::NAME), self.source_path, self.destination_path).await?;
        Ok(Transferred::new(shown(cx, &source), entry))
    }

    async fn reconcile(cx: &Cx, effect: &Effect) -> Result<EffectState> {
        reconcile(cx, effect).await
    }
}

/// Copy a file or directory of the workspace. Nothing is replaced: the destination must not exist.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileCopy {
    /// What to copy.
    source_path: String,
    /// The path of the copy.
    destination_path: String,
}

impl Tool for FileCopy {
    const NAME: &'static str = "file_copy";
    const ACCESS: Access = Access::Write;
    const GROUP: &'static str = GROUP;
    type Output = Transferred;

    async fn run(self, cx: &Cx, call: &Call) -> Result<Transferred> {
        let source = self.source_path.clone();
        let actor = Actor::job(call, Self::NAME);
        let entry = super::copy(cx, Some(call.job_id), &actor, self.source_path, self.destination_path).await?;
        Ok(Transferred::new(shown(cx, &source), entry))
    }

    async fn reconcile(cx: &Cx, effect: &Effect) -> Result<EffectState> {
        reconcile(cx, effect).await
    }
}

/// Make Markdown, HTML, PDF or DOCX of a document of the workspace: of office documents, PDF files, spreadsheets, books,
/// web pages and texts. Use it to read what is no text.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileConvert {
    /// The document.
    path: String,
    /// `markdown`, `html`, `pdf` or `docx`.
    output_format: String,
    /// The path of the result, at which there must be nothing; beside the document unless given.
    #[serde(default)]
    destination_path: Option<String>,
    /// Whether the document is deleted afterwards.
    #[serde(default)]
    delete_original: bool,
}

#[derive(Serialize)]
struct ConvertedFile {
    source_path: String,
    output_path: String,
    relative_path: String,
    output_format: String,
    engine: String,
    size_bytes: u64,
    deleted_original: bool,
}

impl Tool for FileConvert {
    const NAME: &'static str = "file_convert";
    const ACCESS: Access = Access::Write;
    const GROUP: &'static str = GROUP;
    type Output = ConvertedFile;

    async fn run(self, cx: &Cx, call: &Call) -> Result<ConvertedFile> {
        let Self { path, output_format, destination_path, delete_original } = self;
        let asked = ConvertRequest { path, output_format, destination_path, delete_original };
        let made = super::convert(cx, Some(call.job_id), &Actor::job(call, Self::NAME), asked).await?;
        Ok(ConvertedFile {
            source_path: made.conversion.source_path,
            output_path: made.conversion.output_path,
            relative_path: made.file.relative_path,
            output_format: made.conversion.output_format,
            engine: made.conversion.engine,
            size_bytes: made.file.size_bytes,
            deleted_original: made.deleted_original,
        })
    }

    async fn reconcile(cx: &Cx, effect: &Effect) -> Result<EffectState> {
        reconcile(cx, effect).await
    }
}

/// A path as the workspace writes it, never as a path of the host.
fn shown(cx: &Cx, path: &str) -> String {
    cx.root().and_then(|root| root.rel(path)).map_or_else(|_| String::new(), |path| path.to_string())
}

/// Delete a file or directory of the workspace. It goes to the trash, from where a person can restore it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileDelete {
    /// What to delete.
    path: String,
}

#[derive(Serialize)]
struct DeletedPath {
    deleted_path: String,
    trash_path: Option<String>,
}

impl Tool for FileDelete {
    const NAME: &'static str = "file_delete";
    const ACCESS: Access = Access::Write;
    const GROUP: &'static str = GROUP;
    type Output = DeletedPath;

    async fn run(self, cx: &Cx, call: &Call) -> Result<DeletedPath> {
        let deleted = super::delete(cx, &Actor::job(call, Self::NAME), self.path).await?;
        Ok(DeletedPath { deleted_path: deleted.deleted_path, trash_path: deleted.trash_path })
    }

    async fn reconcile(cx: &Cx, effect: &Effect) -> Result<EffectState> {
        reconcile(cx, effect).await
    }
}

/// Find files by name below a directory of the workspace. The pattern is an exact path, a glob if it has `*`, `?` or
/// `[` in it (of the name, or of the path if it has a `/`), or else a part of a path in any case.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileSearch {
    /// What to look for.
    pattern: String,
    /// Where to look.
    #[serde(default = "here")]
    directory: String,
    /// Matches to return at most: 100 unless given, up to 1000.
    #[serde(default)]
    max_results: Option<i64>,
    /// Whether directories are found too.
    #[serde(default = "yes")]
    include_dirs: bool,
}

fn yes() -> bool {
    true
}

#[derive(Serialize)]
struct Matches {
    matches: Vec<String>,
    truncated: bool,
}

impl Tool for FileSearch {
    const NAME: &'static str = "file_search";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = GROUP;
    type Output = Matches;

    async fn run(self, cx: &Cx, call: &Call) -> Result<Matches> {
        let max = bounded(self.max_results, 100, 1000);
        let found = super::search(cx, Some(call.job_id), self.pattern, self.directory, max, self.include_dirs).await?;
        Ok(Matches { matches: found.matches, truncated: found.truncated })
    }
}
