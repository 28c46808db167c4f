//! The routes of jobs.

use std::{fmt::Display, str::FromStr};

use assistant_api::{
    ErrorKind, JobId, Role,
    jobs::{
        Answer, Approval as WireApproval, ApprovalList, Decision, EraseReply, JobCreated, JobDetail, JobList, LogPage,
        NewInstruction, NewJob, Poll, Release, ReviewOverride, StatusReply,
    },
};
use axum::{body::Body, http::Method};
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    approvals,
    store::{approvals as rows, filter::Filter},
};
use crate::{
    cx::Cx,
    error::{Error, Result},
    http::{
        cursor,
        route::{Json, Req, ReqBody, Route},
    },
};

use ErrorKind::{Conflict, NotFound, StorageFull, Validation};

pub(super) fn routes() -> Vec<Route> {
    let get = |path, summary| (Method::GET, path, Role::Viewer, summary);
    let post = |path, summary| (Method::POST, path, Role::Operator, summary);
    let admin = |path, summary| (Method::POST, path, Role::Admin, summary);
    macro_rules! route {
        ($declared:expr, $handler:expr, $errors:expr) => {{
            let (method, path, role, summary) = $declared;
            Route::new(method, path, role, summary, $handler).errors($errors)
        }};
    }
    vec![
        route!(get("/api/jobs", "Lists jobs, newest first."), list, &[Validation]),
        route!(post("/api/jobs", "Creates a job."), create, &[Validation, StorageFull]),
        route!(get("/api/jobs/{id}", "Everything about one job."), detail, &[NotFound]),
        Route::new(Method::DELETE, "/api/jobs/{id}", Role::Admin, "Erases a job and all that it started.", erase)
            .errors(&[NotFound]),
        route!(get("/api/jobs/{id}/poll", "What changes while a job runs."), poll, &[NotFound, Validation]),
        route!(get("/api/jobs/{id}/logs", "A page of a job's log."), logs, &[NotFound, Validation]),
        route!(post("/api/jobs/{id}/cancel", "Ends an open job."), cancel, &[NotFound, Conflict]),
        route!(post("/api/jobs/{id}/requeue", "Queues a job again."), requeue, &[NotFound, Conflict]),
        route!(
            post("/api/jobs/{id}/review-override", "Sets limits for the next run of a job in review."),
            review,
            &[NotFound, Conflict, Validation]
        ),
        route!(
            post("/api/jobs/{id}/instructions", "Tells a job something."),
            instruct,
            &[NotFound, Conflict, Validation]
        ),
        route!(
            post("/api/jobs/{id}/answer", "Answers the question a job waits with."),
            answer,
            &[NotFound, Conflict, Validation]
        ),
        route!(
            post("/api/jobs/{id}/approve", "Lets one exact call pass, once."),
            approve,
            &[NotFound, Conflict, Validation]
        ),
        route!(post("/api/jobs/{id}/deny", "Refuses one exact call."), deny, &[NotFound, Conflict, Validation]),
        route!(post("/api/jobs/{id}/release", "Lets a held job go."), release, &[NotFound, Conflict, Validation]),
        // The arguments are shown as they are, so this is for those who decide.
        Route::new(
            Method::GET,
            "/api/approvals",
            Role::Operator,
            "Lists the calls that wait for a yes, newest first.",
            pending,
        )
        .errors(&[Validation]),
        route!(admin("/api/stop", "Stops everything until it is resumed."), stop, &[]),
        route!(admin("/api/resume", "Lets everything go on."), resume, &[]),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct Id {
    /// The job.
    id: JobId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only jobs of these statuses, separated by commas.
    #[serde(default)]
    status: Option<String>,
    /// Only jobs that were asked for by these, separated by commas: owner, host, contact, tool, memory, attachment, web,
    /// stranger.
    #[serde(default)]
    origin: Option<String>,
    /// Only jobs with all of these words in their subject, sender, summary or answer; up to 200 characters.
    #[serde(default)]
    q: Option<String>,
    /// Only jobs made at this time or later.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Only jobs made before this time.
    #[serde(default)]
    until: Option<Timestamp>,
    /// 1 to 200, default 50. A page may have fewer jobs, or none, and still have a `next_cursor`.
    #[serde(default)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    /// 1 to 500, default 200.
    #[serde(default)]
    limit: Option<i64>,
    /// `next_cursor` of the page before; older rows follow.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PollQuery {
    /// Rows with a larger sequence are given; default 0.
    #[serde(default)]
    after_sequence: Option<i64>,
}

/// A JSON body that may be left out.
struct Optional<T>(T);

impl<T: DeserializeOwned + JsonSchema + Default + Send> ReqBody for Optional<T> {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
    async fn read(body: Body, limit: usize) -> Result<Self> {
        let bytes = axum::body::to_bytes(body, limit)
            .await
            .map_err(|_| Error::too_large(format!("the body is larger than {limit} bytes, or was cut off")))?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(T::default()));
        }
        Ok(Self(Json::<T>::read(Body::from(bytes), limit).await?.0))
    }
}

/// Names that are separated by commas.
fn named<T: FromStr<Err: Display>>(given: Option<&str>, field: &'static str) -> Result<Vec<T>> {
    let names = given.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| name.parse().map_err(|err| Error::validation(format!("{err}")).field(field))).collect()
}

fn said(status: &str) -> Json<StatusReply> {
    Json(StatusReply { status: status.to_owned() })
}

