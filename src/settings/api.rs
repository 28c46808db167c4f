//! `GET /api/config`, `POST /api/reload`

use assistant_api::{
    ErrorKind, Role,
    config::{Reloaded, Settings},
};
use axum::http::Method;

use crate::{
    error::Result,
    http::route::{Json, Req, Route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::GET, "/api/config", Role::Viewer, "Every configuration key, its value and origin.", list),
        Route::new(Method::POST, "/api/reload", Role::Admin, "Read the configuration again.", reload)
            .errors(&[ErrorKind::Validation]),
    ]
}

async fn list(req: Req) -> Result<Json<Settings>> {
    let process = &req.cx.process;
    let file = process.sources.paths.config.display().to_string();
    Ok(Json(Settings { file, ..super::list(&req.cx.config.load(), &process.origins.load()) }))
}

async fn reload(req: Req) -> Result<Json<Reloaded>> {
    super::reload(&req.cx).await.map(Json)
}
