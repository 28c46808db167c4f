//! What a file was before, and back to it; changes that are taken back.

use assistant_api::{
    EffectId, ErrorKind, Role,
    effects::Undone,
    workspace::{FileReply, History},
};
use axum::http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{LOOK, READ, Tagged, attachment, entry_tag, if_match, missing_is_invalid, person};
use crate::{
    error::Result,
    http::{
        cursor,
        route::{Json, Raw, Req, Route},
    },
    root::Mode,
    workspace,
};

const PUT_BACK: &[ErrorKind] = &[
    ErrorKind::Invalid,
    ErrorKind::NotFound,
    ErrorKind::Conflict,
    ErrorKind::PreconditionFailed,
    ErrorKind::StorageFull,
    ErrorKind::Unavailable,
];

pub(super) fn routes() -> Vec<Route> {
    let (all, one) = ("/api/workspace/history", "/api/workspace/history/{id}");
    vec![
        Route::new(Method::GET, all, Role::Viewer, "The contents that a file had before, newest first.", list)
            .errors(READ),
        Route::new(Method::GET, one, Role::Viewer, "One of them, as a download.", content).errors(LOOK).stream(),
        Route::new(Method::POST, one, Role::Operator, "Gives the file this content again.", put_back)
            .errors(PUT_BACK)
            .stream(),
        Route::new(
            Method::POST,
            "/api/effects/{id}/undo",
            Role::Operator,
            "Takes the change of a file back, if nobody has changed it since.",
            undo,
        )
        .errors(PUT_BACK)
        .stream(),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct HistoryQuery {
    path: String,
    /// 50 unless given, up to 200.
    #[serde(default)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Id {
    /// The old content.
    id: i64,
}

#[derive(Deserialize, JsonSchema)]
struct Effect {
    /// The effect.
    id: EffectId,
}

async fn undo(req: Req<Effect>) -> Result<Json<Undone>> {
    let role = req.peer.role.unwrap_or(Role::Viewer);
    workspace::undo(&req.cx, role, req.path.id).await.map(Json)
}

async fn list(req: Req<(), HistoryQuery>) -> Result<Json<History>> {
    let query = req.query;
    let before = query.cursor.as_deref().map(cursor::decode).transpose()?;
    let limit = cursor::limit(query.limit, 50, 200)?;
    let (mut page, next) = workspace::history(&req.cx, query.path, before, limit).await?;
    page.next_cursor = next.as_ref().map(cursor::encode).transpose()?;
    Ok(Json(page))
}

async fn content(req: Req<Id>) -> Result<Raw> {
    let (file, meta, path) = workspace::old_content(&req.cx, req.path.id).await?;
    let name = path.rsplit('/').next().unwrap_or("file");
    attachment(file, meta.size, name, "application/octet-stream").map(Raw)
}

/// `If-Match` names the version of the file that is replaced by it.
async fn put_back(req: Req<Id>) -> Result<Tagged<FileReply>> {
    let (_, _, path) = workspace::old_content(&req.cx, req.path.id).await?;
    let mode = if_match(&req.cx, &req.headers, &path).await?.map_or(Mode::Replace, Mode::Unchanged);
    let actor = person(&req.peer, "file_write", &req.path.id);
    let file = workspace::put_back(&req.cx, actor, req.path.id, mode).await.map_err(missing_is_invalid)?;
    let tag = entry_tag(&file);
    Ok(Tagged(FileReply { file }, tag))
}
