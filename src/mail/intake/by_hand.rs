//! What a person decides about a message that was only stored.

use assistant_api::{JobId, mail::Decision};
use jiff::Timestamp;
use rusqlite::Connection;

use super::{Taken, decide, store, woken};
use crate::{
    config::Config,
    cx::Cx,
    error::{Error, Result},
    jobs::within,
    mail::artifacts,
    policy::Origin,
};

/// Accepts a message, for which the person vouches: it makes a job, or joins the open one of its thread. Or says that
/// nothing is to be done about it.
///
/// # Errors
/// `not_found`; `conflict` when it was acted on already or could not be read.
pub async fn decide_by_hand(cx: &Cx, id: i64, accept: bool, by: &str) -> Result<Taken> {
    let (now, by, config) = (cx.clock.now(), by.to_owned(), cx.config.load_full());
    let taken = cx.store.write(move |tx| settle(tx, now, &config, id, accept, &by)).await?;
    woken(cx);
    cx.wake.mailbox.notify_one();
    Ok(taken)
}

fn settle(tx: &Connection, now: Timestamp, config: &Config, id: i64, accept: bool, by: &str) -> Result<Taken> {
    let (decision, email_id, from, verified) =
        store::decided(tx, id)?.ok_or_else(|| Error::not_found("received mail", id))?;
    if !matches!(decision.as_str(), "stored" | "loop" | "ignored" | "set_aside") {
        return Err(Error::conflict(format!("it was decided about already: {decision}"))
            .hint(format!("assistantctl mail show {id}")));
    }
    let taken = match (accept, email_id) {
        (false, _) => Taken { archive: false, job_id: None, decision: Decision::Ignored },
        (true, None) => return Err(Error::conflict("it could not be read, so that nothing can be made of it")),
        (true, Some(email_id)) => vouched(tx, now, config, email_id, from.as_deref().filter(|_| verified), by)?,
    };
    let reason = format!("{by} decided so; before it was {decision}");
    store::decide_again(tx, id, &taken, &reason, by)?;
    let data = serde_json::json!({ "id": id, "decision": taken.decision });
    crate::events::emit(tx, now, "mail.received", taken.job_id, &data)?;
    Ok(taken)
}

/// Makes a job of an item, or adds it to the open one of its thread.
fn vouched(
    tx: &Connection,
    now: Timestamp,
    config: &Config,
    email_id: i64,
    // Whom it is proved to come from.
    from: Option<&str>,
    by: &str,
) -> Result<Taken> {
    let ids = store::answers_to(tx, email_id)?;
    let ids: Vec<&String> = ids.iter().collect();
    let thread = store::thread(tx, &ids)?;
    let admin = |from: &str| config.admin.email.as_deref().is_some_and(|admin| admin.eq_ignore_ascii_case(from));
    // A person vouches for what is written, not for who wrote it.
    let origin = if from.is_some_and(admin) { Origin::Owner } else { Origin::Contact };
    store::vouch(tx, email_id, origin, thread.as_deref())?;
    let waits = artifacts::take_up(tx, now, email_id)?;
    let job: Option<JobId> = thread.as_deref().map(|thread| within::open_job(tx, thread)).transpose()?.flatten();
    if let Some(job) = job {
        within::set_new_context(tx, job)?;
        return Ok(Taken { archive: true, job_id: Some(job), decision: Decision::Joined });
    }
    let job = decide::create(tx, now, config, email_id, by, waits)?;
    Ok(Taken { archive: true, job_id: Some(job), decision: Decision::Job })
}
