//! Whoever has to know is told by mail: who asked gets the result, people are asked what a job asks, and the owner hears
//! what went wrong.
//!
//! It follows the event stream behind a cursor in the database, as [`crate::notify`] does, and what each event is worth
//! goes into the outbox once, by a key of its own. Without mail nothing is written down, so nothing piles up.

mod letters;
mod question;
mod result;
mod trouble;

use assistant_api::{
    JobId,
    jobs::{Job, JobStatus, Needs},
};
use jiff::Timestamp;
use lettre::message::Mailbox;
use rusqlite::Connection;
use serde::Deserialize;
use tokio::sync::Notify;

use super::{Kind, Purpose};
use crate::{
    config::Config,
    cx::{Cx, Wake},
    error::{ErrorKind, Result},
    events::{self, Follower, Stored},
    jobs::{self, Requester},
    loops::{Loop, Next},
    mail::{
        codes,
        compose::{self, Draft, Target, recipients},
    },
};

pub(in crate::mail) struct Tell;

impl Loop for Tell {
    const NAME: &'static str = "tell";

    fn wake(wake: &Wake) -> &Notify {
        &wake.told
    }

    async fn tick(cx: &Cx) -> Result<Next> {
        catch_up(cx).await.map(|()| Next::Woken)
    }
}

/// The part of a `job.status` event that matters here.
#[derive(Deserialize)]
struct StatusEvent {
    status: JobStatus,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    needs: Option<Needs>,
}

/// What is known of the job of an event.
struct Concerned {
    job: Job,
    subject: String,
    requester: Option<Requester>,
}

/// Tells what happened since the last time.
pub(super) async fn catch_up(cx: &Cx) -> Result<()> {
    if !super::configured(&cx.config.load()) {
        // Whoever sets mail up later is told what happens from then on.
        return events::unfollow::<Tell>(cx).await;
    }
    events::follow(cx, &Tell).await
}

impl Follower for Tell {
    const NAME: &'static str = "mail.told";

    /// A mail that cannot be made is logged and does not hold up the others; a database that cannot be used does.
    async fn event(&self, cx: &Cx, event: &Stored) -> Result<bool> {
        let told = match event.kind.as_str() {
            "job.status" => status(cx, event).await,
            "effect.state" => trouble::effect(cx, event).await,
            _ => return Ok(false),
        };
        match told {
            Err(err) if matches!(err.kind(), ErrorKind::Validation | ErrorKind::Forbidden | ErrorKind::NotFound) => {
                tracing::warn!(event = event.id.0, error = err.chain(), "nobody could be told by mail");
                Ok(true)
            }
            other => other,
        }
    }
}

async fn status(cx: &Cx, event: &Stored) -> Result<bool> {
    let Some(job_id) = event.job_id else { return Ok(false) };
    let Ok(data) = serde_json::from_str::<StatusEvent>(&event.data) else { return Ok(false) };
    if !matches!(data.status, JobStatus::Completed | JobStatus::Failed | JobStatus::NeedsReview) {
        return Ok(false);
    }
    // Erased in the meantime: there is nothing to tell.
    let Some(concerned) = cx.store.read(move |conn| concerned(conn, job_id)).await? else { return Ok(true) };
    match data.status {
        JobStatus::Completed => result::completed(cx, &concerned).await?,
        JobStatus::Failed => {
            result::failed(cx, &concerned, &data.reason, event.id).await?;
            trouble::job(cx, &concerned, &data.reason, None).await?;
        }
        _ => question::asked(cx, &concerned, &data).await?,
    }
    Ok(true)
}

fn concerned(conn: &Connection, id: JobId) -> Result<Option<Concerned>> {
    let job = match jobs::get(conn, id) {
        Ok(job) => job,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err),
    };
    let trigger = job.trigger_email_id.map(|id| jobs::email(conn, id)).transpose()?.flatten();
    let subject = trigger.map_or_else(|| job.task_summary.clone(), |email| email.subject);
    Ok(Some(Concerned { subject, requester: jobs::requester(conn, id)?, job }))
}

impl Concerned {
    /// Who asked, as a recipient.
    fn asker(&self) -> Option<Mailbox> {
        recipients::parse(&self.requester.as_ref()?.address).ok()
    }

    /// What a mail to them answers.
    fn target(&self) -> Option<Target> {
        let requester = self.requester.as_ref()?;
        Some(Target { message_id: requester.message_id.clone(), references: requester.references.clone() })
    }

    /// Whether the admin is the one who asked: then all is said in the thread.
    fn asked_by(&self, admin: &Mailbox) -> bool {
        self.asker().is_some_and(|asker| recipients::same(&asker.email, &admin.email))
    }
}

/// A mail that is to be told once.
struct Telling {
    kind: Kind,
    once: String,
    to: Mailbox,
    subject: String,
    body: String,
    /// An answer in the thread of who asked.
    target: Option<Target>,
    /// The code that it carries, and what it decides about.
    code: Option<(String, codes::Request)>,
}

/// Makes the mail and puts it into the outbox.
async fn tell(cx: &Cx, concerned: &Concerned, telling: Telling) -> Result<()> {
    let once = telling.once.clone();
    if cx.store.read(move |conn| super::store::by_once(conn, &once)).await?.is_some() {
        return Ok(());
    }
    let config = cx.config.load_full();
    let draft = Draft {
        to: vec![telling.to],
        subject: telling.subject,
        body: telling.body,
        target: telling.target,
        ..Draft::default()
    };
    let letter = compose::made(cx, &config, draft).await?;
    let job = concerned.job.id;
    let purpose = Purpose {
        kind: telling.kind,
        job_id: Some(job),
        thread_id: Some(concerned.job.thread_id.clone()),
        once: Some(telling.once),
        call: None,
    };
    let (now, code): (Timestamp, _) = (cx.clock.now(), telling.code);
    super::send_with(cx, purpose, letter, move |conn, queued| match &code {
        Some((code, request)) => codes::keep(conn, now, code, job, request, Some(queued.id)),
        None => Ok(()),
    })
    .await
    .map(drop)
}

/// The admin, if mail can be sent to them.
fn admin(config: &Config) -> Option<Mailbox> {
    recipients::admin(config)
}

/// A text as it stands in a key.
fn digest(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    crate::root::hex(&Sha256::digest(text))[..16].to_owned()
}

#[cfg(test)]
mod tests;
