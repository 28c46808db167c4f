//! The routes below `/api/workspace`.

mod chat;
mod drafts;
mod history;
mod view;

use std::io;

use assistant_api::{
    ErrorKind, Role,
    workspace::{
        Content, ConvertReply, ConvertRequest, Deleted, Entry, FileReply, FolderReply, Found, ItemReply, MakeFolder,
        PutFile, Restore, Transfer, Trash, Tree, Unzip, Unzipped, Version, Zip,
    },
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Response, header},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::{Actor, Archive, Part, Upload};
use crate::{
    error::{Error, Result},
    http::{
        cursor,
        etag::ETag,
        peer::Peer,
        route::{BodyLimit, Json, Raw, Reply, Req, Route, Stream},
    },
    root::Mode,
};

/// Bytes of a JSON body with a file's content in it; larger files are uploaded.
const CONTENT_BYTES: usize = 32 << 20;
/// Bytes that a download reads at once.
const BLOCK: usize = 128 << 10;

const READ: &[ErrorKind] = &[ErrorKind::Invalid, ErrorKind::Forbidden, ErrorKind::Unavailable];
const LOOK: &[ErrorKind] = &[ErrorKind::Invalid, ErrorKind::NotFound, ErrorKind::Forbidden, ErrorKind::Unavailable];
const TEXT: &[ErrorKind] =
    &[ErrorKind::Invalid, ErrorKind::Forbidden, ErrorKind::UnsupportedMedia, ErrorKind::Unavailable];
const PACK: &[ErrorKind] = &[
    ErrorKind::Invalid,
    ErrorKind::NotFound,
    ErrorKind::Forbidden,
    ErrorKind::TooLarge,
    ErrorKind::StorageFull,
    ErrorKind::Unavailable,
];
const ARCHIVE: &[ErrorKind] = &[
    ErrorKind::Invalid,
    ErrorKind::NotFound,
    ErrorKind::Conflict,
    ErrorKind::TooLarge,
    ErrorKind::StorageFull,
    ErrorKind::Unavailable,
];
const CHANGE: &[ErrorKind] = &[
    ErrorKind::Invalid,
    ErrorKind::Forbidden,
    ErrorKind::Conflict,
    ErrorKind::PreconditionFailed,
    ErrorKind::TooLarge,
    ErrorKind::StorageFull,
    ErrorKind::Unavailable,
];

pub(super) fn routes() -> Vec<Route> {
    let mut routes = files();
    routes.extend(drafts::routes());
    routes.extend(chat::routes());
    routes.extend(history::routes());
    routes.extend(view::routes());
    routes
}

