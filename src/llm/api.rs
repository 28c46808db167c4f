//! The routes of models.

use assistant_api::{
    Role,
    status::{Model, ModelTests, Models},
};
use axum::http::Method;

use super::prompt_hosts;
use crate::{
    error::Result,
    http::route::{Json, Req, Route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::GET, "/api/models", Role::Viewer, "The configured models, and who sees the prompts.", list),
        // Bounded by the call itself: a local model may have to be loaded first.
        Route::new(Method::POST, "/api/models/test", Role::Operator, "Makes one real call to each model.", test)
            .stream(),
    ]
}

async fn list(req: Req) -> Result<Json<Models>> {
    let llm = req.cx.llm.load_full();
    llm.prepare().await;
    let models: Vec<Model> = llm.models().into_iter().map(Model::from).collect();
    Ok(Json(Models { prompt_hosts: prompt_hosts(&models), models }))
}

async fn test(req: Req) -> Result<Json<ModelTests>> {
    let llm = req.cx.llm.load_full();
    Ok(Json(ModelTests { models: llm.test().await }))
}
