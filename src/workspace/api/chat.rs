//! Jobs from the workspace page: a message, and the file that was open while it was written.

use assistant_api::{
    ErrorKind, JobId, Role,
    jobs::{JobCreated, JobDetail, JobList, JobStatus, NewJob},
    workspace::Message,
};
use axum::http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    cx::Cx,
    error::{Error, Result},
    http::route::{Json, Req, Route},
    jobs,
    workspace::guard::Place,
};

/// Characters of a text that are put into the task itself; a longer one the job reads from the file.
const MAX_INLINE: usize = 25_000;
/// Characters of a subject.
const MAX_SUBJECT: usize = 240;
const SOURCE: &str = "workspace";

const MAKE: &[ErrorKind] = &[ErrorKind::Invalid, ErrorKind::Validation, ErrorKind::StorageFull, ErrorKind::Unavailable];
const FOLLOW: &[ErrorKind] = &[
    ErrorKind::Invalid,
    ErrorKind::Validation,
    ErrorKind::NotFound,
    ErrorKind::Conflict,
    ErrorKind::StorageFull,
    ErrorKind::Unavailable,
];

pub(super) fn routes() -> Vec<Route> {
    let (all, one) = ("/api/workspace/jobs", "/api/workspace/jobs/{id}");
    let messages = "/api/workspace/jobs/{id}/messages";
    vec![
        Route::new(Method::GET, all, Role::Viewer, "Jobs that were made in the workspace, newest first.", list)
            .errors(&[ErrorKind::Validation]),
        Route::new(Method::POST, all, Role::Operator, "Makes a job of a message about the open file.", create)
            .errors(MAKE),
        Route::new(Method::GET, one, Role::Viewer, "Everything about one of them.", detail)
            .errors(&[ErrorKind::NotFound]),
        Route::new(Method::POST, messages, Role::Operator, "Makes a job that follows one that has ended.", follow)
            .errors(FOLLOW),
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
    /// 1 to 100, default 50.
    #[serde(default)]
    limit: Option<i64>,
}

async fn list(req: Req<(), ListQuery>) -> Result<Json<JobList>> {
    let limit = req.query.limit.unwrap_or(50);
    if !(1..=100).contains(&limit) {
        return Err(Error::validation(format!("limit is {limit}; it goes from 1 to 100")).field("query.limit"));
    }
    let jobs = req.cx.store.read(move |conn| jobs::of_workspace(conn, limit)).await?;
    Ok(Json(JobList { jobs, next_cursor: None }))
}

async fn create(req: Req<(), (), Json<Message>>) -> Result<Json<JobCreated>> {
    make(&req.cx, req.body.0, None, &req.peer.label()).await
}

async fn detail(req: Req<Id>) -> Result<Json<JobDetail>> {
    known(&req.cx, req.path.id).await.map(Json)
}

async fn follow(req: Req<Id, (), Json<Message>>) -> Result<Json<JobCreated>> {
    let parent = known(&req.cx, req.path.id).await?.job;
    if matches!(parent.status, JobStatus::Queued | JobStatus::Running | JobStatus::Waiting) {
        return Err(Error::conflict(format!("job {} is still {}", parent.id, parent.status.as_str()))
            .hint("tell it something with POST /api/jobs/{id}/instructions, or wait until it has ended"));
    }
    make(&req.cx, req.body.0, Some(parent.id), &req.peer.label()).await
}

/// A job, if it was made here.
async fn known(cx: &Cx, id: JobId) -> Result<JobDetail> {
    let detail = jobs::detail(cx, id).await?;
    if detail.job.metadata.get("source").and_then(Value::as_str) == Some(SOURCE) {
        return Ok(detail);
    }
    Err(Error::not_found("workspace job", id))
}

async fn make(cx: &Cx, message: Message, parent: Option<JobId>, by: &str) -> Result<Json<JobCreated>> {
    if message.message.trim().is_empty() {
        return Err(Error::validation("the message is empty").field("message"));
    }
    let path = message.active_path.as_deref().filter(|path| !path.trim().is_empty());
    let path = match path {
        Some(path) => Some(Place::of(cx)?.root.rel(path).map_err(|err| err.field("active_path"))?.to_string()),
        None => None,
    };
    let subject = path.as_deref().map_or_else(|| "Workspace chat".to_owned(), |path| format!("Workspace: {path}"));
    let subject = subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SUBJECT).collect();
    let new = NewJob { subject, body: body(&message, path.as_deref()), ..NewJob::default() };
    let metadata: Map<String, Value> = [
        ("source", json!(SOURCE)),
        ("workspace_message", json!(message.message)),
        ("workspace_active_path", json!(path)),
        ("workspace_include_active_file", json!(message.include_active_file)),
        ("workspace_include_file_content", json!(message.include_file_content)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect();
    let job = jobs::create_with(cx, new, metadata, parent, by).await?;
    Ok(Json(JobCreated { job }))
}

/// The task: the message, and what is open beside it.
fn body(message: &Message, path: Option<&str>) -> String {
    let text = message.message.trim().to_owned();
    let Some(path) = path.filter(|_| message.include_active_file) else { return text };
    let mut text = format!("{text}\n\nOpen in the workspace: {path}");
    match message.file_content.as_deref().filter(|_| message.include_file_content) {
        Some(content) if content.chars().nth(MAX_INLINE).is_none() => {
            text = format!("{text}\nIts text as it stands in the editor:\n\n{content}");
        }
        Some(_) => text += "\nIts text is too long to be given here: read it with file_read.",
        None => {}
    }
    text
}