fn files() -> Vec<Route> {
    let (get, put, post, patch, delete) = (Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE);
    vec![
        Route::new(get.clone(), "/api/workspace/tree", Role::Viewer, "What is in a directory.", tree).errors(READ),
        Route::new(get.clone(), "/api/workspace/version", Role::Viewer, "Whether anything has changed.", version)
            .errors(READ),
        Route::new(get.clone(), "/api/workspace/metadata", Role::Viewer, "What is known of a path.", metadata)
            .errors(LOOK),
        Route::new(get.clone(), "/api/workspace/file", Role::Viewer, "A text file, or a part of it.", read)
            .errors(TEXT),
        Route::new(put.clone(), "/api/workspace/file", Role::Operator, "Writes a text file.", write)
            .errors(CHANGE)
            .body(BodyLimit::Bytes(CONTENT_BYTES)),
        Route::new(
            delete,
            "/api/workspace/file",
            Role::Operator,
            "Deletes into the trash; what lies there, for good.",
            remove,
        )
        .errors(CHANGE),
        Route::new(
            put,
            "/api/workspace/upload",
            Role::Operator,
            "Writes a file from the body, streamed to disk.",
            upload,
        )
        .errors(CHANGE)
        .body(BodyLimit::Upload)
        .stream(),
        Route::new(
            get.clone(),
            "/api/workspace/download",
            Role::Viewer,
            "A file, or a directory as a zip file.",
            download,
        )
        .produces("*/*")
        .errors(PACK)
        .stream(),
        Route::new(patch, "/api/workspace/path", Role::Operator, "Moves or renames.", rename).errors(CHANGE),
        Route::new(post.clone(), "/api/workspace/copy", Role::Operator, "Copies a file or directory.", copy)
            .errors(CHANGE),
        Route::new(
            post.clone(),
            "/api/workspace/convert",
            Role::Operator,
            "Makes Markdown, HTML, PDF or DOCX of a document.",
            convert,
        )
        .errors(ARCHIVE)
        .stream(),
        Route::new(post.clone(), "/api/workspace/folders", Role::Operator, "Makes a directory.", folder).errors(CHANGE),
        Route::new(get.clone(), "/api/workspace/search", Role::Viewer, "Finds files by name.", search).errors(READ),
        Route::new(get, "/api/workspace/trash", Role::Viewer, "What lies in the trash, newest first.", trash)
            .errors(READ),
        Route::new(
            post.clone(),
            "/api/workspace/zip",
            Role::Operator,
            "Packs a file or directory into a zip file.",
            zip,
        )
        .errors(ARCHIVE)
        .stream(),
        Route::new(
            post.clone(),
            "/api/workspace/unzip",
            Role::Operator,
            "Unpacks a zip file into a directory of its own, wholly or not at all.",
            unzip,
        )
        .errors(ARCHIVE)
        .stream(),
        Route::new(post, "/api/workspace/restore", Role::Operator, "Takes something out of the trash.", restore)
            .errors(CHANGE),
    ]
}

/// JSON with the entity tag of what it shows.
struct Tagged<T>(T, ETag);

impl<T: Serialize + JsonSchema + Send> Reply for Tagged<T> {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        <Json<T> as Reply>::schema(generator)
    }

    fn reply(self) -> Result<Response<Body>> {
        let mut response = Json(self.0).reply()?;
        response.headers_mut().insert(header::ETAG, self.1.header());
        Ok(response)
    }
}

fn tag(mtime_ns: &str, size: u64) -> ETag {
    ETag::version(&format!("{mtime_ns}-{size}"))
}

fn entry_tag(entry: &Entry) -> ETag {
    tag(&entry.mtime_ns, entry.size_bytes)
}

/// A path in a request that does not exist is a fault of the request.
pub(super) fn missing_is_invalid(err: Error) -> Error {
    if err.kind() == ErrorKind::NotFound { Error::invalid(err.message().to_owned()).field("path") } else { err }
}

pub(super) fn person(peer: &Peer, tool: &'static str, arguments: &impl Serialize) -> Actor {
    Actor::person(peer.role.unwrap_or(Role::Viewer), tool, arguments)
}

fn here() -> String {
    ".".into()
}

fn yes() -> bool {
    true
}

fn bounded(asked: Option<i64>, least: usize, default: usize, most: usize) -> usize {
    asked.map_or(default, |asked| usize::try_from(asked).unwrap_or(least).clamp(least, most))
}

#[derive(Deserialize, JsonSchema)]
struct TreeQuery {
    #[serde(default = "here")]
    path: String,
    /// 500 unless given, up to 1000.
    #[serde(default)]
    max_entries: Option<i64>,
    #[serde(default)]
    recursive: bool,
}

async fn tree(req: Req<(), TreeQuery>) -> Result<Json<Tree>> {
    let query = req.query;
    let max = bounded(query.max_entries, 1, 500, 1000);
    super::list(&req.cx, None, query.path, query.recursive, max).await.map(Json).map_err(missing_is_invalid)
}

#[derive(Deserialize, JsonSchema)]
struct VersionQuery {
    /// 10000 unless given, 100 to 50000.
    #[serde(default)]
    max_entries: Option<i64>,
}

async fn version(req: Req<(), VersionQuery>) -> Result<Json<Version>> {
    super::version(&req.cx, bounded(req.query.max_entries, 100, 10_000, 50_000)).await.map(Json)
}