async fn list(req: Req<(), ListQuery>) -> Result<Json<JobList>> {
    let ListQuery { status, origin, q, since, until, limit: given, cursor } = req.query;
    let filter = Filter {
        statuses: named(status.as_deref(), "query.status")?,
        origins: named(origin.as_deref(), "query.origin")?,
        words: cursor::words(q.as_deref())?,
        since,
        until,
    };
    let limit = i64::from(cursor::limit(given, 50, 200)?);
    super::list(&req.cx, filter, cursor.as_deref(), limit).await.map(Json)
}

async fn create(req: Req<(), (), Json<NewJob>>) -> Result<Json<JobCreated>> {
    let job = super::create(&req.cx, req.body.0, &req.peer.label()).await?;
    Ok(Json(JobCreated { job }))
}

async fn detail(req: Req<Id>) -> Result<Json<JobDetail>> {
    detail_for(&req.cx, req.path.id, req.peer.role).await.map(Json)
}

/// A job's detail; with the call that waits for a yes for those who may give it.
pub(super) async fn detail_for(cx: &Cx, id: JobId, role: Option<Role>) -> Result<JobDetail> {
    let mut detail = super::detail(cx, id).await?;
    let asked = detail.job.needs.as_ref().and_then(|needs| needs.approval_id);
    if let Some(id) = asked.filter(|_| role >= Some(Role::Operator)) {
        detail.approval = cx.store.read(move |conn| rows::get(conn, id)).await?.map(wire);
    }
    Ok(detail)
}

async fn erase(req: Req<Id>) -> Result<Json<EraseReply>> {
    let erased = super::erase(&req.cx, req.path.id).await?;
    Ok(Json(EraseReply { erased }))
}

async fn poll(req: Req<Id, PollQuery>) -> Result<Json<Poll>> {
    super::poll(&req.cx, req.path.id, req.query.after_sequence.unwrap_or(0)).await.map(Json)
}

async fn logs(req: Req<Id, PageQuery>) -> Result<Json<LogPage>> {
    let limit = i64::from(cursor::limit(req.query.limit, 200, 500)?);
    super::logs(&req.cx, req.path.id, req.query.cursor.as_deref(), limit).await.map(Json)
}

async fn cancel(req: Req<Id>) -> Result<Json<StatusReply>> {
    super::cancel(&req.cx, req.path.id, &req.peer.label()).await?;
    Ok(said("cancelled"))
}

async fn requeue(req: Req<Id>) -> Result<Json<StatusReply>> {
    super::requeue(&req.cx, req.path.id, &req.peer.label()).await?;
    Ok(said("queued"))
}

async fn review(req: Req<Id, (), Json<ReviewOverride>>) -> Result<Json<StatusReply>> {
    let status = super::review(&req.cx, req.path.id, req.body.0, &req.peer.label()).await?;
    Ok(said(status.as_str()))
}

async fn instruct(req: Req<Id, (), Json<NewInstruction>>) -> Result<Json<StatusReply>> {
    let requeued = super::instruct(&req.cx, req.path.id, &req.body.0.instruction, &req.peer.label()).await?;
    Ok(said(if requeued { "requeued" } else { "created" }))
}

async fn answer(req: Req<Id, (), Json<Answer>>) -> Result<Json<StatusReply>> {
    super::answer(&req.cx, req.path.id, &req.body.0.answer, &req.peer.label()).await?;
    Ok(said("queued"))
}

async fn approve(req: Req<Id, (), Optional<Decision>>) -> Result<Json<StatusReply>> {
    super::approve(&req.cx, req.path.id, req.body.0, &req.peer.label()).await?;
    Ok(said("approved"))
}

async fn deny(req: Req<Id, (), Optional<Decision>>) -> Result<Json<StatusReply>> {
    super::deny(&req.cx, req.path.id, req.body.0, &req.peer.label()).await?;
    Ok(said("denied"))
}

async fn release(req: Req<Id, (), Optional<Release>>) -> Result<Json<StatusReply>> {
    super::release(&req.cx, req.path.id, &req.body.0.attachments, &req.peer.label()).await?;
    Ok(said("queued"))
}

async fn pending(req: Req<(), PageQuery>) -> Result<Json<ApprovalList>> {
    let limit = i64::from(cursor::limit(req.query.limit, 50, 200)?);
    let before = req.query.cursor.as_deref().map(cursor::decode::<i64>).transpose()?.unwrap_or(i64::MAX);
    let mut found = req.cx.store.read(move |conn| rows::pending(conn, before, limit + 1)).await?;
    let shown = usize::try_from(limit).unwrap_or(0);
    let more = found.len() > shown;
    found.truncate(shown);
    let last = found.last().filter(|_| more).map(|approval| approval.id.0);
    let next_cursor = last.map(|id| cursor::encode(&id)).transpose()?;
    Ok(Json(ApprovalList { approvals: found.into_iter().map(wire).collect(), next_cursor }))
}

fn wire(approval: approvals::Approval) -> WireApproval {
    WireApproval {
        command: format!("assistantctl job approve {}", approval.job_id),
        id: approval.id,
        job_id: approval.job_id,
        tool: approval.tool,
        args: approval.args,
        args_hash: approval.args_hash,
        reason: approval.reason,
        rule: approval.rule,
        state: approval.state.as_str().into(),
        created_at: approval.created_at,
    }
}

async fn stop(req: Req) -> Result<Json<StatusReply>> {
    super::stop_all(&req.cx, &req.peer.label()).await?;
    Ok(said("stopped"))
}

async fn resume(req: Req) -> Result<Json<StatusReply>> {
    super::resume(&req.cx, &req.peer.label()).await?;
    Ok(said("running"))
}
