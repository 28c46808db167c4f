//! The route of what is told to whom.

use assistant_api::{
    Role,
    notify::{Notifications, Untold},
};
use axum::http::Method;

use crate::{
    error::Result,
    http::route::{Json, Req, Route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/api/notifications",
            Role::Viewer,
            "Who is told of what, why somebody is not, and what was told last.",
            told,
        ),
        Route::new(
            Method::POST,
            "/api/notifications/untold",
            Role::Viewer,
            "What no mail has told the owner; a job that has failed is told to each caller once.",
            untold,
        ),
    ]
}

async fn told(req: Req) -> Result<Json<Notifications>> {
    super::told(&req.cx).await.map(Json)
}

async fn untold(req: Req) -> Result<Json<Untold>> {
    super::untold(&req.cx, &req.peer.label()).await.map(Json)
}