#[derive(Deserialize, JsonSchema)]
struct PathQuery {
    path: String,
}

async fn metadata(req: Req<(), PathQuery>) -> Result<Tagged<ItemReply>> {
    let item = super::metadata(&req.cx, None, req.query.path).await?;
    let tag = entry_tag(&item);
    Ok(Tagged(ItemReply { item }, tag))
}

#[derive(Deserialize, JsonSchema)]
struct ReadQuery {
    path: String,
    /// As many as `filesystem.max_read_bytes` at most.
    #[serde(default)]
    max_bytes: Option<i64>,
    /// Where to begin, in bytes.
    #[serde(default)]
    offset: i64,
}

async fn read(req: Req<(), ReadQuery>) -> Result<Tagged<Content>> {
    let query = req.query;
    let offset =
        u64::try_from(query.offset).map_err(|_| Error::validation("offset is negative").field("query.offset"))?;
    let max = query.max_bytes.map(|max| u64::try_from(max).unwrap_or(1));
    let part = super::read(&req.cx, None, query.path, offset, max).await.map_err(missing_is_invalid)?;
    let tag = tag(&part.mtime_ns.to_string(), part.size);
    Ok(Tagged(text(part)?, tag))
}

/// Extensions of files that are no text, whatever is in them.
const BINARY: &[&str] = &[
    "7z", "a", "avi", "bin", "bmp", "bz2", "class", "db", "deb", "dll", "doc", "docx", "dylib", "eot", "exe", "flac",
    "gif", "gz", "heic", "ico", "iso", "jar", "jpeg", "jpg", "m4a", "mkv", "mov", "mp3", "mp4", "o", "odp", "ods",
    "odt", "ogg", "otf", "parquet", "pdf", "png", "ppt", "pptx", "pyc", "rar", "rpm", "so", "sqlite", "tar", "tgz",
    "tif", "tiff", "ttf", "wasm", "wav", "webm", "webp", "woff", "woff2", "xls", "xlsm", "xlsx", "xz", "zip", "zst",
];

fn text(part: Part) -> Result<Content> {
    let refuse = |why: &str| {
        Err(Error::new(ErrorKind::UnsupportedMedia, format!("{} is not a text file: {why}", part.path))
            .hint("download it instead"))
    };
    let extension = part.path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
    if extension.is_some_and(|extension| BINARY.contains(&extension.to_lowercase().as_str())) {
        return refuse("its name says that it is of another kind");
    }
    if part.bytes.contains(&0) {
        return refuse("it has a NUL in it");
    }
    let Ok(content) = std::str::from_utf8(&part.bytes) else { return refuse("it is not UTF-8") };
    Ok(Content {
        content: content.to_owned(),
        offset: part.offset,
        bytes_read: part.bytes.len() as u64,
        next_offset: part.next_offset(),
        size_bytes: part.size,
        truncated: part.truncated(),
        mtime_ns: part.mtime_ns.to_string(),
        relative_path: part.path.clone(),
        path: part.path,
    })
}

async fn write(req: Req<(), (), Json<PutFile>>) -> Result<Tagged<FileReply>> {
    let Json(body) = req.body;
    if body.path.chars().count() > 2000 {
        return Err(Error::validation("path is longer than 2000 characters").field("path"));
    }
    let expected =
        match &body.expected_mtime_ns {
            None => None,
            Some(expected) => Some(expected.nanos().ok_or_else(|| {
                Error::validation("expected_mtime_ns has to be an integer").field("expected_mtime_ns")
            })?),
        };
    let matched = if_match(&req.cx, &req.headers, &body.path).await?;
    let mode = match (body.create_only, expected.or(matched)) {
        (true, _) => Mode::CreateOnly,
        (false, Some(expected)) => Mode::Unchanged(expected),
        (false, None) => Mode::Replace,
    };
    let actor = person(&req.peer, "file_write", &body);
    let file = super::write(&req.cx, &actor, body.path, body.content.into(), mode).await.map_err(missing_is_invalid)?;
    let tag = entry_tag(&file);
    Ok(Tagged(FileReply { file }, tag))
}

