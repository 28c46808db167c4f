//! The routes of the status pages.

use assistant_api::{
    ErrorKind, Role,
    status::{Alive, ConfigStatus, DayStats, Diagnosis, Health, Stats, Status, ToolList, ToolReply},
};
use axum::{
    body::Body,
    http::{HeaderValue, Method, Response, header},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{exposition, metrics};
use crate::{
    error::{Error, Result},
    http::route::{Json, Raw, Req, Route},
};

pub(super) fn routes() -> Vec<Route> {
    let get = Method::GET;
    vec![
        Route::new(
            get.clone(),
            "/health",
            Role::Viewer,
            "Whether the daemon can do its work, and what of it does not go; 503 if it can do none.",
            health,
        )
        .open()
        .errors(&[ErrorKind::Unavailable]),
        Route::new(get.clone(), "/health/live", Role::Viewer, "That the daemon answers; 200 always.", live).open(),
        Route::new(
            get.clone(),
            "/health/ready",
            Role::Viewer,
            "Whether the daemon takes work; 503 if it does not.",
            ready,
        )
        .open()
        .errors(&[ErrorKind::Unavailable]),
        Route::new(
            get.clone(),
            "/metrics",
            Role::Viewer,
            "Figures for Prometheus; who reads them over the network is api.metrics.",
            metrics,
        )
        .also(metrics::are_for)
        .produces("text/plain")
        .errors(&[ErrorKind::NotFound]),
        Route::new(
            get.clone(),
            "/api/status",
            Role::Viewer,
            "What the daemon does, and what waits for a person.",
            status,
        ),
        // Bounded by the connections that it tries.
        Route::new(
            Method::POST,
            "/api/doctor",
            Role::Operator,
            "Where the daemon listens, and whether it reaches the configured servers.",
            doctor,
        )
        .stream(),
        Route::new(get.clone(), "/api/stats", Role::Viewer, "Counts and costs.", stats),
        Route::new(get.clone(), "/api/stats/days", Role::Viewer, "Costs and outcomes by day.", days)
            .errors(&[ErrorKind::Validation]),
        Route::new(get.clone(), "/api/config/status", Role::Viewer, "What is configured and usable.", config_status),
        Route::new(get.clone(), "/api/tools", Role::Viewer, "Every tool that a model may be given.", tools),
        Route::new(get, "/api/tools/{name}", Role::Viewer, "One tool.", tool).errors(&[ErrorKind::NotFound]),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DaysQuery {
    /// How many, today among them: 1 to 366, default 30.
    #[serde(default)]
    days: Option<i64>,
}

async fn health(req: Req) -> Result<Json<Health>> {
    super::health(&req.cx, req.peer.role.is_some()).await.map(Json)
}

async fn live(_: Req) -> Result<Json<Alive>> {
    Ok(Json(Alive { status: "ok".into() }))
}

async fn ready(req: Req) -> Result<Json<Alive>> {
    super::ready(&req.cx)
        .await
        .map_err(|_| Error::unavailable("the daemon is not ready").hint("GET /health says why"))?;
    Ok(Json(Alive { status: "ok".into() }))
}

async fn metrics(req: Req) -> Result<Raw> {
    if !metrics::are_there(&req.cx.config.load(), &req.peer) {
        return Err(Error::new(ErrorKind::NotFound, "the metrics are not served over the network")
            .hint("set api.metrics; on the socket they are always there"));
    }
    let mut response = Response::new(Body::from(metrics::page(&req.cx).await?));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(exposition::MEDIA));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(Raw(response))
}

async fn status(req: Req) -> Result<Json<Status>> {
    super::status(&req.cx).await.map(Json)
}

async fn doctor(req: Req) -> Result<Json<Diagnosis>> {
    Ok(Json(super::diagnosis(&req.cx).await))
}

async fn stats(req: Req) -> Result<Json<Stats>> {
    super::stats(&req.cx).await.map(Json)
}

async fn days(req: Req<(), DaysQuery>) -> Result<Json<DayStats>> {
    let count = req.query.days.unwrap_or(30);
    if !(1..=366).contains(&count) {
        return Err(Error::validation(format!("days is {count}; it goes from 1 to 366")).field("query.days"));
    }
    super::days(&req.cx, count).await.map(Json)
}

async fn config_status(req: Req) -> Result<Json<ConfigStatus>> {
    Ok(Json(super::config_status(&req.cx)))
}

async fn tools(req: Req) -> Result<Json<ToolList>> {
    Ok(Json(ToolList { tools: super::tools(&req.cx) }))
}

async fn tool(req: Req<String>) -> Result<Json<ToolReply>> {
    Ok(Json(ToolReply { tool: super::tool_named(&req.cx, &req.path)? }))
}
