//! The routes of the effect ledger.

use assistant_api::{
    EffectId, ErrorKind, JobId, Role,
    effects::{Effect, EffectList, EffectState, Resolve},
};
use axum::http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Filter;
use crate::{
    error::Result,
    http::{
        cursor,
        route::{Json, Req, Route},
    },
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::GET, "/api/effects", Role::Viewer, "Lists effects, newest first.", list)
            .errors(&[ErrorKind::Validation]),
        Route::new(
            Method::POST,
            "/api/effects/{id}/resolve",
            Role::Admin,
            "Says what became of an effect that nobody could find out about.",
            resolve,
        )
        .errors(&[ErrorKind::NotFound, ErrorKind::Conflict, ErrorKind::Validation]),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct Id {
    /// The effect.
    id: EffectId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only effects of this job.
    #[serde(default)]
    job: Option<JobId>,
    /// Only effects in this state.
    #[serde(default)]
    state: Option<EffectState>,
    /// 1 to 200, default 50.
    #[serde(default)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

async fn list(req: Req<(), ListQuery>) -> Result<Json<EffectList>> {
    let limit = i64::from(cursor::limit(req.query.limit, 50, 200)?);
    let before = req.query.cursor.as_deref().map(cursor::decode::<EffectId>).transpose()?;
    let filter = Filter { job_id: req.query.job, state: req.query.state, before, limit: limit + 1 };
    let mut effects = req.cx.store.read(move |conn| super::list(conn, &filter)).await?;
    let shown = usize::try_from(limit).unwrap_or(0);
    let more = effects.len() > shown;
    effects.truncate(shown);
    let last = effects.last().filter(|_| more).map(|effect| effect.id);
    let next_cursor = last.map(|id| cursor::encode(&id)).transpose()?;
    Ok(Json(EffectList { effects, next_cursor }))
}

async fn resolve(req: Req<Id, (), Json<Resolve>>) -> Result<Json<Effect>> {
    super::resolve(&req.cx, req.path.id, req.body.0.state, &req.peer.label()).await.map(Json)
}