/// Holds `If-Match` against the file, and gives the time that the write then insists on.
async fn if_match(cx: &crate::cx::Cx, headers: &HeaderMap, path: &str) -> Result<Option<i64>> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let found = match super::metadata(cx, None, path.to_owned()).await {
        Ok(found) => Some(found),
        Err(err) if err.kind() == ErrorKind::NotFound => None,
        Err(err) => return Err(err),
    };
    ETag::check_match(headers, found.as_ref().map(entry_tag).as_ref())?;
    Ok(found.and_then(|found| found.mtime_ns.parse().ok()))
}

async fn remove(req: Req<(), PathQuery>) -> Result<Json<Deleted>> {
    let path = req.query.path;
    if_match(&req.cx, &req.headers, &path).await?;
    let actor = person(&req.peer, "file_delete", &path);
    super::delete(&req.cx, &actor, path).await.map(Json).map_err(missing_is_invalid)
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct UploadQuery {
    path: String,
    /// Replace a file that is there; with `If-Match`, the version that it names is replaced and no other.
    #[serde(default)]
    overwrite: bool,
}

async fn upload(req: Req<(), UploadQuery, Stream>) -> Result<Tagged<FileReply>> {
    let matched = if_match(&req.cx, &req.headers, &req.query.path).await?;
    let mode = match matched {
        Some(mtime_ns) => Mode::Unchanged(mtime_ns),
        None if req.query.overwrite => Mode::Replace,
        None => Mode::CreateOnly,
    };
    let length = req.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let actor = person(&req.peer, "file_write", &req.query);
    let mut body = req.body;
    let mut upload = Upload::begin(&req.cx, actor, req.query.path, mode, length).await?;
    while let Some(chunk) = body.chunk().await? {
        upload.push(&chunk).await?;
    }
    let file = upload.finish().await.map_err(missing_is_invalid)?;
    let tag = entry_tag(&file);
    Ok(Tagged(FileReply { file }, tag))
}

async fn download(req: Req<(), PathQuery>) -> Result<Raw> {
    let path = req.query.path;
    if let Some((file, meta, name)) = super::open_file(&req.cx, None, path.clone()).await? {
        let mut response = attachment(file, meta.size, &name, "application/octet-stream")?;
        response.headers_mut().insert(header::ETAG, tag(&meta.mtime_ns.to_string(), meta.size).header());
        return Ok(Raw(response));
    }
    let archive = Archive::of(&req.cx, None, path).await?;
    attachment(archive.file, archive.size, &archive.name, "application/zip").map(Raw)
}

fn attachment(file: std::fs::File, size: u64, name: &str, kind: &'static str) -> Result<Response<Body>> {
    // A file that grows meanwhile is sent as long as was said; one that shrinks ends the connection early.
    let reader = tokio::fs::File::from_std(file).take(size);
    let stream = ReaderStream::with_capacity(reader, BLOCK);
    let mut response = Response::new(Body::from_stream(exact(stream, size)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let disposition = format!("attachment; filename*=UTF-8''{}", percent(name));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(disposition).map_err(Error::internal)?);
    Ok(response)
}

/// Fails when the bytes run out before `size`, so that a short file is not taken for a whole one.
fn exact(
    stream: impl futures_util::Stream<Item = io::Result<bytes::Bytes>> + Send + 'static,
    size: u64,
) -> impl futures_util::Stream<Item = io::Result<bytes::Bytes>> + Send + 'static {
    let state = (Box::pin(stream), size);
    futures_util::stream::unfold(Some(state), |state| async move {
        use futures_util::StreamExt as _;
        let (mut stream, left) = state?;
        match stream.next().await {
            Some(Ok(bytes)) => {
                let left = left.saturating_sub(bytes.len() as u64);
                Some((Ok(bytes), Some((stream, left))))
            }
            Some(Err(err)) => Some((Err(err), None)),
            None if left > 0 => Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
            None => None,
        }
    })
}

/// A name as RFC 8187 wants it in a header.
fn percent(name: &str) -> String {
    name.bytes().fold(String::with_capacity(name.len()), |text, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
            text + char::from(byte).encode_utf8(&mut [0; 4])
        }
        _ => text + &format!("%{byte:02X}"),
    })
}

