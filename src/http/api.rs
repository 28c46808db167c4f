//! The routes of the API about itself.

use assistant_api::{
    Role,
    status::{ApiInfo, ApiLimits},
};
use axum::http::Method;

use super::route::{Json, Req, Route};
use crate::error::Result;

/// What this API has beyond its first version; names are only added.
const EXTENSIONS: &[&str] = &["events", "idempotency-key", "problem-details"];

pub(super) fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::new(Method::GET, "/api", Role::Viewer, "Version, extensions, own role and limits.", info),
        super::events::route(),
        super::openapi::route(),
    ];
    routes.extend(super::log::routes());
    routes.extend(super::reference::routes());
    routes.extend(super::login::api::routes());
    routes
}

async fn info(req: Req) -> Result<Json<ApiInfo>> {
    let config = req.cx.config.load();
    Ok(Json(ApiInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api_extensions: EXTENSIONS.iter().map(|name| (*name).to_owned()).collect(),
        role: req.peer.role,
        limits: ApiLimits {
            max_body_bytes: super::route::JSON_BYTES as u64,
            max_upload_bytes: config.api.max_upload_bytes.0,
            max_connections: config.api.max_connections,
            request_timeout_seconds: config.api.request_timeout.0.as_secs(),
        },
    }))
}
