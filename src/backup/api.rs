//! The route of backups.

use assistant_api::{ErrorKind, Role, backup::Backups};
use axum::http::Method;

use crate::{
    error::Result,
    http::route::{Json, Req, Route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/api/backups",
            Role::Viewer,
            "The backups in the folder, what the last check of each found, and which are kept.",
            list,
        )
        .errors(&[ErrorKind::Unavailable]),
    ]
}

async fn list(req: Req) -> Result<Json<Backups>> {
    super::list(&req.cx).await.map(Json)
}