async fn rename(req: Req<(), (), Json<Transfer>>) -> Result<Json<ItemReply>> {
    let Json(body) = req.body;
    let actor = person(&req.peer, "file_move", &body);
    let item = super::rename(&req.cx, &actor, body.source_path, body.destination_path).await;
    item.map(|item| Json(ItemReply { item })).map_err(missing_is_invalid)
}

async fn copy(req: Req<(), (), Json<Transfer>>) -> Result<Json<ItemReply>> {
    let Json(body) = req.body;
    let actor = person(&req.peer, "file_copy", &body);
    let item = super::copy(&req.cx, None, &actor, body.source_path, body.destination_path).await;
    item.map(|item| Json(ItemReply { item })).map_err(missing_is_invalid)
}

async fn convert(req: Req<(), (), Json<ConvertRequest>>) -> Result<Json<ConvertReply>> {
    let Json(body) = req.body;
    let actor = person(&req.peer, "file_convert", &body);
    super::convert(&req.cx, None, &actor, body).await.map(Json)
}

async fn zip(req: Req<(), (), Json<Zip>>) -> Result<Tagged<FileReply>> {
    let Json(body) = req.body;
    let actor = person(&req.peer, "file_write", &body);
    let file = super::zip(&req.cx, actor, body.path, body.destination_path).await?;
    let tag = entry_tag(&file);
    Ok(Tagged(FileReply { file }, tag))
}

async fn unzip(req: Req<(), (), Json<Unzip>>) -> Result<Json<Unzipped>> {
    let Json(body) = req.body;
    let actor = person(&req.peer, "file_copy", &body);
    super::unzip(&req.cx, &actor, body.path, body.destination_folder).await.map(Json)
}

async fn folder(req: Req<(), (), Json<MakeFolder>>) -> Result<Json<FolderReply>> {
    let Json(body) = req.body;
    let actor = person(&req.peer, "file_write", &body);
    let folder = super::folder(&req.cx, &actor, body.path).await.map_err(missing_is_invalid)?;
    Ok(Json(FolderReply { folder }))
}

#[derive(Deserialize, JsonSchema)]
struct SearchQuery {
    /// A path, a glob, or a part of a path.
    q: String,
    #[serde(default = "here")]
    directory: String,
    /// 100 unless given, up to 1000.
    #[serde(default)]
    max_results: Option<i64>,
    #[serde(default = "yes")]
    include_dirs: bool,
}

async fn search(req: Req<(), SearchQuery>) -> Result<Json<Found>> {
    let query = req.query;
    let max = bounded(query.max_results, 1, 100, 1000);
    let found = super::search(&req.cx, None, query.q, query.directory, max, query.include_dirs).await;
    found.map(Json).map_err(missing_is_invalid)
}

#[derive(Deserialize, JsonSchema)]
struct TrashQuery {
    /// 100 unless given, up to 500.
    #[serde(default)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

async fn trash(req: Req<(), TrashQuery>) -> Result<Json<Trash>> {
    let before = req.query.cursor.as_deref().map(cursor::decode).transpose()?;
    let (mut page, next) = super::listing(&req.cx, before, cursor::limit(req.query.limit, 100, 500)?).await?;
    page.next_cursor = next.as_ref().map(cursor::encode).transpose()?;
    Ok(Json(page))
}

async fn restore(req: Req<(), (), Json<Restore>>) -> Result<Json<ItemReply>> {
    let Json(body) = req.body;
    let actor = person(&req.peer, "file_move", &body);
    let item = super::restore(&req.cx, &actor, body.trash_path, body.destination_path).await;
    item.map(|item| Json(ItemReply { item })).map_err(missing_is_invalid)
}
