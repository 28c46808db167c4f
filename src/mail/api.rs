//! The routes of mail.

use assistant_api::{
    EmailId, ErrorKind, JobId, Role,
    effects::EffectState,
    mail::{
        ByHand, Decide, Decision, EmailDetail, EmailList, MailStatus, OutgoingDetail, OutgoingList, ReceivedDetail,
        ReceivedList, TestResult,
    },
};
use axum::http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    intake, outbox,
    store::{self, Filter},
};
use crate::{
    error::Result,
    http::{
        cursor,
        route::{Json, Req, Route},
    },
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::GET, "/api/mail", Role::Viewer, "Says how it stands with the mailbox.", status),
        Route::new(
            Method::POST,
            "/api/mail/test",
            Role::Admin,
            "Tries the servers of mail step by step, and sends a message to the assistant itself.",
            test,
        )
        .stream(),
        Route::new(Method::GET, "/api/emails", Role::Viewer, "Lists items of threads, newest first.", emails)
            .errors(&[ErrorKind::Validation]),
        Route::new(Method::GET, "/api/emails/{id}", Role::Viewer, "Shows an item of a thread.", email)
            .errors(&[ErrorKind::NotFound]),
        Route::new(
            Method::GET,
            "/api/mail/received",
            Role::Viewer,
            "Lists the mail that came and what was decided about it, newest first.",
            received,
        )
        .errors(&[ErrorKind::Validation]),
        Route::new(
            Method::GET,
            "/api/mail/received/{id}",
            Role::Viewer,
            "Shows a message that came, with its headers and what was made of its attachments.",
            one_received,
        )
        .errors(&[ErrorKind::NotFound]),
        Route::new(
            Method::POST,
            "/api/mail/received/{id}/decide",
            Role::Operator,
            "Acts on a message that was only kept, or says that nothing is to be done about it.",
            decide,
        )
        .errors(&[ErrorKind::NotFound, ErrorKind::Conflict, ErrorKind::Validation]),
        Route::new(
            Method::GET,
            "/api/mail/outbox",
            Role::Viewer,
            "Lists the mail that goes or went out, newest first.",
            list_outbox,
        )
        .errors(&[ErrorKind::Validation]),
        Route::new(
            Method::GET,
            "/api/mail/outbox/{id}",
            Role::Viewer,
            "Shows a mail that goes or went out.",
            one_outgoing,
        )
        .errors(&[ErrorKind::NotFound]),
        Route::new(
            Method::POST,
            "/api/mail/outbox/{id}/resend",
            Role::Admin,
            "Sends a mail again of which nobody knows whether it arrived.",
            resend,
        )
        .errors(&[ErrorKind::NotFound, ErrorKind::Conflict]),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct Email {
    /// The item.
    id: EmailId,
}

#[derive(Deserialize, JsonSchema)]
struct Id {
    /// The message.
    id: i64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Page {
    /// 1 to 200, default 50.
    #[serde(default)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReceivedQuery {
    /// Only messages about which this was decided.
    #[serde(default)]
    decision: Option<Decision>,
    /// Only messages that led to this job or came to it.
    #[serde(default)]
    job: Option<JobId>,
    /// Words that are all in the sender or the subject.
    #[serde(default)]
    q: Option<String>,
    /// 1 to 200, default 50.
    #[serde(default)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OutboxQuery {
    /// Only mail in this state.
    #[serde(default)]
    state: Option<EffectState>,
    /// Only mail of this job.
    #[serde(default)]
    job: Option<JobId>,
    /// Words that are all in the recipients or the subject.
    #[serde(default)]
    q: Option<String>,
    /// 1 to 200, default 50.
    #[serde(default)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

async fn status(req: Req) -> Result<Json<MailStatus>> {
    super::status(&req.cx).await.map(Json)
}

async fn test(req: Req) -> Result<Json<TestResult>> {
    Ok(Json(super::test(&req.cx).await))
}

async fn emails(req: Req<(), Page>) -> Result<Json<EmailList>> {
    let (limit, before) = place(req.query.limit, req.query.cursor.as_deref())?;
    let (emails, next) = req.cx.store.read(move |conn| store::emails(conn, before, limit)).await?;
    Ok(Json(EmailList { emails, next_cursor: next.map(|id| cursor::encode(&id)).transpose()? }))
}

async fn email(req: Req<Email>) -> Result<Json<EmailDetail>> {
    let id = req.path.id;
    req.cx.store.read(move |conn| store::email(conn, id)).await.map(Json)
}

async fn received(req: Req<(), ReceivedQuery>) -> Result<Json<ReceivedList>> {
    let query = req.query;
    let (limit, before) = place(query.limit, query.cursor.as_deref())?;
    let words = cursor::words(query.q.as_deref())?;
    let filter = Filter { decision: query.decision, job_id: query.job, words, before, limit, state: None };
    let (received, next) = req.cx.store.read(move |conn| store::received(conn, &filter)).await?;
    Ok(Json(ReceivedList { received, next_cursor: next.map(|id| cursor::encode(&id)).transpose()? }))
}

async fn one_received(req: Req<Id>) -> Result<Json<ReceivedDetail>> {
    let id = req.path.id;
    req.cx.store.read(move |conn| store::one_received(conn, id)).await.map(Json)
}

async fn decide(req: Req<Id, (), Json<Decide>>) -> Result<Json<ReceivedDetail>> {
    let (id, accept) = (req.path.id, req.body.0.decision == ByHand::Accept);
    intake::decide_by_hand(&req.cx, id, accept, &req.peer.label()).await?;
    req.cx.store.read(move |conn| store::one_received(conn, id)).await.map(Json)
}

async fn list_outbox(req: Req<(), OutboxQuery>) -> Result<Json<OutgoingList>> {
    let query = req.query;
    let (limit, before) = place(query.limit, query.cursor.as_deref())?;
    let words = cursor::words(query.q.as_deref())?;
    let filter = Filter { state: query.state, job_id: query.job, words, before, limit, decision: None };
    let (outbox, next) = req.cx.store.read(move |conn| store::outbox(conn, &filter)).await?;
    Ok(Json(OutgoingList { outbox, next_cursor: next.map(|id| cursor::encode(&id)).transpose()? }))
}

async fn one_outgoing(req: Req<Id>) -> Result<Json<OutgoingDetail>> {
    let id = req.path.id;
    req.cx.store.read(move |conn| store::one_outgoing(conn, id)).await.map(Json)
}

async fn resend(req: Req<Id>) -> Result<Json<OutgoingDetail>> {
    let id = req.path.id;
    outbox::resend(&req.cx, id, &req.peer.label()).await?;
    req.cx.store.read(move |conn| store::one_outgoing(conn, id)).await.map(Json)
}

/// How many, and after which one.
fn place(limit: Option<i64>, from: Option<&str>) -> Result<(usize, Option<i64>)> {
    let limit = usize::try_from(cursor::limit(limit, 50, 200)?).unwrap_or(50);
    Ok((limit, from.map(cursor::decode).transpose()?))
}
