//! The route of what lies on the disk.

use assistant_api::{Role, storage::Storage};
use axum::http::Method;

use crate::{
    error::Result,
    http::route::{Json, Req, Route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::new(
        Method::GET,
        "/api/storage",
        Role::Viewer,
        "What lies on the disk, by kind, and how long it is kept.",
        storage,
    )]
}

async fn storage(req: Req) -> Result<Json<Storage>> {
    Ok(Json(super::storage(&req.cx).await))
}
