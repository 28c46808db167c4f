//! What the owner has to know: a job that failed or waits for them, a mail that did not arrive.

use assistant_api::{
    effects::{Effect, EffectState},
    jobs::Needs,
};
use serde::Deserialize;
use serde_json::Value;

use super::{Concerned, Telling, admin, digest, letters};
use crate::{
    cx::Cx,
    error::{ErrorKind, Result},
    events::Stored,
    jobs, ledger,
    mail::outbox::{Kind, TOOL},
};

/// Tells the owner where a job stands: once per job, status and reason.
pub(super) async fn job(cx: &Cx, concerned: &Concerned, reason: &str, needs: Option<&Needs>) -> Result<()> {
    let config = cx.config.load_full();
    let Some(admin) = admin(&config) else { return Ok(()) };
    let (id, status) = (concerned.job.id, concerned.job.status);
    let before = match status {
        assistant_api::jobs::JobStatus::Failed => format!("job {id} failed"),
        _ => format!("job {id} needs you"),
    };
    let body = format!(
        "The {} is now `{}`:\n\n{}\n\nWhat it did, and how to go on:\n\n{}",
        letters::about(concerned),
        status.as_str(),
        letters::quoted(if reason.trim().is_empty() { "no reason is known" } else { reason }),
        letters::ways(&config, concerned, needs),
    );
    let telling = Telling {
        kind: Kind::Notice,
        once: format!("notice:{id}:{}:{}", status.as_str(), digest(reason)),
        target: concerned.target().filter(|_| concerned.asked_by(&admin)),
        to: admin,
        subject: letters::subject(&config, &before, &concerned.subject, None),
        body,
        code: None,
    };
    super::tell(cx, concerned, telling).await
}

/// The part of an `effect.state` event that matters here.
#[derive(Deserialize)]
struct EffectEvent {
    effect_id: assistant_api::EffectId,
}

/// An effect has changed: a mail that did not arrive is told to its job, and to the owner when that has ended.
pub(super) async fn effect(cx: &Cx, event: &Stored) -> Result<bool> {
    let (Some(job_id), Ok(data)) = (event.job_id, serde_json::from_str::<EffectEvent>(&event.data)) else {
        return Ok(false);
    };
    let found = cx.store.read(move |conn| ledger::get(conn, data.effect_id)).await;
    let effect = match found {
        Ok(effect) if effect.tool == TOOL => effect,
        Ok(effect) if effect.state == EffectState::Failed && effect.detail["misconfigured"] == true => {
            misconfigured(cx, job_id, &effect).await?;
            return Ok(true);
        }
        Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
        _ => return Ok(false),
    };
    let Some(trouble) = trouble(&effect) else { return Ok(false) };
    let kind = effect.detail["kind"].as_str().unwrap_or_default();
    // What cannot be told to the owner cannot be told to them by another mail.
    if matches!(kind, "notice" | "approval") {
        tracing::warn!(effect_id = effect.id.0, trouble, "the owner could not be told by mail");
        return Ok(true);
    }
    let text = format!(
        "The mail to {} (subject: {}): {trouble}",
        effect.target,
        effect.detail["subject"].as_str().unwrap_or("")
    );
    if kind == "agent" && tell_job(cx, job_id, &effect, &text).await? {
        return Ok(true);
    }
    let Some(concerned) = cx.store.read(move |conn| super::concerned(conn, job_id)).await? else { return Ok(true) };
    let config = cx.config.load_full();
    let Some(admin) = admin(&config) else { return Ok(true) };
    let unknown = effect.state == EffectState::Unknown;
    let way = if unknown {
        format!(
            "\n\nLook whether it is there, and say so: `assistantctl effects resolve {} confirmed` or `failed`.",
            effect.id
        )
    } else {
        String::new()
    };
    let telling = Telling {
        kind: Kind::Notice,
        once: format!("mail:{}:{}", effect.id, digest(&trouble)),
        to: admin,
        subject: letters::subject(&config, "a mail did not arrive", &concerned.subject, None),
        body: format!(
            "A mail of {} is not where it should be:\n\n{}{way}\n\n{}",
            letters::about(&concerned),
            letters::quoted(&text),
            letters::ways(&config, &concerned, None)
        ),
        target: None,
        code: None,
    };
    super::tell(cx, &concerned, telling).await?;
    Ok(true)
}

/// A tool could not do its work because of this host: once per job and reason, while the job goes on.
async fn misconfigured(cx: &Cx, job: assistant_api::JobId, effect: &Effect) -> Result<()> {
    let Some(concerned) = cx.store.read(move |conn| super::concerned(conn, job)).await? else { return Ok(()) };
    let config = cx.config.load_full();
    let Some(admin) = admin(&config) else { return Ok(()) };
    let said = |key: &str| effect.detail[key].as_str().unwrap_or_default();
    let why = format!("{}\n{}", said("error"), said("hint"));
    let telling = Telling {
        kind: Kind::Notice,
        once: format!("host:{job}:{}", digest(&why)),
        to: admin,
        subject: letters::subject(&config, &format!("job {job} cannot use {}", effect.tool), &concerned.subject, None),
        body: format!(
            "This host does not let `{}` work, and the {} goes on without it:\n\n{}\n\nWhat this host lacks: \
             `assistantctl doctor` and `assistantctl sandbox test`.\n\n{}",
            effect.tool,
            letters::about(&concerned),
            letters::quoted(&why),
            letters::ways(&config, &concerned, None)
        ),
        target: None,
        code: None,
    };
    super::tell(cx, &concerned, telling).await
}

/// What is wrong with a mail, if anything.
fn trouble(effect: &Effect) -> Option<String> {
    let reason = || effect.detail["reason"].as_str().unwrap_or("no reason is known").to_owned();
    if let Some(bounce) = effect.detail["bounce"].as_str() {
        return Some(bounce.to_owned());
    }
    match effect.state {
        EffectState::Failed => Some(format!("it was not delivered: {}", reason())),
        EffectState::Unknown => Some(format!("nobody can tell whether it went out: {}", reason())),
        // Whoever waited for it has heard of those in its result.
        EffectState::Confirmed if effect.detail["queued"] == true => not_taken(effect),
        EffectState::Prepared | EffectState::Dispatched | EffectState::Confirmed => None,
    }
}

/// The recipients that the server did not take when it took the others.
fn not_taken(effect: &Effect) -> Option<String> {
    let refused = effect.detail["refused"].as_array().filter(|refused| !refused.is_empty())?;
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let each: Vec<_> =
        refused.iter().map(|one| format!("{} ({})", text(one, "recipient"), text(one, "answer"))).collect();
    Some(format!("it went out, but not to {}", each.join(", ")))
}

/// Tells an open job, unless its call is told by its result; whether there is nobody else to be told.
async fn tell_job(cx: &Cx, job: assistant_api::JobId, effect: &Effect, text: &str) -> Result<bool> {
    let waits = effect.detail["queued"] != true && effect.detail["bounce"].is_null();
    let (now, text, id) = (cx.clock.now(), text.to_owned(), effect.id);
    let told = cx
        .store
        .write(move |tx| {
            if waits {
                return jobs::is_open(tx, job);
            }
            if ledger::get(tx, id)?.detail["told"] == true {
                return Ok(true);
            }
            let told = jobs::tell(tx, now, job, &text, "mail")?;
            if told {
                ledger::mark(tx, id, &serde_json::json!({ "told": true }))?;
            }
            Ok(told)
        })
        .await?;
    cx.wake.announce();
    cx.wake.jobs.notify_one();
    Ok(told)
}
