//! Whether the daemon answers, can do its work, and what of it does not go.

use std::{sync::PoisonError, time::Duration};

use assistant_api::status::{Health, Warning};

use super::{disk, store};
use crate::{
    cx::{Cx, FoundHealth},
    error::{Error, Result},
    http::login,
    jobs, sandbox,
    store::types::micros,
};

/// How long what was found is told again: anybody may ask, as often as they like.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// Told to those who cannot log in because there is nothing to log in with.
const NO_LOGIN: &str = "nobody can log in yet; on the host of the daemon: sudo assistantctl web password";

/// Whether the daemon takes work: it can do it, and does not stop.
///
/// # Errors
/// `unavailable` with the reason.
pub async fn ready(cx: &Cx) -> Result<()> {
    if cx.stop.is_cancelled() {
        return Err(Error::unavailable("the daemon stops"));
    }
    able(cx).await
}

/// Whether the daemon can do its work. A database that was in trouble is tried anew, so that the answer is about now.
async fn able(cx: &Cx) -> Result<()> {
    if cx.store.health().problem().is_none() {
        return Ok(());
    }
    let now = micros(cx.clock.now());
    cx.store.write(move |tx| store::probe(tx, now)).await.map_err(|err| {
        let hint = err.hint_text().unwrap_or("see the journal").to_owned();
        Error::unavailable(err.message().to_owned()).hint(hint).source(err)
    })
}

/// Whether the daemon can do its work, and what else does not go; `whole`: for somebody who may know what it is. A daemon
/// that stops does what it has taken: nobody who asks while it is started anew sees more than a pause.
///
/// # Errors
/// `unavailable`; with the reason for those who may know it.
pub async fn health(cx: &Cx, whole: bool) -> Result<Health> {
    able(cx).await.map_err(|err| if whole { err } else { Error::unavailable("the daemon is not ready") })?;
    let FoundHealth { degraded, can_log_in, .. } = found(cx).await?;
    Ok(Health {
        status: if degraded.is_empty() { "ok" } else { "degraded" }.to_owned(),
        ready: !cx.stop.is_cancelled(),
        reasons: whole.then_some(degraded),
        login: (!whole && !can_log_in).then(|| NO_LOGIN.to_owned()),
    })
}

/// As it was a second ago at most.
pub(super) async fn found(cx: &Cx) -> Result<FoundHealth> {
    let at = cx.clock.monotonic();
    let lock = || cx.process.health.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().clone().filter(|known| at.saturating_sub(known.at) < KNOWN_FOR);
    if let Some(known) = known {
        return Ok(known);
    }
    let stopped = cx.store.read(jobs::stopped).await?.map(|stopped| stopped.by);
    let can_log_in = cx.config.load().api.auth == "none" || login::is_possible(cx).await?;
    let found = FoundHealth { at, degraded: degraded(cx, stopped)?, can_log_in };
    *lock() = Some(found.clone());
    Ok(found)
}

fn degraded(cx: &Cx, stopped_by: Option<String>) -> Result<Vec<Warning>> {
    let mut found = Vec::new();
    let mut tell = |name: &str, text: String, mend: &str| {
        found.push(Warning { name: name.into(), text, mend: mend.into() });
    };
    if let Some(by) = stopped_by {
        tell("stopped", format!("no job is begun: {by} stopped everything"), "assistantctl resume");
    }
    let mut models = cx.llm.load().models();
    models.retain(|model| matches!(model.role.as_str(), "main" | "fallback"));
    if models.iter().all(|model| model.problem.is_some()) {
        let problem = models.into_iter().find_map(|model| model.problem);
        let problem = problem.unwrap_or_else(|| "none is configured".to_owned());
        tell("model", format!("no model can be asked: {problem}"), "sudo assistantctl setup");
    }
    if let Err(err) = cx.root() {
        tell("workspace", err.message().to_owned(), "assistantctl doctor");
    }
    let disk = disk(cx)?;
    if disk.low {
        let text = format!(
            "the disk of the state directory has {} bytes left, under retention.min_free_bytes of {}",
            disk.free_bytes, disk.min_free_bytes
        );
        tell("disk", text, "free space on it; nothing new is taken until then");
    }
    if let Some(problem) = sandbox::brief(cx).problem {
        tell("sandbox", format!("no command can run: {problem}"), "assistantctl sandbox");
    }
    Ok(found)
}
