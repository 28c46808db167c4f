//! The route of what is told to whom.

use assistant_api::{Role, notify::Notifications};
use axum::http::Method;

use crate::{
    error::Result,
    http::route::{Json, Req, Route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::new(
        Method::GET,
        "/api/notifications",
        Role::Viewer,
        "Who is told of what, why somebody is not, and what was told last.",
        told,
    )]
}

async fn told(req: Req) -> Result<Json<Notifications>> {
    super::told(&req.cx).await.map(Json)
}
