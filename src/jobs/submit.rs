//! New jobs, as people and programs ask for them: checked, resolved, stored, and the runner woken.

use assistant_api::{
    JobId,
    jobs::{Job, Metadata, NewJob},
};
use serde_json::{Value, json};

use super::{
    Overrides,
    outcome::LIMITS,
    store::{
        change,
        create::{self, Creation},
    },
    verbs::within_bounds,
    when,
};
use crate::{
    cx::Cx,
    error::{Error, Result},
    policy::Origin,
};

const MAX_SUBJECT: usize = 240;
const MAX_ADDRESS: usize = 320;
const MAX_ATTACHMENTS: usize = 200;
const PRIORITIES: std::ops::RangeInclusive<i64> = -1000..=1000;

/// Queues a job, or holds it. Whatever `from_address` says, it is the owner's: who reaches the socket acts for them.
/// While everything is stopped the job is queued all the same.
///
/// # Errors
/// `validation` that names the field; `storage_full` below the free-space mark.
pub async fn create(cx: &Cx, new: NewJob, by: &str) -> Result<Job> {
    create_with(cx, new, Metadata::new(), None, by).await
}

/// As [`create()`], with what the job carries and the one that it follows.
///
/// # Errors
/// As [`create()`].
pub async fn create_with(
    cx: &Cx,
    new: NewJob,
    metadata: Metadata,
    parent_job_id: Option<JobId>,
    by: &str,
) -> Result<Job> {
    cx.check_space()?;
    let now = cx.clock.now();
    let attachments = attachments(cx, &new.attachments).await?;
    let mut creation = Creation { parent_job_id, ..checked(cx, new, attachments, by)? };
    creation.metadata.extend(metadata);
    let job = cx.store.write(move |tx| create::insert(tx, now, &creation)).await?;
    cx.wake.announce();
    cx.wake.jobs.notify_one();
    tracing::info!(job_id = job.id.0, status = job.status.as_str(), by, "a job was created");
    Ok(job)
}

/// Lets a held job go, with the workspace paths that were put in place for it.
///
/// # Errors
/// `conflict` when it is not held, `validation` when an attachment is not there.
pub async fn release(cx: &Cx, id: JobId, paths: &[String], by: &str) -> Result<()> {
    let (now, by) = (cx.clock.now(), by.to_owned());
    let attachments = attachments(cx, paths).await?;
    cx.store.write(move |tx| change::release(tx, now, id, &attachments, &by)).await?;
    cx.wake.announce();
    cx.wake.jobs.notify_one();
    Ok(())
}

fn checked(cx: &Cx, new: NewJob, attachments: Vec<Value>, by: &str) -> Result<Creation> {
    let config = cx.config.load();
    let subject = line("subject", new.subject.trim(), MAX_SUBJECT)?;
    if new.body.trim().is_empty() {
        return Err(Error::validation("the task is empty").field("body").hint("say what is to be done"));
    }
    let from_address = match new.from_address.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(address) => line("from_address", address, MAX_ADDRESS)?,
        None => "dashboard@local".to_owned(),
    };
    let priority = new.priority.unwrap_or(0);
    if !PRIORITIES.contains(&priority) {
        return Err(Error::validation(format!("priority is {priority}; it goes from -1000 to 1000")).field("priority"));
    }
    let now = cx.clock.now();
    let zone = when::zone(&config.app.timezone);
    let run_at = match (&new.run_at, &new.run_in) {
        (None, None) => now,
        (Some(at), None) => when::at(at, now, &zone)?,
        (None, Some(span)) => when::after(span, now, &zone)?,
        (Some(_), Some(_)) => {
            return Err(Error::validation("run_at and run_in exclude each other").field("run_in"));
        }
    };
    within_bounds(new.max_iterations_per_task, new.max_tokens_per_task, new.max_job_cost_usd)?;
    let limits = Overrides {
        max_iterations: new.max_iterations_per_task,
        max_tokens: new.max_tokens_per_task,
        max_cost: new.max_job_cost_usd,
        instruction: None,
    };
    let mut metadata = Metadata::new();
    if limits != Overrides::default() {
        metadata.insert(LIMITS.into(), serde_json::to_value(limits)?);
    }
    let own = config.identity.email.clone().unwrap_or_else(|| "assistant@local".into());
    let domain = config.identity.message_id_domain.clone();
    let domain = domain.or_else(|| own.rsplit_once('@').map(|(_, domain)| domain.to_owned()));
    Ok(Creation {
        subject,
        body: new.body,
        from_address,
        to_address: own,
        origin: Origin::Owner,
        priority,
        max_attempts: i64::from(config.jobs.max_attempts.max(1)),
        run_at,
        hold: new.hold,
        attachments,
        metadata,
        parent_job_id: None,
        domain: domain.unwrap_or_else(|| "local".into()),
        created_by: by.to_owned(),
    })
}

/// One line of at most `max` characters.
fn line(field: &'static str, text: &str, max: usize) -> Result<String> {
    let length = text.chars().count();
    if length == 0 || length > max {
        let message = format!("{field} has {length} characters; it takes 1 to {max}");
        return Err(Error::validation(message).field(field));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::validation(format!("{field} is one line without control characters")).field(field));
    }
    Ok(text.to_owned())
}

/// The attachments as their thread item keeps them; each has to be in the workspace.
async fn attachments(cx: &Cx, paths: &[String]) -> Result<Vec<Value>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    if paths.len() > MAX_ATTACHMENTS {
        let message = format!("{} attachments; at most {MAX_ATTACHMENTS}", paths.len());
        return Err(Error::validation(message).field("attachments").hint("attach a directory instead"));
    }
    let root = cx.root()?;
    let paths = paths.to_vec();
    let look = move || {
        let one = |(index, path): (usize, &String)| -> Result<Value> {
            let field = format!("attachments.{index}");
            let rel = root.rel(path).map_err(|err| Error::validation(err.message().to_owned()).field(field.clone()))?;
            let Some(meta) = root.metadata(&rel)? else {
                let message = format!("{} is not in the workspace", rel.as_str());
                return Err(Error::validation(message).field(field).hint("put it there first: assistantctl files put"));
            };
            let kind = if meta.is_dir() { "directory" } else { "file" };
            Ok(json!({ "filename": rel.name(), "path": rel.as_str(), "kind": kind, "size_bytes": meta.size }))
        };
        paths.iter().enumerate().map(one).collect()
    };
    tokio::task::spawn_blocking(look).await.map_err(Error::internal)?
}
